"""The embedded host as people run it: real processes, the real broker, HTTP only; once as it is, once with --isolate."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

import auricle_gpu
from auricle.cli.client import Server, ServerError
from auricle.cli.embedded import embedded_host
from auricle.cli.following import run_of_file
from auricle.transcripts.scoring import score
from builders.recordings import BAD, GOOD

DEMO = Path(auricle_gpu.__file__).parent / "demo"


@pytest.fixture(scope="module", params=[(), ("--isolate",)], ids=["together", "isolated"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with embedded_host(None, {"MAX_UPLOAD_BYTES": str(2**30), "PART_BYTES": str(5 * 2**20)}, *request.param) as ready:
        yield ready


def finished(server: Server, file_id: str) -> dict[str, Any]:
    """The file's newest run, once it is over: told by the event stream, not by asking again and again."""
    run = run_of_file(server, file_id)
    if run["state"] in ("succeeded", "failed", "cancelled"):
        return run
    for _, kind, data in server.events("0-0"):
        if kind == "run" and data["id"] == run["id"] and data["state"] in ("succeeded", "failed", "cancelled"):
            return dict(data)
    raise AssertionError("the stream ended")


def test_a_meeting_becomes_a_transcript_with_speakers(server: Server) -> None:
    file = server.upload(DEMO / "meeting.flac", {"chunk_seconds": 30}, None, lambda done, size: None)
    run = finished(server, file["id"])
    assert run["state"] == "succeeded", run
    transcript = server.call("GET", f"/api/files/{file['id']}/transcript")
    found = score(json.loads((DEMO / "meeting.json").read_text()), transcript)
    assert found.wer < 0.08
    assert (found.speakers_found, found.speaker_word_accuracy > 0.95) == (3, True)
    assert b"-->" in server.text(f"/api/files/{file['id']}/export", format="srt")


def test_a_video_has_a_poster_and_plays_in_ranges(server: Server, tmp_path: Path) -> None:
    file = server.upload(GOOD["meeting.mp4"](tmp_path / "meeting.mp4"), {}, None, lambda done, size: None)
    assert finished(server, file["id"])["state"] == "succeeded"
    assert server.text(f"/api/files/{file['id']}/poster")[:2] == b"\xff\xd8"
    assert len(server.text(f"/api/files/{file['id']}/content")) == (tmp_path / "meeting.mp4").stat().st_size


def test_what_cannot_be_heard_says_so(server: Server, tmp_path: Path) -> None:
    file = server.upload(BAD["diary.mp3"](tmp_path / "diary.mp3"), {}, None, lambda done, size: None)
    run = finished(server, file["id"])
    assert (run["state"], "not a recording" in run["error"]) == ("failed", True)


def test_an_upload_that_broke_off_is_resumed(server: Server, tmp_path: Path) -> None:
    path = GOOD["meeting.wav"](tmp_path / "long.wav")
    data = path.read_bytes()
    data += b"\0" * (12 * 2**20 - len(data))  # three parts; what follows a WAV's data does not matter
    new = server.call("POST", "/api/uploads", {"name": "long.wav", "size": len(data)})
    size, urls = new["part_size"], {p["number"]: p["url"] for p in new["parts"]}
    assert len(urls) == 3
    assert urllib3.request("PUT", urls[1], body=data[:size], timeout=30).status < 300
    _die_in_the_middle(urls[2], data[size : 2 * size])
    status = server.call("GET", f"/api/uploads/{new['id']}")
    assert [p["number"] for p in status["parts"]] == [1]
    with pytest.raises(ServerError, match=r"2, 3|2 and 3"):
        server.call("POST", f"/api/uploads/{new['id']}/complete")
    more = server.call("POST", f"/api/uploads/{new['id']}/parts", {"numbers": [2, 3]})
    for part in more["parts"]:
        begin = (part["number"] - 1) * size
        assert urllib3.request("PUT", part["url"], body=data[begin : begin + size], timeout=30).status < 300
    server.call("POST", f"/api/uploads/{new['id']}/complete")
    server.call("POST", f"/api/uploads/{new['id']}/complete")  # once more is harmless
    assert finished(server, new["file_id"])["state"] == "succeeded"
    assert len(list(server.pages("/api/runs", file_id=new["file_id"]))) == 1


def _die_in_the_middle(url: str, body: bytes) -> None:
    """A client that promises all of `body` and is killed half way."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as line:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        line.sendall(head.encode() + body[: len(body) // 2])


def test_an_object_that_is_dropped_is_transcribed_by_itself(server: Server, tmp_path: Path) -> None:
    drop = server.call("POST", "/api/drops", {"name": "dropped.mp3"})
    body = GOOD["meeting.mp3"](tmp_path / "dropped.mp3").read_bytes()
    seen = threading.Event()
    assert urllib3.request("PUT", drop["url"], body=body, headers={"Content-Type": "audio/mpeg"}, timeout=30).status < 300
    for _ in range(100):
        files = [f for f in server.pages("/api/files") if f["name"].endswith("dropped.mp3")]
        if files:
            break
        seen.wait(0.1)
    assert finished(server, files[0]["id"])["state"] == "succeeded"


def test_health_and_documents_need_no_token(server: Server) -> None:
    bare = Server(server.url, "aur_nothing")
    assert bare.call("GET", "/health")["status"] == "ok"
    assert bare.call("GET", "/api/openapi.json")["openapi"].startswith("3.1")
    assert b"swagger" in bare.text("/api/docs")
    with pytest.raises(ServerError, match="unknown, revoked or expired"):
        bare.call("GET", "/api/files")


def test_the_command_line_transcribes_against_a_server(server: Server, tmp_path: Path) -> None:
    recording = GOOD["meeting.ogg"](tmp_path / "meeting.ogg")
    out = tmp_path / "meeting.srt"
    command = [sys.executable, "-m", "auricle.cli", "transcribe", str(recording), "-o", str(out), "--server", server.url]
    token = server._headers["Authorization"].removeprefix("Bearer ")
    done = subprocess.run([*command, "--token", token], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "-->" in out.read_text()

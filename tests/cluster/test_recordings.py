"""From nothing to a transcript and back to nothing, by each way in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path

import boto3
import jiwer
import pytest
from botocore.config import Config

from auricle.cli.client import Server
from cluster.deployment import Deployment, objects, until
from cluster.vault import DEMO, MEETING, finished, run_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def spoken() -> str:
    """What is really said in the meeting."""
    return " ".join(turn["text"] for turn in json.loads((DEMO / "meeting.json").read_text())["turns"])


def error_rate(words: str) -> float:
    """Word error rate against what is really said."""
    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.RemoveMultipleSpaces(), jiwer.Strip()])
    return float(jiwer.wer(plain(spoken()), plain(words)))


def test_everything_is_accepted_and_ready(auricle: Deployment) -> None:
    assert auricle.unready() == []
    names = set(auricle.services())
    assert {"intake", "files", "advance", "prepare", "transcribe", "diarize", "cluster", "dead-letter", "timers"} <= names
    triggers = auricle.get("triggers.eventing.knative.dev")
    assert {t["metadata"]["name"] for t in triggers} < names


def test_an_object_that_boto3_puts_becomes_a_transcript_and_everything_goes_back_to_zero(
    auricle: Deployment, server: Server
) -> None:
    auricle.empty()
    prefix = server.call("POST", "/api/drops", {"name": "any.flac"})["prefix"]
    (store,) = auricle.get("svc", "object-store")
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{store['spec']['clusterIP']}:9000",
        aws_access_key_id=auricle.secret("auricle-blobs", "S3_ACCESS_KEY_ID"),
        aws_secret_access_key=auricle.secret("auricle-blobs", "S3_SECRET_ACCESS_KEY"),
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.put_object(Bucket="auricle", Key=f"{prefix}Monday's meeting, über alles.flac", Body=MEETING.read_bytes())

    def found() -> list[dict[str, object]]:
        return [f for f in server.pages("/api/files") if f["name"] == "Monday's meeting, über alles.flac"]

    (file,) = until("the notification makes a file", found, 90, 1)
    run = finished(server, run_of(server, str(file["id"])))
    assert run["state"] == "succeeded", run
    assert (
        error_rate(server.text(f"/api/files/{file['id']}/export", format="txt").decode()) < 0.35
    )  # with speakers' names in it
    auricle.empty()


def test_the_command_line_transcribes_over_tls_through_the_gateway(auricle: Deployment, tmp_path: Path) -> None:
    output = tmp_path / "meeting.json"
    done = subprocess.run(
        [Path(sys.executable).parent / "auricle", "transcribe", MEETING, "-o", output, "--server", auricle.url],
        env={**os.environ, "SSL_CERT_FILE": str(auricle.authority), "AURICLE_TOKEN": auricle.token},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    segments = json.loads(output.read_text())["segments"]
    assert error_rate(" ".join(s["text"] for s in segments)) < 0.08
    assert len({s["speaker"] for s in segments}) == 3


def test_without_the_authority_the_command_line_trusts_nobody(auricle: Deployment) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "auricle", "transcribe", MEETING, "--server", auricle.url, "--token", "aur_x"],
        env={k: v for k, v in os.environ.items() if k != "SSL_CERT_FILE"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0


def test_what_people_need_to_fetch_comes_by_the_gateway_alone(auricle: Deployment, server: Server) -> None:
    (file, *_) = server.pages("/api/files")
    location = server._request("GET", f"/api/files/{file['id']}/content", None, {}).headers["Location"]
    assert urllib.parse.urlsplit(location).netloc == urllib.parse.urlsplit(auricle.url).netloc
    assert server.text(f"/api/files/{file['id']}/content") == MEETING.read_bytes()
    services = objects("-n", auricle.namespace, "services.serving.knative.dev")
    assert all(s["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local" for s in services)

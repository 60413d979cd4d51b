"""What a deployment may take, through the door: room for files, minutes, runs at once, and who sees how much of it is left."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sqlalchemy import text

from auricle.access.permissions import Role
from builders.deployments import told
from builders.house import House, house
from builders.persons import person
from builders.recordings import GOOD

MIB = 2**20


@pytest.fixture(scope="module")
def shared(database_url: str) -> Iterator[House]:
    with house(database_url, public_url="http://127.0.0.1:8787") as made:
        yield made


@pytest.fixture
def home(shared: House) -> House:
    """Nothing is in it."""
    with shared.bound.wiring.database.work() as db:
        db.execute(text("truncate files, uploads, runs, transcriptions, arrivals cascade"))
    shared.queue.waiting.clear()
    return shared


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Eight seconds of speech."""
    return GOOD["meeting.wav"](tmp_path / "meeting.wav")


def begin(home: House, size: int, status: int | None = None, name: str = "a.wav") -> Any:
    return home.ask("POST", "/api/uploads", {"name": name, "size": size}, status=status)


def usage(home: House) -> dict[str, Any]:
    found: dict[str, Any] = home.ask("GET", "/api/usage")
    return found


# Room.


def test_an_upload_that_does_not_fit_is_refused_with_what_is_left(home: House) -> None:
    with told(home, max_storage_bytes=10 * MIB):
        begin(home, 6 * MIB, 201)
        refused = begin(home, 5 * MIB, 413)
        begin(home, 4 * MIB, 201)
        none = begin(home, 1, 413)
    assert refused["type"] == "urn:auricle:problem:no-room"
    assert (refused["left_bytes"], refused["max_bytes"]) == (4 * MIB, 10 * MIB)
    assert refused["detail"].startswith("The file has 5.0 MiB; 4.0 MiB of this vault's 10.0 MiB are left.")
    assert none["left_bytes"] == 0


def test_what_is_unfinished_counts_until_it_is_given_up(home: House) -> None:
    with told(home, max_storage_bytes=10):
        upload = begin(home, 10, 201)
        assert (usage(home)["storage_bytes"], usage(home)["unfinished_bytes"]) == (0, 10)
        begin(home, 1, 413)
        home.ask("DELETE", f"/api/uploads/{upload['id']}")
        begin(home, 10, 201)


def test_an_upload_that_expired_counts_no_more(home: House) -> None:
    with told(home, max_storage_bytes=10):
        begin(home, 10, 201)
        with home.bound.wiring.database.work() as db:
            db.execute(text("update uploads set expires_at = now() - interval '1 hour'"))
        home.tick("sweep_uploads")
        begin(home, 10, 201)


def test_what_is_in_the_trash_counts_until_it_is_purged(home: House, recording: Path) -> None:
    size = recording.stat().st_size
    file = home.upload(recording)
    assert (usage(home)["storage_bytes"], usage(home)["unfinished_bytes"]) == (size, 0)
    owner = person(home.bound.wiring, Role.OWNER)
    with home.bound.wiring.database.work() as db:
        db.execute(text("update files set owner = :owner"), {"owner": owner.id})
    with told(home, max_storage_bytes=size + 5):
        begin(home, 6, 413)
        home.ask("DELETE", f"/api/files/{file['id']}", **owner.headers)
        begin(home, 6, 413)
        home.ask("POST", f"/api/files/{file['id']}/purge", **owner.headers)
        begin(home, 6, 201)


def test_nothing_may_be_kept_where_the_limit_is_nothing(home: House) -> None:
    with told(home, max_storage_bytes=0):
        assert begin(home, 1, 413)["left_bytes"] == 0
        assert home.ask("POST", "/api/drops", {"name": "a.wav"}, status=413)["type"] == "urn:auricle:problem:no-room"


def test_without_a_limit_there_is_room(home: House) -> None:
    begin(home, 2**34, 201)
    home.ask("POST", "/api/drops", {"name": "a.wav"}, status=201)
    assert home.ask("GET", "/api/allowance")["storage_left_bytes"] is None


def test_of_many_uploads_at_once_only_those_begin_that_fit(home: House) -> None:
    for _ in range(4):
        with home.bound.wiring.database.work() as db:
            db.execute(text("truncate files, uploads cascade"))
        with told(home, max_storage_bytes=25), ThreadPoolExecutor(5) as pool:
            sizes = [10, 10, 10, 10, 10]
            answers = list(
                pool.map(lambda n: home.raw("POST", "/api/uploads", {"name": "a.wav", "size": n}).status_code, sizes)
            )
            assert sorted(answers) == [201, 201, 413, 413, 413]
            assert usage(home)["unfinished_bytes"] == 20


def test_an_upload_that_was_begun_is_completed_though_the_limit_was_lowered(home: House, recording: Path) -> None:
    size = recording.stat().st_size
    upload = begin(home, size, 201)
    with told(home, max_storage_bytes=1):
        for part in upload["parts"]:
            assert urllib3.request("PUT", part["url"], body=recording.read_bytes()).status < 300
        home.ask("POST", f"/api/uploads/{upload['id']}/complete")
    assert usage(home)["storage_bytes"] == size


def test_a_drop_that_does_not_fit_is_kept_with_the_reason_and_not_worked_on(home: House, recording: Path) -> None:
    size = recording.stat().st_size
    with told(home, max_storage_bytes=size - 1, bucket_token="t"):
        drop = home.ask("POST", "/api/drops", {"name": "a.wav"}, status=201)
        assert urllib3.request("PUT", drop["url"], body=recording.read_bytes()).status < 300
        home.tick("sweep_uploads")
        home.settle()
        (file,) = home.ask("GET", "/api/files")["items"]
    assert file["state"] == "unreadable"
    assert "of this vault's" in file["error"]
    assert home.runs(file["id"]) == []
    home.ask("POST", f"/api/files/{file['id']}/runs", {}, status=201)
    home.settle()
    assert home.runs(file["id"])[0]["state"] == "succeeded"


# Minutes.


def test_a_recording_beyond_this_month_s_minutes_is_kept_and_its_run_says_why(home: House, recording: Path) -> None:
    with told(home, minutes_per_month=0):
        file = home.upload(recording)
        home.settle()
        (run,) = home.runs(file["id"])
        assert run["state"] == "failed"
        assert "0 minutes a month" in run["error"]
        kept = home.ask("GET", f"/api/files/{file['id']}")
        assert (kept["state"], kept["has_transcript"]) == ("ready", False)
        assert home.raw("GET", f"/api/files/{file['id']}/content").status_code == 302
    with told(home, minutes_per_month=1):
        home.ask("POST", f"/api/runs/{run['id']}/retry", status=202)
        home.settle()
        assert home.runs(file["id"])[0]["state"] == "succeeded"
        assert home.ask("GET", "/api/allowance")["minutes_left"] == 0.9


def test_re_runs_use_minutes_up(home: House, recording: Path) -> None:
    file = home.upload(recording)
    home.settle()
    home.ask("POST", f"/api/files/{file['id']}/runs", {}, status=201)
    home.settle()
    assert usage(home)["minutes_this_month"] == round(2 * 8.12 / 60, 1)


# Runs at once.


def test_runs_wait_for_each_other_and_all_come_to_their_end(home: House, recording: Path) -> None:
    with told(home, max_runs=1):
        files = [home.upload(recording) for _ in range(3)]
        most, seen = 0, set()
        while home.queue.waiting:
            home.settle(most=1)
            found = usage(home)
            most = max(most, found["runs_under_way"])
            seen |= {run.get("waits_for_others") for run in home.ask("GET", "/api/runs")["items"]}
        assert most == 1
        assert seen - {0} == {None, 1, 2}  # 0: called, and not there yet
        assert [run["state"] for file in files for run in home.runs(file["id"])] == ["succeeded"] * 3
    assert home.dropped == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_any_order_of_events_no_more_are_under_way_and_none_is_forgotten(home: House, recording: Path, seed: int) -> None:
    chaos = random.Random(seed)
    with told(home, max_runs=2):
        files = [home.upload(recording) for _ in range(4)]
        while home.queue.waiting:
            home.queue.waiting.rotate(chaos.randrange(len(home.queue.waiting)))
            if chaos.random() < 0.1:
                home.queue.waiting.append(home.queue.waiting[0])
            home.settle(most=1)
            assert usage(home)["runs_under_way"] <= 2
        assert [run["state"] for file in files for run in home.runs(file["id"])] == ["succeeded"] * 4


def test_a_run_that_waits_is_cancelled_through_the_door(home: House, recording: Path) -> None:
    with told(home, max_runs=1):
        one, other = (home.upload(recording) for _ in range(2))
        while not home.runs(other["id"]):
            home.settle(most=1)
        (waiting,) = home.runs(other["id"])
        assert (waiting["state"], waiting["waiting_for"], waiting["waits_for_others"]) == ("queued", "turn", 1)
        home.ask("POST", f"/api/runs/{waiting['id']}/cancel", status=202)
        home.settle()
        assert [home.runs(file["id"])[0]["state"] for file in (one, other)] == ["succeeded", "cancelled"]


# Who sees it.


def test_administrators_see_what_is_taken_and_the_limits(home: House) -> None:
    begin(home, 7, 201)
    with told(home, max_storage_bytes=100, minutes_per_month=60, max_runs=3):
        found = usage(home)
    renews = datetime.fromisoformat(found.pop("minutes_renew_at"))
    assert (renews.day, renews.hour) == (1, 0)
    assert found == {
        "storage_bytes": 0,
        "unfinished_bytes": 7,
        "storage_limit_bytes": 100,
        "minutes_this_month": 0.0,
        "minutes_per_month": 60,
        "runs_under_way": 0,
        "runs_queued": 0,
        "runs_at_once": 3,
    }


def test_without_limits_they_are_null(home: House) -> None:
    found = usage(home)
    assert {found[name] for name in ("storage_limit_bytes", "minutes_per_month", "runs_at_once")} == {None}


@pytest.mark.parametrize("role", Role)
def test_everybody_sees_what_is_left_and_administrators_alone_what_is_taken(home: House, role: Role) -> None:
    begin(home, 7, 201)
    who = person(home.bound.wiring, role)
    with told(home, max_storage_bytes=100, minutes_per_month=60):
        left = home.ask("GET", "/api/allowance", **who.headers)
        assert (left["minutes_left"], left["storage_left_bytes"]) == (60.0, 93)
        answer = home.raw("GET", "/api/usage", **who.headers)
    assert answer.status_code == (200 if role in (Role.OWNER, Role.ADMIN) else 403)

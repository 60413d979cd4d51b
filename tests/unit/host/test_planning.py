"""The plan of a laptop follows from the catalogue."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from auricle.contract.choices import Image, Scale
from auricle.runtime.local import plan as plans
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.plan import Plan, Pool
from auricle.runtime.local.planning import (
    DeliveryEntry,
    Entry,
    Site,
    TimerEntry,
    environment_of,
    plan_of,
    read_catalogue,
    without_secrets,
)
from auricle.runtime.local.scale import Machine

DELIVERY = DeliveryEntry(retry=3, delay=0.5, timeout=60)
FILES = Entry(
    name="files", kind="routes", image=Image.API, scale=Scale.INTERACTIVE, paths=("/api/files",), secrets=("database_url",)
)
ADVANCE = Entry(
    name="advance",
    kind="stage",
    image=Image.API,
    scale=Scale.BURST,
    filter={"concerns": "run"},
    delivery=DELIVERY,
    parallelism=8,
    secrets=("database_url", "event_key"),
)
PREPARE = Entry(
    name="prepare",
    kind="stage",
    image=Image.MEDIA,
    scale=Scale.BATCH,
    filter={"type": "auricle.files.received.v1"},
    delivery=DELIVERY,
    secrets=("blobs_key", "database_url"),
)
TRANSCRIBE = Entry(
    name="transcribe", kind="stage", image=Image.SPEECH, scale=Scale.GPU, filter={"work": "transcribe"}, delivery=DELIVERY
)
DIARIZE = Entry(
    name="diarize", kind="stage", image=Image.SPEECH, scale=Scale.GPU, filter={"work": "diarize"}, delivery=DELIVERY
)
DEAD = Entry(name="dead_letter", kind="stage", image=Image.API, scale=Scale.BURST, filter={}, delivery=DELIVERY)
TIMERS = Entry(
    name="timers",
    kind="timers",
    image=Image.API,
    scale=Scale.TIMER,
    filter={"type": "dev.knative.sources.ping"},
    delivery=DELIVERY,
    timers=(TimerEntry(name="sweep", minutes=30),),
)
ALL = (FILES, ADVANCE, PREPARE, TRANSCRIBE, DIARIZE, DEAD, TIMERS)


def site(*, isolated: bool = False, cores: int = 2, speech_workers: int = 0, accelerator: bool = False) -> Site:
    """A host."""
    return Site(
        data=Path("/data"),
        owner_url="postgresql+pg8000://owner:secret@/auricle",
        broker_port=9001,
        gateway_port=8080,
        events_port=9002,
        isolated=isolated,
        machine=Machine(cores=cores, speech_workers=speech_workers, accelerator=accelerator),
        values={"broker_url": "http://127.0.0.1:9001/auricle/default"},
        secrets={
            "database_url": "postgresql+pg8000://app:secret@/auricle",
            "event_key": "ee",
            "blobs_key": "bb",
            "bucket_token": "",
        },
    )


def pool(plan: Plan, name: str) -> Pool:
    return next(p for p in plan.pools if p.name == name)


def test_api_functions_share_the_resident_process_and_the_others_are_started_by_need() -> None:
    plan = plan_of(ALL, site())
    assert {p.name: p.functions for p in plan.pools} == {
        "api": ("files", "advance", "dead_letter", "timers"),
        "media": ("prepare",),
        "transcribe": ("transcribe",),
        "diarize": ("diarize",),
    }
    assert pool(plan, "api").url == "http://127.0.0.1:9002"
    assert pool(plan, "media").command == (sys.executable, "-m", "auricle.runtime.local.worker")
    assert plan.routes == {}


def test_speech_workers_get_no_secret_and_media_workers_only_their_own() -> None:
    plan = plan_of(ALL, site())
    speech = pool(plan, "transcribe").env
    assert not {"DATABASE_URL", "EVENT_KEY", "BLOBS_KEY", "DATA_DIR"} & set(speech)
    assert "secret" not in str(speech)
    media = pool(plan, "media").env
    assert media["BLOBS_KEY"] == "bb"
    assert media["DATA_DIR"] == "/data"
    assert "EVENT_KEY" not in media


def test_settings_that_are_not_set_are_not_passed_on_as_empty() -> None:
    entry = msgspec.structs.replace(FILES, secrets=("bucket_token",))
    assert "BUCKET_TOKEN" not in environment_of([entry], site())


def test_what_children_inherit_holds_no_secret() -> None:
    assert without_secrets({"PATH": "/bin", "DATABASE_URL": "x", "S3_SECRET_ACCESS_KEY": "y"}) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("machine", "workers", "threads"),
    [
        ({"cores": 1}, 1, "1"),
        ({"cores": 2}, 2, "1"),
        ({"cores": 8}, 2, "4"),
        ({"cores": 8, "speech_workers": 4}, 4, "2"),
        ({"cores": 8, "accelerator": True}, 1, "8"),
    ],
)
def test_transcribing_takes_the_cores_there_are(machine: dict[str, int], workers: int, threads: str) -> None:
    found = pool(plan_of(ALL, site(**machine)), "transcribe")  # type: ignore[arg-type]
    assert found.max_workers == workers
    assert found.env["SPEECH_THREADS"] == threads
    assert found.concurrency == 1


@pytest.mark.parametrize("isolated", [False, True])
def test_every_worker_has_threads_for_its_work_and_the_probes(isolated: bool) -> None:
    for found in plan_of(ALL, site(isolated=isolated)).pools:
        if found.url is None:
            assert int(found.env["THREADS"]) >= found.concurrency + 4


def test_everything_undeliverable_goes_to_the_dead_letters_but_those_themselves() -> None:
    subscriptions = {s.name: s for s in plan_of(ALL, site()).subscriptions}
    assert set(subscriptions) == {"advance", "prepare", "transcribe", "diarize", "dead_letter", "timers"}
    assert subscriptions["advance"].delivery.dead_letter == "dead_letter"
    assert subscriptions["dead_letter"].delivery.dead_letter is None
    assert subscriptions["advance"].parallelism == 8
    assert subscriptions["advance"].path == "/events/advance"
    assert subscriptions["advance"].delivery.timeout == 60


def test_timers_carry_their_name() -> None:
    (timer,) = plan_of(ALL, site()).timers
    assert (timer.name, timer.minutes, msgspec.json.decode(timer.data)) == ("sweep", 30, {"timer": "sweep"})


def test_isolated_functions_are_processes_of_their_own_behind_a_path_table() -> None:
    plan = plan_of(ALL, site(isolated=True))
    assert {p.name for p in plan.pools} == {e.name for e in ALL}
    assert plan.routes == {"/api/files": "files"}
    assert all(p.url is None and "auricle.runtime.local.isolated" in p.command for p in plan.pools)
    assert pool(plan, "files").env["AURICLE_FUNCTION"] == "files"


def test_the_plan_survives_its_file_which_only_its_owner_reads(tmp_path: Path) -> None:
    plan = plan_of(ALL, site())
    plans.write(tmp_path / "plan.json", plan)
    assert plans.read(tmp_path / "plan.json") == plan
    assert (tmp_path / "plan.json").stat().st_mode & 0o077 == 0


def test_a_catalogue_that_cannot_be_read_is_said() -> None:
    with pytest.raises(CannotStart, match="catalogue"):
        read_catalogue(b"Traceback")

"""The plan of a laptop follows from the catalogue."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from auricle.contract.choices import Image, Scale
from auricle.deploy.catalogue import catalogue
from auricle.runtime import rooms, wiring
from auricle.runtime.local import plan as plans
from auricle.runtime.local import postgres
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.plan import Plan, Pool
from auricle.runtime.local.planning import (
    SECRETS,
    DeliveryEntry,
    Entry,
    Site,
    TimerEntry,
    environment_of,
    gateway_environment,
    plan_of,
    read_catalogue,
    without_secrets,
)
from auricle.runtime.local.scale import API_POOL, Machine
from auricle.runtime.settings import Settings

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


FILES_OF_SIGN_IN = {
    "signing_keys_file": "/data/signing-keys.json",
    "jwks_file": "/data/jwks.json",
    "setup_code_file": "/data/setup-code",
}


def whole(*, isolated: bool) -> tuple[list[Entry], Site]:
    """The real catalogue on this host."""
    made = site(isolated=isolated)
    secrets = {**made.secrets, **FILES_OF_SIGN_IN, "ephemeral_key": "cc", "gateway_key": "dd"}
    return read_catalogue(msgspec.json.encode(catalogue())), msgspec.structs.replace(made, secrets=secrets)


def test_isolated_the_signing_key_is_named_to_identity_alone_and_public_keys_to_who_lets_people_in() -> None:
    entries, here = whole(isolated=True)
    plan = plan_of(entries, here)
    processes = {p.name: p.env for p in plan.pools} | {"the gateway": gateway_environment(entries, here)}
    for private in ("SIGNING_KEYS_FILE", "SETUP_CODE_FILE"):
        assert {name for name, env in processes.items() if private in env} == {"identity"}
    letting_in = {name for name, env in processes.items() if "JWKS_FILE" in env}
    assert letting_in == {e.name for e in entries if "jwks_file" in e.secrets}
    counting = {name for name, env in processes.items() if "EPHEMERAL_KEY" in env}
    assert counting == letting_in | {"timers"}  # which sweep what is counted
    assert "the gateway" not in letting_in
    assert not {"transcribe", "diarize", "cluster", "prepare", "advance"} & letting_in
    assert not any("signing-keys" in str(env) for name, env in processes.items() if name != "identity")


def test_in_one_process_everything_that_answers_people_is_there() -> None:
    entries, here = whole(isolated=False)
    env = gateway_environment(entries, here)
    assert env["AURICLE_FUNCTION"] == "*api,*identity"
    assert {name.upper(): value for name, value in FILES_OF_SIGN_IN.items()}.items() <= env.items()
    resident = pool(plan_of(entries, here), "api").functions
    assert set(resident) == {*rooms.functions_of(Image.API), *rooms.functions_of(Image.IDENTITY)}


def test_no_secret_setting_is_inherited() -> None:
    assert {name for names in wiring.SECRETS.values() for name in names} <= SECRETS


def test_the_embedded_database_has_a_connection_for_everybody_even_isolated() -> None:
    for isolated in (False, True):
        entries, here = whole(isolated=isolated)
        asked = {e.name: e.secrets for e in entries}
        wanted = {
            p.name: p.max_workers * (Settings().database_pool + any("ephemeral_key" in asked[f] for f in p.functions))
            for p in plan_of(entries, here).pools
            if p.url is None and any("database_url" in asked[f] for f in p.functions)
        }
        resident = API_POOL + 1 + 1  # its pool, limits and ended sign-ins, upkeep
        most = int(postgres.SETTINGS["max_connections"]) - int(postgres.SETTINGS["superuser_reserved_connections"])
        broker = 10  # a line for each kind of its work
        assert sum(wanted.values()) + resident + broker <= most, wanted


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

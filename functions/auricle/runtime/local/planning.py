"""From the catalogue of functions to the plan of this host: which processes serve what, with which secrets, how many."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import auricle
from auricle.contract.choices import Image, Scale
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.plan import Delivery, Plan, Pool, Subscription, Timer
from auricle.runtime.local.scale import API_CONCURRENCY, API_THREADS, Machine, Numbers, numbers
from auricle.runtime.local.scale import API_POOL as API_POOL_SIZE

API_POOL = "api"
MEDIA_POOL = "media"
RESIDENT = (Image.API, Image.IDENTITY)
"""Images whose functions are one process that is always there, unless each is to have its own."""
BROKER_PATH = "/auricle/default"
"""`/<namespace>/<broker>`, as on Knative."""
DEAD_LETTERS = "dead_letter"
"""The function that gets what could not be delivered."""
SECRETS = frozenset(
    {
        "database_url",
        "event_key",
        "gateway_key",
        "sealing_keys",
        "smtp_password",
        "blobs_key",
        "s3_access_key_id",
        "s3_secret_access_key",
        "bucket_token",
        "ephemeral_key",
        "redis_url",
        "signing_keys_file",
        "jwks_file",
        "setup_code_file",
    }
)
"""Settings that only those functions get whose signatures ask for them: by the plan, never by inheritance."""


class TimerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One timer of the catalogue."""

    name: str
    minutes: int


class DeliveryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """How the catalogue wants events delivered; seconds."""

    retry: int
    delay: float
    timeout: float


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the host reads of one function of the catalogue (`python -m auricle.deploy.catalogue`)."""

    name: str
    kind: str
    image: Image
    scale: Scale
    filter: dict[str, str] | None = None
    delivery: DeliveryEntry | None = None
    parallelism: int = 1
    paths: tuple[str, ...] = ()
    timers: tuple[TimerEntry, ...] = ()
    secrets: tuple[str, ...] = ()


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """This host: where it listens and what its functions are told. `values` and `secrets` are settings by name."""

    data: Path
    owner_url: str  # of the database, for the broker alone: its tables are not the functions' business
    broker_port: int
    gateway_port: int
    events_port: int  # where the API process takes events: on loopback only
    machine: Machine
    isolated: bool = False
    values: dict[str, str] = {}
    secrets: dict[str, str] = {}


def read_catalogue(printed: bytes) -> list[Entry]:
    """The entries that the catalogue printed."""
    try:
        return msgspec.json.decode(printed, type=list[Entry])
    except msgspec.DecodeError as error:
        raise CannotStart(f"The catalogue of functions cannot be read: {error}. Install Auricle again.") from error


def plan_of(entries: Sequence[Entry], site: Site) -> Plan:
    """The whole plan."""
    pools = {e.name: e.name if site.isolated else _pool_name(e) for e in entries}
    return Plan(
        data=site.data,
        database_url=site.owner_url,
        broker_port=site.broker_port,
        broker_path=BROKER_PATH,
        gateway_port=site.gateway_port,
        subscriptions=tuple(_subscription(e, pools[e.name], entries) for e in entries if e.filter is not None),
        pools=tuple(_pools(entries, pools, site)),
        timers=tuple(_timer(t) for e in entries for t in e.timers),
        routes={path: pools[e.name] for e in entries for path in e.paths} if site.isolated else {},
    )


def environment_of(entries: Iterable[Entry], site: Site) -> dict[str, str]:
    """The variables of a process that serves `entries`: what everybody is told, and the secrets that these ask for."""
    asked = {name for entry in entries for name in entry.secrets}
    found = {**site.values, **{name: value for name, value in site.secrets.items() if name in asked and value}}
    if asked:
        found["data_dir"] = str(site.data)
    return {name.upper(): value for name, value in found.items()}


def gateway_environment(entries: Iterable[Entry], site: Site) -> dict[str, str]:
    """The variables of the resident process: everything that answers people, the signing keys too.

    Isolated it answers nobody by itself: it passes requests on, takes bytes, and does what timers would do too late.
    """
    resident = [] if site.isolated else [e for e in entries if e.image in RESIDENT]
    own = ("database_url", "blobs_key", "event_key", "gateway_key", "bucket_token")
    return environment_of(resident, site) | {
        "AURICLE_FUNCTION": ",".join(f"*{image}" for image in RESIDENT),
        "THREADS": str(API_THREADS),
        "DATABASE_POOL": str(API_POOL_SIZE),
        "DATA_DIR": str(site.data),
        **{name.upper(): value for name in own if (value := site.secrets.get(name, ""))},
    }


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """What every child may inherit."""
    return {name: value for name, value in variables.items() if name.lower() not in SECRETS}


def source_file() -> Path:
    """`functions/main.py`, the one file that functions-framework loads."""
    path = Path(auricle.__file__).parent.parent / "main.py"
    if not path.exists():
        raise CannotStart(
            f"{path} is missing. Start Auricle from a complete copy of its repository (`git status` shows what is gone)."
        )
    return path


def _pool_name(entry: Entry) -> str:
    """All API and identity functions share the resident process, media's a worker; each speech function has its own."""
    return {**dict.fromkeys(RESIDENT, API_POOL), Image.MEDIA: MEDIA_POOL}.get(entry.image, entry.name)


def _subscription(entry: Entry, pool: str, entries: Sequence[Entry]) -> Subscription:
    given: dict[str, Any] = msgspec.to_builtins(entry.delivery) if entry.delivery else {}
    buried = entry.name != DEAD_LETTERS and any(e.name == DEAD_LETTERS for e in entries)
    return Subscription(
        name=entry.name,
        filter=dict(entry.filter or {}),
        pool=pool,
        path=f"/events/{entry.name}",
        parallelism=entry.parallelism,
        delivery=Delivery(**given, dead_letter=DEAD_LETTERS if buried else None),
    )


def _pools(entries: Sequence[Entry], pools: Mapping[str, str], site: Site) -> Iterable[Pool]:
    for name in dict.fromkeys(pools.values()):
        served = [e for e in entries if pools[e.name] == name]
        if name == API_POOL and not site.isolated:
            yield _resident(served, site)
        else:
            yield _on_demand(name, served, site)


def _resident(served: Sequence[Entry], site: Site) -> Pool:
    return Pool(
        name=API_POOL,
        functions=tuple(e.name for e in served),
        url=f"http://127.0.0.1:{site.events_port}",
        concurrency=API_CONCURRENCY,
    )


def _on_demand(name: str, served: Sequence[Entry], site: Site) -> Pool:
    chosen = numbers(served[0].scale, served[0].name, site.machine)
    env = {**environment_of(served, site), "AURICLE_FUNCTION": ",".join(e.name for e in served), **_threads(chosen)}
    return Pool(
        name=name,
        functions=tuple(e.name for e in served),
        command=_framework() if site.isolated else (sys.executable, "-m", "auricle.runtime.local.worker"),
        env=env,
        max_workers=chosen.max_workers,
        concurrency=chosen.concurrency,
        idle_seconds=chosen.idle_seconds,
    )


def _threads(chosen: Numbers) -> dict[str, str]:
    """Threads of the web server, and of the models' libraries, which would otherwise each take every core.

    WORKERS and the timeout are functions-framework's own words: one process, and the broker has the deadlines.
    """
    found = {"THREADS": str(chosen.threads), "WORKERS": "1", "CLOUD_RUN_TIMEOUT_SECONDS": "0"}
    if chosen.compute_threads:
        found |= {"SPEECH_THREADS": str(chosen.compute_threads), "OMP_NUM_THREADS": str(chosen.compute_threads)}
    return found


def _framework() -> tuple[str, ...]:
    """functions-framework's own server, exactly as in the images, that ends with the broker which starts it."""
    return (sys.executable, "-m", "auricle.runtime.local.isolated", str(source_file()))


def _timer(timer: TimerEntry) -> Timer:
    return Timer(name=timer.name, minutes=timer.minutes, data=msgspec.json.encode({"timer": timer.name}).decode())

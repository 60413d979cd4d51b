"""From parameter types to values: the one place where ports meet adapters, lazily, by what a signature names.

Deployment-chosen things come from the settings. Adapters are imported when first asked for, so a function loads only
what its own signature names.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from auricle.contract.event import Envelope, Fact
from auricle.contract.function import Assembled, Signature
from auricle.contract.store import Store, Units
from auricle.ports.blobs import BlobStore, SignedBlobs
from auricle.ports.bus import Bus, Progress, PublishingUnits
from auricle.ports.feed import EventFeed
from auricle.ports.keyring import Receipts
from auricle.runtime import accountwiring, configured, waysin
from auricle.runtime import identitywiring as identity
from auricle.runtime.settings import Settings
from auricle.runtime.signing import Signer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from auricle.runtime.database import Database
    from auricle.runtime.outbox import Outbox, OutboxBus, Publisher
    from auricle.runtime.sink import Sink


class Wiring:
    """One process's connections to the outside. Everything is made on first use and kept."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected yet."""
        self.settings = settings

    # What the doors use themselves.

    @cached_property
    def database(self) -> Database:
        """The process's pool."""
        from auricle.runtime.database import Database, engine_for

        return Database(engine_for(self.settings.database_url, self.settings.database_pool))

    @cached_property
    def signer(self) -> Signer:
        """Signs and checks events."""
        return Signer(self.settings.event_key)

    @cached_property
    def sink(self) -> Sink:
        """The broker."""
        from auricle.runtime.sink import Sink

        return Sink(self.settings.broker_url)

    @cached_property
    def publisher(self) -> Publisher:
        """Facts to signed envelopes."""
        from auricle.runtime.outbox import Publisher

        return Publisher(self.settings.event_source, self.signer)

    @cached_property
    def outbox(self) -> Outbox:
        """Sends what is recorded."""
        from auricle.runtime.outbox import Outbox

        return Outbox(self.database, self.sink)

    @cached_property
    def buses(self) -> WeakKeyDictionary[Connection, OutboxBus]:
        """The bus of each unit of work that is open."""
        return WeakKeyDictionary()

    def bus(self, connection: Connection) -> OutboxBus:
        """The bus of one unit of work."""
        from auricle.runtime.outbox import OutboxBus

        bus = self.buses[connection] = OutboxBus(connection, self.publisher)
        return bus

    def reply_envelope(self, fact: Fact, id: str) -> Envelope:
        """A secretless function's answer: unsigned (it has no key), believed for the receipt inside."""
        from auricle.runtime.telemetry import traceparent

        return Envelope(
            id=id,
            source=f"{self.settings.event_source}/{self.settings.auricle_function}",
            type=fact.TYPE,
            time=self.now(),
            data=fact.encoded(),
            extensions={**fact.attributes(), "traceparent": traceparent()},
        )

    def trouble(self, functions: Iterable[str]) -> str:
        """Why this process, which is `functions`, cannot take work yet, as a sentence; empty when it can."""
        s = self.settings
        if not (s.models_required or s.pinned_model):
            return ""
        if "_warming" not in self.__dict__:
            from auricle.ports.speech import SpeechModels
            from auricle_gpu.readiness import Warming

            heard = {s.transcribe_model if name == "transcribe" else s.diarize_model for name in functions}
            wanted = [s.pinned_model] if s.pinned_model else sorted(heard)
            self.__dict__.setdefault("_warming", Warming(wanted, self.provide(SpeechModels).warm_up))
        found: str = self.__dict__["_warming"].trouble()
        return found

    def now(self) -> datetime:
        """Wall clock, for timestamps on messages; leases and deadlines use the database's."""
        return datetime.now(UTC)

    # What signatures name.

    def arguments(self, parameters: Mapping[str, Any], given: Mapping[Any, Any]) -> dict[str, Any]:
        """Values for `parameters`: what the door has in hand (`given`, by type or by name), else ports and stores."""
        return {name: self._value(name, kind, given) for name, kind in parameters.items()}

    def _value(self, name: str, kind: Any, given: Mapping[Any, Any]) -> Any:
        if name in given:
            return given[name]
        kind = _bare(kind)
        for candidate in _alternatives(kind):
            if candidate in given:
                return given[candidate]
        if isinstance(kind, type) and issubclass(kind, Store):
            return kind(_needed(given, "sqlalchemy.Connection", name))
        if isinstance(kind, type) and issubclass(kind, Assembled):
            return kind(**self.arguments(kind.parts(), given))
        if kind is Bus:
            return _needed(given, "auricle.runtime.outbox.OutboxBus", name)
        if kind is Progress:
            from auricle.runtime.progress import BrokerProgress

            return BrokerProgress(self, next((v for v in given.values() if isinstance(v, Fact)), None))
        provide = PROVIDERS.get(kind)
        if provide is None:
            raise TypeError(f"Nothing provides {name}: {kind!r}. Add a row to runtime.wiring.PROVIDERS.")
        return provide(self) if kind in LIVE else self._kept(kind, provide)

    def provide(self, kind: Any) -> Any:
        """A port outside any unit of work."""
        return self._value(kind.__name__, kind, {})

    def refresh(self, *signatures: Signature | None) -> None:
        """Read anew what administrators set, if one of the signatures names any of it. Before a connection is held."""
        if any(_bare(kind) in CONFIGURED for found in signatures if found for kind in found.kinds()):
            from auricle.admin.configuration.actions import Configuration

            self.provide(Configuration).fresh()

    def _kept(self, kind: Any, provide: Callable[[Wiring], Any]) -> Any:
        kept: dict[Any, Any] = self.__dict__.setdefault("_ports", {})
        if kind not in kept:
            kept[kind] = provide(self)
        return kept[kind]


def needs_unit(signature: Signature) -> bool:
    """Whether something in the signature lives in a unit of work."""
    kinds = [_bare(kind) for kind in signature.kinds()]
    return any(kind is Bus or (isinstance(kind, type) and issubclass(kind, Store)) for kind in kinds)


class DatabaseUnits:
    """`contract.store.Units` on the process's pool."""

    def __init__(self, database: Database) -> None:
        """`database` gives each unit a connection."""
        self._database = database

    def unit(self) -> AbstractContextManager[Connection]:
        """One transaction."""
        return self._database.work()


RESERVED_DISK = 256 * 2**20
"""Bytes of the laptop's disk that uploads leave free: a database on a full disk stops."""


def _blobs(wiring: Wiring) -> Any:
    s = wiring.settings
    if s.s3_endpoint:
        from auricle.adapters.blobs.s3 import S3Blobs

        return S3Blobs(
            endpoint=s.s3_endpoint,
            region=s.s3_region,
            bucket=s.s3_bucket,
            access_key=s.s3_access_key_id,
            secret_key=s.s3_secret_access_key,
            public_url=s.blobs_public_url or s.s3_endpoint,
            internal_url=s.blobs_internal_url or s.s3_endpoint,
        )
    from auricle.adapters.blobs.filesystem import FilesystemBlobs

    internal = s.blobs_internal_url or s.blobs_public_url
    root, key = Path(s.data_dir) / "blobs", bytes.fromhex(s.blobs_key)
    return FilesystemBlobs(root, s.blobs_public_url, internal, key, largest=s.max_upload_bytes, reserve=RESERVED_DISK)


def _signed_blobs(wiring: Wiring) -> Any:
    from auricle.adapters.blobs.signed_http import SignedHttp

    return SignedHttp(tuple(o.strip() for o in wiring.settings.object_origins.split(",") if o.strip()))


def _media_reader(wiring: Wiring) -> Any:
    from auricle.adapters.media.pyav import PyAvReader

    return PyAvReader()


def _speech_models(wiring: Wiring) -> Any:
    from auricle_gpu.budget import Device
    from auricle_gpu.pool import Pool, SpeechSettings

    s = wiring.settings
    return Pool(
        SpeechSettings(
            models_dir=Path(s.models_dir) if s.models_dir else None,
            device=Device(s.speech_device),
            threads=s.speech_threads,
            memory_budget_bytes=s.speech_memory_bytes or None,
            pinned=s.pinned_model,
            verified_only=bool(s.models_required or s.pinned_model),
            digests=s.models_sha256,
        )
    )


def _feed(wiring: Wiring) -> Any:
    from auricle.runs.waiting import NoticingFeed
    from auricle.runtime.feed import DatabaseFeed

    return NoticingFeed(DatabaseFeed(wiring.database), DatabaseUnits(wiring.database))


def _components(wiring: Wiring) -> Any:
    from auricle.runtime.components import DeploymentComponents

    return DeploymentComponents(wiring)


def _limits(wiring: Wiring) -> Any:
    from auricle.intake.model import UploadLimits

    s = wiring.settings
    return UploadLimits(
        max_bytes=s.max_upload_bytes, part_bytes=s.part_bytes, hours=s.upload_hours, storage_bytes=s.max_storage_bytes
    )


def _pace(wiring: Wiring) -> Any:
    from auricle.runs.model import Awaited, Pace

    s = wiring.settings
    return Pace(
        window=s.window,
        task_seconds=s.task_seconds,
        task_attempts=s.task_attempts,
        transcribe_model=s.transcribe_model,
        diarize_model=s.diarize_model,
        chunk_seconds=s.chunk_seconds,
        awaited=Awaited.GPU if s.speech_device == "cuda" else Awaited.SPEECH_WORKER,
        prewarm=s.prewarm,
        offered=tuple(m.strip() for m in s.offered_models.split(",") if m.strip()),
        suspended=s.suspended,
        max_runs=s.max_runs,
        minutes_per_month=s.minutes_per_month,
    )


def _bucket_token(wiring: Wiring) -> Any:
    from auricle.intake.model import BucketToken

    s = wiring.settings
    return BucketToken(value=s.bucket_token, bucket=s.s3_bucket if s.s3_endpoint else "")


def _configuration(wiring: Wiring) -> Any:
    from auricle.admin.configuration.actions import Configuration
    from auricle.ports.sealing import Sealing

    return Configuration(DatabaseUnits(wiring.database), lambda: wiring.provide(Sealing))


def _editing(wiring: Wiring) -> Any:
    from auricle.admin.configuration.actions import Configuration
    from auricle.admin.configuration.changing import Editing

    return Editing(wiring.provide(Configuration), configured.EnvironmentDefaults(wiring.settings))


def _sealing(wiring: Wiring) -> Any:
    from auricle.adapters.sealing.aesgcm import AesGcm

    return AesGcm(wiring.settings.sealing_keys)


class _Names(frozenset[str]):
    """Types by their dotted names."""

    def __contains__(self, kind: object) -> bool:
        return super().__contains__(f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}")


class _ByName(dict[Any, Callable[[Wiring], Any]]):
    """Looks types up by their dotted name, so that this table imports no room and no numpy."""

    def get(self, kind: Any, default: Any = None) -> Any:
        return super().get(f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}", default)


PROVIDERS = _ByName(
    {
        **accountwiring.PROVIDERS,
        f"{BlobStore.__module__}.BlobStore": _blobs,
        f"{SignedBlobs.__module__}.SignedBlobs": _signed_blobs,
        f"{Receipts.__module__}.Receipts": lambda wiring: wiring.signer,
        f"{EventFeed.__module__}.EventFeed": _feed,
        f"{Units.__module__}.Units": lambda wiring: wiring.provide(PublishingUnits),
        "auricle.ports.health.Components": _components,
        "auricle.ports.media.MediaReader": _media_reader,
        "auricle.ports.speech.SpeechModels": _speech_models,
        "auricle.intake.model.UploadLimits": _limits,
        "auricle.intake.model.BucketToken": _bucket_token,
        "auricle.runs.model.Pace": _pace,
        **identity.PROVIDERS,
        "auricle.admin.configuration.actions.Configuration": _configuration,
        "auricle.admin.configuration.changing.Editing": _editing,
        **configured.PROVIDERS,
        "auricle.ports.sealing.Sealing": _sealing,
        **waysin.PROVIDERS,
    }
)
"""Port or settings struct (by dotted name) → how it is made. A new port is a row."""

LIVE = _Names({*configured.PROVIDERS, "auricle.identity.model.SetupCode"})
"""What administrators may change while we run: made anew for each request, of what `Configuration` or a mounted file says."""

CONFIGURED = _Names({*configured.PROVIDERS, "auricle.admin.configuration.actions.Configuration"})
"""What needs it to be read."""

SECRETS: dict[str, tuple[str, ...]] = {
    **accountwiring.SECRETS,
    "auricle.contract.store.Units": ("database_url",),
    "auricle.contract.store.Store": ("database_url",),
    f"{Bus.__module__}.Bus": ("database_url", "event_key"),
    f"{BlobStore.__module__}.BlobStore": ("blobs_key", "s3_access_key_id", "s3_secret_access_key"),
    "auricle.ports.health.Components": ("blobs_key", "s3_access_key_id", "s3_secret_access_key"),
    f"{Receipts.__module__}.Receipts": ("event_key",),
    f"{EventFeed.__module__}.EventFeed": ("database_url",),
    "auricle.intake.model.BucketToken": ("bucket_token",),
    **identity.SECRETS,
    "auricle.admin.configuration.actions.Configuration": ("database_url",),
    "auricle.admin.configuration.changing.Editing": ("database_url", "sealing_keys"),
    "auricle.ports.sealing.Sealing": ("sealing_keys",),
    **waysin.SECRETS,
}
"""Port → the secret settings that its adapter reads: what a function's process is given follows from its signature."""
DOOR = ("auricle.ports.ephemeral.Ephemeral", "auricle.ports.signing.TokenVerifier")
"""Ports that the HTTP door asks for by itself, wherever a route is not for everybody."""


def _bare(kind: Any) -> Any:
    """`Annotated[T, …]` without its marks."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def _needed(given: Mapping[Any, Any], dotted: str, name: str) -> Any:
    """A value that only a unit of work has."""
    class_name = dotted.rpartition(".")[2]
    for kind, value in given.items():
        if isinstance(kind, type) and kind.__name__ == class_name:
            return value
    raise TypeError(f"{name} needs a unit of work; slow stages take `units: Units` and record in `then`.")

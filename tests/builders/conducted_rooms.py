"""A conductor's desk on a real database: the bus remembers, URLs are readable, workers are the tests themselves."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from auricle.contract.event import Envelope, Fact
from auricle.contract.ids import uuid7
from auricle.files.events import FileReceived
from auricle.files.model import ChunkRow, FileId, Findings, MediaKind, Options
from auricle.files.store import ChunkStore, FileStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import Audience, Blob
from auricle.runs import actions
from auricle.runs.actions import Desk
from auricle.runs.events import RunRequested, StepFinished, StepProgressed, StepReleased
from auricle.runs.model import Pace, Run, RunId, first_run_id
from auricle.runs.store import RunStore
from auricle.runtime.database import Database
from auricle.runtime.signing import Signer
from auricle.speech.events import ChunkReleased, VoicesReleased, WorkFailed, WorkHeard

PACE = Pace(
    window=3, task_seconds=900, task_attempts=3, transcribe_model="words-1", diarize_model="voices-1", chunk_seconds=300.0
)
SIGNER = Signer("44" * 32)


@dataclass
class RememberingBus:
    """Keeps what is published, with its id."""

    published: list[tuple[str | None, Fact]] = field(default_factory=list)

    def publish(self, fact: Fact, *, id: str | None = None, subject: str | None = None) -> None:
        """Remember."""
        self.published.append((id, fact))

    def republish(self, event: Envelope) -> None:
        """The conductor never does this."""
        raise AssertionError("the conductor sends no old events again")

    def ids(self) -> list[str | None]:
        """In the order of publishing."""
        return [id for id, _ in self.published]

    def facts(self, kind: type[Any]) -> list[Any]:
        """Those of one type."""
        return [fact for _, fact in self.published if isinstance(fact, kind)]


@dataclass
class ReadableBlobs:
    """Signs URLs that say what they allow, and keeps what is put. The conductor needs no more of a store."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def sign_get(self, key: str, seconds: int, audience: Audience, filename: str | None = None) -> str:
        """A URL that names everything."""
        return f"get:{key}:{seconds}:{audience}"

    def sign_put(self, key: str, seconds: int, audience: Audience) -> str:
        """A URL that names everything."""
        return f"put:{key}:{seconds}:{audience}"

    def put(self, key: str, data: bytes | BinaryIO, content_type: str = "application/octet-stream") -> Blob:
        """Keep."""
        self.kept[key] = data if isinstance(data, bytes) else data.read()
        return Blob(key, len(self.kept[key]), "1", content_type)

    def open(self, key: str) -> BinaryIO:
        """Read back."""
        return io.BytesIO(self.kept[key])


@dataclass
class Room:
    """Units of work on the database, and shortcuts for what tests do again and again."""

    database: Database
    owner: UUID = field(default_factory=uuid4)
    bus: RememberingBus = field(default_factory=RememberingBus)
    blobs: ReadableBlobs = field(default_factory=ReadableBlobs)
    pace: Pace = PACE

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        """One unit of work of the conductor."""
        with self.database.work() as db:
            yield self.desk_on(db)

    def desk_on(self, db: Connection) -> Desk:
        """A desk on a connection that the test holds."""
        return Desk(
            runs=RunStore(db),
            files=FileStore(db),
            chunks=ChunkStore(db),
            log=EventLogStore(db),
            blobs=self.blobs,  # type: ignore[arg-type]
            bus=self.bus,
            receipts=SIGNER,
            pace=self.pace,
        )

    def file(self, *speech: float, prepared: bool = True, **options: Any) -> FileId:
        """A file whose bytes are here; prepared into one chunk per `speech` (seconds), unless told otherwise."""
        id = FileId(uuid7())
        with self.database.work() as db:
            files = FileStore(db)
            chosen = Options(**options)
            files.add(id, self.owner, name="a.wav", size=1, content_type="audio/wav", kind=MediaKind.AUDIO, options=chosen)
            files.received(id, f"originals/{id}")
        if prepared:
            self.prepare(id, *speech)
        return id

    def transcribed(self, id: FileId) -> FileId:
        """An earlier version is there."""
        with self.database.work() as db:
            FileStore(db).transcribed(id, 1, "en")
        return id

    def prepare(self, id: FileId, *speech: float, length: float = 300.0) -> None:
        """What the stage `prepare` records."""
        found = Findings(
            size=1,
            sha256="0" * 64,
            duration=length * len(speech),
            kind=MediaKind.AUDIO,
            media={},
            warnings=(),
            peaks_key="p",
            poster_key=None,
        )
        rows = [
            ChunkRow(
                index=i,
                start=i * length,
                end=(i + 1) * length,
                audio_end=(i + 1) * length,
                clips=((i * length, i * length + seconds),) if seconds else (),
                key=f"chunks/{id}/{i}",
            )
            for i, seconds in enumerate(speech)
        ]
        with self.database.work() as db:
            FileStore(db).prepared(id, found)
            ChunkStore(db).replace(id, rows)

    def tell(self, fact: Fact) -> None:
        """One event for the conductor, in a unit of work of its own."""
        with self.desk() as desk:
            actions.advance(fact, desk)

    def request(self, file_id: FileId, *steps: Any, options: Options | None = None, supersede: bool = False) -> Run:
        """Ask for a run; it is queued and not begun."""
        with self.desk() as d:
            return actions.request(d.runs, d.files, d.log, d.bus, file_id, steps, options, supersede)

    def run(self, id: RunId) -> Run:
        """As people see it."""
        with self.desk() as desk:
            found = desk.runs.get(id)
        assert found is not None
        return found

    def released(self) -> list[Any]:
        """What went out since this was asked last; other facts are forgotten."""
        mine = (StepReleased, ChunkReleased, VoicesReleased)
        found = [fact for _, fact in self.bus.published if isinstance(fact, mine)]
        self.bus.published.clear()
        return found

    def work_off(self, *speech: float, keep: Callable[[Any], bool] = lambda _: False) -> list[Any]:
        """Do what is released until nothing is; what `keep` chooses is left undone. Returns everything that was released."""
        seen: list[Any] = []
        waiting = self.released()
        while waiting:
            event = waiting.pop(0)
            seen.append(event)
            if keep(event):
                continue
            if event.work == "prepare":
                self.prepare(event.file_id, *speech)
            self.tell(done(event))
            waiting += self.released()
        return seen

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """Look behind the store."""
        with self.database.work() as db:
            result = db.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    def let_deadlines_pass(self) -> None:
        """Whatever is out is overdue, by the database's clock."""
        self.sql("update pieces set deadline = now() - interval '1 second' where state = 'released'")

    def sweep(self) -> int:
        """One round of the timer."""
        with self.desk() as desk:
            return actions.sweep(desk)


def done(event: Any) -> Fact:
    """The answer of a worker who did it."""
    if isinstance(event, StepReleased):
        return StepFinished(run_id=event.run_id, work=event.work, attempt=event.attempt)
    return WorkHeard(
        run_id=event.run_id,
        work=event.work,
        index=event.index,
        attempt=event.attempt,
        receipt=event.receipt,
        sha256="ab" * 32,
        size=12,
    )


def refused(event: ChunkReleased | VoicesReleased, error: str) -> WorkFailed:
    """The answer of a worker who can never do it."""
    return WorkFailed(
        run_id=event.run_id, work=event.work, index=event.index, attempt=event.attempt, receipt=event.receipt, error=error
    )


def progress(event: ChunkReleased | StepReleased, fraction: float) -> StepProgressed:
    """The sign of life of a worker."""
    return StepProgressed(
        run_id=event.run_id,
        work=event.work,
        index=getattr(event, "index", 0),
        attempt=event.attempt,
        fraction=fraction,
        receipt=event.receipt,
    )


def hear_of(room: Room, run: Run) -> Run:
    """The conductor is told of a run that was asked for; how it is then."""
    room.tell(RunRequested(run_id=run.id, file_id=run.file_id))
    return room.run(run.id)


def begin(room: Room, run: Run) -> None:
    """The same, and all that was published before is forgotten."""
    room.bus.published.clear()
    hear_of(room, run)


def first(room: Room, file_id: FileId) -> RunId:
    """A file has arrived; its first run."""
    room.tell(FileReceived(file_id=file_id))
    return first_run_id(file_id)


def states(run: Run) -> dict[str, str]:
    """Of its steps."""
    return {step.name.value: step.state.value for step in run.steps}


def outputs(room: Room, id: RunId) -> actions.Outputs:
    """What a transcript is made of."""
    with room.desk() as desk:
        return actions.outputs(desk.runs, desk.chunks, id)

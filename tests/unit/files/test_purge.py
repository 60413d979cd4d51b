"""Purging: everything that the database keeps of a file goes at once, its run stops, its bytes are due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, func, select

from auricle.access.model import Principal
from auricle.access.sharing.store import GrantStore
from auricle.contract.ids import uuid7
from auricle.errors import NotFound
from auricle.files import actions, timers
from auricle.files.actions import AT_ONCE, Shredder
from auricle.files.events import FilePurged
from auricle.files.model import FileId, MediaKind, Options
from auricle.files.store import FileStore, files
from auricle.notifications.store import EventLogStore, event_log
from auricle.runs.conducting import begun
from auricle.runs.events import RunFinished
from auricle.runs.model import RunId, RunState, StepName
from auricle.runs.store import RunStore
from auricle.runs.tables import runs as run_table
from auricle.transcripts.model import Transcript
from auricle.transcripts.store import TranscriptStore
from builders.one_room import trail_within


@pytest.fixture
def shredder(db: Connection, bus: Any) -> Shredder:
    return Shredder(
        files=FileStore(db),
        runs=RunStore(db),
        transcripts=TranscriptStore(db),
        grants=GrantStore(db),
        log=EventLogStore(db),
        bus=bus,
    )


def worked_on(shredder: Shredder, owner: Principal) -> tuple[FileId, RunId]:
    """A file with a transcript and an active run."""
    id, run = FileId(uuid7()), RunId(uuid7())
    shredder.files.add(id, owner.id, name="talk.wav", size=1, content_type="audio/wav", kind=MediaKind.AUDIO)
    shredder.files.received(id, f"originals/{id}/x.wav")
    shredder.runs.create(run, id, owner.id, begun(Options(vocabulary=("secret",)), tuple(StepName)))
    transcript = Transcript(version=1, language="en", duration=1.0, speakers=(), segments=())
    shredder.transcripts.add(id, uuid4(), transcript, ())
    shredder.files.transcribed(id, 1, "en")
    return id, run


def test_purging_stops_the_run_and_forgets_the_texts(shredder: Shredder, db: Connection, bus: Any, ann: Principal) -> None:
    id, run = worked_on(shredder, ann)
    other, other_run = worked_on(shredder, ann)
    actions.purge_file(actions.held(id, shredder.files), shredder)
    assert shredder.files.get(id) is None
    assert shredder.transcripts.newest(id) == 0
    assert db.execute(select(run_table.c.id)).scalars().all() == [other_run]
    assert FilePurged(file_id=id) in bus.facts
    assert RunFinished(run_id=run, file_id=id, state=RunState.CANCELLED) in bus.facts
    assert shredder.transcripts.newest(other) == 1
    told = db.execute(select(event_log.c.data).where(event_log.c.type == "file-purged")).scalars().all()
    assert told == [{"id": str(id)}]


def test_a_purged_file_cannot_be_purged_or_touched_again(shredder: Shredder, ann: Principal) -> None:
    id, _ = worked_on(shredder, ann)
    actions.purge_file(actions.held(id, shredder.files), shredder)
    with pytest.raises(NotFound):
        actions.purge_file(actions.held(id, shredder.files), shredder)
    with pytest.raises(NotFound):
        actions.restore(id, shredder.files, shredder.log, trail_within(shredder.files.db))


def test_what_was_in_the_trash_for_thirty_days_is_purged(shredder: Shredder, db: Connection, bus: Any, ann: Principal) -> None:
    old, new, kept = (worked_on(shredder, ann)[0] for _ in range(3))
    for id, days in ((old, 31), (new, 29)):
        actions.trash(id, shredder.files, shredder.log, trail_within(shredder.files.db))
        db.execute(files.update().where(files.c.id == id).values(trashed_at=func.now() - timedelta(days=days)))
    timers.purge_old_trash(
        shredder.files, shredder.runs, shredder.transcripts, shredder.grants, shredder.log, bus, trail_within(db)
    )
    assert shredder.files.get(old) is None
    assert shredder.files.get(new) is not None
    assert shredder.files.get(kept) is not None


def test_much_trash_is_purged_in_several_rounds(shredder: Shredder, db: Connection, ann: Principal) -> None:
    for _ in range(AT_ONCE + 1):
        shredder.files.add(FileId(uuid7()), ann.id, name="a", size=1, content_type="", kind=MediaKind.OTHER)
    db.execute(files.update().where(files.c.owner == ann.id).values(trashed_at=func.now() - timedelta(days=40)))
    assert [actions.purge_old_trash(shredder, trail_within(db)) for _ in range(3)] == [AT_ONCE, 1, 0]

"""Lists of files: every order, every filter, page by page, for each their own and what was shared with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, event, text

from auricle.access.model import Principal
from auricle.access.permissions import Grant
from auricle.access.sharing.model import GroupId, Subject
from auricle.access.sharing.store import GrantStore
from auricle.access.store import group_members, groups
from auricle.contract import cursors
from auricle.contract.ids import uuid7
from auricle.errors import Invalid
from auricle.files.listing import FileList, FileQuery, Order, SortBy
from auricle.files.model import File, FileId, FileState, MediaKind
from auricle.files.store import FileStore, files

BEGIN = datetime(2025, 3, 1, tzinfo=UTC)


def make(db: Connection, owner: UUID, name: str, **values: Any) -> FileId:
    """A file with these columns."""
    id = FileId(uuid7())
    FileStore(db).add(id, owner, name=name, size=1, content_type="audio/wav", kind=MediaKind.AUDIO)
    if values:
        db.execute(files.update().where(files.c.id == id).values(**values))
    return id


def walk(db: Connection, owner: UUID, **query: Any) -> list[File]:
    """Every page, one after the other."""
    found: list[File] = []
    cursor: str | None = None
    for _ in range(100):
        page = FileList(db).page(owner, FileQuery(cursor=cursor, **query))
        assert len(page.items) <= query.get("limit", 50)
        found += page.items
        cursor = page.next
        if cursor is None:
            return found
    raise AssertionError("the list never ends")


@pytest.fixture
def many(db: Connection, ann: Principal) -> list[FileId]:
    """Twenty files with ties in everything."""
    return [
        make(
            db,
            ann.id,
            f"{'Zebra' if n % 4 else 'äpfel'} {n % 5}.wav",
            created_at=BEGIN + timedelta(microseconds=n // 3),
            duration=None if n % 6 == 0 else n % 3 + 1 / 3,
            size=2**40 + n % 4,
        )
        for n in range(20)
    ]


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("sort", list(SortBy))
@pytest.mark.parametrize("limit", [1, 3, 20])
def test_pages_hold_each_file_once_and_in_order(
    db: Connection, ann: Principal, many: list[FileId], sort: SortBy, order: Order, limit: int
) -> None:
    found = walk(db, ann.id, sort=sort, order=order, limit=limit)
    assert sorted(file.id for file in found) == sorted(many)
    keys = {
        SortBy.CREATED: [(f.created_at, f.id) for f in found],
        SortBy.NAME: [(f.name.casefold(), f.id) for f in found],
        SortBy.DURATION: [(f.duration or 0.0, f.id) for f in found],
        SortBy.SIZE: [(f.size, f.id) for f in found],
    }[sort]
    assert keys == sorted(keys, reverse=order is Order.DESC)


def test_a_list_goes_on_where_it_was_when_files_come_and_go(db: Connection, ann: Principal, many: list[FileId]) -> None:
    first = FileList(db).page(ann.id, FileQuery(limit=5))
    FileStore(db).trash(first.items[4].id)
    make(db, ann.id, "newer.wav")
    rest = FileList(db).page(ann.id, FileQuery(limit=50, cursor=first.next))
    assert {f.id for f in first.items} | {f.id for f in rest.items} == set(many)
    assert not {f.id for f in first.items} & {f.id for f in rest.items}


def test_newest_first_and_names_from_a_unless_asked_otherwise(db: Connection, ann: Principal) -> None:
    older = make(db, ann.id, "b.wav", created_at=BEGIN)
    newer = make(db, ann.id, "A.wav", created_at=BEGIN + timedelta(days=1))
    assert [f.id for f in walk(db, ann.id)] == [newer, older]
    assert [f.name for f in walk(db, ann.id, sort=SortBy.NAME)] == ["A.wav", "b.wav"]


def test_nobody_sees_the_files_of_another(db: Connection, ann: Principal, bob: Principal, many: list[FileId]) -> None:
    make(db, bob.id, "mine.wav")
    assert [f.name for f in walk(db, bob.id)] == ["mine.wav"]


@pytest.mark.parametrize("sort", list(SortBy))
def test_what_was_shared_is_listed_among_ones_own_in_its_place(
    db: Connection, ann: Principal, bob: Principal, many: list[FileId], sort: SortBy
) -> None:
    group = GroupId(uuid7())
    db.execute(groups.insert().values(id=group, name=f"group {group}"))
    db.execute(group_members.insert().values(group_id=group, principal_id=bob.id))
    own = [make(db, bob.id, f"äpfel {n}.wav", created_at=BEGIN, size=2**40 + n) for n in range(4)]
    shared, over = many[::3], many[1]
    for n, id in enumerate(shared):
        to = Subject(group=group) if n % 2 else Subject(person=bob.id)
        GrantStore(db).give(id, to, Grant.VIEWER, ann.id, None)
    GrantStore(db).give(over, Subject(person=bob.id), Grant.MANAGER, ann.id, datetime.now(UTC) - timedelta(seconds=1))
    GrantStore(db).give(own[0], Subject(group=group), Grant.VIEWER, bob.id, None)  # one's own is not shared with oneself
    all_of_it = walk(db, bob.id, sort=sort, limit=3)
    assert sorted(f.id for f in all_of_it) == sorted([*own, *shared])
    assert [f.id for f in all_of_it] == [f.id for f in walk(db, bob.id, sort=sort, limit=50)]
    assert sorted(f.id for f in walk(db, bob.id, sort=sort, limit=2, shared=True)) == sorted(shared)
    assert sorted(f.id for f in walk(db, bob.id, sort=sort, limit=2, shared=False)) == sorted(own)
    GrantStore(db).forget(shared[0])
    db.execute(group_members.delete())
    assert len(walk(db, bob.id, shared=True)) == len(shared[::2]) - 1


@pytest.mark.parametrize(
    ("q", "names"),
    [
        ("ZEB", ["Zebra 100%.wav"]),
        ("100%", ["Zebra 100%.wav"]),
        ("0_", []),
        ("ÄPF", ["äpfel.wav"]),
        ("straße", ["STRASSE.wav"]),
    ],
)
def test_names_are_found_by_any_part_of_them(db: Connection, ann: Principal, q: str, names: list[str]) -> None:
    for name in ("Zebra 100%.wav", "äpfel.wav", "STRASSE.wav"):
        make(db, ann.id, name)
    assert [f.name for f in walk(db, ann.id, q=q)] == names


def test_filters_narrow_by_state_kind_and_time(db: Connection, ann: Principal) -> None:
    film = make(db, ann.id, "film.mp4", kind="video", state="ready", created_at=BEGIN)
    sound = make(db, ann.id, "sound.wav", state="unreadable", created_at=BEGIN + timedelta(days=1))
    assert [f.id for f in walk(db, ann.id, type=MediaKind.VIDEO)] == [film]
    assert [f.id for f in walk(db, ann.id, state=(FileState.UNREADABLE,))] == [sound]
    assert {f.id for f in walk(db, ann.id, state=(FileState.UNREADABLE, FileState.READY))} == {film, sound}
    assert [f.id for f in walk(db, ann.id, created_after=BEGIN + timedelta(hours=1))] == [sound]
    assert [f.id for f in walk(db, ann.id, created_before=BEGIN + timedelta(hours=1))] == [film]
    assert walk(db, ann.id, created_after=BEGIN, created_before=BEGIN) == []


def test_the_trash_is_a_list_of_its_own(db: Connection, ann: Principal) -> None:
    kept, thrown = make(db, ann.id, "kept.wav", state="ready"), make(db, ann.id, "thrown.wav", state="ready")
    FileStore(db).trash(thrown)
    assert [f.id for f in walk(db, ann.id)] == [kept]
    assert [f.id for f in walk(db, ann.id, state=(FileState.READY,))] == [kept]
    (found,) = walk(db, ann.id, state=(FileState.TRASHED,))
    assert (found.id, found.state) == (thrown, FileState.TRASHED)
    assert {f.id for f in walk(db, ann.id, state=(FileState.TRASHED, FileState.READY))} == {kept, thrown}


def test_purged_files_are_in_no_list(db: Connection, ann: Principal) -> None:
    FileStore(db).purge(make(db, ann.id, "gone.wav"))
    assert walk(db, ann.id) == []
    assert walk(db, ann.id, state=(FileState.TRASHED,)) == []
    with pytest.raises(Invalid, match="gone"):
        walk(db, ann.id, state=(FileState.PURGED,))


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "",
        cursors.encode(),
        cursors.encode("created", "desc", "yesterday", uuid7()),
        cursors.encode("created", "desc", BEGIN, "no id"),
        cursors.encode("created", "desc", BEGIN.replace(tzinfo=None), uuid7()),
        cursors.encode("size", "desc", 5, uuid7()),
        cursors.encode("created", "asc", BEGIN, uuid7()),
        cursors.encode({}, [], BEGIN, uuid7()),
    ],
    ids=range(9),
)
def test_a_made_up_cursor_is_refused_or_ignored_but_never_breaks(db: Connection, ann: Principal, cursor: str) -> None:
    query = FileQuery(cursor=cursor)
    if not cursor:
        assert FileList(db).page(ann.id, query).items == []
        return
    with pytest.raises(Invalid, match="cursor"):
        FileList(db).page(ann.id, query)


@pytest.mark.parametrize(
    ("sort", "value"), [(SortBy.NAME, "\0"), (SortBy.SIZE, 2**70), (SortBy.SIZE, -1), (SortBy.DURATION, "long")]
)
def test_values_that_the_database_would_choke_on_are_refused(
    db: Connection, ann: Principal, sort: SortBy, value: object
) -> None:
    order = Order.ASC if sort is SortBy.NAME else Order.DESC
    with pytest.raises(Invalid, match="cursor"):
        FileList(db).page(ann.id, FileQuery(sort=sort, cursor=cursors.encode(sort, order, value, uuid7())))
    with pytest.raises(Invalid, match="q holds"):
        FileList(db).page(ann.id, FileQuery(q="a\0b"))


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_page_has_one_to_two_hundred_items(db: Connection, ann: Principal, limit: int) -> None:
    with pytest.raises(Invalid, match="200"):
        FileList(db).page(ann.id, FileQuery(limit=limit))


@pytest.mark.parametrize("shared", [False, None])
@pytest.mark.parametrize("sort", list(SortBy))
def test_every_order_walks_an_index(
    db: Connection, ann: Principal, many: list[FileId], sort: SortBy, shared: bool | None
) -> None:
    asked: list[tuple[str, Any]] = []

    def remember(_: Any, __: Any, statement: str, parameters: Any, *more: Any) -> None:
        asked.append((statement, parameters))

    first = FileList(db).page(ann.id, FileQuery(sort=sort, limit=3, shared=shared))
    event.listen(db, "before_cursor_execute", remember)
    FileList(db).page(ann.id, FileQuery(sort=sort, limit=3, cursor=first.next, shared=shared))
    event.remove(db, "before_cursor_execute", remember)
    ((statement, parameters),) = asked
    for setting in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
        db.execute(text(f"set local {setting} = off"))
    db.execute(text("set local plan_cache_mode = force_generic_plan"))
    plan = "\n".join(db.exec_driver_sql(f"explain {statement}", parameters).scalars())
    assert f"files_by_{sort}" in plan
    assert "Sort" not in plan or shared is None  # two short lists are made one

"""Taking away what no release reads any more: a line of its own, which migrating never runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from auricle.deploy import jobs
from auricle.errors import Conflict, Invalid
from auricle.runtime import database
from auricle.runtime.database import contract, engine_for, migrate
from auricle.runtime.settings import Settings
from builders.postgres_server import Server

FIRST = '''"""Contract: `left_over`, which no release since 0.1 reads."""

from alembic import op

revision = "c001"
down_revision = None


def upgrade():
    """Away with it."""
    op.drop_table("left_over")
'''
SECOND = FIRST.replace('"c001"', '"c002"').replace("down_revision = None", 'down_revision = "c001"')
SECOND = SECOND.replace('op.drop_table("left_over")', 'op.drop_column("files", "left_over")')


@pytest.fixture
def url(postgres_server: Server) -> str:
    """A database that an earlier release left something in."""
    made = postgres_server.owner_url(postgres_server.new_database())
    migrate(made)
    with engine_for(made, 1).begin() as connection:
        connection.execute(text("create table left_over (id int)"))
        connection.execute(text("alter table files add column left_over int"))
    return made


@pytest.fixture
def contractions(tmp_path: Path) -> Path:
    (tmp_path / "c001_left_over.py").write_text(FIRST)
    (tmp_path / "c002_column.py").write_text(SECOND)
    return tmp_path


def there(url: str) -> tuple[bool, bool]:
    """Whether table and column are."""
    with engine_for(url, 1).connect() as connection:
        found = inspect(connection)
        return found.has_table("left_over"), "left_over" in {column["name"] for column in found.get_columns("files")}


def test_today_there_is_nothing_to_take_away_and_the_job_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert contract("postgresql+pg8000://nobody@127.0.0.1:9/none") == ""
    told = jobs.contract(Settings(owner_database_url="postgresql+pg8000://nobody@127.0.0.1:9/none"))
    assert told.startswith("There is nothing to take away")


def test_the_job_needs_the_owner_of_the_tables() -> None:
    with pytest.raises(Invalid, match="OWNER_DATABASE_URL"):
        jobs.contract(Settings())


def test_contracting_takes_away_and_doing_it_again_changes_nothing(url: str, contractions: Path) -> None:
    assert there(url) == (True, True)
    assert contract(url, contractions) == "c002"
    assert there(url) == (False, False)
    assert contract(url, contractions) == "c002"


def test_migrating_runs_none_and_knows_of_none(url: str, contractions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = migrate(url)
    assert there(url) == (True, True)
    contract(url, contractions)
    assert migrate(url) == newest
    assert ScriptDirectory(str(database.SCHEMA)).get_heads() == [newest]


def test_a_new_database_is_made_by_both(postgres_server: Server, contractions: Path) -> None:
    fresh = postgres_server.owner_url(postgres_server.new_database())
    with pytest.raises(Conflict, match="Run the job `migrate` first"):
        contract(fresh, contractions)
    migrate(fresh)
    with engine_for(fresh, 1).begin() as connection:
        connection.execute(text("update alembic_version set version_num = '0012'"))
    with pytest.raises(Conflict, match="revision 0012"):
        contract(fresh, contractions)


def test_what_fails_half_way_takes_nothing_away(url: str, contractions: Path) -> None:
    with engine_for(url, 1).begin() as connection:
        connection.execute(text("alter table files drop column left_over"))
    with pytest.raises(Exception, match="left_over"):
        contract(url, contractions)
    assert there(url) == (True, False)


def test_the_functions_role_cannot_say_what_was_taken_away(
    url: str, contractions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CONTRACTIONS", contractions)
    monkeypatch.setattr("auricle.runtime.database.contract.__defaults__", (contractions,))
    told = jobs.contract(Settings(owner_database_url=url))
    assert told == "What no release reads any more is gone, up to contraction c002."
    with engine_for(url, 1).connect() as connection:
        writes = "select has_table_privilege('auricle_app', 'alembic_contractions', 'update')"
        assert connection.execute(text(writes)).scalar() is False

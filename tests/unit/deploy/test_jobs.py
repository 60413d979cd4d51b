"""Jobs: patient with servers that start, clear about what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from auricle.deploy import jobs
from auricle.deploy.bucket import Outcome, State
from auricle.errors import Conflict, Invalid, Retryable
from auricle.runtime.database import engine_for
from auricle.runtime.grants import waited_for
from auricle.runtime.settings import Settings, child_environment


def test_a_job_waits_for_its_server() -> None:
    answers = iter([Retryable("The database is away."), Retryable("The database is away."), None])

    def act() -> str:
        error = next(answers)
        if error:
            raise error
        return "there"

    assert jobs.patiently(act, pause=0) == "there"


def test_a_job_s_patience_ends() -> None:
    def act() -> str:
        raise Retryable("The database is away.")

    with pytest.raises(Retryable):
        jobs.patiently(act, patience=0, pause=0)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(Invalid, match="OWNER_DATABASE_URL"):
        jobs.migrate(Settings())


def test_an_unknown_job_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert jobs.main(["undo"]) == 2
    assert "migrate, contract, bucket, owner, first-token, invite" in capsys.readouterr().err


def test_the_jobs_bring_a_database_from_nothing_to_a_token(app_database_url: str, database_url: str) -> None:
    revision = jobs.migrate(Settings(owner_database_url=database_url))
    assert revision == jobs.migrate(Settings(owner_database_url=database_url))
    assert jobs.owner(Settings(database_url=app_database_url)).startswith("aur_")


def test_the_first_token_is_made_once_and_others_when_asked_for(app_database_url: str, database_url: str) -> None:
    jobs.migrate(Settings(owner_database_url=database_url))
    owner = engine_for(database_url, 1)
    with owner.begin() as connection:
        connection.execute(text("delete from tokens"))
    owner.dispose()
    chosen = Settings(database_url=app_database_url)
    first, second, another = jobs.first_token(chosen), jobs.first_token(chosen), jobs.owner(chosen)
    assert first.startswith("aur_")
    assert second == ""
    assert another.startswith("aur_")
    assert another != first


def test_a_role_that_was_made_after_the_schema_gets_its_rights(app_database_url: str, database_url: str) -> None:
    jobs.migrate(Settings(owner_database_url=database_url))
    owner = engine_for(database_url, 1)
    with owner.begin() as connection:
        connection.execute(text("revoke all on all tables in schema public from auricle_app"))
    jobs.migrate(Settings(owner_database_url=database_url))
    assert jobs.owner(Settings(database_url=app_database_url)).startswith("aur_")
    with owner.connect() as connection:
        writes = "select has_table_privilege('auricle_app', 'alembic_version', 'update')"
        assert connection.execute(text(writes)).scalar() is False
    owner.dispose()


def test_several_jobs_at_once_migrate_one_after_the_other(database_url: str) -> None:
    command = [sys.executable, "-m", "auricle.deploy.jobs", "migrate"]
    several = [
        subprocess.Popen(
            command, env=child_environment({"OWNER_DATABASE_URL": database_url}), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = {job.communicate(timeout=60)[0] for job in several}
    assert [job.returncode for job in several] == [0, 0]
    assert len(said) == 1


@pytest.mark.parametrize(("code", "words"), [("3D000", "no database of this name"), ("28P01", "compare the Secret")])
def test_what_somebody_may_still_make_is_waited_for_and_said(code: str, words: str) -> None:
    with pytest.raises(Retryable, match=words), waited_for():
        raise ProgrammingError("connect", {}, Exception({"C": code}))


def test_other_errors_of_the_database_are_no_reason_to_wait() -> None:
    with pytest.raises(ProgrammingError), waited_for():
        raise ProgrammingError("select", {}, Exception({"C": "42501"}))


def test_a_reason_to_wait_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([Retryable("Away."), Retryable("Away."), Retryable("Busy."), None])

    def act() -> None:
        error = next(answers)
        if error:
            raise error

    jobs.patiently(act, pause=0)
    assert [line.split(" Trying")[0] for line in capsys.readouterr().err.splitlines()] == ["Away.", "Busy."]


def test_a_bucket_that_is_not_what_it_must_be_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [Outcome(step="a", state=State.DONE), Outcome(step="b", state=State.WRONG, advice="Mend it.")]
    monkeypatch.setattr("auricle.deploy.bucketcalls.set_up", lambda clients, wish: iter(said))
    with pytest.raises(Conflict, match=r"a: done\nb: WRONG. Mend it."):
        jobs.bucket(Settings(s3_endpoint="http://127.0.0.1:9"))

"""`auricle admin`: over HTTP as an administrator, and in the data itself when no owner can sign in any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import msgspec
import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from auricle.admin.audit.model import AuditFilter
from auricle.admin.audit.store import AuditStore
from auricle.cli import main
from auricle.errors import NotFound
from auricle.runtime.local.administering import opened
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.settings import Settings
from builders.house import House
from builders.newcomers import OTHER, OWNER, PASSWORD, bearer, letters, newcomer, sign_in, vault


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with vault(database_url, quick=False) as made:
        yield made


@pytest.fixture(scope="module")
def url(home: House) -> Iterator[str]:
    """The house behind a real port."""
    app = flask.Flask("vault")
    app.add_url_rule(
        "/<path:path>", view_func=lambda path: home.bound(flask.request), methods=["GET", "POST", "PATCH", "PUT", "DELETE"]
    )
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(home: House) -> Settings:
    return home.bound.wiring.settings


def run(url: str, *words: str) -> Result:
    by = ["--by", OWNER, "--password", PASSWORD, "--server", url, "--token", "aur_none"]
    return CliRunner().invoke(main, ["admin", words[0], *by, *words[1:]], catch_exceptions=False)


def test_an_administrator_makes_and_helps_people_from_a_terminal(home: House, url: str) -> None:
    made = run(url, "create-user", "tia@vault.example", "--name", "Tia", "--role", "guest", "--no-letter")
    password = made.stdout.strip()
    assert sign_in(home, "tia@vault.example", password).get_json()["must_change_password"]
    assert "tia@vault.example" in run(url, "inspect").stdout
    assert "Signed in nowhere" not in run(url, "inspect", "TIA@vault.example").stdout
    for _ in range(6):
        sign_in(home, "tia@vault.example", "guess")
    assert run(url, "unlock", "tia@vault.example").exit_code == 0
    another = run(url, "reset-password", "tia@vault.example").stdout.strip()
    assert sign_in(home, "tia@vault.example", password).status_code == 401
    assert sign_in(home, "tia@vault.example", another).status_code == 201
    assert run(url, "reset-mfa", "tia@vault.example").exit_code == 0
    assert run(url, "reset-password", "tia@vault.example", "--letter").stdout == ""
    assert any("Set a new password" in subject for subject in letters(home, "tia@vault.example"))
    unknown = run(url, "unlock", "nobody@vault.example")
    assert (unknown.exit_code, "Nobody here" in unknown.output) == (1, True)


def test_an_owner_who_is_locked_out_gets_in_by_the_data_itself(home: House, settings: Settings, tmp_path: Path) -> None:
    before = bearer(home)
    for _ in range(6):
        sign_in(home, OWNER, "guess")
    assert sign_in(home, OWNER, PASSWORD).status_code == 429
    with opened(tmp_path, settings) as here:
        assert OWNER in {user.email for user in here.everybody()}
        here.unlock(OWNER)
    assert sign_in(home, OWNER, PASSWORD).status_code == 201
    with opened(tmp_path, settings) as here:
        password = here.new_password(OWNER.upper())
        user, factors, sessions = here.details(OWNER)
        here.reset_factors(OWNER)
    assert (user.must_change_password, factors, sessions) == (True, (), [])
    assert home.raw("GET", "/api/me", **before).status_code == 401
    signed = sign_in(home, OWNER, password)
    assert signed.get_json()["must_change_password"]
    change: dict[str, Any] = {"current_password": password, "password": OTHER}
    mine = {"Authorization": f"Bearer {signed.get_json()['access_token']}"}
    assert home.raw("PUT", "/api/me/password", change, **mine).status_code == 200
    with home.bound.wiring.database.work() as db:
        told = [
            e for e in AuditStore(db).page(50, None, AuditFilter(subject_id=str(user.id))) if e.credential == "command-line"
        ]
    assert {e.kind for e in told} >= {"auth.account.unlock", "auth.password.reset_complete", "auth.mfa.reset"}


def test_the_data_knows_nobody_who_is_not_there(home: House, settings: Settings, tmp_path: Path) -> None:
    newcomer(home, "uli@vault.example", **bearer(home, OWNER, OTHER))
    with opened(tmp_path, settings) as here, pytest.raises(NotFound):
        here.new_password("nobody@vault.example")
    elsewhere = msgspec.structs.replace(settings, database_url="")
    with pytest.raises(CannotStart, match="no vault"), opened(tmp_path / "none", elsewhere):
        pass

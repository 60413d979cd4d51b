"""Tenants' functions through a real pgbouncer, with the very configuration of components/pgbouncer-tenants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import Connection

from auricle_operator.adapters.postgres.names import POOLER, names_of
from auricle_operator.outside import Login
from builders import pgbouncer_server
from builders.tenant_databases import POOLER_PASSWORD, PostgresSite, run

pytestmark = pytest.mark.services
INI = Path(__file__).parents[3] / "manifests/components/pgbouncer-tenants/pgbouncer.ini"
PASSWORD = "a password of the tests"


class Pooler:
    """A running pgbouncer in front of a site."""

    def __init__(self, port: int) -> None:
        self.port = port

    def session(self, role: str, password: str, database: str) -> Connection:
        """Raises what the pooler says."""
        return Connection(role, password=password, database=database, host="127.0.0.1", port=self.port, timeout=20)

    def enters(self, role: str, password: str, database: str) -> bool:
        """Whether a client gets an answer from the database."""
        try:
            session = self.session(role, password, database)
            session.run("select 1")
            session.close()
        except (DatabaseError, InterfaceError):
            return False
        return True


@pytest.fixture(scope="module")
def pooler(postgres: PostgresSite) -> Iterator[Pooler]:
    """In front of the suite's server."""
    text = INI.read_text().replace("host=postgres", f"host={postgres.server.postgres.sockets}")
    for patience in ("query_wait_timeout = 30", "client_login_timeout = 15"):  # what is refused is refused late
        assert patience in text
        text = text.replace(patience, f"{patience.partition(' ')[0]} = 2")
    with pgbouncer_server.configured(text, {POOLER: POOLER_PASSWORD}) as port:
        yield Pooler(port)


@pytest.fixture
def opened(postgres: PostgresSite, tenant: str) -> str:
    """A tenant with all its logins."""
    run(postgres.databases.ensure(tenant))
    for login in Login:
        run(postgres.databases.admit(tenant, login, PASSWORD))
    return tenant


def test_functions_enter_their_own_database_and_no_other(
    postgres: PostgresSite, pooler: Pooler, opened: str, other: str
) -> None:
    run(postgres.databases.ensure(other))
    run(postgres.databases.admit(other, Login.A, PASSWORD))
    names, others = names_of(opened, "tenant_"), names_of(other, "tenant_")
    assert all(pooler.enters(role, PASSWORD, names.database) for role in names.pooled)
    assert pooler.enters(others.login(Login.A), PASSWORD, others.database)
    for role in names.pooled:
        assert not pooler.enters(role, PASSWORD, others.database)
        assert not pooler.enters(role, PASSWORD, "postgres")
        assert not pooler.enters(role, PASSWORD, "template1")
        assert not pooler.enters(role, "not it", names.database)


def test_owners_meters_and_superusers_do_not_pass(postgres: PostgresSite, pooler: Pooler, opened: str) -> None:
    names = names_of(opened, "tenant_")
    superuser = postgres.server.postgres.keys["postgres"]
    assert not pooler.enters(names.owner, PASSWORD, names.database)
    assert not pooler.enters("postgres", superuser, names.database)
    assert not pooler.enters("postgres", superuser, "postgres")


def test_a_new_password_is_known_at_once_and_the_old_one_forgotten(postgres: PostgresSite, pooler: Pooler, opened: str) -> None:
    names = names_of(opened, "tenant_")
    role = names.login(Login.A)
    assert pooler.enters(role, PASSWORD, names.database)
    run(postgres.databases.admit(opened, Login.A, "the next one"))
    assert pooler.enters(role, "the next one", names.database)
    assert not pooler.enters(role, PASSWORD, names.database)


def test_logins_in_turns_lose_no_request_and_a_shut_one_asks_in_vain(
    postgres: PostgresSite, pooler: Pooler, opened: str
) -> None:
    names = names_of(opened, "tenant_")
    old = pooler.session(names.login(Login.A), PASSWORD, names.database)
    new = pooler.session(names.login(Login.B), PASSWORD, names.database)
    for session in (old, new, old):
        assert session.run("select 1") == [[1]]
    run(postgres.databases.admit(opened, Login.A, PASSWORD))  # told again, as a killed operator does
    run(postgres.databases.ensure(opened))
    assert old.run("select 1") == [[1]]
    run(postgres.databases.shut(opened, Login.A))
    with pytest.raises((DatabaseError, InterfaceError)):
        old.run("select 1")
    assert not pooler.enters(names.login(Login.A), PASSWORD, names.database)
    assert new.run("select 1") == [[1]]
    new.close()


def test_a_tenant_that_is_made_anew_enters_through_the_same_pooler(postgres: PostgresSite, pooler: Pooler, opened: str) -> None:
    names = names_of(opened, "tenant_")
    role = names.login(Login.A)
    assert pooler.enters(role, PASSWORD, names.database)
    run(postgres.databases.drop(opened))
    assert not pooler.enters(role, PASSWORD, names.database)
    run(postgres.databases.ensure(opened))
    assert not pooler.enters(role, PASSWORD, names.database)
    run(postgres.databases.admit(opened, Login.A, "anew"))
    assert pooler.enters(role, "anew", names.database)
    assert not pooler.enters(role, PASSWORD, names.database)

"""What every server of tenants' databases does, the one in memory included."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from auricle.errors import Retryable
from auricle_operator.outside import Login
from builders.tenant_databases import Site, run


def test_nobody_enters_before_they_are_admitted(site: Site, tenant: str) -> None:
    run(site.databases.ensure(tenant))
    assert not any(site.enters(tenant, login, "") for login in Login)


def test_who_is_admitted_enters_with_exactly_this_password(site: Site, tenant: str) -> None:
    run(site.databases.ensure(tenant))
    for login in Login:
        run(site.databases.admit(tenant, login, f"of {login}"))
    assert all(site.enters(tenant, login, f"of {login}") for login in Login)
    assert not site.enters(tenant, Login.A, f"of {Login.B}")


def test_two_logins_enter_at_once_until_one_is_shut(site: Site, tenant: str) -> None:
    run(site.databases.ensure(tenant))
    run(site.databases.admit(tenant, Login.A, "first"))
    run(site.databases.admit(tenant, Login.B, "second"))
    assert site.enters(tenant, Login.A, "first")
    run(site.databases.shut(tenant, Login.A))
    assert not site.enters(tenant, Login.A, "first")
    assert site.enters(tenant, Login.B, "second")


def test_a_new_password_ends_the_old_one(site: Site, tenant: str) -> None:
    run(site.databases.ensure(tenant))
    run(site.databases.admit(tenant, Login.A, "old"))
    run(site.databases.admit(tenant, Login.A, "new"))
    assert (site.enters(tenant, Login.A, "old"), site.enters(tenant, Login.A, "new")) == (False, True)


def test_to_ensure_again_changes_nobodys_password(site: Site, tenant: str) -> None:
    run(site.databases.ensure(tenant))
    run(site.databases.admit(tenant, Login.A, "first"))
    run(site.databases.ensure(tenant))
    assert site.enters(tenant, Login.A, "first")
    assert not site.enters(tenant, Login.B, "first")


def test_nobody_enters_another_tenants_database(site: Site, tenant: str, other: str) -> None:
    for name in (tenant, other):
        run(site.databases.ensure(name))
        for login in Login:
            run(site.databases.admit(name, login, "one password for all"))
    assert not any(site.enters(tenant, login, "one password for all", other) for login in Login)
    assert not any(site.enters(other, login, "one password for all", tenant) for login in Login)


def test_everything_may_be_done_twice(site: Site, tenant: str) -> None:
    for _ in range(2):
        run(site.databases.ensure(tenant))
    for _ in range(2):
        run(site.databases.admit(tenant, Login.B, "second"))
    assert site.enters(tenant, Login.B, "second")
    for _ in range(2):
        run(site.databases.shut(tenant, Login.B))
    for _ in range(2):
        run(site.databases.drop(tenant))
    assert run(site.databases.bytes_used(tenant)) is None


def test_what_was_dropped_is_made_anew_and_knows_no_old_password(site: Site, tenant: str) -> None:
    run(site.databases.ensure(tenant))
    run(site.databases.admit(tenant, Login.A, "first"))
    run(site.databases.drop(tenant))
    assert not site.enters(tenant, Login.A, "first")
    run(site.databases.ensure(tenant))
    assert not site.enters(tenant, Login.A, "first")
    run(site.databases.admit(tenant, Login.A, "again"))
    assert site.enters(tenant, Login.A, "again")


def test_of_a_tenant_that_is_not_there_nothing_is_known(site: Site, tenant: str) -> None:
    assert run(site.databases.bytes_used(tenant)) is None
    assert run(site.databases.minutes_this_month(tenant)) is None
    run(site.databases.shut(tenant, Login.A))
    run(site.databases.drop(tenant))
    with pytest.raises(Retryable, match=tenant.replace("-", ".")):
        run(site.databases.admit(tenant, Login.A, "first"))


def test_a_database_without_a_schema_has_a_size_and_no_minutes(site: Site, tenant: str) -> None:
    run(site.databases.ensure(tenant))
    assert (run(site.databases.bytes_used(tenant)) or 0) > 1_000_000
    assert run(site.databases.minutes_this_month(tenant)) is None


def test_functions_and_jobs_are_told_the_same_database_as_different_roles(site: Site, tenant: str) -> None:
    urls = [urlsplit(site.databases.url(tenant, login, "p")) for login in Login]
    assert len({url.path for url in urls}) == 1
    assert len({url.username for url in urls}) == 3
    assert all(url.password == "p" for url in urls)

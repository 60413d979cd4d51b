"""The job that invites a deployment's owners: once each, by mail or by a link in its log, and nobody has to be there already."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from auricle.access.permissions import Role
from auricle.admin.audit.kinds import EventKind
from auricle.admin.audit.model import AuditFilter
from auricle.admin.audit.store import AuditStore
from auricle.admin.configuration.actions import Configuration
from auricle.deploy import jobs
from auricle.errors import Invalid, Permanent
from auricle.identity.accounts.appointing import appoint
from auricle.identity.accounts.model import REGISTRATION, RegistrationMode, RegistrationPolicy
from auricle.identity.accounts.store import InvitationStore, invitations
from auricle.identity.store import IdentityStore
from auricle.ports.mail import Message
from auricle.runtime.settings import Settings
from auricle.runtime.wiring import DatabaseUnits
from builders.house import House
from builders.newcomers import OTHER, OWNER, bearer, from_somewhere, newcomer, sign_in, vault

SITE = "https://vault.example"
LINK = re.compile(rf"{SITE}/join#token=(aurinvite_[\w-]+)")


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with vault(database_url) as made:
        yield made


@pytest.fixture(autouse=True)
def nobody_invited(home: House) -> None:
    with home.bound.wiring.database.work() as db:
        db.execute(text("truncate invitations, one_time_tokens"))


def settings(url: str, owners: str, **more: Any) -> Settings:
    return Settings(database_url=url, invite_owners=owners, public_url=SITE, **more)


def links(said: str) -> list[str]:
    return LINK.findall(said)


def accept(home: House, token: str, status: int = 201) -> None:
    body = {"token": token, "display_name": "New", "password": OTHER}
    answer = from_somewhere(home, "POST", "/api/invitations/accept", body)
    assert answer.status_code == status, answer.get_data(as_text=True)


def let(home: House, mode: RegistrationMode) -> None:
    configuration: Configuration = home.bound.wiring.provide(Configuration)
    with home.bound.wiring.database.work() as db:
        configuration.put(db, REGISTRATION, RegistrationPolicy(mode=mode), None, None, expected=None)


def said(capsys: pytest.CaptureFixture[str], chosen: Settings) -> str:
    assert jobs.invite(chosen) == ""
    return capsys.readouterr().out


def test_without_a_mail_server_each_link_is_said_once(
    home: House, app_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = settings(app_database_url, "eve@vault.example, bob@vault.example ,")
    first = said(capsys, chosen)
    assert len(links(first)) == 2
    again = said(capsys, chosen)
    assert links(again) == []
    assert again.count("invitation already") == 2


def test_the_link_makes_an_owner_once(home: House, app_database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = settings(app_database_url, "cleo@vault.example")
    (token,) = links(said(capsys, chosen))
    accept(home, token)
    accept(home, token, 422)
    assert sign_in(home, "cleo@vault.example", OTHER).status_code == 201
    with home.bound.wiring.database.work() as db:
        account = IdentityStore(db).by_email("cleo@vault.example")
    assert account is not None
    assert account.role is Role.OWNER
    assert links(said(capsys, chosen)) == []


def test_it_holds_in_a_house_that_takes_nobody(home: House, app_database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    (token,) = links(said(capsys, settings(app_database_url, "dora@vault.example")))
    let(home, RegistrationMode.CLOSED)
    try:
        accept(home, token)
    finally:
        let(home, RegistrationMode.INVITATION)


def test_who_has_an_account_or_an_invitation_by_somebody_is_left_alone(
    home: House, app_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home.ask("POST", "/api/invitations", {"email": "fay@vault.example"}, status=201, **bearer(home))
    told = said(capsys, settings(app_database_url, f"{OWNER},FAY@vault.example"))
    assert links(told) == []
    assert len(told.splitlines()) == 2
    with home.bound.wiring.database.work() as db:
        assert [row.role for row in db.execute(select(invitations))] == ["member"]


def test_an_invitation_that_ended_is_made_anew(home: House, app_database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = settings(app_database_url, "gus@vault.example")
    (old,) = links(said(capsys, chosen))
    with home.bound.wiring.database.work() as db:
        db.execute(invitations.update().values(ends_at=invitations.c.ends_at - timedelta(days=8)))
    (new,) = links(said(capsys, chosen))
    accept(home, old, 422)
    accept(home, new)


def test_what_was_made_and_not_handed_over_is_handed_over(home: House, app_database_url: str) -> None:
    """The first job is killed before its letter is out."""
    wiring = home.bound.wiring
    units, letters, lines = DatabaseUnits(wiring.database), _Letters(broken=True), list[str]()
    site = _site(home)
    with pytest.raises(Permanent):
        appoint(["hal@vault.example"], units, site, letters, _trail(home), lines.append)
    appoint(["hal@vault.example"], units, site, _Letters(), _trail(home), lines.append)
    sent = _Letters()
    appoint(["hal@vault.example"], units, site, sent, _trail(home), lines.append)
    assert [line.split(" ", 1)[1] for line in lines] == ["is invited by mail.", "has an account, or an invitation already."]
    assert sent.sent == []
    with wiring.database.work() as db:
        assert len(InvitationStore(db).invited(10, None)) == 1


def test_by_mail_the_letter_has_the_link_and_the_log_has_not(home: House) -> None:
    letters, lines = _Letters(), list[str]()
    appoint(["ida@vault.example"], DatabaseUnits(home.bound.wiring.database), _site(home), letters, _trail(home), lines.append)
    (letter,) = letters.sent
    assert letter.to == "ida@vault.example"
    found = re.search(r"#token=(aurinvite_[\w-]+)", letter.text)
    assert found is not None
    assert "token" not in "".join(lines)
    accept(home, found[1])


def test_a_wrong_address_is_named_before_anybody_is_invited(home: House, app_database_url: str) -> None:
    with pytest.raises(Invalid, match="no e-mail address"):
        jobs.invite(settings(app_database_url, "jo@vault.example,nonsense"))
    with home.bound.wiring.database.work() as db:
        assert db.execute(select(invitations)).all() == []


def test_the_trail_has_it(home: House, app_database_url: str) -> None:
    jobs.invite(settings(app_database_url, "kay@vault.example"))
    with home.bound.wiring.database.work() as db:
        entries = AuditStore(db).page(1, None, AuditFilter(kinds=(EventKind.INVITATION_CREATED,)))
    assert (entries[0].actor_kind, entries[0].details["role_after"]) == ("system", "owner")


def test_an_invitation_whose_inviter_is_gone_is_not_the_house_s(home: House) -> None:
    """Nobody stands behind it: no account comes of it."""
    newcomer(home, "lea@vault.example", "owner")
    home.ask(
        "POST",
        "/api/invitations",
        {"email": "max@vault.example", "role": "owner"},
        status=201,
        **bearer(home, "lea@vault.example", OTHER),
    )
    home.settle()
    (letter,) = home.mail.to("max@vault.example")
    found = re.search(r"#token=(aurinvite_[\w-]+)", letter.text)
    assert found is not None
    with home.bound.wiring.database.work() as db:
        db.execute(invitations.update().values(invited_by=None))
    accept(home, found[1], 403)


def test_nobody_is_invited_where_nobody_is_named() -> None:
    assert "INVITE_OWNERS is empty" in jobs.invite(Settings())


@pytest.mark.parametrize(("more", "named"), [({}, "DATABASE_URL"), ({"database_url": "postgresql://x"}, "PUBLIC_URL")])
def test_what_is_missing_is_named(more: dict[str, str], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        jobs.invite(Settings(invite_owners="a@vault.example", **more))  # type: ignore[arg-type]


class _Letters:
    """Mail that is kept, or that no server takes."""

    def __init__(self, broken: bool = False) -> None:
        self.sent: list[Message] = []
        self._broken = broken

    def send(self, message: Message) -> None:
        if self._broken:
            raise Permanent("No.")
        self.sent.append(message)


def _site(home: House) -> Any:
    from auricle.access.model import Site

    return home.bound.wiring.provide(Site)


def _trail(home: House) -> Any:
    from auricle.admin.audit.trail import SYSTEM, Facts, Trail

    return Trail(Facts(function="invite"), home.bound.wiring.now, str, None, SYSTEM)

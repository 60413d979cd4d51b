"""Signing in by a provider, through the door: a real provider over HTTP, a real database, a browser with cookies."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pyotp
import pytest
from sqlalchemy import text

from auricle.access.permissions import Role
from auricle.admin.audit.kinds import EventKind
from auricle.admin.audit.model import AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from builders.house import House, house
from builders.oidc_provider import REMOVED, Signing, SmallProvider, small_provider
from builders.persons import person
from builders.visitor import PAGE, PUBLIC_URL, Visitor, origin, provider_body, set_up


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, public_url=PUBLIC_URL) as made:
        yield made


@pytest.fixture
def small(home: House) -> Iterator[SmallProvider]:
    """A provider, set up anew for each test; its people are new to the house."""
    with small_provider() as provider:
        for claims in provider.people.values():
            claims["sub"] = f"{claims['sub']}-{secrets.token_hex(4)}"
            claims["email"] = f"{secrets.token_hex(4)}@example.test"
        set_up(home, "providers", "small", provider_body(provider))
        yield provider


def again(home: House, small: SmallProvider, **more: Any) -> None:
    set_up(home, "providers", "small", provider_body(small, **more))


def trail(home: House, kind: EventKind) -> list[AuditRow]:
    with home.bound.wiring.database.work() as db:
        return AuditStore(db).page(200, None, AuditFilter(kinds=(kind,)))[::-1]


# Coming in


def test_the_page_is_told_which_ways_there_are(home: House, small: SmallProvider) -> None:
    offers = Visitor(home).ask("GET", "/api/sign-in").get_json()["items"]
    assert [(one["way"], one["path"]) for one in offers][:2] == [
        ("password", "/api/session"),
        ("provider", "/api/sign-in/small"),
    ]
    again(home, small, enabled=False)
    assert [one["way"] for one in Visitor(home).ask("GET", "/api/sign-in").get_json()["items"]] == ["password"]
    assert Visitor(home).ask("GET", "/api/sign-in/small").status_code == 404


def test_somebody_comes_by_code_and_pkce_and_stays_the_same_person(home: House, small: SmallProvider) -> None:
    visitor = Visitor(home)
    url = visitor.leave(next="/files/7?tab=text")
    asked = parse_qs(urlsplit(url).query)
    assert (origin(url), asked["code_challenge_method"], asked["response_type"]) == (small.url, ["S256"], ["code"])
    back = visitor.come_back(small.sign_in(url))
    assert (back.status_code, back.headers["Location"]) == (303, "/files/7?tab=text")
    assert back.headers["Cache-Control"] == "no-store"
    me = visitor.me()
    assert (me["email"], me["name"], me["roles"]) == (small.people["alice"]["email"], "Alice A", ["member"])
    elsewhere = Visitor(home)
    elsewhere.sign_in(small)
    assert elsewhere.me()["id"] == me["id"]


def test_the_browsers_cookie_is_for_the_browser_alone(home: House, small: SmallProvider) -> None:
    answer = Visitor(home).ask("GET", "/api/sign-in/small")
    flags = set(answer.headers["Set-Cookie"].split("; "))
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} <= flags


def test_a_new_address_there_changes_nobody_here(home: House, small: SmallProvider) -> None:
    visitor = Visitor(home)
    visitor.sign_in(small)
    before = visitor.me()
    small.people["alice"]["email"] = person(home.bound.wiring, Role.OWNER).email  # of somebody here, an owner
    visitor.sign_in(small)
    assert (visitor.me()["id"], visitor.me()["email"]) == (before["id"], before["email"])


def test_an_address_of_somebody_here_opens_nothing(home: House, small: SmallProvider) -> None:
    known = person(home.bound.wiring)
    small.people["alice"]["email"] = known.email
    again(home, small, admission={"domains": ["vault.example"]})
    visitor = Visitor(home)
    refused = visitor.sign_in(small)
    assert refused.status_code == 403
    assert "auricle_refresh" not in visitor.cookies
    small.people["bob"]["email"] = "unknown@nowhere.test"
    stranger = Visitor(home).sign_in(small, "bob")
    assert stranger.get_json()["detail"] == refused.get_json()["detail"]  # tells nobody whether there is an account


@pytest.mark.parametrize(
    ("admission", "claims", "comes"),
    [
        ({}, {}, False),
        ({"domains": ["example.test"]}, {}, True),
        ({"domains": ["example.test"]}, {"email_verified": False}, False),
        ({"domains": ["mail.example.test"]}, {}, False),
        ({"groups": ["staff"]}, {}, True),
        ({"groups": ["Staff"]}, {}, False),
        ({"groups": ["staff"], "required_groups": ["vault"]}, {}, False),
        ({"groups": ["staff"], "required_groups": ["vault"]}, {"groups": ["vault", "staff"]}, True),
        ({"groups": ["staff"], "default_role": None}, {}, False),
    ],
)
def test_who_is_new_comes_in_by_rule_alone(
    home: House, small: SmallProvider, admission: dict[str, Any], claims: dict[str, Any], comes: bool
) -> None:
    again(home, small, admission=admission)
    small.people["alice"].update(claims)
    assert Visitor(home).sign_in(small).status_code == (303 if comes else 403)


def test_somebody_without_a_proved_address_has_none_here(home: House, small: SmallProvider) -> None:
    again(home, small, admission={"groups": ["staff"]})
    small.people["alice"]["email_verified"] = False
    visitor = Visitor(home)
    visitor.sign_in(small)
    assert not visitor.me()["email"]


# Roles


def test_groups_give_the_role_at_each_sign_in_and_a_change_ends_other_sessions(home: House, small: SmallProvider) -> None:
    rules = {"groups": ["staff"], "roles": [{"group": "auditors", "role": "auditor"}], "default_role": "guest"}
    again(home, small, admission=rules)
    first, second = Visitor(home), Visitor(home)
    first.sign_in(small)
    bearer = first.token()
    assert first.me()["roles"] == ["guest"]
    small.people["alice"]["groups"] = ["staff", "auditors"]
    second.sign_in(small)
    assert second.me()["roles"] == ["auditor"]
    assert first.ask("GET", "/api/me", bearer=bearer).status_code == 401
    assert first.ask("POST", "/api/session/refresh", **PAGE).status_code == 401
    changed = trail(home, EventKind.ROLE_CHANGED)[-1]
    assert (changed.details["role_before"], changed.details["role_after"]) == ("guest", "auditor")


def test_without_a_role_for_their_groups_known_people_stay_out_too(home: House, small: SmallProvider) -> None:
    rules = {"domains": ["example.test"], "roles": [{"group": "staff", "role": "member"}], "default_role": None}
    again(home, small, admission=rules)
    assert Visitor(home).sign_in(small).status_code == 303
    small.people["alice"]["groups"] = []
    assert Visitor(home).sign_in(small).status_code == 403


def test_a_closed_account_stays_closed(home: House, small: SmallProvider) -> None:
    visitor = Visitor(home)
    visitor.sign_in(small)
    id = visitor.me()["id"]
    with home.bound.wiring.database.work() as db:
        db.execute(text("update people set state = 'disabled' where principal_id = :id"), {"id": id})
    refused = Visitor(home).sign_in(small)
    assert refused.status_code == 403
    assert trail(home, EventKind.LOGIN)[-1].details["reason"] == "disabled"


# What must not work


def test_an_answer_without_the_browser_it_was_begun_in_is_nobodys(home: House, small: SmallProvider) -> None:
    pairs = small.sign_in(Visitor(home).leave())
    thief = Visitor(home)
    assert thief.come_back(pairs).status_code == 401
    thief.leave()  # a sign-in of their own: its cookie is for its own answer
    assert thief.come_back(pairs).status_code == 401
    assert "auricle_refresh" not in thief.cookies
    assert trail(home, EventKind.LOGIN)[-1].details["reason"] == "wrong-state"


def test_an_answer_works_once(home: House, small: SmallProvider) -> None:
    visitor = Visitor(home)
    pairs = small.sign_in(visitor.leave())
    assert visitor.come_back(pairs).status_code == 303
    assert visitor.come_back(pairs).status_code == 401


def test_a_sign_in_that_nobody_finished_is_over(home: House, small: SmallProvider) -> None:
    visitor = Visitor(home)
    pairs = small.sign_in(visitor.leave())
    with home.bound.wiring.database.work() as db:
        db.execute(text("update ephemeral_secrets set until = now() - interval '1 second'"))
    assert visitor.come_back(pairs).status_code == 401


@pytest.mark.parametrize("change", ["iss", "no-iss", "state", "twice", "error"])
def test_an_answer_that_is_not_the_providers_is_refused(home: House, small: SmallProvider, change: str) -> None:
    visitor = Visitor(home)
    pairs = small.sign_in(visitor.leave())
    changed = {
        "iss": [(n, "https://attacker.test" if n == "iss" else v) for n, v in pairs],
        "no-iss": [(n, v) for n, v in pairs if n != "iss"],
        "state": [(n, "another" if n == "state" else v) for n, v in pairs],
        "twice": [*pairs, ("code", "another")],
        "error": [(n, v) for n, v in pairs if n != "code"] + [("error", "access_denied")],
    }[change]
    assert visitor.come_back(changed).status_code == 401
    assert "auricle_refresh" not in visitor.cookies


def test_another_providers_answer_is_refused_there_mix_up(home: House, small: SmallProvider) -> None:
    with small_provider() as other:
        set_up(home, "providers", "other", provider_body(other, "other", name="Other"))
        visitor = Visitor(home)
        pairs = small.sign_in(visitor.leave("small"))
        assert visitor.come_back(pairs, "other").status_code == 401
        assert "/token" not in other.requests  # the code is not even shown to it


@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": {"nonce": "another"}},
        {"claims": {"nonce": REMOVED}},
        {"claims": {"aud": "somebody-else"}},
        {"claims": {"iss": "https://attacker.test"}},
        {"claims": {"exp": 1_700_000_000}},
        {"signing": Signing.NOT_AT_ALL},
        {"signing": Signing.BY_A_STRANGER},
        {"signing": Signing.PUBLIC_KEY_AS_SECRET},
        {"signing": Signing.KEY_IN_HEADER},
    ],
    ids=["nonce", "no-nonce", "audience", "issuer", "expired", "unsigned", "stranger", "public-key-as-secret", "key-in-header"],
)
def test_a_token_that_does_not_hold_signs_nobody_in(home: House, small: SmallProvider, wrong: dict[str, Any]) -> None:
    for name, value in wrong.items():
        setattr(small.manners, name, value)
    visitor = Visitor(home)
    refused = visitor.sign_in(small)
    assert refused.status_code == 401
    assert "auricle_refresh" not in visitor.cookies


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/%2f%2fevil.example", "javascript:alert(1)", "/api/me", ""],
)
def test_nobody_lands_on_anothers_page(home: House, small: SmallProvider, wanted: str) -> None:
    visitor = Visitor(home)
    assert visitor.sign_in(small, next=wanted).headers["Location"] == "/"


def test_what_a_browser_held_before_is_not_its_session_afterwards(home: House, small: SmallProvider) -> None:
    visitor = Visitor(home)
    visitor.cookies["auricle_refresh"] = planted = "aurr_" + "A" * 43
    visitor.sign_in(small)
    assert visitor.cookies["auricle_refresh"] != planted
    assert visitor.me()["email"] == small.people["alice"]["email"]


def test_two_who_come_first_at_once_are_one_person(home: House, small: SmallProvider) -> None:
    import threading

    visitors = [Visitor(home) for _ in "123"]
    answers = [small.sign_in(one.leave()) for one in visitors]
    statuses: list[int] = []
    # Each in its own browser; `coming_from` is shared, so that addresses may mix, which does not matter here.
    threads = [
        threading.Thread(target=lambda one=one, pairs=pairs: statuses.append(one.come_back(pairs).status_code))
        for one, pairs in zip(visitors, answers, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [303, 303, 303]
    assert len({one.me()["id"] for one in visitors}) == 1


def test_a_provider_that_is_away_is_said_to_be(home: House, small: SmallProvider) -> None:
    again(home, small, issuer="http://127.0.0.1:9", client_secret="x" * 20)
    assert Visitor(home).ask("GET", "/api/sign-in/small").status_code == 503


# Going out


def test_signing_out_here_tells_where_to_sign_out_there(home: House, small: SmallProvider) -> None:
    visitor = Visitor(home)
    visitor.sign_in(small)
    bearer = visitor.token()
    answer = visitor.ask("DELETE", "/api/session", bearer=bearer)
    assert answer.status_code == 200
    url = answer.get_json()["logout_url"]
    assert small.sign_out(url).startswith(f"{PUBLIC_URL}/signed-out?")
    assert visitor.ask("GET", "/api/me", bearer=bearer).status_code == 401


def test_who_did_not_come_from_elsewhere_is_told_of_no_place(home: House) -> None:
    answer = home.raw("DELETE", "/api/session", **person(home.bound.wiring).headers)
    assert (answer.status_code, answer.get_data()) == (204, b"")


def logged_out(home: House, token: str, provider: str = "small") -> Any:
    return Visitor(home).ask(
        "POST", f"/api/sign-in/{provider}/back-channel-logout", urlencode({"logout_token": token}).encode()
    )


def test_a_logout_there_ends_that_session_here_and_no_other(home: House, small: SmallProvider) -> None:
    first, second, other = Visitor(home), Visitor(home), Visitor(home)
    for visitor, who in ((first, "alice"), (second, "alice"), (other, "bob")):
        visitor.sign_in(small, who)
    bearers = [visitor.token() for visitor in (first, second, other)]
    alice = str(small.people["alice"]["sub"])
    sid = next(sid for sid, grant in small.sessions.items() if grant.person == "alice")
    token = small.logout_token(sub=alice, sid=sid)
    answer = logged_out(home, token)
    assert (answer.status_code, answer.get_data(), answer.headers["Cache-Control"]) == (200, b"", "no-store")
    alive = [v.ask("GET", "/api/me", bearer=b).status_code for v, b in zip((first, second, other), bearers, strict=True)]
    assert sorted(alive[:2]) == [200, 401]
    assert alive[2] == 200
    assert logged_out(home, token).status_code == 400  # each once
    assert logged_out(home, small.logout_token(sub=alice, sid=REMOVED)).status_code == 200  # all of hers
    assert [v.ask("GET", "/api/me", bearer=b).status_code for v, b in zip((first, second), bearers, strict=False)] == [401, 401]
    assert other.ask("GET", "/api/me", bearer=bearers[2]).status_code == 200
    assert trail(home, EventKind.BACK_CHANNEL_LOGOUT)


@pytest.mark.parametrize(
    "change",
    [{"aud": "another"}, {"iss": "https://attacker.test"}, {"nonce": "n"}, {"events": {}}, {"sub": REMOVED, "sid": REMOVED}],
    ids=str,
)
def test_what_is_no_logout_ends_nothing(home: House, small: SmallProvider, change: dict[str, Any]) -> None:
    visitor = Visitor(home)
    visitor.sign_in(small)
    answer = logged_out(home, small.logout_token(**{"sub": small.people["alice"]["sub"], "sid": REMOVED, **change}))
    assert (answer.status_code, answer.headers["Cache-Control"]) == (400, "no-store")
    assert visitor.me()


def test_a_logout_is_a_form_with_one_token(home: House, small: SmallProvider) -> None:
    path = "/api/sign-in/small/back-channel-logout"
    assert Visitor(home).ask("POST", path, {"logout_token": small.logout_token()}).status_code == 415
    assert Visitor(home).ask("POST", path, b"logout_token=a&logout_token=b").status_code == 422
    assert Visitor(home).ask("POST", path, b"something=else").status_code == 422


# Linking


def test_a_signed_in_person_links_an_account_and_signs_in_by_it(home: House, small: SmallProvider) -> None:
    again(home, small, admission={})  # nobody comes in but who linked
    known, visitor = person(home.bound.wiring), Visitor(home)
    begun = visitor.ask("POST", "/api/me/identities/small?next=/settings", bearer=known.bearer)
    url = begun.get_json()["url"]
    assert parse_qs(urlsplit(url).query)["max_age"] == ["0"]  # proves who they are there, now
    back = visitor.come_back(small.sign_in(url))
    assert (back.status_code, back.headers["Location"]) == (303, "/settings")
    (listed,) = visitor.ask("GET", "/api/me/identities", bearer=known.bearer).get_json()["items"]
    assert (listed["way"], listed["provider"], listed["issuer"]) == ("provider", "small", small.url)
    other = Visitor(home)
    other.sign_in(small)
    assert other.me()["id"] == str(known.id)
    bearer = other.token()
    # Not the only way in while the account has no password.
    path = f"/api/me/identities/{listed['id']}"
    assert visitor.ask("DELETE", path, bearer=known.bearer).status_code == 409
    with home.bound.wiring.database.work() as db:
        db.execute(text("update people set password_hash = 'x' where principal_id = :id"), {"id": known.id})
    assert visitor.ask("DELETE", path, bearer=known.bearer).status_code == 204
    assert other.ask("GET", "/api/me", bearer=bearer).status_code == 401  # what began by it is over
    assert Visitor(home).sign_in(small).status_code == 403


def test_a_link_is_finished_in_the_session_that_began_it(home: House, small: SmallProvider) -> None:
    known, visitor = person(home.bound.wiring), Visitor(home)
    url = visitor.ask("POST", "/api/me/identities/small", bearer=known.bearer).get_json()["url"]
    assert visitor.ask("DELETE", "/api/session", bearer=known.bearer).status_code == 204
    assert visitor.come_back(small.sign_in(url)).status_code == 403


def test_linking_asks_for_a_fresh_proof_and_never_takes_what_is_anothers(home: House, small: SmallProvider) -> None:
    known, visitor = person(home.bound.wiring), Visitor(home)
    assert visitor.ask("POST", "/api/me/identities/small", bearer=known.stale).status_code == 403
    assert visitor.ask("POST", "/api/me/identities/small").status_code == 401
    Visitor(home).sign_in(small)  # alice has an account of her own
    url = visitor.ask("POST", "/api/me/identities/small", bearer=known.bearer).get_json()["url"]
    assert visitor.come_back(small.sign_in(url)).status_code == 409


def test_the_owner_signs_in_here_alone(home: House, small: SmallProvider) -> None:
    owner, visitor = person(home.bound.wiring, Role.OWNER), Visitor(home)
    url = visitor.ask("POST", "/api/me/identities/small", bearer=owner.bearer).get_json()["url"]
    assert visitor.come_back(small.sign_in(url)).status_code == 403


# A second factor


def test_who_owes_a_second_factor_is_not_signed_in_yet(home: House, small: SmallProvider) -> None:
    first = Visitor(home)
    first.sign_in(small)
    id = first.me()["id"]
    with home.bound.wiring.database.work() as db:
        db.execute(text("update people set second_factor = true where principal_id = :id"), {"id": id})
    visitor = Visitor(home)
    back = visitor.sign_in(small, next="/files")
    assert (back.status_code, back.headers["Location"]) == (303, "/sign-in?owed=factor&next=%2Ffiles")
    assert "auricle_refresh" not in visitor.cookies
    assert visitor.ask("POST", "/api/session/owed", Origin="https://evil.example").status_code == 403
    owed = visitor.ask("POST", "/api/session/owed", **PAGE)
    assert (owed.status_code, owed.get_json()["answer"]) == (200, "pending")
    assert visitor.ask("GET", "/api/me", bearer=owed.get_json()["pending"]).status_code in (401, 403)
    assert visitor.ask("POST", "/api/session/owed", **PAGE).status_code == 401  # told once


def test_a_second_factor_does_not_part_a_session_from_where_it_came_from(home: House, small: SmallProvider) -> None:
    first = Visitor(home)
    first.sign_in(small)
    bearer = first.token()
    offer = first.ask("POST", "/api/mfa/totp", bearer=bearer).get_json()
    enrolled = first.ask("POST", "/api/mfa/totp/confirm", {"code": pyotp.TOTP(offer["secret"]).now()}, bearer=bearer)
    assert enrolled.status_code == 200, enrolled.get_json()
    visitor = Visitor(home)
    visitor.sign_in(small)
    pending = visitor.ask("POST", "/api/session/owed", **PAGE).get_json()["pending"]
    code = enrolled.get_json()["backup_codes"][0]
    verified = visitor.ask("POST", "/api/mfa/verify", {"code": code}, bearer=pending)
    assert verified.status_code in (200, 201), verified.get_json()
    bearers = [visitor.token(), enrolled.get_json()["session"]["access_token"]]
    assert [visitor.ask("GET", "/api/me", bearer=one).status_code for one in bearers] == [200, 200]
    out = visitor.ask("DELETE", "/api/session", bearer=visitor.token())
    assert out.get_json()["logout_url"].startswith(small.url)
    assert logged_out(home, small.logout_token(sub=small.people["alice"]["sub"], sid=REMOVED)).status_code == 200
    assert visitor.ask("GET", "/api/me", bearer=bearers[1]).status_code == 401  # under another id since it was enrolled

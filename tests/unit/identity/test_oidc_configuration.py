"""Providers as administrators set them up: checked with sentences, and their secrets kept."""

from __future__ import annotations

import msgspec
import pytest

from auricle.errors import Conflict, Invalid
from auricle.identity.oidc.admission import Admission, GivenRole, RoleRule
from auricle.identity.oidc.configuration import (
    Provider,
    ProviderBody,
    changed,
    connection,
    redirect_uri,
    together,
    view,
)
from auricle.identity.oidc.report import Weight, report
from auricle.ports.oidc import ClientAuthentication, CredentialAnswer, ProviderFacts, SigningAlgorithm

SECRET = "correct horse battery staple"
SITE = "https://vault.example/"


def body(**more: object) -> ProviderBody:
    known = {
        "id": "house",
        "name": "The house",
        "issuer": "https://id.example/realms/x",
        "client_id": "auricle",
        "client_secret": SECRET,
    }
    return msgspec.convert({name: value for name, value in {**known, **more}.items() if value != "left out"}, ProviderBody)


def stored(**more: object) -> Provider:
    return changed(None, body(**more))


def problem(before: Provider | None, wanted: ProviderBody) -> str:
    with pytest.raises(Invalid) as refused:
        changed(before, wanted)
    assert str(refused.value).endswith(".")
    assert SECRET not in str(refused.value)
    return str(refused.value.extra["field"])


def test_a_provider_is_set_up() -> None:
    made = stored()
    assert made.secret == SECRET
    assert not hasattr(made.configuration, "client_secret")
    reached = connection(made, SITE)
    assert reached.redirect_uris == ("https://vault.example/api/sign-in/house/callback",)
    assert reached.post_logout_redirect_uris == ("https://vault.example/signed-out",)
    assert (reached.issuer, reached.client_secret) == ("https://id.example/realms/x", SECRET)
    assert hash(reached)


def test_every_provider_has_an_address_of_its_own() -> None:
    assert redirect_uri("one", SITE) != redirect_uri("two", SITE)


def test_a_secret_never_comes_out_again() -> None:
    shown = view(stored(), SITE)
    assert shown.has_secret
    assert SECRET not in msgspec.json.encode(shown).decode()
    assert SECRET not in repr(stored()) + repr(connection(stored(), SITE))
    assert not view(stored(client_secret=None, authentication="none"), SITE).has_secret


def test_what_is_left_out_stays_and_null_forgets() -> None:
    first = stored()
    assert changed(first, body(client_secret="left out", name="Renamed")).secret == SECRET
    assert changed(first, body(client_secret="another")).secret == "another"
    assert changed(first, body(client_secret=None, authentication="none")).secret is None


@pytest.mark.parametrize("mask", ["***", "••••••••", "", "   ", "a\nb", "x" * 1025])
def test_no_mask_is_taken_for_a_secret(mask: str) -> None:
    assert problem(stored(), body(client_secret=mask)) == "client_secret"


@pytest.mark.parametrize("moved", [{"issuer": "https://attacker.test"}, {"ca_pem": "-----BEGIN CERTIFICATE-----"}])
def test_a_stored_secret_is_not_sent_elsewhere(moved: dict[str, object]) -> None:
    assert problem(stored(), body(client_secret="left out", **moved)) == "client_secret"
    assert changed(stored(), body(**moved)).secret == SECRET


def test_a_client_has_a_secret_or_says_that_it_has_none() -> None:
    assert problem(None, body(client_secret="left out")) == "client_secret"
    assert problem(None, body(authentication="none")) == "client_secret"
    assert stored(client_secret=None, authentication="none").configuration.authentication is ClientAuthentication.NONE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "House"),
        ("id", "../x"),
        ("id", ""),
        ("id", "h" * 33),
        ("name", " "),
        ("name", "n" * 61),
        ("name", "a\u202eb"),
        ("issuer", "http://id.example"),
        ("issuer", "http://127.0.0.1.attacker.test"),
        ("issuer", "https://"),
        ("issuer", "https://id.example?x=1"),
        ("issuer", "https://id.example/#x"),
        ("issuer", "https://user@id.example"),
        ("issuer", "https://id.example/{tenantid}/v2.0"),
        ("issuer", "https://idé.example"),
        ("issuer", "https://[::1"),
        ("issuer", "https://id.example:99999"),
        ("issuer", "javascript:alert(1)"),
        ("issuer", "https://id.example\\@attacker.test"),
        ("issuer", ""),
        ("client_id", ""),
        ("client_id", "ü"),
        ("scopes", ["profile"]),
        ("scopes", ["openid", "two words"]),
        ("scopes", ["openid", 'a"b']),
        ("algorithms", []),
        ("groups_claim", ""),
        ("leeway", -1),
        ("leeway", 121),
        ("ca_pem", "a file name"),
        ("admission", {"domains": ["Example.org"]}),
        ("admission", {"domains": ["*.example.org"]}),
        ("admission", {"domains": ["@example.org"]}),
        ("admission", {"domains": ["org"]}),
        ("admission", {"domains": [""]}),
        ("admission", {"groups": [" "]}),
        ("admission", {"required_groups": [""]}),
        ("admission", {"roles": [{"group": "a", "role": "admin"}, {"group": "a", "role": "guest"}]}),
    ],
)
def test_what_cannot_work_is_told_by_its_field(field: str, value: object) -> None:
    assert problem(None, body(**{field: value})) == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("algorithms", ["none"]),
        ("algorithms", ["HS256"]),
        ("authentication", "client_secret_jwt"),
        ("admission", {"roles": [{"group": "a", "role": "owner"}]}),
        ("is_admin", True),
        ("has_secret", True),
    ],
)
def test_some_things_cannot_even_be_said(field: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        body(**{field: value})


def test_loopback_may_be_plain() -> None:
    assert stored(issuer="http://127.0.0.1:8080/realms/x").configuration.issuer.startswith("http:")


def test_an_id_never_changes() -> None:
    assert problem(stored(), body(id="other")) == "id"


def test_providers_are_not_mistaken_for_each_other() -> None:
    one, same_id = stored().configuration, stored(issuer="https://else.example").configuration
    same_issuer, other = stored(id="two").configuration, stored(id="two", issuer="https://else.example").configuration
    together([one, other])
    for pair in ([one, same_id], [one, same_issuer]):
        with pytest.raises(Conflict):
            together(pair)
    with pytest.raises(Invalid):
        together([stored(id=f"p{number}", issuer=f"https://{number}.example").configuration for number in range(17)])


def test_rules_survive_being_stored() -> None:
    rules = Admission(domains=("example.org",), roles=(RoleRule(group="a", role=GivenRole.GUEST),))
    made = stored(admission=msgspec.to_builtins(rules)).configuration
    assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made
    assert made.admission == rules


# Testing a connection

GOOD = ProviderFacts(
    issuer="https://id.example/realms/x",
    signs_with=("RS256", "HS256"),
    pkce_methods=("S256",),
    authentication_methods=("client_secret_basic",),
    scopes=("openid", "profile", "email"),
    usable_keys=2,
    names_itself=True,
    userinfo=True,
    logout=True,
    back_channel_logout=True,
    credentials=CredentialAnswer.ACCEPTED,
)


def changed_facts(**more: object) -> ProviderFacts:
    return msgspec.structs.replace(GOOD, **more)


def test_a_good_connection_works() -> None:
    found = report(GOOD, stored().configuration)
    assert found.works
    assert {finding.level for finding in found.findings} == {Weight.FINE}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"usable_keys": 0}, "publishes no key"),
        ({"signs_with": ("HS256", "none")}, "signs with none of"),
        ({"credentials": CredentialAnswer.REFUSED}, "refuses this client"),
        ({"authentication_methods": ("private_key_jwt",)}, "does not accept client authentication"),
    ],
)
def test_what_keeps_people_out_is_a_problem(facts: dict[str, object], words: str) -> None:
    found = report(changed_facts(**facts), stored().configuration)
    assert not found.works
    assert [words in finding.sentence for finding in found.findings if finding.level is Weight.PROBLEM] == [True]


@pytest.mark.parametrize(
    "facts",
    [
        {"signs_with": ()},
        {"pkce_methods": ()},
        {"scopes": ("openid",)},
        {"names_itself": False},
        {"logout": False},
        {"back_channel_logout": False},
        {"credentials": CredentialAnswer.UNCLEAR},
    ],
)
def test_what_is_less_than_it_could_be_is_a_note(facts: dict[str, object]) -> None:
    found = report(changed_facts(**facts), stored().configuration)
    assert found.works
    assert sum(finding.level is Weight.NOTE for finding in found.findings) == 1


def test_only_what_may_sign_can_be_configured() -> None:
    assert not [name for name in SigningAlgorithm if name.startswith("HS") or name == "none"]

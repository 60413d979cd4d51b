"""Passkeys, by a device that makes real signatures, and by one that lies."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from auricle.adapters.passkeys.webauthn import WebauthnPasskeys
from auricle.ports.passkeys import MAX_RESPONSE, Owner, Passkey, PasskeyRefused, Presented, Refusal, Use
from builders.authenticator import BE, BS, HONEST, UP, UV, Answer, Device, to_bytes, to_text

SITE, ORIGIN = "vault.example.org", "https://vault.example.org"
ADA = Owner(handle=secrets.token_bytes(64), name="ada@example.org", display_name="Ada Lovelace")
STRANGER = generate_private_key(SECP256R1())
BOTH = pytest.mark.parametrize("use", Use)


@dataclass
class Desk:
    """The site, and one person's device."""

    site: WebauthnPasskeys
    device: Device

    def register(self, use: Use, answer: Answer = HONEST, challenge: bytes | None = None) -> Passkey:
        asked = challenge or secrets.token_bytes(32)
        response = self.device.create(self.site.registration_options(ADA, use, asked, ()), answer)
        return self.site.register(response, ADA, use, asked)

    def shown(self, use: Use, passkey: Passkey, answer: Answer = HONEST) -> tuple[bytes, bytes]:
        """A challenge, and the device's answer to it."""
        asked = secrets.token_bytes(32)
        allowed = [passkey] if use is Use.SECOND_FACTOR else []
        return asked, self.device.get(self.site.authentication_options(use, asked, allowed), answer)

    def authenticate(self, use: Use, passkey: Passkey, answer: Answer = HONEST) -> Passkey:
        asked, response = self.shown(use, passkey, answer)
        return self.site.authenticate(response, passkey, use, asked)


@pytest.fixture
def desk() -> Desk:
    return Desk(WebauthnPasskeys(SITE, "Auricle", [ORIGIN, "https://de.vault.example.org:8443"]), Device(ORIGIN))


def refusal(act: Callable[[], object]) -> Refusal:
    with pytest.raises(PasskeyRefused) as caught:
        act()
    assert str(caught.value) == "This passkey could not be used. Try again, or sign in another way."
    return caught.value.why


# What is asked


def test_a_passwordless_passkey_is_asked_to_live_on_the_device_and_to_check_who_uses_it(desk: Desk) -> None:
    asked = json.loads(desk.site.registration_options(ADA, Use.PASSWORDLESS, b"c" * 32, ()))
    assert asked["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert asked["attestation"] == "none"
    assert asked["rp"] == {"id": SITE, "name": "Auricle"}
    assert asked["user"] == {"id": to_text(ADA.handle), "name": ADA.name, "displayName": ADA.display_name}
    assert to_bytes(asked["challenge"]) == b"c" * 32


def test_a_second_factor_is_asked_for_presence_only(desk: Desk) -> None:
    asked = json.loads(desk.site.registration_options(ADA, Use.SECOND_FACTOR, b"c" * 32, ()))
    assert asked["authenticatorSelection"]["residentKey"] == "discouraged"
    assert asked["authenticatorSelection"]["userVerification"] == "discouraged"


def test_a_passwordless_sign_in_names_no_passkey(desk: Desk) -> None:
    asked = json.loads(desk.site.authentication_options(Use.PASSWORDLESS, b"c" * 32, ()))
    assert (asked["allowCredentials"], asked["userVerification"], asked["rpId"]) == ([], "required", SITE)
    passkey = desk.register(Use.PASSWORDLESS)
    with pytest.raises(ValueError, match="of none"):
        desk.site.authentication_options(Use.PASSWORDLESS, b"c" * 32, [passkey])
    with pytest.raises(ValueError, match="of none"):
        desk.site.authentication_options(Use.SECOND_FACTOR, b"c" * 32, [])


def test_a_second_factor_names_the_persons_passkeys_and_how_they_are_reached(desk: Desk) -> None:
    passkey = desk.register(Use.SECOND_FACTOR)
    asked = json.loads(desk.site.authentication_options(Use.SECOND_FACTOR, b"c" * 32, [passkey]))
    assert asked["allowCredentials"] == [{"id": to_text(passkey.id), "type": "public-key", "transports": ["internal"]}]


def test_a_device_is_not_registered_twice(desk: Desk) -> None:
    passkey = desk.register(Use.PASSWORDLESS)
    with pytest.raises(LookupError, match="InvalidStateError"):
        desk.device.create(desk.site.registration_options(ADA, Use.PASSWORDLESS, b"c" * 32, [passkey]))


@pytest.mark.parametrize("challenge", [b"", b"c" * 31])
def test_a_challenge_that_could_be_guessed_is_a_mistake_of_ours(desk: Desk, challenge: bytes) -> None:
    with pytest.raises(ValueError, match="challenge"):
        desk.site.registration_options(ADA, Use.PASSWORDLESS, challenge, ())
    with pytest.raises(ValueError, match="challenge"):
        desk.site.authentication_options(Use.PASSWORDLESS, challenge, ())


@pytest.mark.parametrize("handle", [b"", b"h" * 65])
def test_a_handle_is_as_long_as_the_standard_allows(desk: Desk, handle: bytes) -> None:
    with pytest.raises(ValueError, match="handle"):
        desk.site.registration_options(msgspec.structs.replace(ADA, handle=handle), Use.PASSWORDLESS, b"c" * 32, ())


# What is answered


@BOTH
def test_a_passkey_is_registered_and_signs_in_again_and_again(desk: Desk, use: Use) -> None:
    passkey = desk.register(use)
    assert passkey.passwordless is (use is Use.PASSWORDLESS)
    assert (passkey.handle, passkey.sign_count, passkey.transports) == (ADA.handle, 1, ("internal",))
    for count in (2, 3, 4):
        passkey = desk.authenticate(use, passkey)
        assert passkey.sign_count == count


def test_an_answer_tells_whose_passkey_to_look_for(desk: Desk) -> None:
    passkey = desk.register(Use.PASSWORDLESS)
    _, response = desk.shown(Use.PASSWORDLESS, passkey)
    assert desk.site.presented(response) == Presented(passkey.id, ADA.handle)


def test_a_passwordless_passkey_is_a_second_factor_too_and_not_the_other_way_round(desk: Desk) -> None:
    alone = desk.register(Use.PASSWORDLESS)
    assert desk.authenticate(Use.SECOND_FACTOR, alone).sign_count == 2
    second = Desk(desk.site, Device(ORIGIN))
    passkey = second.register(Use.SECOND_FACTOR)
    assert refusal(lambda: second.authenticate(Use.PASSWORDLESS, passkey)) is Refusal.NOT_PASSWORDLESS


def test_all_addresses_of_the_site_are_the_site(desk: Desk) -> None:
    passkey = desk.register(Use.PASSWORDLESS)
    other = desk.authenticate(Use.PASSWORDLESS, passkey, Answer(origin="https://de.vault.example.org:8443"))
    assert other.sign_count == 2


def test_a_device_without_a_counter_works(desk: Desk) -> None:
    desk.device.counts = False
    passkey = desk.register(Use.PASSWORDLESS)
    assert desk.authenticate(Use.PASSWORDLESS, desk.authenticate(Use.PASSWORDLESS, passkey)).sign_count == 0


def test_what_is_synced_is_known_as_such(desk: Desk) -> None:
    desk.device.synced = True
    passkey = desk.register(Use.PASSWORDLESS)
    assert (passkey.synced, passkey.backed_up) == (True, True)
    assert desk.authenticate(Use.PASSWORDLESS, passkey, Answer(flags=UP | UV | BE)).backed_up is False


def test_a_statement_by_the_key_itself_is_passed_on_by_browsers_and_checked(desk: Desk) -> None:
    assert desk.register(Use.PASSWORDLESS, Answer(format="packed")).sign_count == 1
    assert refusal(lambda: desk.register(Use.PASSWORDLESS, Answer(format="packed", signer=STRANGER))) is Refusal.NOT_VALID


LIES: Mapping[str, tuple[Answer, Refusal]] = {
    "another origin": (Answer(origin="https://evil.example"), Refusal.NOT_VALID),
    "origin beneath ours that is not listed": (Answer(origin="https://x.vault.example.org"), Refusal.NOT_VALID),
    "our origin on another port": (Answer(origin=ORIGIN + ":444"), Refusal.NOT_VALID),
    "our origin without TLS": (Answer(origin="http://vault.example.org"), Refusal.NOT_VALID),
    "our origin as a beginning": (Answer(origin=ORIGIN + ".evil.example"), Refusal.NOT_VALID),
    "another site": (Answer(site="evil.example"), Refusal.NOT_VALID),
    "another challenge": (Answer(challenge=b"x" * 32), Refusal.NOT_VALID),
    "nobody there": (Answer(flags=UV), Refusal.NOT_VALID),
    "backed up without being able to": (Answer(flags=UP | UV | BS), Refusal.NOT_VALID),
    "in a frame of another site": (Answer(client={"crossOrigin": True}), Refusal.CROSS_ORIGIN),
    "in a frame, said in another way": (Answer(client={"topOrigin": "https://evil.example"}), Refusal.CROSS_ORIGIN),
    "crossOrigin that is no boolean": (Answer(client={"crossOrigin": "false"}), Refusal.CROSS_ORIGIN),
}


@pytest.mark.parametrize("lie", LIES)
@BOTH
def test_a_false_answer_registers_nothing(desk: Desk, use: Use, lie: str) -> None:
    answer, why = LIES[lie]
    assert refusal(lambda: desk.register(use, answer)) is why


@pytest.mark.parametrize("lie", LIES)
@BOTH
def test_a_false_answer_signs_nobody_in(desk: Desk, use: Use, lie: str) -> None:
    answer, why = LIES[lie]
    passkey = desk.register(use)
    assert refusal(lambda: desk.authenticate(use, passkey, answer)) is why
    assert desk.authenticate(use, passkey).sign_count == 3  # and the honest one still does


def test_an_answer_to_one_question_is_none_to_another(desk: Desk) -> None:
    assert refusal(lambda: desk.register(Use.PASSWORDLESS, Answer(type="webauthn.get"))) is Refusal.NOT_VALID
    passkey = desk.register(Use.PASSWORDLESS)
    desk.device.held.pop(0)
    assert refusal(lambda: desk.authenticate(Use.PASSWORDLESS, passkey, Answer(type="webauthn.create"))) is Refusal.NOT_VALID


def test_a_device_that_did_not_check_who_uses_it_is_no_passwordless_sign_in(desk: Desk) -> None:
    assert refusal(lambda: desk.register(Use.PASSWORDLESS, Answer(flags=UP))) is Refusal.NOT_VALID
    desk.device.held.clear()
    passkey = desk.register(Use.PASSWORDLESS)
    assert refusal(lambda: desk.authenticate(Use.PASSWORDLESS, passkey, Answer(flags=UP))) is Refusal.NOT_VALID
    assert desk.authenticate(Use.SECOND_FACTOR, passkey, Answer(flags=UP)).sign_count == 3


@BOTH
def test_nobody_else_signs_for_a_passkey(desk: Desk, use: Use) -> None:
    passkey = desk.register(use)
    assert refusal(lambda: desk.authenticate(use, passkey, Answer(signer=STRANGER))) is Refusal.NOT_VALID


@BOTH
def test_an_answer_replayed_to_a_new_challenge_is_refused(desk: Desk, use: Use) -> None:
    passkey = desk.register(use)
    asked, response = desk.shown(use, passkey)
    after = desk.site.authenticate(response, passkey, use, asked)
    assert refusal(lambda: desk.site.authenticate(response, after, use, secrets.token_bytes(32))) is Refusal.NOT_VALID
    assert refusal(lambda: desk.site.authenticate(response, after, use, asked)) is Refusal.COUNTER


@pytest.mark.parametrize("count", [0, 4, 5])
def test_a_counter_that_does_not_go_on_is_a_copy(desk: Desk, count: int) -> None:
    passkey = msgspec.structs.replace(desk.register(Use.PASSWORDLESS), sign_count=5)
    assert refusal(lambda: desk.authenticate(Use.PASSWORDLESS, passkey, Answer(count=count))) is Refusal.COUNTER
    assert desk.authenticate(Use.PASSWORDLESS, passkey, Answer(count=6)).sign_count == 6


def test_only_the_keys_holder_can_set_off_the_alarm_of_a_copy(desk: Desk) -> None:
    passkey = msgspec.structs.replace(desk.register(Use.PASSWORDLESS), sign_count=5)
    assert refusal(lambda: desk.authenticate(Use.PASSWORDLESS, passkey, Answer(count=1, signer=STRANGER))) is Refusal.NOT_VALID


def test_another_persons_handle_is_refused(desk: Desk) -> None:
    passkey = desk.register(Use.PASSWORDLESS)
    for use in Use:
        assert refusal(lambda use=use: desk.authenticate(use, passkey, Answer(handle=b"eve" * 8))) is Refusal.OTHER_PERSON
    assert refusal(lambda: desk.authenticate(Use.PASSWORDLESS, passkey, Answer(without_handle=True))) is Refusal.OTHER_PERSON
    assert desk.authenticate(Use.SECOND_FACTOR, passkey, Answer(without_handle=True)).sign_count > 1


def test_an_answer_of_another_passkey_is_refused(desk: Desk) -> None:
    passkey = desk.register(Use.PASSWORDLESS)
    other = Desk(desk.site, Device(ORIGIN))
    second = other.register(Use.PASSWORDLESS)
    asked, response = other.shown(Use.PASSWORDLESS, second)
    assert refusal(lambda: desk.site.authenticate(response, passkey, Use.PASSWORDLESS, asked)) is Refusal.OTHER_PASSKEY
    assert refusal(lambda: other.authenticate(Use.PASSWORDLESS, second, Answer(raw_id=passkey.id))) is Refusal.OTHER_PASSKEY
    renamed = Answer(raw_id=passkey.id)
    assert refusal(lambda: other.authenticate(Use.PASSWORDLESS, passkey, renamed)) is Refusal.NOT_VALID


@pytest.mark.parametrize(("synced", "flags"), [(False, UP | UV | BE), (True, UP | UV)])
def test_a_passkey_cannot_become_one_that_is_synced_nor_stop_being_one(desk: Desk, synced: bool, flags: int) -> None:
    desk.device.synced = synced
    passkey = desk.register(Use.PASSWORDLESS)
    assert refusal(lambda: desk.authenticate(Use.PASSWORDLESS, passkey, Answer(flags=flags))) is Refusal.BACKUP


@pytest.mark.parametrize(
    "answer",
    [
        Answer(format="packed", statement={"alg": -7, "sig": b"x", "x5c": [b"certificate"]}),
        Answer(format="tpm", statement={"ver": "2.0"}),
        Answer(format="fido-u2f", statement={"sig": b"x", "x5c": [b"certificate"]}),
        Answer(format="android-safetynet", statement={"ver": "1", "response": b"x"}),
        Answer(format="made-up"),
    ],
    ids=lambda answer: answer.format,
)
def test_attestation_that_nobody_asked_for_is_refused(desk: Desk, answer: Answer) -> None:
    assert refusal(lambda: desk.register(Use.PASSWORDLESS, answer)) is Refusal.ATTESTATION


@pytest.mark.parametrize(
    "key",
    [{3: -65535}, {3: 0}, {1: 4}, {-1: 9}, {-2: b""}, {-2: b"\x01" * 32}],
    ids=["SHA-1", "no algorithm", "symmetric", "curve", "no x", "no point"],
)
def test_a_key_that_is_none_never_signs_in(desk: Desk, key: Mapping[int, Any]) -> None:
    """Some are seen at registration, the last at the first signature: either way it is a refusal."""

    def both() -> None:
        desk.authenticate(Use.PASSWORDLESS, desk.register(Use.PASSWORDLESS, Answer(key=key)))

    assert refusal(both) in (Refusal.NOT_VALID, Refusal.MALFORMED)


# What is no answer at all


def spoilt(made: bytes, /, **changes: Any) -> bytes:
    told = json.loads(made)
    for name, value in changes.items():
        (told if name in told else told["response"])[name] = value
    return json.dumps(told).encode()


NONSENSE = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"\xff\xfe",
    b'{"id":1}',
    b'{"response":' * 1000,
    b"[" * 10_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
]
WRONG: list[dict[str, Any]] = [
    {"id": "AAAA"},
    {"rawId": ""},
    {"rawId": 7},
    {"type": "password"},
    {"clientDataJSON": "!!!"},
    {"clientDataJSON": to_text(b"[]")},
    {"clientDataJSON": to_text(b"{}")},
    {"clientDataJSON": to_text(b"\xff")},
    {"clientDataJSON": to_text(b"[" * 9000)},
    {"clientDataJSON": None},
    {"response": []},
    {"authenticatorAttachment": "elsewhere"},
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_refused_in_the_same_words(desk: Desk, nonsense: bytes) -> None:
    passkey = desk.register(Use.PASSWORDLESS)
    for act in (
        lambda: desk.site.register(nonsense, ADA, Use.PASSWORDLESS, b"c" * 32),
        lambda: desk.site.presented(nonsense),
        lambda: desk.site.authenticate(nonsense, passkey, Use.PASSWORDLESS, b"c" * 32),
    ):
        assert refusal(act) in (Refusal.MALFORMED, Refusal.TOO_LARGE)


@pytest.mark.parametrize(
    "wrong", [*WRONG, {"attestationObject": "AAAA"}, {"attestationObject": to_text(b"\x9f" * 9000)}], ids=str
)
def test_a_registration_with_one_wrong_member_is_refused(desk: Desk, wrong: dict[str, Any]) -> None:
    asked = secrets.token_bytes(32)
    response = desk.device.create(desk.site.registration_options(ADA, Use.PASSWORDLESS, asked, ()))
    assert refusal(lambda: desk.site.register(spoilt(response, **wrong), ADA, Use.PASSWORDLESS, asked))


@pytest.mark.parametrize(
    "wrong", [*WRONG, {"signature": ""}, {"authenticatorData": "AAAA"}, {"userHandle": 7}, {"userHandle": "A"}], ids=str
)
def test_a_sign_in_with_one_wrong_member_is_refused(desk: Desk, wrong: dict[str, Any]) -> None:
    passkey = desk.register(Use.PASSWORDLESS)
    asked, response = desk.shown(Use.PASSWORDLESS, passkey)
    assert refusal(lambda: desk.site.authenticate(spoilt(response, **wrong), passkey, Use.PASSWORDLESS, asked))


def test_an_answer_that_is_too_long_is_not_read(desk: Desk) -> None:
    passkey = desk.register(Use.PASSWORDLESS)
    asked, response = desk.shown(Use.PASSWORDLESS, passkey)
    long = response[:-1] + b', "clientExtensionResults": "' + b"x" * MAX_RESPONSE + b'"}'
    assert refusal(lambda: desk.site.authenticate(long, passkey, Use.PASSWORDLESS, asked)) is Refusal.TOO_LARGE
    assert refusal(lambda: desk.site.register(long, ADA, Use.PASSWORDLESS, asked)) is Refusal.TOO_LARGE

"""Ceremonies with passkeys: once, soon, and for whom they were begun."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from auricle.adapters.passkeys.webauthn import WebauthnPasskeys
from auricle.errors import Conflict, Invalid
from auricle.identity.passkeys import (
    LIFE,
    MOST,
    Act,
    Ceremony,
    among,
    begin,
    check_new,
    check_room,
    finish,
    good_name,
    new_handle,
)
from auricle.ports.passkeys import CHALLENGE_BYTES, Owner, Passkey, PasskeyRefused, Presented, Refusal, Use
from builders.authenticator import Device
from builders.ephemeral import MemoryEphemeral

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ADA, BOB = uuid4(), uuid4()
KINDS: list[tuple[Act, Use, UUID | None]] = [
    (Act.REGISTER, Use.SECOND_FACTOR, ADA),
    (Act.REGISTER, Use.PASSWORDLESS, ADA),
    (Act.AUTHENTICATE, Use.SECOND_FACTOR, ADA),
    (Act.AUTHENTICATE, Use.PASSWORDLESS, None),
]


def refusal(act: Callable[[], object]) -> Refusal:
    with pytest.raises(PasskeyRefused) as caught:
        act()
    return caught.value.why


def passkey(id: bytes) -> Passkey:
    return Passkey(
        id=id,
        handle=b"h",
        public_key=b"k",
        sign_count=0,
        passwordless=True,
        synced=False,
        backed_up=False,
        aaguid=str(UUID(int=0)),
    )


@pytest.mark.parametrize(("act", "use", "person"), KINDS)
def test_what_was_begun_can_be_finished_until_it_is_over(act: Act, use: Use, person: UUID | None) -> None:
    ceremony = begin(act, use, person, NOW)
    assert finish(ceremony.encoded(), act, use, person, NOW + LIFE - timedelta(seconds=1)) == ceremony
    assert refusal(lambda: finish(ceremony.encoded(), act, use, person, NOW + LIFE)) is Refusal.CEREMONY


@pytest.mark.parametrize("begun", KINDS)
def test_it_is_finished_as_what_it_was_begun_for_and_by_whom(begun: tuple[Act, Use, UUID | None]) -> None:
    kept = begin(*begun, NOW).encoded()
    others = [(act, use, person) for act in Act for use in Use for person in (ADA, BOB, None) if (act, use, person) != begun]
    assert len(others) == 11
    for other in others:
        assert refusal(lambda other=other: finish(kept, *other, NOW)) is Refusal.CEREMONY


@pytest.mark.parametrize("taken", [None, b"", b"nonsense", msgspec.msgpack.encode({"act": "register"})])
def test_what_was_never_begun_cannot_be_finished(taken: bytes | None) -> None:
    assert refusal(lambda: finish(taken, Act.REGISTER, Use.PASSWORDLESS, ADA, NOW)) is Refusal.CEREMONY


@pytest.mark.parametrize(
    ("act", "use", "person"),
    [
        (Act.AUTHENTICATE, Use.PASSWORDLESS, ADA),
        (Act.AUTHENTICATE, Use.SECOND_FACTOR, None),
        (Act.REGISTER, Use.PASSWORDLESS, None),
    ],
)
def test_ceremonies_that_would_tell_or_bind_the_wrong_person_do_not_begin(act: Act, use: Use, person: UUID | None) -> None:
    with pytest.raises(ValueError, match="for nobody"):
        begin(act, use, person, NOW)


def test_challenges_and_names_and_handles_are_never_the_same() -> None:
    begun = [begin(Act.AUTHENTICATE, Use.PASSWORDLESS, None, NOW) for _ in range(100)]
    assert len({one.challenge for one in begun}) == len({one.id for one in begun}) == 100
    assert {len(one.challenge) for one in begun} == {CHALLENGE_BYTES}
    assert not any(one.id.encode() in one.challenge for one in begun)
    assert len({new_handle() for _ in range(100)}) == 100
    assert len(new_handle()) == 64


def test_an_answer_works_once_where_ceremonies_are_taken() -> None:
    """As the routes do it: kept in the ephemeral store, taken from it, checked by the site."""
    store, device, origin = MemoryEphemeral(NOW), Device("http://localhost:8000"), "http://localhost:8000"
    site, owner = WebauthnPasskeys("localhost", "Auricle", [origin]), Owner(handle=new_handle(), name="ada", display_name="Ada")
    registration = kept(store, begin(Act.REGISTER, Use.PASSWORDLESS, ADA, NOW))
    made = device.create(site.registration_options(owner, Use.PASSWORDLESS, registration.challenge, ()))
    ended = finish(store.take(registration.id), Act.REGISTER, Use.PASSWORDLESS, ADA, NOW)
    own = site.register(made, owner, Use.PASSWORDLESS, ended.challenge)

    signing_in = kept(store, begin(Act.AUTHENTICATE, Use.PASSWORDLESS, None, NOW))
    shown = device.get(site.authentication_options(Use.PASSWORDLESS, signing_in.challenge, ()))
    ended = finish(store.take(signing_in.id), Act.AUTHENTICATE, Use.PASSWORDLESS, None, NOW)
    found = among(site.presented(shown), [own])
    assert site.authenticate(shown, found, Use.PASSWORDLESS, ended.challenge).sign_count == 2
    again = store.take(signing_in.id)
    assert refusal(lambda: finish(again, Act.AUTHENTICATE, Use.PASSWORDLESS, None, NOW)) is Refusal.CEREMONY


def kept(store: MemoryEphemeral, ceremony: Ceremony) -> Ceremony:
    store.put(ceremony.id, ceremony.encoded(), LIFE.total_seconds())
    return ceremony


def test_a_second_factor_is_looked_for_among_the_persons_own() -> None:
    own = [passkey(b"one"), passkey(b"two")]
    assert among(Presented(b"two", None), own) is own[1]
    assert refusal(lambda: among(Presented(b"three", None), own)) is Refusal.OTHER_PASSKEY
    assert refusal(lambda: among(Presented(b"one", None), [])) is Refusal.OTHER_PASSKEY


def test_a_person_has_so_many_passkeys_and_no_more() -> None:
    own = [passkey(bytes([n])) for n in range(MOST - 1)]
    check_room(own)
    check_new(passkey(b"new"), own, taken=False)
    full = [*own, passkey(b"last")]
    with pytest.raises(Conflict, match="20 passkeys"):
        check_room(full)
    with pytest.raises(Conflict, match="20 passkeys"):
        check_new(passkey(b"new"), full, taken=False)


def test_a_passkey_belongs_to_one_person() -> None:
    with pytest.raises(Conflict, match="already"):
        check_new(passkey(b"one"), [], taken=True)
    with pytest.raises(Conflict, match="already"):
        check_new(passkey(b"one"), [passkey(b"one")], taken=False)


def test_names_are_tidied() -> None:
    assert good_name("  Ada's\t telephone ") == "Ada's telephone"
    for wrong in ("", "   ", "x" * 101, "x" * 1_000_000, "bell\x07"):
        with pytest.raises(Invalid, match="1 to 100"):
            good_name(wrong)

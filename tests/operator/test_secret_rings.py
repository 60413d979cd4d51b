"""Keys of sign-ins: exchanged in place, and nobody is signed out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from auricle.adapters.signing.es256 import Es256Verifier
from auricle.adapters.signing.joserfc import JoserfcSigner
from auricle.ports.signing import KeySet, TokenKind, TokenRefused
from auricle_operator.api.managedsecret import Purpose
from auricle_operator.cluster import SECRET
from builders.operator_secrets import HOME, PLACE, Killed, SecretHouse

MOUNTED = timedelta(minutes=2)
"""Until a changed Secret has reached running pods."""


class People:
    """Sign in with what identity has mounted, and are let in with what the others have, each as it was a while ago."""

    def __init__(self, house: SecretHouse) -> None:
        self.house = house
        self.private = self.public = b""
        self.signer = JoserfcSigner(lambda: self.private)
        self.verifier = Es256Verifier(lambda: self.public)
        self.mount()

    def mount(self) -> None:
        found = self.house.secrets(PLACE)
        self.private, self.public = found["auricle-signing"]["signing-keys.json"], found["auricle-public-keys"]["jwks.json"]

    def sign_in(self) -> str:
        return self.signer.sign(TokenKind.ACCESS, b"{}", self.house.now)

    def enter(self, token: str) -> None:
        self.verifier.verify(token, [TokenKind.ACCESS], self.house.now)


@pytest.fixture
def house() -> SecretHouse:
    return SecretHouse()


@pytest.fixture
def name(house: SecretHouse) -> str:
    name = house.keep(Purpose.SIGNING, interval="2160h")
    house.look(name)
    return name


def test_nobody_is_signed_out_by_an_exchange_and_the_old_key_is_refused_afterwards(house: SecretHouse, name: str) -> None:
    people = People(house)
    old = people.sign_in()
    house.ask(name, "now")
    states = []
    for _ in range(100):
        held = people.sign_in()
        house.look(name)
        states.append(house.status(name)["state"])
        house.later(seconds=MOUNTED.total_seconds())
        people.enter(held)  # before anything is mounted anew
        people.mount()
        people.enter(held)
        people.enter(people.sign_in())
    assert sorted(set(states), key=states.index) == ["Rolling", "Overlapping", "Stable"]
    with pytest.raises(TokenRefused):
        people.enter(old)
    assert house.numbers(name) == [2]
    published = KeySet.from_document(people.public)
    assert len(published.keys) == 1, "what has ended is not published any more"
    assert house.status(name)["current"] == "auricle-signing"


def test_the_next_key_is_published_before_it_can_sign(house: SecretHouse, name: str) -> None:
    before = KeySet.from_document(People(house).public)
    house.ask(name, "now")
    house.look(name)
    after = KeySet.from_document(People(house).public)
    assert after.signing(house.now) == after.keys[0]
    assert after.keys[0].kid == before.keys[0].kid
    assert after.keys[1].not_before == house.now + timedelta(hours=1)


def test_a_key_that_was_made_and_never_published_does_not_sign_unknown(house: SecretHouse, name: str) -> None:
    """The operator dies after it wrote the intent, and comes back when the key would already sign."""
    people = People(house)
    house.ask(name, "now")
    awaits = 1
    while house.numbers(name) == [1]:
        with pytest.raises(Killed):
            house.look(name, kill_at=awaits)
        awaits += 1
    assert "auricle-signing" in house.secrets(PLACE)
    assert people.private == house.secrets(PLACE)["auricle-signing"]["signing-keys.json"], "killed before it was published"
    house.later(hours=3)
    for _ in range(90):
        house.look(name)
        token = people.sign_in()
        people.enter(token)
        people.mount()
        token = people.sign_in()
        house.later(seconds=MOUNTED.total_seconds())
        people.enter(token)
    assert house.status(name)["state"] == "Stable"
    assert house.numbers(name) == [3]


def test_it_is_exchanged_every_interval(house: SecretHouse, name: str) -> None:
    assert house.look(name) == 90 * 86400.0
    house.later(days=90)
    assert house.look(name) == 3600.0
    assert house.numbers(name) == [2]


def test_asking_again_while_the_next_key_waits_makes_no_third(house: SecretHouse, name: str) -> None:
    for value in ("one", "two"):
        house.ask(name, value)
        house.look(name)
    for _ in range(5):
        house.later(hours=1)
        house.look(name)
    assert house.numbers(name) == [2]


@pytest.mark.parametrize("secret", ["auricle-signing", "auricle-public-keys"])
def test_what_is_mounted_comes_back_the_same(house: SecretHouse, name: str, secret: str) -> None:
    before = house.secrets(PLACE)
    house.cluster.remove(SECRET, secret, PLACE)
    house.look(name)
    assert house.secrets(PLACE) == before
    changed = house.cluster.at(SECRET, secret, PLACE)
    changed["data"] = {"more": "eA=="}
    changed["immutable"] = True
    house.look(name)
    assert house.secrets(PLACE) == before
    assert "immutable" not in house.cluster.at(SECRET, secret, PLACE)


def test_an_interrupted_exchange_is_not_taken_for_overslept_when_its_keys_were_mounted(house: SecretHouse, name: str) -> None:
    house.ask(name, "now")
    awaits = 1
    while (
        len(KeySet.from_document(house.secrets(PLACE)["auricle-public-keys"]["jwks.json"]).keys) == 1
        or (house.secrets(PLACE)["auricle-signing"]["signing-keys.json"]) == b""
    ):
        with pytest.raises(Killed):
            house.look(name, kill_at=awaits)
        awaits += 1
    with pytest.raises(Killed):
        house.look(name, kill_at=awaits)
    mounted = house.secrets(PLACE)["auricle-signing"]
    house.later(hours=3)
    house.look(name)
    assert house.secrets(PLACE)["auricle-signing"] == mounted
    assert house.secrets(HOME)["acme.auricle-signing.v2"] == mounted


def test_lost_altogether_people_sign_in_anew(house: SecretHouse, name: str) -> None:
    house.cluster.remove(SECRET, "auricle-signing", PLACE)
    house.cluster.remove(SECRET, "acme.auricle-signing.v1", HOME)
    house.look(name)
    people = People(house)
    people.enter(people.sign_in())
    assert house.numbers(name) == [2]

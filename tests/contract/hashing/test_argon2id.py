"""What is true of Argon2id alone."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import argon2
import pytest

from auricle.adapters.hashing.argon2id import WEAKEST, Argon2id, Cost

SECRET = "korrekt Pferd Batterie Heftklammer"


@pytest.fixture(scope="module")
def hasher() -> Argon2id:
    return Argon2id()


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parameters of every hash that libargon2 is asked to work through."""
    seen: list[str] = []
    real = argon2.PasswordHasher.verify

    def watched(self: argon2.PasswordHasher, hash: str, password: bytes) -> bool:
        seen.append(hash.split("$")[3] if hash.startswith("$argon2") else "none")
        return real(self, hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", watched)
    return seen


def test_the_default_is_owasps(hasher: Argon2id) -> None:
    assert re.fullmatch(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[^$]{22}\$[^$]{43}", hasher.hash(SECRET))


@pytest.mark.parametrize(("memory", "passes"), WEAKEST)
def test_what_owasp_holds_for_equally_strong_is_allowed_and_a_little_less_is_not(memory: int, passes: int) -> None:
    assert Cost(memory=memory, passes=passes).passes == passes
    with pytest.raises(ValueError, match="too cheaply"):
        Cost(memory=memory - 1, passes=passes)
    if passes > 1:
        with pytest.raises(ValueError, match="too cheaply"):
            Cost(memory=memory, passes=passes - 1)


def test_an_unknown_account_costs_one_hash_of_the_same_parameters(hasher: Argon2id, worked: list[str]) -> None:
    kept = hasher.hash(SECRET)
    hasher.prepare()
    worked.clear()
    hasher.verify(SECRET, kept)
    hasher.verify("wrong", kept)
    hasher.verify(SECRET, None)
    assert worked == ["m=19456,t=2,p=1"] * 3


def test_a_broken_hash_costs_as_much_and_is_reported_without_what_was_typed(
    hasher: Argon2id, worked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    hasher.prepare()
    worked.clear()
    with caplog.at_level(logging.ERROR):
        assert hasher.verify(SECRET, "$argon2id$v=19$m=19456,t=2,p=1$broken") is False
    assert worked[-1] == "m=19456,t=2,p=1"
    assert "cannot sign in" in caplog.text
    assert SECRET not in caplog.text


def test_a_secret_that_is_too_long_costs_nothing_for_anybody(hasher: Argon2id, worked: list[str]) -> None:
    kept = hasher.hash(SECRET)
    hasher.prepare()
    worked.clear()
    assert hasher.verify("x" * 1025, kept) is False
    assert hasher.verify("x" * 1025, None) is False
    assert worked == []


@pytest.mark.parametrize(
    "told", ["m=1048577,t=2,p=1", "m=4294967295,t=2,p=1", "m=19456,t=33,p=1", "m=19456,t=4294967295,p=1", "m=19456,t=2,p=17"]
)
def test_a_kept_hash_cannot_make_us_work_without_end(hasher: Argon2id, worked: list[str], told: str) -> None:
    kept = hasher.hash(SECRET).replace("m=19456,t=2,p=1", told)
    hasher.prepare()
    worked.clear()
    assert hasher.verify(SECRET, kept) is False
    assert worked == ["m=19456,t=2,p=1"]  # an unknown account's, and never the one that was told


@pytest.mark.parametrize("cost", [{"memory": 1_048_577}, {"passes": 33}, {"lanes": 17}, {"lanes": 0}])
def test_settings_that_would_stop_the_machine_are_refused(cost: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"machine|cheaply"):
        Cost(**cost)


WITHOUT_MEMORY = """
import resource
from auricle.adapters.hashing.argon2id import Argon2id
from auricle.errors import Retryable
hasher = Argon2id()
kept = hasher.hash("secret")  # loads and warms all there is
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 8 * 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]))  # a hash takes 19 MiB
for act in (lambda: hasher.verify("secret", kept), lambda: hasher.hash("secret")):
    try:
        print(act())
    except Retryable as error:
        print("busy:", error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_a_machine_without_memory_is_busy_and_calls_no_password_wrong() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["busy: The server is too busy to check passwords. Try again in a moment."] * 2, (
        done.stderr
    )


def test_threads_share_one_hasher() -> None:
    hasher = Argon2id()
    kept = hasher.hash(SECRET)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: hasher.verify(SECRET if n % 2 else "wrong", kept if n % 3 else None), range(12)))
    assert answers == [n % 2 == 1 and n % 3 != 0 for n in range(12)]

"""What is kept sealed opens for whom it was sealed, and for nobody else."""

from __future__ import annotations

from uuid import UUID

import pytest

from auricle.adapters.sealing.aesgcm import AesGcm
from auricle.errors import Invalid, Permanent

OLD, NEW = "11" * 32, "22" * 32
ADA, BEN = UUID(int=1), UUID(int=2)


def test_what_was_sealed_opens_again_and_is_never_sealed_the_same() -> None:
    sealing = AesGcm(OLD)
    one, other = (sealing.seal(ADA, "totp", b"secret") for _ in "12")
    assert one != other
    assert b"secret" not in one
    assert sealing.open(ADA, "totp", one) == sealing.open(ADA, "totp", other) == b"secret"
    assert sealing.open(ADA, "totp", sealing.seal(ADA, "totp", b"")) == b""


@pytest.mark.parametrize(("person", "purpose"), [(BEN, "totp"), (ADA, "mail"), (UUID(int=1 << 8), "totp")])
def test_a_row_copied_to_another_place_does_not_open(person: UUID, purpose: str) -> None:
    sealed = AesGcm(OLD).seal(ADA, "totp", b"secret")
    with pytest.raises(Permanent):
        AesGcm(OLD).open(person, purpose, sealed)


def test_every_changed_bit_and_every_cut_is_noticed() -> None:
    sealing = AesGcm(OLD)
    sealed = sealing.seal(ADA, "totp", b"secret")
    broken = [sealed[:at] + bytes([sealed[at] ^ 1 << bit]) + sealed[at + 1 :] for at in range(len(sealed)) for bit in range(8)]
    for other in [*broken, *(sealed[:length] for length in range(len(sealed))), sealed + b"\0"]:
        with pytest.raises(Permanent):
            sealing.open(ADA, "totp", other)


def test_a_key_takes_over_while_the_other_still_opens() -> None:
    sealed = AesGcm(OLD).seal(ADA, "totp", b"secret")
    both = AesGcm(f"{NEW},{OLD}")
    assert both.open(ADA, "totp", sealed) == b"secret"
    assert AesGcm(NEW).open(ADA, "totp", both.seal(ADA, "totp", b"secret")) == b"secret"
    with pytest.raises(Permanent):
        AesGcm(NEW).open(ADA, "totp", sealed)


@pytest.mark.parametrize("keys", ["", ",", "11", "zz" * 32, f"{OLD},11"])
def test_keys_that_are_none_are_refused(keys: str) -> None:
    with pytest.raises(Invalid, match="SEALING_KEYS"):
        AesGcm(keys)

"""The laptop's keys of sign-in: made at a start, rotated with overlap at a later one, never lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auricle.adapters.signing.es256 import Es256Verifier
from auricle.adapters.signing.joserfc import JoserfcSigner
from auricle.ports.signing import KeySet, TokenKind
from auricle.runtime.local.identity import ROTATED_AFTER, LocalIdentity

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
ACCESS = (TokenKind.ACCESS,)


def published(folder: Path) -> list[str]:
    return [key.kid for key in KeySet.from_document((folder / "jwks.json").read_bytes()).keys]


def test_a_first_start_makes_everything_and_a_second_changes_nothing(tmp_path: Path) -> None:
    code = LocalIdentity(tmp_path).prepare(NOW)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(made) == {"signing-keys.json", "jwks.json", "setup-code"}
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    assert set(LocalIdentity(tmp_path).settings.values()) == {str(path) for path in tmp_path.iterdir()}
    assert LocalIdentity(tmp_path).prepare(NOW + timedelta(days=1)) == code
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == made


def test_an_old_key_gets_a_successor_and_goes_on_verifying_what_it_signed(tmp_path: Path) -> None:
    LocalIdentity(tmp_path).prepare(NOW)
    (first,) = published(tmp_path)
    signer = JoserfcSigner((tmp_path / "signing-keys.json").read_bytes)
    verifier = Es256Verifier((tmp_path / "jwks.json").read_bytes)
    later = NOW + ROTATED_AFTER
    before = signer.sign(TokenKind.ACCESS, b"{}", later - timedelta(minutes=1))
    verifier.verify(before, ACCESS, later - timedelta(minutes=1))
    LocalIdentity(tmp_path).prepare(later)
    old, young = published(tmp_path)
    assert old == first
    assert signer.keys().signing(later).kid == old  # the next one is published, and not yet used
    assert verifier.verify(before, ACCESS, later + timedelta(minutes=2)).payload == b"{}"
    handed_over = later + timedelta(hours=2)
    assert signer.keys().signing(handed_over).kid == young  # without a restart
    after = signer.sign(TokenKind.ACCESS, b"{}", handed_over)
    assert verifier.verify(after, ACCESS, handed_over).payload == b"{}"
    LocalIdentity(tmp_path).prepare(later + timedelta(days=30))
    assert published(tmp_path) == [young]  # the old one's last token has ended long ago


@pytest.mark.parametrize("lost", ["jwks.json", "setup-code"])
def test_what_somebody_removed_is_there_again_after_a_start(tmp_path: Path, lost: str) -> None:
    LocalIdentity(tmp_path).prepare(NOW)
    keys = (tmp_path / "signing-keys.json").read_bytes()
    (tmp_path / lost).unlink()
    LocalIdentity(tmp_path).prepare(NOW + timedelta(days=1))
    assert (tmp_path / lost).read_bytes()
    assert (tmp_path / "signing-keys.json").read_bytes() == keys

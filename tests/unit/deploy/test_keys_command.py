"""`auricle keys`: what an administrator does with the keys that sign-ins are signed with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from click.testing import CliRunner, Result

from auricle.adapters.signing.ring import Ring
from auricle.cli import main
from auricle.ports.signing import KeySet


def keys(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["keys", *map(str, words)])


def kids(folder: Path) -> list[str]:
    """Published names; both files must say the same."""
    found = [key.kid for key in KeySet.from_document((folder / "jwks.json").read_bytes()).keys]
    assert found == [key.kid for key in Ring.from_text((folder / "signing-keys.json").read_bytes()).public.keys]
    return found


def test_new_makes_both_files_once(tmp_path: Path) -> None:
    assert keys("new", tmp_path).exit_code == 0
    (kid,) = kids(tmp_path)
    again = keys("new", tmp_path)
    assert again.exit_code == 1
    assert "auricle keys rotate" in again.output
    assert kids(tmp_path) == [kid]
    assert "signs" in keys("list", tmp_path).output
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_rotating_publishes_the_next_key_long_before_it_signs(tmp_path: Path) -> None:
    keys("new", tmp_path)
    (first,) = kids(tmp_path)
    done = keys("rotate", tmp_path, "--ahead", "90")
    assert "signs from" in done.output
    old, young = kids(tmp_path)
    assert old == first
    public, now = KeySet.from_document((tmp_path / "jwks.json").read_bytes()), datetime.now(UTC)
    assert public.signing(now + timedelta(minutes=80)).kid == old
    assert public.signing(now + timedelta(minutes=91)).kid == young


def test_a_stolen_key_is_taken_out_and_somebody_can_always_sign_in(tmp_path: Path) -> None:
    keys("new", tmp_path)
    (stolen,) = kids(tmp_path)
    assert keys("remove", tmp_path, stolen).exit_code == 0
    (next_,) = kids(tmp_path)
    assert next_ != stolen
    public = KeySet.from_document((tmp_path / "jwks.json").read_bytes())
    assert public.signing(datetime.now(UTC) + timedelta(seconds=1)).kid == next_
    unknown = keys("remove", tmp_path, stolen)
    assert unknown.exit_code == 1
    assert "auricle keys list" in unknown.output


def test_without_keys_it_says_how_to_make_them_and_private_halves_are_never_shown(tmp_path: Path) -> None:
    for word in ("rotate", "list"):
        assert "auricle keys new" in keys(word, tmp_path).output
    keys("new", tmp_path)
    assert "PRIVATE" in (tmp_path / "signing-keys.json").read_text()
    assert "PRIVATE" not in keys("rotate", tmp_path).output + (tmp_path / "jwks.json").read_text()


def test_a_name_that_begins_with_a_hyphen_is_a_name(tmp_path: Path) -> None:
    keys("new", tmp_path)
    refused = keys("remove", tmp_path, "-not-a-key")
    assert (refused.exit_code, "auricle keys list" in refused.output) == (1, True)

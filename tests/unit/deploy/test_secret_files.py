"""Secrets are made once, fit together, and are nobody else's to read."""

from __future__ import annotations

from pathlib import Path

from auricle.adapters.signing.ring import Ring
from auricle.deploy.secretfiles import fill, read
from auricle.deploy.secretobjects import SECRET_FILES, SECRET_OBJECTS
from auricle.ports.signing import KeySet


def values(folder: Path) -> dict[str, dict[str, str]]:
    return {path.stem: read(path.read_text()) for path in folder.glob("*.env")}


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    assert fill(tmp_path)
    before = values(tmp_path)
    assert fill(tmp_path) == []
    assert values(tmp_path) == before


def test_what_somebody_set_stays_and_what_is_missing_is_made(tmp_path: Path) -> None:
    (tmp_path / "auricle-blobs.env").write_text("S3_ACCESS_KEY_ID=mine\n# a comment\nOTHER=kept\n")
    fill(tmp_path)
    made = values(tmp_path)["auricle-blobs"]
    assert (made["S3_ACCESS_KEY_ID"], made["OTHER"]) == ("mine", "kept")
    assert len(made["S3_SECRET_ACCESS_KEY"]) >= 24


def test_every_secret_that_a_function_asks_for_is_there(tmp_path: Path) -> None:
    fill(tmp_path)
    made = values(tmp_path)
    empty = {setting for setting, secret in SECRET_OBJECTS.items() if not made[secret][setting.upper()]}
    assert empty == {"smtp_password"}  # another house's, to be filled in by hand
    assert all((tmp_path / file.key).read_bytes() for file in SECRET_FILES.values())


def test_keys_of_sign_ins_fit_each_other_and_a_lost_public_half_is_written_again(tmp_path: Path) -> None:
    fill(tmp_path)
    private, public = tmp_path / "signing-keys.json", tmp_path / "jwks.json"
    names = {key.kid for key in KeySet.from_document(public.read_bytes()).keys}
    assert names == {key.kid for key in Ring.from_text(private.read_bytes()).public.keys}
    before = private.read_bytes()
    public.unlink()
    assert fill(tmp_path) == [public]
    assert private.read_bytes() == before
    assert {key.kid for key in KeySet.from_document(public.read_bytes()).keys} == names


def test_redis_is_given_the_password_that_functions_present(tmp_path: Path) -> None:
    fill(tmp_path)
    made = values(tmp_path)
    assert f":{made['redis']['REDIS_PASSWORD']}@redis:6379" in made["auricle-redis"]["REDIS_URL"]


def test_addresses_carry_the_passwords_that_the_database_gets(tmp_path: Path) -> None:
    fill(tmp_path)
    made = values(tmp_path)
    assert made["postgres"]["AURICLE_APP_PASSWORD"] in made["auricle-database"]["DATABASE_URL"]
    assert made["postgres"]["AURICLE_MIGRATE_PASSWORD"] in made["auricle-owner"]["OWNER_DATABASE_URL"]


def test_functions_go_through_a_pooler_and_jobs_that_alter_past_it(tmp_path: Path) -> None:
    fill(tmp_path, "pgbouncer:6432")
    made = values(tmp_path)
    assert "@pgbouncer:6432/" in made["auricle-database"]["DATABASE_URL"]
    assert "@postgres:5432/" in made["auricle-owner"]["OWNER_DATABASE_URL"]


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    assert {path.stat().st_mode & 0o077 for path in fill(tmp_path / "secrets")} == {0}

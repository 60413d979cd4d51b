"""Sizes, types and names of what comes in."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.contract.ids import uuid7
from auricle.errors import Invalid, TooLarge
from auricle.files.model import MAX_NAME, FileId
from auricle.intake.model import (
    MAX_PARTS,
    PART_SECONDS,
    Upload,
    UploadId,
    UploadLimits,
    UploadState,
    arrived_type,
    base_name,
    check_sha256,
    check_size,
    drop_prefix,
    dropped_by,
    dropped_name,
    extension,
    media_type,
    part_size,
    readable,
    upload_key,
)

LIMITS = UploadLimits(max_bytes=2**41, part_bytes=16 * 2**20, hours=24)


def upload(size: int, part: int) -> Upload:
    """An open upload of this size."""
    return Upload(
        id=UploadId(uuid7()),
        file_id=FileId(uuid7()),
        owner=uuid4(),
        key="k",
        ref="r",
        size=size,
        part_size=part,
        state=UploadState.OPEN,
        expires_at=datetime.now(UTC),
        seconds_left=PART_SECONDS,
    )


@given(st.integers(1, 2**41))
def test_parts_cover_any_file_exactly_and_are_never_too_many(size: int) -> None:
    whole = upload(size, part_size(size, LIMITS))
    assert 1 <= whole.part_count <= MAX_PARTS
    assert whole.part_size >= LIMITS.part_bytes
    assert whole.part_bytes(1) + (whole.part_count - 2) * whole.part_size + whole.part_bytes(whole.part_count) == size or (
        whole.part_count == 1 and whole.part_bytes(1) == size
    )
    assert 0 < whole.part_bytes(whole.part_count) <= whole.part_size


def test_parts_have_the_configured_size_until_there_would_be_too_many() -> None:
    assert part_size(LIMITS.part_bytes * MAX_PARTS, LIMITS) == LIMITS.part_bytes
    assert part_size(LIMITS.part_bytes * MAX_PARTS + 1, LIMITS) == LIMITS.part_bytes + 2**20


@pytest.mark.parametrize("size", [0, -5])
def test_an_empty_file_is_refused_with_a_sentence(size: int) -> None:
    with pytest.raises(Invalid, match="The file is empty"):
        check_size(size, LIMITS)


def test_a_file_above_the_limit_is_refused_with_both_sizes() -> None:
    check_size(2**41, LIMITS)
    with pytest.raises(TooLarge, match=r"3\.0 TiB; one upload may have 2\.0 TiB"):
        check_size(3 * 2**40, LIMITS)


@pytest.mark.parametrize(
    ("size", "words"), [(1, "1 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 * 2**60, "5242880.0 TiB")]
)
def test_sizes_are_readable(size: int, words: str) -> None:
    assert readable(size) == words


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b/c.mp3", "c.mp3"), ("C:\\fakepath\\x.wav", "x.wav"), ("dir/", "dir"), (" plain ", "plain"), ("/", "")],
)
def test_browsers_and_buckets_send_paths(path: str, name: str) -> None:
    assert base_name(path) == name


def test_a_dropped_object_always_has_a_name() -> None:
    assert dropped_name("drop/x/sub/Ömer spricht.m4a") == "Ömer spricht.m4a"
    assert dropped_name("drop/x/\x01\x02") == "Unnamed"
    long = dropped_name(f"drop/x/{'n' * 400}.mp3")
    assert len(long) == MAX_NAME
    assert long.endswith(".mp3")


@given(st.text())
def test_no_key_leads_to_a_bad_name(key: str) -> None:
    assert 0 < len(dropped_name(key)) <= MAX_NAME


@pytest.mark.parametrize(
    ("declared", "name", "kind"),
    [
        ("audio/x-custom; codecs=opus", "a.bin", "audio/x-custom"),
        (None, "a.M4A", "audio/mp4"),
        (None, "a.mkv", "video/x-matroska"),
        ("text/html", "a.html", "application/octet-stream"),
        ("text/html", "a.mp3", "audio/mpeg"),  # kept as such: the store is told the same
        ("image/svg+xml", "a.svg", "application/octet-stream"),
        ("audio/x\r\nX-Evil: 1", "a", "application/octet-stream"),
        (None, "no ending", "application/octet-stream"),
    ],
)
def test_uploads_are_kept_as_sound_film_or_mere_bytes(declared: str | None, name: str, kind: str) -> None:
    assert media_type(declared, name) == kind


@pytest.mark.parametrize(
    ("stored", "name", "kind"),
    [
        ("audio/ogg", "a.bin", "audio/ogg"),
        ("application/octet-stream", "a.mp3", "audio/mpeg"),
        ("binary/octet-stream", "a.mp4", "video/mp4"),
        ("text/html", "a.mp3", "application/octet-stream"),  # the store would serve it as HTML
    ],
)
def test_a_name_never_hides_what_the_store_would_serve(stored: str, name: str, kind: str) -> None:
    assert arrived_type(stored, name) == kind


def test_checksums_are_compared_in_one_form() -> None:
    assert check_sha256(None) is None
    assert check_sha256(" " + "AB" * 32) == "ab" * 32
    for wrong in ("", "ab", "g" * 64, "ab" * 33):
        with pytest.raises(Invalid, match="64 hexadecimal"):
            check_sha256(wrong)


@pytest.mark.parametrize(
    ("name", "ending"), [("a.MP3", ".mp3"), ("a.tar.gz", ".gz"), ("a", ""), ("a.m p", ""), ("a.ünd", ""), (".wav", ".wav")]
)
def test_keys_end_plainly(name: str, ending: str) -> None:
    assert extension(name) == ending


def test_keys_say_whose_they_are() -> None:
    owner, file_id, object_id = uuid4(), FileId(uuid7()), uuid4()
    assert upload_key(owner, file_id, object_id, "x/../y.Mp4") == f"uploads/{owner}/{file_id}/{object_id}.mp4"
    assert dropped_by(f"{drop_prefix(owner)}a/b.wav") == owner
    for nobodys in (drop_prefix(owner), f"{drop_prefix(owner)}folder/", "drop/me/a.wav", "drop/a.wav", f"drop/{owner}"):
        assert dropped_by(nobodys) is None

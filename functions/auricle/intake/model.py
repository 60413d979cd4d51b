"""Uploads: their parts, their limits, what a file may be called and what it probably is."""

from __future__ import annotations

import mimetypes
import re
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

import msgspec

from auricle.errors import Invalid, TooLarge
from auricle.files.model import MAX_NAME, ChunkRow, FileId, Findings, MediaKind, clean_name, uploads_prefix

UploadId = NewType("UploadId", UUID)
MAX_PARTS = 10_000
"""S3's limit; parts of larger files are larger."""
FIRST_PARTS = 10
"""URLs in the answer to beginning an upload: enough for most recordings, small for long ones."""
MAX_SIGNED = 100
"""URLs of one call for more."""
DROP_SECONDS = 3600
"""How long a URL for dropping one object lives."""
PART_SECONDS = 24 * 3600
"""The longest that a part's URL lives. What is purged is erased again after this: `files.store.ERASE_AGAIN` is above it."""
MEBIBYTE = 2**20
UPLOADS = "uploads/"
DROPS = "drop/"
OCTETS = "application/octet-stream"
EMPTY = "The file is empty: it has no bytes at all. Choose another file, or record it again."


class UploadState(StrEnum):
    """Where an upload is. Whatever is not open stays as it is."""

    OPEN = "open"
    COMPLETED = "completed"
    EXPIRED = "expired"
    ABORTED = "aborted"


class UploadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What this deployment allows: bytes of one upload, bytes of a part (the least), hours that an upload may stay open,
    bytes of all files together (None: any)."""

    max_bytes: int
    part_bytes: int
    hours: int
    storage_bytes: int | None = None


class BucketToken(msgspec.Struct, frozen=True, kw_only=True):
    """What a bucket notification must present (empty: none is believed), and which bucket it must be of (empty: any)."""

    value: str
    bucket: str = ""


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload as the house knows it. `ref` is the store's own reference; `seconds_left` is by the database's clock."""

    id: UploadId
    file_id: FileId
    owner: UUID
    key: str
    ref: str
    size: int
    part_size: int
    state: UploadState
    expires_at: datetime
    seconds_left: float

    @property
    def part_count(self) -> int:
        """How many parts there are."""
        return -(-self.size // self.part_size)

    def part_bytes(self, number: int) -> int:
        """Bytes of part `number` (from 1); the last one has the rest."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)


class SignedPart(msgspec.Struct, frozen=True):
    """Where part `number` goes: one PUT of its bytes, no other header needed."""

    number: int
    url: str


class StartedUpload(msgspec.Struct, frozen=True, kw_only=True):
    """A begun upload. Part n has the bytes from `(n - 1) · part_size`; `parts` are the first ones' URLs, ask for the others."""

    id: UploadId
    file_id: FileId
    part_size: int
    part_count: int
    parts: tuple[SignedPart, ...]
    expires_at: datetime


class SignedParts(msgspec.Struct, frozen=True):
    """More parts' URLs."""

    parts: tuple[SignedPart, ...]


class ReceivedPart(msgspec.Struct, frozen=True):
    """A part that is there, whole."""

    number: int
    size: int


class UploadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far an upload is, as the store says. `missing` are the numbers still to be sent."""

    id: UploadId
    file_id: FileId
    state: UploadState
    size: int
    part_size: int
    part_count: int
    parts: tuple[ReceivedPart, ...]
    missing: tuple[int, ...]
    expires_at: datetime


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """Where a whole file can be PUT at once; whatever arrives beneath `prefix` becomes a file."""

    url: str
    key: str
    prefix: str
    expires_at: datetime


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody says that an object is there. What it really is, the store is asked."""

    key: str
    etag: str = ""
    size: int = 0


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """What preparing a file gave, before it is written down."""

    findings: Findings
    chunks: tuple[ChunkRow, ...]


# Sizes.


def check_size(size: int, limits: UploadLimits) -> None:
    """Refuse what is empty or too large."""
    if size <= 0:
        raise Invalid(EMPTY, field="size")
    if size > limits.max_bytes:
        raise TooLarge(too_large(size, limits), max_bytes=limits.max_bytes)


class NoRoom(TooLarge):
    """The deployment keeps as many bytes as it may."""

    title = "No room left"


def check_room(size: int, taken: int, limits: UploadLimits) -> None:
    """Refuse what does not fit beside the bytes that are `taken`."""
    if limits.storage_bytes is None or taken + size <= limits.storage_bytes:
        return
    left = max(0, limits.storage_bytes - taken)
    raise NoRoom(no_room(size, taken, limits), left_bytes=left, max_bytes=limits.storage_bytes)


def no_room(size: int, taken: int, limits: UploadLimits) -> str:
    """Why a file of `size` bytes (0: nobody knows) is not taken beside those that are."""
    most = limits.storage_bytes or 0
    wanted = f"The file has {readable(size)}; " if size else ""
    left = f"{readable(max(0, most - taken))} of this vault's {readable(most)} are left."
    return f"{wanted}{left} Purge files that nobody needs (the trash counts too), or ask the administrator for more room."


def too_large(size: int, limits: UploadLimits) -> str:
    """Why a file of `size` bytes is not taken."""
    return (
        f"The file has {readable(size)}; one upload may have {readable(limits.max_bytes)} at most. "
        "Split or compress it, or ask the operator to raise MAX_UPLOAD_BYTES."
    )


def readable(size: int) -> str:
    """Bytes for people."""
    amount, unit = float(size), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


def part_size(size: int, limits: UploadLimits) -> int:
    """Bytes of a part, so that no file has more than `MAX_PARTS`."""
    least = -(-size // MAX_PARTS)
    return limits.part_bytes if least <= limits.part_bytes else -(-least // MEBIBYTE) * MEBIBYTE


# Names and types.


def base_name(path: str) -> str:
    """The last component of what a browser or a bucket calls a file."""
    return re.split(r"[/\\]", path.strip().rstrip("/\\"))[-1]


def dropped_name(key: str) -> str:
    """A name for an object that came by itself: nobody is there to be told of a bad one."""
    name = base_name(key)
    stem, dot, ending = name.rpartition(".")
    if len(name) > MAX_NAME:
        name = f"{stem[: MAX_NAME - len(ending) - 1]}{dot}{ending}" if dot and len(ending) < 16 else name[:MAX_NAME]
    try:
        return clean_name(name)
    except Invalid:
        return "Unnamed"


def extension(name: str) -> str:
    """`.mp3`, if the name ends with something so plain; for keys, where odd characters only make trouble."""
    found = re.search(r"\.[A-Za-z0-9]{1,10}$", name)
    return found.group().lower() if found else ""


_MEDIA_TYPES = {
    ".aac": "audio/aac",
    ".aif": "audio/aiff",
    ".aiff": "audio/aiff",
    ".amr": "audio/amr",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".mka": "audio/x-matroska",
    ".mp3": "audio/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".wma": "audio/x-ms-wma",
    ".3gp": "video/3gpp",
    ".avi": "video/x-msvideo",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".ogv": "video/ogg",
    ".ts": "video/mp2t",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
}
"""Slim images have no mime.types, and Python's own table lacks half of these."""
_MEDIA_TYPE = re.compile(r"(audio|video)/[a-z0-9][a-z0-9.+-]{0,100}")


def media_type(declared: str | None, name: str) -> str:
    """What browsers will be told that the bytes are: a sound, a film, or just bytes; never something they would run."""
    given = (declared or "").partition(";")[0].strip().lower()
    if _MEDIA_TYPE.fullmatch(given):
        return given
    ending = extension(name)
    guess = _MEDIA_TYPES.get(ending) or mimetypes.types_map.get(ending, OCTETS)
    return guess if _MEDIA_TYPE.fullmatch(guess) else OCTETS


_UNSAID = frozenset({"", OCTETS, "binary/octet-stream", "application/x-www-form-urlencoded"})
"""What tools say of an upload when nobody told them anything (S3 itself, curl)."""


def arrived_type(stored: str, name: str) -> str:
    """The type of an object that came by itself: its name may guess only what the store will not contradict to a browser."""
    given = stored.partition(";")[0].strip().lower()
    return media_type(given, name if given in _UNSAID else "")


def kind_of(content_type: str) -> MediaKind:
    """Sound, film or something else, as far as its type tells."""
    return {"audio": MediaKind.AUDIO, "video": MediaKind.VIDEO}.get(content_type.partition("/")[0], MediaKind.OTHER)


_HEX256 = re.compile(r"[0-9a-f]{64}")


def check_sha256(text: str | None) -> str | None:
    """A checksum as it is compared, or the complaint that it is none."""
    if text is None:
        return None
    lower = text.strip().lower()
    if not _HEX256.fullmatch(lower):
        raise Invalid("sha256 is 64 hexadecimal digits; `sha256sum FILE` prints them.", field="sha256")
    return lower


# Keys.


def upload_key(owner: UUID, file_id: FileId, object_id: UUID, name: str) -> str:
    """Where an upload's bytes arrive. The random part keeps anybody who knows the file from guessing it."""
    return f"{uploads_prefix(owner, file_id)}{object_id}{extension(name)}"


def drop_prefix(owner: UUID) -> str:
    """Whatever arrives beneath this becomes the owner's file."""
    return f"{DROPS}{owner}/"


def dropped_by(key: str) -> UUID | None:
    """Whose drop prefix `key` is under; None for folders and for what is under nobody's."""
    owner, _, name = key.removeprefix(DROPS).partition("/")
    if not name or name.endswith("/"):
        return None
    try:
        return UUID(owner)
    except ValueError:
        return None

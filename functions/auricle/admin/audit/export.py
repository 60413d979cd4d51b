"""The trail in other systems' words: JSON Lines, CSV, CEF; as a stream of any length, and as the object of a day."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from datetime import date
from enum import StrEnum
from typing import IO

import msgspec

from auricle import __version__
from auricle.admin.audit.chain import Anchor, Entry
from auricle.admin.audit.kinds import severity
from auricle.admin.audit.model import EVERYTHING, AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from auricle.contract.store import Units

PREFIX = "audit/"
PAGE = 1000
BLOCK = 2**18
COLUMNS = ("seq", "sealed_at", "hash", *AuditRow.__struct_fields__)
_ANCHOR_LINE = b'{"anchor":'
_DAY = re.compile(r"audit/(\d{4})/(\d{2})/(\d{2})\.jsonl\.gz")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What spreadsheets take for the beginning of a formula (OWASP, CSV Injection), also in their wide forms."""
_ENDS_LINES = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


class Format(StrEnum):
    """How the trail is written down."""

    JSONL = "jsonl"
    CSV = "csv"
    CEF = "cef"


CONTENT_TYPES = {
    Format.JSONL: "application/jsonl",
    Format.CSV: "text/csv; charset=utf-8",
    Format.CEF: "text/plain; charset=utf-8",
}


def stream(units: Units, format: Format, wanted: AuditFilter = EVERYTHING) -> Iterator[bytes]:
    """The chosen entries, oldest first, as far as the chain reaches now; a page of 1000 per short transaction."""
    with units.unit() as connection:
        head = AuditStore(connection).head()
    if HEADERS[format]:  # an empty block would end a chunked answer
        yield HEADERS[format]
    after = head.floor
    while True:
        with units.unit() as connection:
            entries = AuditStore(connection).entries(after, PAGE, wanted, head.seq)
        if entries:
            yield b"".join(map(WRITERS[format], entries))
        if len(entries) < PAGE:
            return
        after = entries[-1].seq


def jsonl(entry: Entry) -> bytes:
    """One line of JSON, with what it takes to check the chain."""
    return msgspec.json.encode(entry, order="deterministic") + b"\n"


def csv_row(entry: Entry) -> bytes:
    """One row (RFC 4180), every cell quoted; a cell that a spreadsheet would calculate gets an apostrophe before it."""
    event = msgspec.to_builtins(entry.event)
    details = event.pop("details", None)
    cells = {"seq": entry.seq, "sealed_at": entry.sealed_at.isoformat(), "hash": entry.hash, **event}
    if details:
        cells["details"] = msgspec.json.encode(details, order="sorted").decode()
    return _row([_tame(str(cells.get(name, ""))) for name in COLUMNS])


def cef(entry: Entry) -> bytes:
    """One line of ArcSight's Common Event Format, version 0 (Implementing ArcSight CEF, header and extension dictionary)."""
    event = entry.event
    head = ("Auricle", "Auricle", __version__, event.kind, _title(event.kind), str(severity(event.kind, event.outcome)))
    extension = " ".join(f"{key}={_extension(value)}" for key, value in _cef_fields(entry) if value)
    return f"CEF:0|{'|'.join(map(_header, head))}|{extension}\n".encode()


def _cef_fields(entry: Entry) -> Iterator[tuple[str, str]]:
    event = entry.event
    yield "rt", str(int(event.at.timestamp() * 1000))
    yield "externalId", str(event.id)
    yield "outcome", event.outcome
    yield "reason", str(event.details.get("reason", ""))
    # `src` is an IPv4 address by definition; IPv6 has a field of its own.
    yield from (
        _labelled("c6a2", "Source IPv6 Address", event.address)
        if ":" in (event.address or "")
        else [("src", event.address or "")]
    )
    yield "suid", str(event.actor or "")
    yield "spriv", event.actor_kind
    yield "requestClientApplication", event.user_agent or ""
    yield "destinationServiceName", event.function or ""
    yield "duid", (event.subject_id or "") if event.subject_kind == "user" else ""
    yield from _labelled("cn1", "seq", str(entry.seq))
    yield from _labelled("cs1", "hash", entry.hash)
    yield from _labelled("cs2", "subject", f"{event.subject_kind}:{event.subject_id}" if event.subject_kind else None)
    yield from _labelled("cs3", "credential", " ".join(filter(None, (event.credential, str(event.credential_id or "")))))
    yield from _labelled("cs4", "trace", event.trace_id)
    yield from _labelled("cs5", "onBehalfOf", str(event.behalf_of or ""))
    yield from _labelled(
        "cs6", "details", msgspec.json.encode(event.details, order="sorted").decode() if event.details else None
    )


def _labelled(key: str, label: str, value: str | None) -> list[tuple[str, str]]:
    return [(key, value), (f"{key}Label", label)] if value else []


def _title(kind: str) -> str:
    return kind.replace(".", " ").replace("_", " ").capitalize()


def _header(text: str) -> str:
    """In the header `\\` and `|` are escaped; line breaks are not allowed there."""
    return _ENDS_LINES.sub(" ", text).replace("\\", "\\\\").replace("|", "\\|")


def _extension(text: str) -> str:
    """In the extension `\\`, `=` and line breaks are escaped; `|` is not."""
    escaped = text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")
    return _ENDS_LINES.sub(" ", escaped)


def _row(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()


def _tame(cell: str) -> str:
    cell = cell.replace("\x00", "")
    return "'" + cell if cell.lstrip(" \u00a0").startswith(_FORMULA) or cell.startswith("'") else cell


HEADERS = {Format.JSONL: b"", Format.CSV: _row(list(COLUMNS)), Format.CEF: b""}
WRITERS: dict[Format, Callable[[Entry], bytes]] = {Format.JSONL: jsonl, Format.CSV: csv_row, Format.CEF: cef}


def object_key(day: date) -> str:
    """Where a day is published; its checksum is beside it, with `.sha256`."""
    return f"{PREFIX}{day:%Y/%m/%d}.jsonl.gz"


def day_of(key: str) -> date | None:
    """The day whose object has this key; None for other objects."""
    found = _DAY.fullmatch(key)
    return date(*map(int, found.groups())) if found else None


def anchor_line(anchor: Anchor) -> bytes:
    """The first line of a day's object: where the chain stood when the day ended, and where the day before left it."""
    bare = msgspec.structs.replace(anchor, object=None, sha256=None)  # those are of the whole object, which holds this line
    return msgspec.json.encode({"anchor": bare}, order="deterministic") + b"\n"


def read_day(lines: Iterator[bytes]) -> tuple[Anchor, Iterator[Entry]]:
    """The anchor of a day's object, and its entries as they are read. `ValueError`: it is not such an object."""
    first = next(lines, b"")
    if not first.startswith(_ANCHOR_LINE):
        raise ValueError("its first line is no anchor")
    anchor = msgspec.json.decode(first, type=dict[str, Anchor])["anchor"]
    return anchor, (msgspec.json.decode(line, type=Entry) for line in lines)


def sha256_of(file: IO[bytes]) -> str:
    """The checksum in hex of what is left to read of `file`."""
    found = hashlib.sha256()
    while block := file.read(BLOCK):
        found.update(block)
    return found.hexdigest()

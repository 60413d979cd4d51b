"""The trail as other programs read it: whatever is in a field stays in its field, and nothing is calculated."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.admin.audit.chain import Entry
from auricle.admin.audit.export import COLUMNS, CONTENT_TYPES, HEADERS, WRITERS, Format, cef, csv_row, jsonl, stream
from auricle.admin.audit.kinds import EventKind, Outcome, Reason
from auricle.admin.audit.model import AuditFilter, AuditRow, Details
from auricle.contract.ids import uuid7
from builders.audit_trail import Trail, event

NASTY = st.text() | st.sampled_from(
    [
        '=HYPERLINK("http://evil.example/","x")',
        "+1+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        " =1",
        "＝1",
        "a|b\\|c=d\\=e\r\nCEF:0|x",
        'quote " comma , semicolon ;',
        "'already",
        "line\u2028separator",
        "x\nsuid=root",
        "x suid=root outcome=success",
    ]
)


def entry(**more: object) -> Entry:
    """An entry as it is read back: whatever a forger may have put into the database."""
    fields = {"id": uuid7(), "at": datetime(2031, 2, 3, 4, 5, 6, 789000, UTC), "kind": "auth.login", "outcome": "success"}
    row = AuditRow(**fields | {"actor_kind": "system"} | more)  # type: ignore[arg-type]
    return Entry(seq=7, sealed_at=datetime(2031, 2, 3, 4, 5, 7, tzinfo=UTC), hash="ab" * 32, event=row)


ROWS = st.builds(
    lambda kind, agent, subject, provider: entry(
        kind=kind, user_agent=agent, subject_kind="user", subject_id=subject, details={"provider": provider}
    ),
    NASTY,
    NASTY,
    NASTY,
    NASTY,
)


# JSON Lines


@given(ROWS)
def test_a_line_of_json_is_one_line_and_gives_the_entry_back(one: Entry) -> None:
    line = jsonl(one)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert msgspec.json.decode(line, type=Entry) == one


# CSV


def cells(one: Entry) -> dict[str, str]:
    rows = list(csv.reader(io.StringIO(csv_row(one).decode(), newline=""), strict=True))
    assert len(rows) == 1
    return dict(zip(COLUMNS, rows[0], strict=True))


@given(ROWS)
def test_no_cell_is_taken_for_a_formula(one: Entry) -> None:
    for cell in cells(one).values():
        assert not re.match(r"[\s\u00a0]*[=+\-@＝＋－＠]", cell)
        assert not cell.startswith(("\t", "\r", "\n"))


@given(NASTY)
def test_a_cell_keeps_its_text_behind_the_apostrophe(text: str) -> None:
    shown = cells(entry(user_agent=text))["user_agent"]
    assert shown in (text.replace("\x00", ""), "'" + text.replace("\x00", ""))


@given(ROWS)
def test_every_cell_is_quoted_and_the_row_ends_as_it_should(one: Entry) -> None:
    raw = csv_row(one).decode()
    assert raw.startswith('"7","2031-')
    assert raw.endswith('"\r\n')


def test_the_header_names_the_columns() -> None:
    assert next(csv.reader([HEADERS[Format.CSV].decode()])) == list(COLUMNS)


# CEF


def parsed(line: bytes) -> tuple[list[str], dict[str, str]]:
    """A reader of CEF by its specification: seven fields by unescaped pipes, then key=value by unescaped equals signs."""
    text = line.decode()
    assert text.endswith("\n")
    parts = re.split(r"\|", _hide(text[:-1], "|"), maxsplit=7)
    head = [_show(part, "|") for part in parts[:7]]
    extension = _hide(parts[7].replace("\x02", "\\|").replace("\x01", "\\\\"), "=")
    keys = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)=", extension))
    ends = [found.start() for found in keys[1:]] + [len(extension)]
    values = {
        found.group(1): _show(extension[found.end() : end], "=").replace("\x03", "\n").replace("\x04", "\r")
        for found, end in zip(keys, ends, strict=True)
    }
    return head, values


def _hide(text: str, mark: str) -> str:
    """Escapes as single characters that occur nowhere else."""
    marks = {"\\": "\x01", mark: "\x02", "n": "\x03", "r": "\x04"}
    return re.sub(r"\\(.)", lambda found: marks.get(found.group(1), found.group(0)), text)


def _show(text: str, mark: str) -> str:
    return text.replace("\x01", "\\").replace("\x02", mark)


def plain(text: str) -> str:
    """What CEF can carry of a text: other line ends and control characters become spaces."""
    return re.sub(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]", " ", text)


@given(ROWS)
def test_a_line_of_cef_is_one_line(one: Entry) -> None:
    assert len(cef(one).decode().splitlines()) == 1


@given(NASTY)
def test_whatever_a_user_agent_says_stays_in_its_field(text: str) -> None:
    head, fields = parsed(cef(entry(user_agent=text)))
    assert head[:4] == ["CEF:0", "Auricle", "Auricle", head[3]]
    assert fields.get("requestClientApplication", "") == plain(text)
    assert "suid" not in fields


@given(st.text(min_size=1))
def test_whatever_a_kind_says_stays_in_the_header(text: str) -> None:
    head, fields = parsed(cef(entry(kind=text)))
    assert head[4] == re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", " ", text)
    assert fields["outcome"] == "success"


def test_a_line_of_cef_says_who_what_when_where_and_how_it_went() -> None:
    made = event(
        kind=EventKind.TOKEN_REUSED,
        outcome=Outcome.FAILURE,
        behalf_of=uuid7(),
        at=datetime(2031, 2, 3, 4, 5, 6, 789000, UTC),
        details=Details(reason=Reason.REPLAYED),
    )
    fields = {name: getattr(made, name) for name in AuditRow.__struct_fields__} | {"details": {"reason": "replayed"}}
    head, said = parsed(cef(entry(**fields)))
    assert head[4:] == ["auth.token.reuse", "Auth token reuse", "9"]
    assert said == {
        "rt": "1927857906789",
        "externalId": str(made.id),
        "outcome": "failure",
        "reason": "replayed",
        "src": "192.0.2.7",
        "suid": str(made.actor),
        "spriv": "person",
        "requestClientApplication": "Mozilla/5.0 (X11; Linux x86_64)",
        "destinationServiceName": "identity",
        "duid": made.subject_id,
        "cn1": "7",
        "cn1Label": "seq",
        "cs1": "ab" * 32,
        "cs1Label": "hash",
        "cs2": f"user:{made.subject_id}",
        "cs2Label": "subject",
        "cs4": "0af7651916cd43dd8448eb211c80319c",
        "cs4Label": "trace",
        "cs5": str(made.behalf_of),
        "cs5Label": "onBehalfOf",
        "cs6": '{"reason":"replayed"}',
        "cs6Label": "details",
    }


def test_an_ipv6_address_is_where_ipv6_addresses_belong() -> None:
    _, fields = parsed(cef(entry(address="2001:db8::1")))
    assert fields["c6a2"] == "2001:db8::1"
    assert "src" not in fields


# Streams


@pytest.fixture(scope="module")
def written(opened_trail: Trail) -> Trail:
    opened_trail.add(7)
    opened_trail.add(2, kind=EventKind.MFA_RESET)
    return opened_trail


@pytest.mark.parametrize("format", Format)
def test_a_stream_holds_every_entry_once_in_order(written: Trail, format: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.admin.audit.export.PAGE", 3)
    text = b"".join(stream(written, format)).decode()
    numbers = {Format.JSONL: r'^\{"seq":(\d+)', Format.CSV: r'^"(\d+)"', Format.CEF: r" cn1=(\d+) "}[format]
    assert [int(n) for n in re.findall(numbers, text, re.MULTILINE)] == list(range(1, 10))
    assert set(CONTENT_TYPES) == set(WRITERS) == set(HEADERS) == set(Format)


def test_a_stream_holds_only_what_was_asked_for(written: Trail) -> None:
    lines = b"".join(stream(written, Format.JSONL, AuditFilter(kinds=(EventKind.MFA_RESET,)))).splitlines()
    assert [json.loads(line)["event"]["kind"] for line in lines] == ["auth.mfa.reset"] * 2


def test_no_block_of_a_stream_is_empty(written: Trail) -> None:
    nobody = AuditFilter(actor=uuid7())
    assert [list(stream(written, format, nobody)) for format in Format] == [[], [HEADERS[Format.CSV]], []]


def test_a_stream_ends_where_the_trail_was_when_it_began(written: Trail) -> None:
    begun = stream(written, Format.CSV)
    next(begun)
    with written.unit() as connection:
        reached = connection.exec_driver_sql("select seq from audit_head").scalar_one()
    written.add(3)
    assert len(b"".join(begun).splitlines()) == reached

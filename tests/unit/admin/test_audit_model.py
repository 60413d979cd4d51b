"""What an audit entry can say, and that nothing else fits in."""

from __future__ import annotations

import typing
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.admin.audit.kinds import ActorKind, EventKind, Outcome, Reason, severity
from auricle.admin.audit.model import (
    MAX_AGENT,
    AuditEvent,
    AuditRow,
    Details,
    account_tag,
    clean_agent,
)
from builders.audit_trail import event

ASKED_FOR = {
    "auth.login.success": (EventKind.LOGIN, Outcome.SUCCESS),
    "auth.login.failure": (EventKind.LOGIN, Outcome.FAILURE),
    "auth.logout": EventKind.LOGOUT,
    "auth.logout.all": EventKind.LOGOUT_ALL,
    "auth.mfa.setup": EventKind.MFA_SETUP,
    "auth.mfa.verify": EventKind.MFA_VERIFIED,
    "auth.mfa.disable": EventKind.MFA_DISABLED,
    "auth.mfa.backup_used": EventKind.BACKUP_CODE_USED,
    "auth.password.change": EventKind.PASSWORD_CHANGED,
    "auth.password.reset_request": EventKind.PASSWORD_RESET_REQUESTED,
    "auth.password.reset_complete": EventKind.PASSWORD_RESET,
    "auth.password.expired": EventKind.PASSWORD_EXPIRED,
    "auth.account.lockout": EventKind.ACCOUNT_LOCKED,
    "auth.account.unlock": EventKind.ACCOUNT_UNLOCKED,
    "auth.account.disabled": EventKind.ACCOUNT_DISABLED,
    "auth.account.expired": EventKind.ACCOUNT_EXPIRED,
    "auth.token.refresh": EventKind.TOKEN_REFRESHED,
    "auth.token.revoke": EventKind.TOKEN_REVOKED,
    "auth.token.verify": EventKind.TOKEN_VERIFIED,
    "auth.session.created": EventKind.SESSION_CREATED,
    "auth.session.expired": EventKind.SESSION_EXPIRED,
    "auth.session.terminated": EventKind.SESSION_TERMINATED,
    "auth.session.limit_exceeded": EventKind.SESSION_LIMIT_EXCEEDED,
    "admin.user.create": EventKind.USER_CREATED,
    "admin.user.update": EventKind.USER_UPDATED,
    "admin.user.delete": EventKind.USER_DELETED,
    "admin.role.change": EventKind.ROLE_CHANGED,
    "admin.settings.change": EventKind.SETTINGS_CHANGED,
    "auth.banner.acknowledged": EventKind.BANNER_ACKNOWLEDGED,
}
"""The events that other transcription servers of this size keep."""


def test_every_event_that_is_asked_for_has_a_word() -> None:
    assert len(ASKED_FOR) == 29
    for name, found in ASKED_FOR.items():
        kind = found if isinstance(found, EventKind) else found[0]
        assert name.startswith(kind.value)
    assert len(EventKind) > 75


def test_kinds_say_what_happened_and_never_how_it_went() -> None:
    assert not [kind for kind in EventKind if kind.value.rpartition(".")[2] in ("success", "failure", "failed", "ok")]


# What may stand in an entry.

SMALL = (bool, int, UUID, date, datetime)
TEXTS = {"Slug", "RouteName", "Tag", "Address", "TraceId", "SubjectId"}


def unwrapped(kind: typing.Any) -> list[typing.Any]:
    """The members of unions and tuples, down to single types."""
    if typing.get_origin(kind) in (typing.Union, type(int | None), tuple):
        return [one for member in typing.get_args(kind) if member is not Ellipsis for one in unwrapped(member)]
    return [kind]


def constrained(kind: typing.Any) -> bool:
    """A text with both a pattern and an end (or of one length)."""
    notes = [note for note in getattr(kind, "__metadata__", ()) if isinstance(note, msgspec.Meta)]
    return any(note.pattern and (note.max_length or "{16}" in note.pattern or "{32}" in note.pattern) for note in notes)


def allowed(kind: typing.Any) -> bool:
    if kind is type(None) or kind in SMALL:
        return True
    if isinstance(kind, type) and issubclass(kind, Enum):
        return True
    base = getattr(kind, "__origin__", None)
    if base is int:
        return True
    if base is tuple:
        return all(allowed(one) for one in unwrapped(base))
    return base is str and constrained(kind)


def flat(kind: typing.Any) -> list[typing.Any]:
    if hasattr(kind, "__metadata__") and typing.get_origin(kind.__origin__) is tuple:
        return unwrapped(kind.__origin__)
    return [
        one
        for part in unwrapped(kind)
        for one in (flat(part) if part is not kind and hasattr(part, "__metadata__") else [part])
    ]


@pytest.mark.parametrize("field", msgspec.structs.fields(Details), ids=lambda f: f.name)
def test_no_detail_holds_free_text(field: msgspec.structs.FieldInfo) -> None:
    assert all(allowed(kind) for kind in flat(field.type)), "details are enums, numbers, ids, times and slugs: no free text"


def test_the_check_for_free_text_would_find_some() -> None:
    assert not allowed(str)
    assert not allowed(dict)
    assert not allowed(bytes)
    assert not all(allowed(kind) for kind in flat(tuple[str, ...]))


def test_only_the_user_agent_and_the_address_of_an_entry_come_from_outside() -> None:
    free = [
        field.name
        for field in msgspec.structs.fields(AuditEvent)
        if not all(allowed(kind) or kind is Details for kind in flat(field.type))
    ]
    assert free == ["address", "user_agent"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("provider", "Board meeting.mp3"),
        ("provider", "../../etc/passwd"),
        ("setting", "smtp password"),
        ("setting", "hunter2!"),
        ("role_after", "aur_Zm9vYmFyYmF6"),
        ("role_after", "a" * 49),
        ("scopes", ("files:read", "We decided to sell.")),
        ("scopes", ("x",) * 33),
        ("route", "GET /api/files/0190a5d2-6c1a-7cc3-98c4-dc0c0c07398f"),
        ("route", "GET /api/files?token=x"),
        ("account", "ann@example.org"),
        ("reason", "because I say so"),
        ("count", -1),
        ("count", "three"),
        ("status", 42),
        ("until", "tomorrow"),
        ("session", "mine"),
    ],
)
def test_details_refuse_what_is_not_small_and_closed(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        Details(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["note", "text", "name", "password", "token"])
def test_details_have_no_field_for_content_names_or_secrets(field: str) -> None:
    with pytest.raises(TypeError):
        Details(**{field: "x"})  # type: ignore[arg-type]


def test_a_route_is_named_as_declared() -> None:
    assert Details(route="PATCH /api/files/{file_id}/transcript/segments/{segment_id}").route
    assert Details(route="POST /v1/audio/transcriptions").route
    assert Details(route="GET /").route


# Entries.


def test_times_are_kept_in_utc() -> None:
    there = datetime(2031, 5, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    made = event(at=there)
    assert made.at == there
    assert made.at.tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        event(at=datetime(2031, 5, 1))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_has_one_form(given: str, kept: str) -> None:
    assert event(address=given).address == kept


@pytest.mark.parametrize("address", ["example.org", "192.0.2.7, 10.0.0.1", "192.0.2.7\n", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError):
        event(address=address)


def test_somebody_known_has_an_id_and_a_stranger_has_none() -> None:
    with pytest.raises(ValueError, match="actor"):
        event(actor=None)
    with pytest.raises(ValueError, match="actor"):
        event(actor_kind=ActorKind.ANONYMOUS)
    assert event(actor_kind=ActorKind.ANONYMOUS, actor=None).actor is None


def test_a_subject_has_a_kind_and_an_id() -> None:
    with pytest.raises(ValueError, match="subject_id"):
        event(subject_id=None)
    with pytest.raises(ValueError, match="subject_id"):
        event(subject_id="Quarterly figures.wav")


@given(st.text())
def test_a_user_agent_becomes_one_short_printable_line(text: str) -> None:
    kept = clean_agent(text)
    if kept is not None:
        assert 0 < len(kept) <= MAX_AGENT
        assert kept.isprintable()
        assert clean_agent(kept) == kept
        assert event(user_agent=text).user_agent == kept


def test_a_tag_tells_the_same_account_again_and_not_which() -> None:
    tag = account_tag(b"k" * 32, "Ann@Example.org ")
    assert tag == account_tag(b"k" * 32, "ann@example.org")
    assert tag != account_tag(b"l" * 32, "ann@example.org")
    assert Details(account=tag).account == tag


def test_entries_are_read_back_with_the_same_fields() -> None:
    assert AuditRow.__struct_fields__ == AuditEvent.__struct_fields__


@pytest.mark.parametrize("kind", EventKind)
def test_severity_is_within_the_scale_and_failures_weigh_more(kind: EventKind) -> None:
    assert 0 <= severity(kind, Outcome.SUCCESS) <= severity(kind, Outcome.FAILURE) <= 10


def test_a_word_of_a_newer_release_has_a_severity() -> None:
    assert severity("auth.telepathy", "success") == 3


def test_reasons_are_slugs() -> None:
    assert all(Details(format=reason.value).format for reason in Reason)

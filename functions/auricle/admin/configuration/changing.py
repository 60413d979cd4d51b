"""Seeing and changing settings, for administrators: what holds, where it comes from, and one change at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from auricle.access.model import Principal
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.admin.configuration.actions import Configuration, decoded
from auricle.admin.configuration.model import Row, Section
from auricle.admin.configuration.sections import SECTIONS, Defaults, Listed, find
from auricle.admin.configuration.store import ConfigurationStore
from auricle.errors import Conflict, Denied, Invalid, Missing, Outdated

_ID = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
LONGEST_NAME = 48
"""Characters of a section's name with its id: what the audit trail takes."""
LONGEST_SECRET = 8192
UNSET_TAG = "0"
"""The version of what nobody has set."""
_MASK = re.compile(r"[*•●·xX]{3,}|<?(?:redacted|hidden|secret|unchanged)>?", re.IGNORECASE)
"""What forms show in a secret's place; none of it is ever one."""


_NAMED = (msgspec.inspect.StructType, msgspec.inspect.DictType, msgspec.inspect.AnyType)


class Source(StrEnum):
    """Where the values in force come from."""

    ENVIRONMENT = "environment"
    DATABASE = "database"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A section as administrators see it: `value` is in force, `default` what the environment says. Secrets are never told.

    `version` counts the changes, 0 before the first. `place` is where it is set, when not here. `takes_secret` says what the
    secret is, where there can be one.
    """

    name: str
    about: str
    source: Source
    version: int
    value: dict[str, Any] | None
    default: dict[str, Any] | None
    takes_secret: str | None = None
    has_secret: bool = False
    changed_at: datetime | None = None
    changed_by: UUID | None = None
    test: str | None = None
    place: str | None = None


class Tagged(msgspec.Struct, frozen=True):
    """A section, and the ETag of what it is now."""

    setting: Setting
    etag: str


class Editing:
    """Reads and changes sections in the request's own unit of work, past what this process has read some seconds ago."""

    def __init__(self, configuration: Configuration, defaults: Defaults) -> None:
        """`defaults` is what holds where nobody has set anything."""
        self._configuration = configuration
        self._defaults = defaults

    def listed(self, store: ConfigurationStore) -> list[Setting]:
        """All sections; of those that there may be several of, each one that was set."""
        rows = store.all()
        found = []
        for name, row in SECTIONS.items():
            names = sorted(n for n in rows if n.startswith(f"{name}:")) if row.several else [name]
            found += [self._shown(row, row.resolved(), n, rows.get(n)).setting for n in names]
        return found

    def one(self, store: ConfigurationStore, name: str) -> Tagged:
        """One section; `NotFound` when there is none of that name."""
        row, section, _ = find(name)
        return self._shown(row, section, name, store.get(name))

    def change(
        self,
        store: ConfigurationStore,
        trail: Trail,
        who: Principal,
        name: str,
        given: Mapping[str, Any],
        secret: str | msgspec.UnsetType | None,
        if_match: str | None,
    ) -> Tagged:
        """Set a section. What `given` leaves out is as the environment says; the secret stays when it is left out.

        Errors: `Missing` without `if_match`, `Outdated` when it is another one's, `Denied`, `Invalid` with the field.
        """
        row, section, id = find(name)
        _may(who, row)
        if row.several and (len(name) > LONGEST_NAME or not _ID.fullmatch(id)):
            raise Invalid("An id has small letters, digits, dots and hyphens, and is short.", field="section")
        before = store.get(name)
        _expect(if_match, before)
        value = _checked(section, given, self._defaults.of(name))
        _check_secret(row, secret)
        held = self._configuration.put(
            store.db, section, value, secret, who.id, id=id, expected=before.version if before else 0
        )
        about = (SubjectKind.SETTING, name)
        if before is None or decoded(section, before).value != held.value:
            trail.record(EventKind.SETTINGS_CHANGED, about, Details(setting=name))
        if secret is not msgspec.UNSET:
            trail.record(EventKind.SECRET_CHANGED, about, Details(setting=name))
        return self._shown(row, section, name, store.get(name))

    def drop(self, store: ConfigurationStore, trail: Trail, who: Principal, name: str, if_match: str | None) -> Tagged:
        """Forget what was set, and its secret: the environment's values hold again."""
        row, section, id = find(name)
        _may(who, row)
        before = store.get(name)
        _expect(if_match, before)
        if self._configuration.drop(store.db, section, id):
            trail.record(EventKind.SETTINGS_CHANGED, (SubjectKind.SETTING, name), Details(setting=name))
            if before is not None and before.sealed is not None:
                trail.record(EventKind.SECRET_CHANGED, (SubjectKind.SETTING, name), Details(setting=name))
        return self._shown(row, section, name, None)

    def _shown(self, listed: Listed, section: Section[Any], name: str, row: Row | None) -> Tagged:
        default = _plain(self._defaults.of(name))
        setting = Setting(
            name=name,
            about=listed.about,
            source=Source.ENVIRONMENT if row is None else Source.DATABASE,
            version=0 if row is None else row.version,
            value=default if row is None else _plain(decoded(section, row).value),
            default=default,
            takes_secret=listed.secret or None,
            has_secret=row is not None and row.sealed is not None,
            changed_at=None if row is None else row.changed_at,
            changed_by=None if row is None else row.changed_by,
            test=listed.test or None,
            place=listed.place or None,
        )
        return Tagged(setting, _tag(row))


def _plain(value: Any) -> dict[str, Any] | None:
    return None if value is None else msgspec.json.decode(msgspec.json.encode(value))


def _tag(row: Row | None) -> str:
    """Of a version and its time: a section that was forgotten and set anew is not what it was."""
    return UNSET_TAG if row is None else f"{row.version}.{int(row.changed_at.timestamp() * 1e6):x}"


def _expect(if_match: str | None, row: Row | None) -> None:
    """Nobody overwrites what they have not seen (RFC 9110, 13.1.1; RFC 6585, 3)."""
    if if_match is None:
        raise Missing("Send If-Match with the ETag that GET answered, so that nobody's change is lost.")
    if _tag(row) not in {tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")}:
        raise Outdated("Somebody else has changed these settings. Load them again, and make your change anew.")


def _may(who: Principal, row: Listed) -> None:
    if row.place:
        raise Conflict(f"These settings are checked further before they are kept: set them at {row.place}.")
    if not row.roles & who.roles:
        raise Denied(f"Only {' or '.join(sorted(row.roles))} may set this.")


def _checked(section: Section[Any], given: Mapping[str, Any], default: Any) -> Any:
    """The values as the section's own type accepts them."""
    for path in unknown(given, msgspec.inspect.type_info(section.type)):
        raise Invalid(f"There is no setting {path}. Look at the interface's description for those there are.", field=path)
    try:
        return msgspec.convert({**(_plain(default) or {}), **given}, section.type)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at ")
        field = place.strip("`").removeprefix("$").removeprefix(".")
        raise Invalid(f"{message.removesuffix('.')}{f' at {field}' if field else ''}.", field=field or None) from None


def unknown(given: Any, kind: msgspec.inspect.Type, place: str = "") -> Iterator[str]:
    """Where `given` says what `kind` does not know. Kept values are read leniently, since a newer release may have written
    them; what somebody types is not."""
    if isinstance(kind, msgspec.inspect.UnionType):
        possible = [each for each in kind.types if isinstance(given, Mapping) is isinstance(each, _NAMED)]
        yield from min((list(unknown(given, each, place)) for each in possible), key=len, default=[])
    elif isinstance(kind, msgspec.inspect.StructType) and isinstance(given, Mapping):
        known = {field.encode_name: field.type for field in kind.fields}
        for name, value in given.items():
            path = f"{place}.{name}".removeprefix(".")
            if name not in known:
                yield path
            else:
                yield from unknown(value, known[name], path)
    elif isinstance(kind, msgspec.inspect.DictType) and isinstance(given, Mapping):
        for name, value in given.items():
            yield from unknown(value, kind.value_type, f"{place}.{name}")
    elif isinstance(given, list):
        item: msgspec.inspect.Type = getattr(kind, "item_type", msgspec.inspect.AnyType())
        for index, value in enumerate(given):
            yield from unknown(value, item, f"{place}[{index}]")


def _check_secret(row: Listed, secret: str | msgspec.UnsetType | None) -> None:
    if not isinstance(secret, str):
        return
    if not row.secret:
        raise Invalid("There is no secret in these settings.", field="secret")
    if not secret or len(secret) > LONGEST_SECRET:
        raise Invalid(f"A secret has 1 to {LONGEST_SECRET} characters; null removes it.", field="secret")
    if _MASK.fullmatch(secret):
        raise Invalid("That is what stands in a secret's place. Leave `secret` out to keep the one there is.", field="secret")

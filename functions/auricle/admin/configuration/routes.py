"""What administrators set: how people sign in, limits, retention, the banner."""

from __future__ import annotations

from typing import Annotated, Any, NewType

import msgspec

from auricle.access.model import Principal
from auricle.admin.audit.trail import Trail
from auricle.admin.configuration.changing import Editing, Setting, Tagged
from auricle.admin.configuration.store import ConfigurationStore
from auricle.contract.choices import Permission
from auricle.contract.function import route
from auricle.contract.http import Body, Header, Page, Reply

SectionName = NewType("SectionName", str)
IfMatch = Annotated[str | None, Header("If-Match")]


class SettingChange(Body, frozen=True, kw_only=True):
    """What to set. Values that are left out are as the environment says.

    `secret` is written and never read: left out, the one there is stays; null removes it.
    """

    value: dict[str, Any]
    secret: str | msgspec.UnsetType | None = msgspec.UNSET


@route("GET /api/settings", permission=Permission.SETTINGS, function="settings")
def list_settings(store: ConfigurationStore, editing: Editing) -> Page[Setting]:
    """Everything that can be set, with what is in force and where it comes from."""
    return Page(editing.listed(store))


@route("GET /api/settings/{section}", permission=Permission.SETTINGS, function="settings")
def get_setting(section: SectionName, store: ConfigurationStore, editing: Editing) -> Reply[Setting]:
    """One section of the settings; its ETag is what a change has to name."""
    return _told(editing.one(store, section))


@route("PUT /api/settings/{section}", permission=Permission.SETTINGS, function="settings")
def put_setting(
    section: SectionName,
    change: SettingChange,
    if_match: IfMatch,
    store: ConfigurationStore,
    editing: Editing,
    trail: Trail,
    who: Principal,
) -> Reply[Setting]:
    """Set a section. `If-Match` must name the ETag of what it replaces; it holds everywhere within seconds."""
    return _told(editing.change(store, trail, who, section, change.value, change.secret, if_match))


@route("DELETE /api/settings/{section}", permission=Permission.SETTINGS, function="settings")
def delete_setting(
    section: SectionName, if_match: IfMatch, store: ConfigurationStore, editing: Editing, trail: Trail, who: Principal
) -> Reply[Setting]:
    """Forget what was set, with its secret: what the environment says holds again."""
    return _told(editing.drop(store, trail, who, section, if_match))


def _told(found: Tagged) -> Reply[Setting]:
    return Reply(found.setting, etag=found.etag)

"""The notice, and its acknowledgement."""

from __future__ import annotations

import msgspec

from auricle.access.model import Principal
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Guarded, Permission
from auricle.contract.function import route
from auricle.contract.http import Body
from auricle.identity.banner import actions
from auricle.identity.banner.model import Banner
from auricle.identity.banner.store import BannerStore


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What everybody reads before they go on, if `enabled`; `digest` is what an acknowledgement names."""

    enabled: bool
    text: str
    classification: str
    digest: str
    colour: str | None = None


class Acknowledgement(Body, frozen=True, kw_only=True):
    """The digest of the notice that was read."""

    digest: str


@route("GET /api/banner", permission=Permission.PUBLIC, guarded=Guarded.PUBLIC)
def get_banner(banner: Banner) -> Notice:
    """The notice of this system, for everybody, before they sign in."""
    if not banner.enabled:
        return Notice(enabled=False, text="", classification=banner.classification, digest="", colour=banner.colour)
    return Notice(
        enabled=True,
        text=banner.text,
        classification=banner.classification,
        digest=banner.digest,
        colour=banner.colour,
    )


@route("POST /api/banner/acknowledge", permission=Permission.SIGNED_IN, guarded=Guarded.DEFAULT)
def acknowledge_banner(read: Acknowledgement, banner: Banner, who: Principal, store: BannerStore, trail: Trail) -> None:
    """Say that one has read the notice. Until then nothing else is answered, and again when it has changed."""
    actions.acknowledge(banner, read.digest, who, store, trail)

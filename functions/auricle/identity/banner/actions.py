"""Acknowledging the notice."""

from __future__ import annotations

import hmac

from auricle.access.model import Principal
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.trail import Trail
from auricle.errors import Conflict, Denied
from auricle.identity.banner.model import Banner
from auricle.identity.banner.store import BannerStore


def acknowledge(banner: Banner, digest: str, who: Principal, store: BannerStore, trail: Trail) -> None:
    """Keep that `who` has read the notice that they name, if it is the current one.

    A person does so in a session, for their tokens, too; a program does it itself, by whoever runs it.
    """
    if not banner.enabled:
        raise Conflict("There is no notice to acknowledge.")
    if not hmac.compare_digest(banner.digest.encode(), digest.encode()):
        raise Conflict("The notice has changed. Read it again: GET /api/banner.")
    if who.session_id is None and not (who.service or who.installation):
        raise Denied("Sign in to acknowledge the notice; your tokens work again then.")
    store.acknowledge(who.id, who.session_id, digest)
    subject = (SubjectKind.SESSION, who.session_id) if who.session_id is not None else (SubjectKind.USER, who.id)
    trail.record(EventKind.BANNER_ACKNOWLEDGED, subject)

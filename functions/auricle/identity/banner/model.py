"""What the notice says, and who has to acknowledge it."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from auricle.access.model import Known
from auricle.access.sessions import Session
from auricle.admin.audit.kinds import Reason
from auricle.admin.configuration.model import Section
from auricle.contract.choices import Permission
from auricle.contract.function import Route
from auricle.errors import Denied

ACKNOWLEDGE = "/api/banner/acknowledge"
OPEN = frozenset({("GET", "/api/banner"), ("POST", ACKNOWLEDGE), ("DELETE", "/api/session"), ("POST", "/api/session/refresh")})
"""What is answered before the notice is acknowledged: the notice itself, renewing a sign-in, and leaving."""


class Banner(msgspec.Struct, frozen=True, kw_only=True):
    """The notice. `classification` is a label of the deployment's own, shown with it in `colour` (`#rrggbb`)."""

    enabled: bool = False
    text: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    classification: Annotated[str, msgspec.Meta(max_length=80)] = "unclassified"
    colour: Annotated[str, msgspec.Meta(pattern=r"\A#[0-9a-fA-F]{6}\Z")] | None = None

    def __post_init__(self) -> None:
        """Nobody can acknowledge what says nothing."""
        if self.enabled and not self.text.strip():
            raise ValueError("Write the text of the banner before you turn it on.")

    @property
    def digest(self) -> str:
        """Of everything that is read: another text or label is another notice."""
        return hashlib.sha256(f"{self.classification}\0{self.text}".encode()).hexdigest()


BANNER = Section("banner", Banner)
"""As administrators set it."""


class BannerRequired(Denied):
    """The notice was not acknowledged, or it says something else by now."""

    title = "Read the notice first"

    def __init__(self, digest: str) -> None:
        """`digest` is the current notice's."""
        super().__init__(
            f"Read the notice of this system (GET /api/banner) and acknowledge it (POST {ACKNOWLEDGE}) before you go on.",
            acknowledge=ACKNOWLEDGE,
            digest=digest,
        )
        self.why = Reason.BANNER_REQUIRED.value


def require(banner: Banner, route: Route, known: Known, session: Session | None) -> None:
    """`BannerRequired` until this session, or for a token its owner, has acknowledged the current notice."""
    if not banner.enabled or route.permission is Permission.MFA or (route.method, route.path) in OPEN:
        return
    if (known.banner if session is None else session.banner) != banner.digest:
        raise BannerRequired(banner.digest)

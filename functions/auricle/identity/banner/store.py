"""Who has acknowledged which notice: kept with sessions, and with principals for their tokens."""

from __future__ import annotations

from uuid import UUID

from auricle.access.model import PrincipalId
from auricle.access.store import principals, sessions
from auricle.contract.store import Store


class BannerStore(Store):
    """Acknowledgements."""

    def acknowledge(self, who: PrincipalId, session: UUID | None, digest: str) -> None:
        """Keep that `who` has acknowledged the notice, in that session if it was in one."""
        self.db.execute(principals.update().where(principals.c.id == who).values(banner=digest))
        if session is not None:
            mine = (sessions.c.id == session, sessions.c.principal_id == who)
            self.db.execute(sessions.update().where(*mine).values(banner=digest))

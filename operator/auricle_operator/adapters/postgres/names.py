"""What a tenant's database and roles are called."""

from __future__ import annotations

import msgspec

from auricle.errors import Permanent
from auricle_operator.outside import Login

POOLER = "auricle_pooler"
"""By this role pgbouncer looks up who logs in."""
LONGEST = 63
"""Bytes of a name in PostgreSQL; what is longer is cut off without a word, and two names may become one."""


class Names(msgspec.Struct, frozen=True):
    """Of one tenant. Tenants' names have no `_`, and no two endings end alike, so that no two tenants share a name."""

    database: str

    @property
    def group(self) -> str:
        """Reads and writes rows; nobody logs in as it. The logins of functions and `meter` are its members."""
        return f"{self.database}_app"

    @property
    def owner(self) -> str:
        """Owns and alters tables; not the database."""
        return self.login(Login.OWNER)

    @property
    def meter(self) -> str:
        """The operator looks into a tenant's tables as this role only: a table may be a trap for a superuser."""
        return f"{self.database}_meter"

    @property
    def pooled(self) -> tuple[str, str]:
        """The functions' logins."""
        return self.login(Login.A), self.login(Login.B)

    @property
    def roles(self) -> tuple[str, ...]:
        """All, members after their group."""
        return self.group, self.owner, *self.pooled, self.meter

    def login(self, login: Login) -> str:
        """A role that somebody logs in as."""
        return f"{self.database}_{login}"


def names_of(tenant: str, prefix: str) -> Names:
    """`acme-labs` → `tenant_acme_labs`."""
    names = Names(prefix + tenant.replace("-", "_"))
    if "_" in tenant or any(len(role.encode()) > LONGEST for role in names.roles):
        raise Permanent(f"No database can be named after the tenant {tenant}: its name is too long, or has a _ in it.")
    return names

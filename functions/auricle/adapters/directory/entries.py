"""What an entry says of a person: their stable id, whether the account is disabled, and Active Directory's binary values."""

from __future__ import annotations

import struct
import uuid

from auricle.adapters.directory.line import Entry
from auricle.errors import Permanent
from auricle.ports.directory import DirectoryConnection

DISABLED = 0x2
"""ADS_UF_ACCOUNTDISABLE in userAccountControl ([MS-ADTS] 2.2.16)."""
LOCKED_FOR_GOOD = b"000001010000Z"
"""pwdAccountLockedTime of an account that only an administrator unlocks (draft-behera-ldap-password-policy, 5.3.3)."""
STATE = ("userAccountControl", "nsAccountLock", "pwdAccountLockedTime", "loginDisabled", "primaryGroupID", "objectSid")
"""Attributes that say whether an account is usable, or belong to the primary group; directories give those that they know."""


def stable_id(entry: Entry, attribute: str) -> str:
    """What names this person for ever. `Permanent` without one: a DN or a login may be somebody else's tomorrow."""
    values = entry.values.get(attribute.lower(), ())
    if len(values) != 1:
        raise Permanent(
            f"A person in the directory has {len(values) or 'no'} values of {attribute}, which is to be their stable id. "
            "Name an attribute that everybody has once, such as entryUUID or objectGUID, and that the service account may read."
        )
    (value,) = values
    if attribute.lower() in ("objectguid", "guid") and len(value) == 16:
        # Active Directory's first three fields are little-endian ([MS-DTYP] 2.3.4.2); eDirectory's GUID is as it stands.
        return str(uuid.UUID(bytes_le=value) if attribute.lower() == "objectguid" else uuid.UUID(bytes=value))
    text = entry.text(attribute)
    if text is None or not text.isprintable() or not text.strip():
        return value.hex()
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return text


def is_disabled(entry: Entry) -> bool:
    """Whether the entry itself says so. Locks for a while and expiry are the server's: it refuses the bind."""
    control = entry.text("userAccountControl")
    if control is not None and (not control.lstrip("-").isdigit() or int(control) & DISABLED):
        return True  # a value that cannot be read is no permission
    if any(value.upper() == "TRUE" for name in ("nsAccountLock", "loginDisabled") for value in entry.texts(name)):
        return True
    return LOCKED_FOR_GOOD in entry.values.get("pwdaccountlockedtime", ())


def primary_group_sid(entry: Entry) -> str | None:
    """The SID of Active Directory's primary group, which no `member` lists; None elsewhere."""
    sid, group = entry.values.get("objectsid", ()), entry.text("primaryGroupID")
    if len(sid) != 1 or group is None or not group.isdigit():
        return None
    domain = sid_text(sid[0])
    return f"{domain.rpartition('-')[0]}-{group}" if domain else None


def sid_text(sid: bytes) -> str | None:
    """`S-1-5-21-…` ([MS-DTYP] 2.4.2); None when these bytes are none."""
    if len(sid) < 12 or sid[0] != 1 or len(sid) != 8 + 4 * sid[1]:
        return None
    authority = int.from_bytes(sid[2:8], "big")
    return "-".join(("S-1", str(authority), *map(str, struct.unpack(f"<{sid[1]}I", sid[8:]))))


def wanted(settings: DirectoryConnection) -> tuple[str, ...]:
    """The attributes to ask for of a person."""
    named = (settings.id_attribute, settings.email_attribute, settings.name_attribute, *settings.login_attributes, *STATE)
    return (*dict.fromkeys(named), "memberOf")

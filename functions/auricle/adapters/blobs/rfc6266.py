"""Content-Disposition: under which name a browser saves what it gets (RFC 6266, RFC 5987)."""

from __future__ import annotations

import re
from urllib.parse import quote


def attachment(filename: str) -> str:
    """The header's value: the real name, and an ASCII one for old browsers."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%/]', "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"

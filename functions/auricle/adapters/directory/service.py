"""Being the service account on a connection."""

from __future__ import annotations

from ldap3.core import results as codes  # type: ignore[import-untyped]

from auricle.adapters.directory.line import Line
from auricle.adapters.directory.passwords import prepared_password
from auricle.errors import Permanent
from auricle.ports.directory import DirectoryConnection


def bind_service(line: Line, settings: DirectoryConnection) -> None:
    """`Permanent` when the directory does not take the account."""
    password = prepared_password(settings.bind_password)
    if not settings.bind_dn.strip() or password is None:
        raise Permanent("The directory's service account has no name or no usable password. Configure both.")
    code = line.bind(settings.bind_dn, password)
    if code != codes.RESULT_SUCCESS:
        words = codes.RESULT_CODES.get(code, code)
        raise Permanent(f"The directory {line.server} refuses the service account ({words}). Check its name and password.")

"""What an administrator wants to know of a directory before people depend on it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from auricle.adapters.directory.entries import stable_id
from auricle.adapters.directory.line import Line, opened
from auricle.adapters.directory.membership import within
from auricle.adapters.directory.service import bind_service
from auricle.errors import AuricleError, Permanent, Retryable
from auricle.ports.directory import Check, DirectoryConnection, Finding, ServerAddress, canonical_dn

SAMPLE = 20
"""People who are looked at."""


def look(address: ServerAddress, settings: DirectoryConnection, context: ssl.SSLContext) -> Iterator[Finding]:
    """One finding for each check that could be made; the first that fails of those that others need ends the list."""
    server = f"{address.host}:{address.port}"
    with contextlib.ExitStack() as stack:
        steps: tuple[tuple[Check, Callable[[Line], str]], ...] = (
            (Check.SERVICE_ACCOUNT, lambda line: _service(line, settings)),
            (Check.PEOPLE, lambda line: _people(line, settings)),
            (Check.STABLE_ID, lambda line: _ids(line, settings)),
            (Check.GROUPS, lambda line: _groups(line, settings)),
            (Check.REQUIRED_GROUP, lambda line: _required(line, settings)),
        )
        try:
            line = stack.enter_context(opened(address, settings, context))
        except (Retryable, Permanent) as trouble:
            yield _failed(Check.CONNECTION, server, trouble)
            return
        yield Finding(check=Check.CONNECTION, server=server, passed=True, detail=_encrypted(line))
        for check, step in steps:
            try:
                yield Finding(check=check, server=server, passed=True, detail=step(line))
            except (Retryable, Permanent) as trouble:
                yield _failed(check, server, trouble)
                if check is Check.SERVICE_ACCOUNT or isinstance(trouble, Retryable):
                    return


def _failed(check: Check, server: str, trouble: AuricleError) -> Finding:
    return Finding(check=check, server=server, passed=False, detail=str(trouble))


def _encrypted(line: Line) -> str:
    certificate = line.tls.getpeercert() or {}
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    return f"Encrypted with {line.tls.version()}; its certificate is trusted and valid until {ends:%Y-%m-%d %H:%M} UTC."


def _service(line: Line, settings: DirectoryConnection) -> str:
    bind_service(line, settings)
    return f"Signed in as {settings.bind_dn}."


def _people(line: Line, settings: DirectoryConnection) -> str:
    found = line.search(settings.people, settings.person_filter, ["1.1"], SAMPLE)
    if not found.entries:
        raise Permanent(f"Nobody below {settings.people!r} fits {settings.person_filter}, or the service account may not look.")
    more = "" if found.complete else "more than "
    return f"Found {more}{len(found.entries)} people below {settings.people}."


def _ids(line: Line, settings: DirectoryConnection) -> str:
    people = line.search(settings.people, settings.person_filter, [settings.id_attribute], SAMPLE).entries
    ids = {stable_id(person, settings.id_attribute) for person in people}
    if len(ids) != len(people):
        raise Permanent(f"Two people share a value of {settings.id_attribute}, so it names nobody. Choose another attribute.")
    return f"Each of {len(people)} people has an own {settings.id_attribute}."


def _groups(line: Line, settings: DirectoryConnection) -> str:
    found = line.search(settings.groups, settings.group_filter, ["1.1"], SAMPLE)
    if not found.entries:
        raise Permanent(
            f"No group below {settings.groups!r} fits {settings.group_filter}, or the service account may not look."
        )
    more = "" if found.complete else "more than "
    return f"Found {more}{len(found.entries)} groups below {settings.groups}."


def _required(line: Line, settings: DirectoryConnection) -> str:
    """A required group that is not there, or that the search for groups does not find, lets nobody in."""
    for group in settings.required_groups:
        entry = line.read(group, settings.group_filter, ["1.1"])
        if entry is None or not within(canonical_dn(entry.dn), canonical_dn(settings.groups)):
            raise Permanent(f"The required group {group!r} is not a group below {settings.groups!r}, so it lets nobody in.")
    if not settings.required_groups:
        return "No group is required: whoever has an account there can prove it here."
    return f"All {len(settings.required_groups)} required groups are there."

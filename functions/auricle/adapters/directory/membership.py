"""The groups of a person, through groups in groups, in three ways. Circles end; depth and number are bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ldap3.utils.conv import escape_filter_chars  # type: ignore[import-untyped]

from auricle.adapters.directory.entries import primary_group_sid
from auricle.adapters.directory.line import Entry, Line
from auricle.errors import Permanent
from auricle.ports.directory import DirectoryConnection, Membership, canonical_dn

IN_CHAIN = "1.2.840.113556.1.4.1941"
"""LDAP_MATCHING_RULE_IN_CHAIN ([MS-ADTS] 3.1.1.3.4.4.3)."""
AT_ONCE = 40
"""Names in one filter."""


def groups_of(line: Line, person: Entry, settings: DirectoryConnection) -> tuple[str, ...]:
    """The canonical DNs of all groups below `settings.groups` that `person` is in, sorted.

    `Permanent` when there are more than `max_groups`: with fewer than all, somebody's rights would depend on chance.
    """
    if settings.membership is Membership.IN_CHAIN:
        return tuple(sorted(_in_chain(line, person, settings)))
    if settings.membership is Membership.MEMBER_OF:
        return tuple(sorted(_upwards(line, person, settings)))
    return tuple(sorted(_listed(line, person.dn, settings)))


def within(dn: str, base: str) -> bool:
    """Whether a canonical DN is `base` (canonical) or stands below it."""
    return not base or dn == base or dn.endswith(f",{base}")


def any_of(attributes: Sequence[str], values: Iterable[str]) -> str:
    """A filter for one of `values` in one of `attributes`; what stands in a value stays a value (RFC 4515, 3)."""
    rows = [f"({name}={escape_filter_chars(value)})" for value in values for name in attributes]
    return f"(|{''.join(rows)})"


def _in_chain(line: Line, person: Entry, settings: DirectoryConnection) -> set[str]:
    """The server walks. Its primary group is no `member`, so that one is found by its SID, and walked from too."""
    start = [person.dn]
    found: set[str] = set()
    sid = primary_group_sid(person)
    if sid is not None:
        for primary in _search(line, f"(objectSid={escape_filter_chars(sid)})", settings):
            found.add(canonical_dn(primary))
            start.append(primary)
    rule = tuple(f"{name}:{IN_CHAIN}:" for name in settings.member_attributes)
    found |= {canonical_dn(dn) for dn in _search(line, any_of(rule, start), settings)}
    return _not_too_many(found, settings)


def _listed(line: Line, dn: str, settings: DirectoryConnection) -> set[str]:
    """Ask which groups list this name, then which list those, level by level."""
    seen: set[str] = set()
    level = [dn]
    for _ in range(settings.max_depth):
        above: dict[str, str] = {}
        for some in _portions(level):
            for group in _search(line, any_of(settings.member_attributes, some), settings):
                above.setdefault(canonical_dn(group), group)
        level = [group for name, group in above.items() if name not in seen]
        seen |= above.keys()
        _not_too_many(seen, settings)
        if not level:
            break
    return seen


def _upwards(line: Line, person: Entry, settings: DirectoryConnection) -> set[str]:
    """Follow `memberOf` from the person. Only what is a group below the base counts, whatever an entry says of itself."""
    seen: set[str] = set()
    base = canonical_dn(settings.groups)
    level = list(person.texts("memberOf"))
    for _ in range(settings.max_depth):
        above: list[str] = []
        for dn in level:
            name = canonical_dn(dn)
            if name in seen or not within(name, base):
                continue
            found = line.read(dn, settings.group_filter, ["memberOf"])
            if found is not None:
                seen.add(name)
                above += found.texts("memberOf")
                _not_too_many(seen, settings)
        level = above
    return seen


def _search(line: Line, condition: str, settings: DirectoryConnection) -> Iterator[str]:
    found = line.search(settings.groups, f"(&{settings.group_filter}{condition})", ["1.1"], settings.max_groups)
    if not found.complete:
        _too_many(settings)
    return (entry.dn for entry in found.entries)


def _portions(names: list[str]) -> Iterator[list[str]]:
    return (names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE))


def _not_too_many(found: set[str], settings: DirectoryConnection) -> set[str]:
    if len(found) > settings.max_groups:
        _too_many(settings)
    return found


def _too_many(settings: DirectoryConnection) -> None:
    raise Permanent(
        f"A person is in more than {settings.max_groups} groups below {settings.groups!r}, or the directory does not list them "
        "all. Narrow the base or the filter for groups."
    )

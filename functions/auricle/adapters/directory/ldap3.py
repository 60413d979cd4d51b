"""`ports.directory` by ldap3: find the person as the service account, bind as them, then read their groups."""

from __future__ import annotations

import logging
import secrets
import ssl
import threading
from collections import Counter
from collections.abc import Callable

from ldap3.core import results as codes  # type: ignore[import-untyped]

from auricle.adapters.directory.entries import is_disabled, stable_id, wanted
from auricle.adapters.directory.findings import look
from auricle.adapters.directory.line import Broken, Entry, Line, opened, trusting
from auricle.adapters.directory.membership import any_of, groups_of
from auricle.adapters.directory.passwords import acceptable_login, prepared_password
from auricle.adapters.directory.service import bind_service
from auricle.errors import AuricleError, Permanent, Retryable
from auricle.ports.directory import (
    Directory,
    DirectoryConnection,
    DirectoryPerson,
    Finding,
    Refusal,
    ServerAddress,
    canonical_dn,
)

log = logging.getLogger(__name__)
MAX_KEPT = 32
"""Directories whose TLS contexts are kept."""


class Ldap3Directory:
    """A directory. `refusals` counts why people were not let in; no log names them."""

    def __init__(self, settings: DirectoryConnection) -> None:
        """`Permanent` when the CA certificates cannot be read."""
        self._settings = settings
        self._context: ssl.SSLContext = trusting(settings.ca_pem)
        self._required = frozenset(canonical_dn(group) for group in settings.required_groups)
        self.refusals: Counter[Refusal] = Counter()

    def sign_in(self, login: str, password: str) -> DirectoryPerson | None:
        """See `ports.directory.Directory`."""
        prepared = prepared_password(password)
        if prepared is None or not acceptable_login(login):
            found: DirectoryPerson | Refusal = Refusal.INPUT
        else:
            found = self._on_any(lambda address: self._sign_in(address, login.strip(), prepared))
        if not isinstance(found, Refusal):
            return found
        self.refusals[found] += 1
        log.info("the directory let somebody not in (%s)", found.value)
        return None

    def test_connection(self) -> tuple[Finding, ...]:
        """See `ports.directory.Directory`."""
        return tuple(finding for address in self._settings.servers for finding in look(address, self._settings, self._context))

    def _on_any(self, ask: Callable[[ServerAddress], DirectoryPerson | Refusal]) -> DirectoryPerson | Refusal:
        """What the first server says that can be asked; all once more if a connection broke on the way (a restart)."""
        troubles: list[AuricleError] = []
        for again in (False, True):
            if again and not any(isinstance(trouble, Broken) for trouble in troubles):
                break
            for address in self._settings.servers:
                try:
                    return ask(address)
                except (Retryable, Permanent) as trouble:
                    log.warning("%s", trouble)
                    troubles.append(trouble)
        raise next((trouble for trouble in troubles if isinstance(trouble, Retryable)), troubles[0])

    def _sign_in(self, address: ServerAddress, login: str, password: str) -> DirectoryPerson | Refusal:
        with opened(address, self._settings, self._context) as line:
            bind_service(line, self._settings)
            entry = self._find(line, login)
            # The same operations, whether there is such a person or not: a name of nobody is tried with the same password.
            dn = f"cn=nobody-{secrets.token_hex(8)},{self._settings.people}" if isinstance(entry, Refusal) else entry.dn
            proved = self._proves(address, dn, password)
            if isinstance(entry, Refusal):
                return entry
            if not proved:
                return Refusal.PASSWORD
            if is_disabled(entry):
                return Refusal.DISABLED
            person = self._person(entry, groups_of(line, entry, self._settings))
        if self._required and self._required.isdisjoint(person.groups):
            return Refusal.GROUP
        return person

    def _find(self, line: Line, login: str) -> Entry | Refusal:
        settings = self._settings
        condition = f"(&{settings.person_filter}{any_of(settings.login_attributes, [login])})"
        found = line.search(settings.people, condition, wanted(settings), 1)
        if not found.complete:
            return Refusal.AMBIGUOUS
        return found.entries[0] if found.entries else Refusal.UNKNOWN

    def _proves(self, address: ServerAddress, dn: str, password: str) -> bool:
        """On a connection of its own, so that the service account's stays what it is. `Retryable` when no answer came."""
        with opened(address, self._settings, self._context) as line:
            return bool(line.bind(dn, password) == codes.RESULT_SUCCESS)

    def _person(self, entry: Entry, groups: tuple[str, ...]) -> DirectoryPerson:
        settings = self._settings
        return DirectoryPerson(
            id=stable_id(entry, settings.id_attribute),
            dn=entry.dn,
            login=next((text for name in settings.login_attributes if (text := entry.text(name))), ""),
            email=entry.text(settings.email_attribute),
            name=entry.text(settings.name_attribute) or entry.text("cn"),
            groups=groups,
        )


class Ldap3Directories:
    """`ports.directory.Directories`: a directory keeps its TLS context for as long as its connection stays the same."""

    def __init__(self) -> None:
        self._kept: dict[DirectoryConnection, Ldap3Directory] = {}
        self._lock = threading.Lock()

    def for_(self, connection: DirectoryConnection) -> Directory:
        """The directory behind `connection`."""
        with self._lock:
            found = self._kept.pop(connection, None) or Ldap3Directory(connection)
            self._kept[connection] = found
            while len(self._kept) > MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            return found

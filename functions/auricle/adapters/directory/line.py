"""One encrypted connection to one directory server. Nothing is said before TLS stands and the certificate is verified.

ldap3 opens a closed connection again by itself when it binds, without StartTLS; therefore each request first looks whether its
socket is a TLS one, and any error ends the connection for good.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import ldap3  # type: ignore[import-untyped]
from ldap3.core import exceptions as said  # type: ignore[import-untyped]
from ldap3.core import results as codes

from auricle.errors import Permanent, Retryable
from auricle.ports.directory import DirectoryConnection, Encryption, ServerAddress

T = TypeVar("T")
PAGE = 500
"""Entries per answer; Active Directory gives at most 1000."""
PAGED = "1.2.840.113556.1.4.319"
AWAY_SECONDS = 30.0
NOT_NOW = (
    codes.RESULT_BUSY,
    codes.RESULT_UNAVAILABLE,
    codes.RESULT_TIME_LIMIT_EXCEEDED,
    codes.RESULT_OPERATIONS_ERROR,
    codes.RESULT_OTHER,
)
"""What a server says that may answer otherwise in a while, or a neighbour of it at once."""

_NO_TLS = "The directory {} does not start TLS (StartTLS), and without it no password is sent. Set up TLS there, or use LDAPS."


class Broken(Retryable):
    """The connection was there and ended: asking once more may help at once."""


@dataclass(frozen=True)
class Entry:
    """One entry of an answer: its DN, and its attributes' values as bytes under their names in lower case."""

    dn: str
    values: Mapping[str, tuple[bytes, ...]]

    def texts(self, name: str) -> tuple[str, ...]:
        """The values of an attribute that are text."""
        return tuple(text for value in self.values.get(name.lower(), ()) if (text := _text(value)) is not None)

    def text(self, name: str) -> str | None:
        """The first of them."""
        return next(iter(self.texts(name)), None)


@dataclass(frozen=True)
class Found:
    """What a search answered; `complete` is false when there was more than was asked for."""

    entries: tuple[Entry, ...]
    complete: bool


class Line:
    """An open connection; made by `opened` only."""

    def __init__(self, connection: Any, server: str) -> None:
        self._connection = connection
        self.server = server

    @property
    def tls(self) -> ssl.SSLSocket:
        """The socket, which is a TLS one that verified who answers; `Broken` when it is not (any more)."""
        socket = self._connection.socket
        if not isinstance(socket, ssl.SSLSocket) or socket.context.verify_mode is not ssl.CERT_REQUIRED:
            raise Broken(
                f"The connection to the directory {self.server} is not encrypted any more, so nothing is sent over it."
            )
        return socket

    def bind(self, dn: str, password: str) -> int:
        """Prove to be `dn`; the result code, whatever it is. An empty password never gets here (see `passwords`)."""
        if not dn or not password:
            raise ValueError("a bind without a name or password would succeed as nobody (RFC 4513, 5.1.2)")
        self.tls  # noqa: B018 - raises
        self._connection.user, self._connection.password = dn, password
        self._connection.authentication = ldap3.SIMPLE
        try:
            self._ask(lambda: self._connection.bind(read_server_info=False))
        finally:
            self._connection.password = None
        code: int = self._connection.result["result"]
        if code in NOT_NOW:
            raise Retryable(f"The directory {self.server} is busy. Try again in a minute.", delay=AWAY_SECONDS)
        return code

    def read(self, dn: str, condition: str, attributes: Iterable[str]) -> Entry | None:
        """The entry of this name, if we may see it and `condition` holds for it."""
        self._request(dn, condition, attributes, ldap3.BASE, 1, None)
        return next(_entries(self._connection.response or ()), None)

    def search(self, base: str, condition: str, attributes: Iterable[str], limit: int) -> Found:
        """At most `limit` entries below `base`; references to other servers are not followed, nor are aliases."""
        entries: list[Entry] = []
        cookie: bytes | None = None
        while True:
            self._request(base, condition, attributes, ldap3.SUBTREE, limit + 1, cookie)
            self._understand(base)
            entries.extend(_entries(self._connection.response or ()))
            cookie = self._cookie()
            if len(entries) > limit:
                return Found(tuple(entries[:limit]), complete=False)
            if not cookie:
                return Found(tuple(entries), complete=self._connection.result["result"] == codes.RESULT_SUCCESS)

    def _request(
        self, base: str, condition: str, attributes: Iterable[str], scope: str, limit: int, cookie: bytes | None
    ) -> None:
        self.tls  # noqa: B018 - raises
        self._ask(
            lambda: self._connection.search(
                base,
                condition,
                search_scope=scope,
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=list(attributes),
                size_limit=limit,
                time_limit=self._connection.receive_timeout,
                paged_size=min(PAGE, limit),
                paged_cookie=cookie,
            )
        )

    def _cookie(self) -> bytes | None:
        """What the next page is asked with (RFC 2696), if there is one."""
        controls = self._connection.result.get("controls") or {}
        cookie: bytes | None = controls.get(PAGED, {}).get("value", {}).get("cookie")
        return cookie or None

    def _understand(self, base: str) -> None:
        code: int = self._connection.result["result"]
        if code in (codes.RESULT_SUCCESS, codes.RESULT_SIZE_LIMIT_EXCEEDED):
            return
        if code in NOT_NOW:
            raise Retryable(f"The directory {self.server} is busy. Try again in a minute.", delay=AWAY_SECONDS)
        if code == codes.RESULT_REFERRAL:
            raise Permanent(
                f"The directory {self.server} sends us to another server for {base!r}, which is not followed: name that server."
            )
        if code == codes.RESULT_NO_SUCH_OBJECT:
            raise Permanent(f"The directory {self.server} has no {base!r}, or the service account may not see it.")
        refused = self._connection.result["description"]
        raise Permanent(f"The directory {self.server} refuses to search below {base!r} ({refused}).")

    def _ask(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except said.LDAPInvalidFilterError as error:
            raise Permanent("A search filter in the directory's settings cannot be read. Correct it.") from error
        except (said.LDAPExceptionError, OSError) as error:
            raise Broken(
                f"The connection to the directory {self.server} broke. Try again in a minute.", delay=AWAY_SECONDS
            ) from error


class VerifiedTls(ldap3.Tls):  # type: ignore[misc]
    """TLS as the standard library does it: ldap3's own wrapping checks the name only afterwards, and by old rules."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Shake hands; an error leaves no usable socket behind."""
        host = connection.server.host
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=host, do_handshake_on_connect=True)


def trusting(ca_pem: str | None) -> ssl.SSLContext:
    """A context that verifies certificates and names, by these authorities alone if there are some; TLS 1.2 or newer."""
    try:
        context = ssl.create_default_context(cadata=ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise Permanent("The CA certificates for the directory cannot be read. Give them in PEM.") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@contextmanager
def opened(address: ServerAddress, settings: DirectoryConnection, context: ssl.SSLContext) -> Iterator[Line]:
    """A connection on which TLS stands. `Retryable`: nobody answers; `Permanent`: TLS is refused or cannot be trusted."""
    name = f"{address.host}:{address.port}"
    server = ldap3.Server(
        address.host,
        port=address.port,
        use_ssl=address.encryption is Encryption.LDAPS,
        tls=VerifiedTls(context),
        get_info=ldap3.NONE,
        connect_timeout=settings.seconds,
    )
    connection = ldap3.Connection(
        server,
        auto_bind=ldap3.AUTO_BIND_NONE,
        client_strategy=ldap3.SYNC,
        auto_referrals=False,
        read_only=True,
        raise_exceptions=False,
        check_names=False,
        auto_escape=False,
        receive_timeout=settings.seconds,
    )
    try:
        _shake_hands(connection, address, name)
        line = Line(connection, name)
        line.tls  # noqa: B018 - raises
        yield line
    finally:
        _close(connection)


def _close(connection: Any) -> None:
    with contextlib.suppress(Exception):
        if isinstance(connection.socket, ssl.SSLSocket):
            connection.unbind()
    with contextlib.suppress(Exception):
        connection.strategy.close()


def _shake_hands(connection: Any, address: ServerAddress, name: str) -> None:
    try:
        connection.open(read_server_info=False)
        if address.encryption is Encryption.STARTTLS and not connection.start_tls(read_server_info=False):
            raise Permanent(_NO_TLS.format(name))
    except (said.LDAPExceptionError, OSError) as error:
        _explain(error, name, str(connection.last_error or ""))


def _explain(error: BaseException, name: str, words: str) -> NoReturn:
    """ldap3 folds all that can go wrong into a few classes and puts the cause into words."""
    told = f"{error} {words}"
    if isinstance(error, said.LDAPStartTLSError) and told.strip().startswith("startTLS failed"):
        raise Permanent(_NO_TLS.format(name)) from error
    if "CERTIFICATE_VERIFY_FAILED" in told or isinstance(error, said.LDAPCertificateError):
        raise Permanent(
            f"The certificate of the directory {name} is not trusted: its authority, its name or its time is wrong. "
            "Configure its CA, and the name that stands in it."
        ) from error
    if "wrapping" in told or "wrap socket" in told:
        raise Permanent(f"The directory {name} does not speak TLS as it should. Check the port and the encryption.") from error
    raise Retryable(f"The directory {name} cannot be reached. Try again in a minute.", delay=AWAY_SECONDS) from error


def _entries(response: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Entries only: what begins with a reference to another server is left out."""
    for item in response:
        if item.get("type") == "searchResEntry":
            values = {
                str(name).partition(";")[0].lower(): tuple(found) for name, found in item["raw_attributes"].items() if found
            }
            yield Entry(str(item["dn"]), values)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None

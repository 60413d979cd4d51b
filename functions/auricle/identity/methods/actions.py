"""Setting up, changing, removing and trying the ways to sign in. Nothing of it holds a connection while it waits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from auricle.access.model import Asking, Principal, Site
from auricle.admin.audit.kinds import EventKind, Outcome, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.admin.configuration.actions import Configuration
from auricle.admin.configuration.model import Held, Section
from auricle.contract.ids import uuid7
from auricle.contract.preconditions import unchanged
from auricle.contract.store import Units
from auricle.errors import AuricleError, Conflict, Invalid, NotFound
from auricle.identity import ldap, pki, trustedheader
from auricle.identity.accounts.model import MAIL, MailServer
from auricle.identity.federation.store import FederationStore
from auricle.identity.ldap import ConfiguredDirectory, DirectoryBody
from auricle.identity.mailtexts import Facts, Letter, written
from auricle.identity.methods.model import AUTHORITIES, DIRECTORIES, HEADER, MOST, PROVIDERS
from auricle.identity.oidc import configuration as oidc
from auricle.identity.oidc.configuration import Provider, ProviderBody
from auricle.identity.oidc.report import ConnectionReport, Finding, Weight, examined
from auricle.identity.pki import CertificateBody, CertificateConfiguration
from auricle.identity.store import IdentityStore
from auricle.identity.trustedheader import Disbelief, HeaderBody, HeaderConfiguration, TrustedHeader
from auricle.ports.certificates import CertificateCheckers
from auricle.ports.directory import Directories
from auricle.ports.mail import Mail
from auricle.ports.oidc import OidcProviders

T = TypeVar("T")
ID = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
RESERVED = frozenset({"certificate", "directory", "header"})
"""Mean something else in addresses where ids stand."""
SEALED = ""
"""Stands for a secret that is not opened: views tell only whether there is one."""
NOTHING = "Nothing of this id is set up."


@dataclass(frozen=True, slots=True)
class Changing:
    """What changes are made with. `if_match`: the version that the administrator has seen."""

    units: Units
    configuration: Configuration
    trail: Trail
    who: Principal
    if_match: str | None = None

    def seen(self, section: Section[T], id: str = "") -> Held[T] | None:
        """As it is now, if that is what `if_match` names."""
        held = self.current(section, id)
        unchanged(self.if_match, held.version if held else 0)
        return held

    def current(self, section: Section[T], id: str = "") -> Held[T] | None:
        """As it is now, and not as it was some seconds ago."""
        self.configuration.forget()
        return self.configuration.held(section, id)

    def put(self, section: Section[T], id: str, before: Held[T] | None, value: T, secret: str | None, told: bool) -> Held[T]:
        """Keep it, unless somebody else was faster. `told`: the secret is a new one."""
        subject = (SubjectKind.SETTING, section.named(id) if id else section.name)
        with self.units.unit() as db:
            version = before.version if before else 0
            held = self.configuration.put(db, section, value, secret, self.who.id, id=id, expected=version)
            trail = self.trail.within(db)
            trail.record(EventKind.SETTINGS_CHANGED, subject, Details(setting=subject[1]))
            if told:
                trail.record(EventKind.SECRET_CHANGED, subject, Details(setting=subject[1]))
        self.configuration.forget()  # now that it can be read
        return held

    def drop(self, section: Section[Any], id: str, issuer: str | None) -> None:
        """Forget it. `issuer`: a name of ours, so that whatever is set up under it later must not speak for its people."""
        if self.seen(section, id) is None:
            raise NotFound(NOTHING)
        subject = (SubjectKind.SETTING, section.named(id) if id else section.name)
        with self.units.unit() as db:
            self.configuration.drop(db, section, id)
            count = FederationStore(db).forget_issuer(issuer) if issuer is not None else None
            self.trail.within(db).record(EventKind.SETTINGS_CHANGED, subject, Details(setting=subject[1], count=count))
        self.configuration.forget()

    def tried(self, section: Section[Any], id: str, report: ConnectionReport) -> ConnectionReport:
        """Note that a connection was tried."""
        name = section.named(id) if id else section.name
        with self.units.unit() as db:
            self.trail.within(db).record(
                EventKind.CONNECTION_TESTED,
                (SubjectKind.SETTING, name),
                Details(setting=name),
                outcome=Outcome.SUCCESS if report.works else Outcome.FAILURE,
            )
        return report


# Providers


def provider(configuration: Configuration, id: str) -> tuple[Provider, int]:
    """As administrators see it, and its version."""
    held = _known(configuration.held(PROVIDERS, id))
    return Provider(configuration=held.value, secret=_shown(held)), held.version


def put_provider(changing: Changing, id: str, body: ProviderBody) -> tuple[Provider, int]:
    """Set a provider up, or change it."""
    _check_id(id, body.id)
    held = changing.seen(PROVIDERS, id)
    before = None
    if held is not None:
        before = Provider(configuration=held.value, secret=_kept(changing, PROVIDERS, id, body.client_secret))
    wanted = oidc.changed(before, body)
    others = {name: one.value for name, one in changing.configuration.all(PROVIDERS).items()}
    oidc.together({**others, id: wanted.configuration}.values())
    told = body.client_secret is not UNSET
    kept = changing.put(PROVIDERS, id, held, wanted.configuration, wanted.secret, told)
    return wanted, kept.version


def drop_provider(changing: Changing, id: str) -> None:
    """Remove a provider; nobody signs in by it any more. Its issuer is its own, so that its people stay who they are."""
    changing.drop(PROVIDERS, id, None)


def try_provider(changing: Changing, site: Site, providers: OidcProviders, id: str) -> ConnectionReport:
    """What the provider says of itself now, and of our credentials."""
    held = _known(changing.current(PROVIDERS, id))
    used = Provider(configuration=held.value, secret=changing.configuration.secret(PROVIDERS, id))
    found = examined(providers.for_(oidc.connection(used, site.issuer)), held.value)
    return changing.tried(PROVIDERS, id, found)


# Directories


def directory(configuration: Configuration, id: str) -> tuple[ConfiguredDirectory, int]:
    """As administrators see it, and its version."""
    held = _known(configuration.held(DIRECTORIES, id))
    return ConfiguredDirectory(configuration=held.value, password=_shown(held)), held.version


def put_directory(changing: Changing, id: str, body: DirectoryBody) -> tuple[ConfiguredDirectory, int]:
    """Set a directory up, or change it."""
    _check_id(id, body.id)
    held = changing.seen(DIRECTORIES, id)
    before = None
    if held is not None:
        password = _kept(changing, DIRECTORIES, id, body.bind_password)
        before = ConfiguredDirectory(configuration=held.value, password=password)
    wanted = ldap.changed(before, body)
    _not_too_many(changing.configuration.all(DIRECTORIES), id)
    if held is not None and held.value.id_attribute != wanted.configuration.id_attribute:
        raise Invalid("What names people stays as it is: it is part of their identities. Make a new one.", field="id_attribute")
    told = body.bind_password is not UNSET
    kept = changing.put(DIRECTORIES, id, held, wanted.configuration, wanted.password, told)
    return wanted, kept.version


def drop_directory(changing: Changing, id: str) -> None:
    """Remove a directory; nobody signs in by it any more, and its people are forgotten to be of it."""
    changing.drop(DIRECTORIES, id, ldap.issuer(id))


def try_directory(changing: Changing, directories: Directories, id: str) -> ConnectionReport:
    """What each of its servers says to the service account."""
    held = _known(changing.current(DIRECTORIES, id))
    used = ConfiguredDirectory(configuration=held.value, password=changing.configuration.secret(DIRECTORIES, id))
    return changing.tried(DIRECTORIES, id, _looked_at(used, directories))


def _looked_at(used: ConfiguredDirectory, directories: Directories) -> ConnectionReport:
    try:
        seen = directories.for_(ldap.connection(used)).test_connection()
    except AuricleError as error:
        return _report(_problem(str(error)))
    levels = {True: Weight.FINE, False: Weight.PROBLEM}
    return _report(*(Finding(level=levels[one.passed], sentence=f"{one.server}: {one.detail}") for one in seen))


# Authorities


def authorities(configuration: Configuration, id: str) -> tuple[CertificateConfiguration, int]:
    """As administrators see them, and their version."""
    held = _known(configuration.held(AUTHORITIES, id))
    return held.value, held.version


def put_authorities(
    changing: Changing, checkers: CertificateCheckers, id: str, body: CertificateBody
) -> tuple[CertificateConfiguration, int]:
    """Set authorities up, or change them; those that cannot be used are refused at once."""
    _check_id(id, body.id)
    held = changing.seen(AUTHORITIES, id)
    wanted = pki.changed(held.value if held else None, body)
    checkers.for_(pki.trust(wanted))
    _not_too_many(changing.configuration.all(AUTHORITIES), id)
    kept = changing.put(AUTHORITIES, id, held, wanted, None, told=False)
    return kept.value, kept.version


def drop_authorities(changing: Changing, id: str) -> None:
    """Remove authorities; their certificates sign nobody in any more."""
    changing.drop(AUTHORITIES, id, pki.issuer(id))


def try_authorities(changing: Changing, checkers: CertificateCheckers, id: str) -> ConnectionReport:
    """Whether certificates could be checked against them."""
    held = _known(changing.current(AUTHORITIES, id))
    try:
        checkers.for_(pki.trust(held.value))
    except AuricleError as error:
        return changing.tried(AUTHORITIES, id, _report(_problem(str(error))))
    sentence = "These authorities can be used. Whether one of their certificates is believed is seen when somebody shows it."
    return changing.tried(AUTHORITIES, id, _report(Finding(level=Weight.FINE, sentence=sentence)))


# The proxy's header


def header(configuration: Configuration) -> tuple[TrustedHeader, int]:
    """As administrators see it, and its version: 0 while nobody has set it, and it is off."""
    held = configuration.held(HEADER)
    if held is None:
        return TrustedHeader(), 0
    return TrustedHeader(configuration=held.value, secret=_shown(held)), held.version


def put_header(changing: Changing, body: HeaderBody) -> tuple[TrustedHeader, int]:
    """Switch it on or off, or change it."""
    held = changing.seen(HEADER)
    secret = _kept(changing, HEADER, "", body.proxy_secret) if held else None
    before = TrustedHeader(configuration=held.value if held else HeaderConfiguration(), secret=secret)
    wanted = trustedheader.changed(before, body)
    kept = changing.put(HEADER, "", held, wanted.configuration, wanted.secret, body.proxy_secret is not UNSET)
    return wanted, kept.version


def drop_header(changing: Changing) -> None:
    """Forget it: no header is believed."""
    changing.drop(HEADER, "", trustedheader.ISSUER)


def try_header(changing: Changing, asking: Asking) -> ConnectionReport:
    """What the header of this very request would be worth."""
    held = changing.current(HEADER)
    has = held.value if held else HeaderConfiguration()
    used = TrustedHeader(configuration=has, secret=changing.configuration.secret(HEADER))
    found = trustedheader.identify(used, asking.address, asking.told)
    if not isinstance(found, Disbelief):
        sentence = "The header of this request is believed: it came through the proxy, and names somebody."
        return changing.tried(HEADER, "", _report(Finding(level=Weight.FINE, sentence=sentence)))
    return changing.tried(HEADER, "", _report(_problem(_DISBELIEF[found].format(address=asking.address))))


_DISBELIEF: Mapping[Disbelief, str] = {
    Disbelief.OFF: "It is switched off: no header is believed.",
    Disbelief.UNVERIFIED: "The gateway vouches for no address of this request, so no header of it is believed.",
    Disbelief.ADDRESS: "This request came from {address}, which is none of the proxy's addresses. Ask through the proxy.",
    Disbelief.SECRET: f"The header {trustedheader.SECRET_HEADER} of this request does not hold the proxy's secret.",
    Disbelief.MISSING: "This request came from the proxy, and has no such header.",
    Disbelief.MALFORMED: "This request came from the proxy, and its header does not name one person.",
}


def _check_id(id: str, said: str) -> None:
    if id != said:
        raise Invalid("The id in the address and the one in the body are not the same.", field="id")
    if id in RESERVED or not ID.fullmatch(id) or len(id) > 32:
        sentence = "The id is 1 to 32 lower-case letters and digits, which begins with a letter and may have single hyphens."
        raise Invalid(sentence, field="id")


def _not_too_many(known: Mapping[str, Any], id: str) -> None:
    if len({*known, id}) > MOST:
        raise Conflict(f"There may be {MOST} of them. Remove one first.")


def _kept(changing: Changing, section: Section[Any], id: str, given: str | UnsetType | None) -> str | None:
    """The stored secret, opened only if it is to stay: one whose key is lost can still be replaced."""
    return changing.configuration.secret(section, id) if given is UNSET else None


def _known(held: Held[T] | None) -> Held[T]:
    if held is None:
        raise NotFound(NOTHING)
    return held


def _shown(held: Held[Any]) -> str | None:
    return SEALED if held.sealed is not None else None


def _problem(sentence: str) -> Finding:
    return Finding(level=Weight.PROBLEM, sentence=sentence)


def _report(*findings: Finding) -> ConnectionReport:
    return ConnectionReport(works=all(one.level is not Weight.PROBLEM for one in findings), findings=findings)


# Mail


def try_mail(changing: Changing, server: MailServer, mail: Mail, site: Site) -> ConnectionReport:
    """Whether a letter to whoever asks is taken by the server."""
    with changing.units.unit() as db:
        account = IdentityStore(db).account(changing.who.id)
    if account is None or account.email is None:
        raise Conflict("The letter goes to your own address, and you have none: sign in as a person.")
    facts = Facts(site=site.issuer.partition("://")[2], link=site.issuer, at=datetime.now(UTC))
    try:
        mail.send(written(Letter.TEST, facts).to(account.email, f"test-{uuid7()}"))
    except AuricleError as error:
        found = Finding(level=Weight.PROBLEM, sentence=str(error))
    else:
        found = (
            Finding(level=Weight.FINE, sentence=f"{server.host} has taken a letter to {account.email}. See that it arrives.")
            if server.host
            else Finding(level=Weight.PROBLEM, sentence="There is no mail server: letters go to the log, without their links.")
        )
    return changing.tried(MAIL, "", ConnectionReport(works=found.level is not Weight.PROBLEM, findings=(found,)))

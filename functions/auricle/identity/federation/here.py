"""Ways in that need no journey: a login at a directory, a certificate, a proxy's header. Whoever is asked, nothing is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from auricle.access.model import Asking, Principal, PrincipalId
from auricle.access.sessions import Factor
from auricle.admin.audit.kinds import EventKind, Method
from auricle.admin.audit.kinds import Reason as AuditReason
from auricle.admin.audit.model import Details
from auricle.contract.function import Assembled
from auricle.contract.store import Units
from auricle.errors import Permanent, Retryable, TooMany, Unauthenticated
from auricle.identity import ldap, pki, trustedheader
from auricle.identity.accounts.model import RegistrationPolicy
from auricle.identity.entering import Issued, Making, Pending
from auricle.identity.federation.actions import come_in, link
from auricle.identity.federation.model import Comer, LinkedIdentity
from auricle.identity.ldap import canonical_login
from auricle.identity.lockout import Attempt, Guess, Lockout
from auricle.identity.methods.model import Way
from auricle.identity.methods.reading import Methods
from auricle.identity.pki import CertificateConfiguration
from auricle.identity.store import IdentityStore
from auricle.identity.trustedheader import Disbelief
from auricle.ports.certificates import CertificateCheckers, CertificateIdentity, Refusal, Refused
from auricle.ports.directory import Directories

CERTIFICATE = "x-auricle-client-certificate"
"""DER in base64; bound to the fingerprint that the gateway signs."""
WRONG = "The login or the password is not right."
"""For whatever was wrong, a missing group among it."""
NOT_BELIEVED = "Your certificate does not sign you in here. Use another one, or ask an administrator."
NO_CERTIFICATE = "Your browser showed no certificate. Insert your card, close this window and open the page anew."
NOT_PROXIED = "Nobody has signed you in on the way here. Open the site by its usual address, or sign in another way."
DISBELIEF: Mapping[Disbelief, AuditReason] = {
    Disbelief.ADDRESS: AuditReason.UNTRUSTED_PROXY,
    Disbelief.UNVERIFIED: AuditReason.UNTRUSTED_PROXY,
    Disbelief.SECRET: AuditReason.UNTRUSTED_PROXY,
    Disbelief.MISSING: AuditReason.NO_CREDENTIAL,
    Disbelief.MALFORMED: AuditReason.MALFORMED,
    Disbelief.OFF: AuditReason.POLICY,
}
REFUSAL: Mapping[Refusal, AuditReason] = {
    Refusal.REVOKED: AuditReason.REVOKED,
    Refusal.TIME: AuditReason.EXPIRED,
    Refusal.CHAIN: AuditReason.UNTRUSTED_ISSUER,
    Refusal.MALFORMED: AuditReason.MALFORMED,
    Refusal.UNDETERMINED: AuditReason.UPSTREAM_AWAY,
    Refusal.FORGED: AuditReason.WRONG_SIGNATURE,
}
"""Why a certificate is not believed → the trail's word; all others are what the policy does not allow."""


@dataclass(frozen=True, slots=True)
class Here(Assembled):
    """What signing in without a journey takes."""

    units: Units
    methods: Methods
    directories: Directories
    checkers: CertificateCheckers
    policy: RegistrationPolicy
    making: Making

    def by_directory(
        self, id: str, asking: Asking, login: str, password: str, invitation: str | None = None
    ) -> Issued | Pending:
        """Sign in with the login and password of a directory."""
        self.making.from_our_page(asking)
        return self._in(self._of_directory(id, asking, login, password), asking, invitation)

    def by_certificate(self, asking: Asking, invitation: str | None = None) -> Issued | Pending:
        """Sign in with the certificate that was shown to the gateway."""
        self.making.from_our_page(asking)  # browsers show it to whoever's page asks
        return self._in(self._of_certificate(asking), asking, invitation)

    def by_header(self, asking: Asking, invitation: str | None = None) -> Issued | Pending:
        """Sign in as the proxy's header says."""
        self.making.from_our_page(asking)
        return self._in(self._of_header(asking), asking, invitation)

    def link_directory(self, id: str, asking: Asking, who: Principal, login: str, password: str) -> LinkedIdentity:
        """Let a signed-in person come in with a directory's login, too."""
        return self._linked(self._of_directory(id, asking, login, password), who)

    def link_certificate(self, asking: Asking, who: Principal) -> LinkedIdentity:
        """Let a signed-in person come in with the certificate that they show, too."""
        self.making.from_our_page(asking)
        return self._linked(self._of_certificate(asking), who)

    def _in(self, comer: Comer, asking: Asking, invitation: str | None) -> Issued | Pending:
        with self.units.unit() as db:
            return come_in(IdentityStore(db), self.making, self.policy, comer, asking, datetime.now(UTC), invitation)

    def _linked(self, comer: Comer, who: Principal) -> LinkedIdentity:
        with self.units.unit() as db:
            return link(IdentityStore(db), self.making, comer, PrincipalId(who.id), datetime.now(UTC))

    def _of_directory(self, id: str, asking: Asking, login: str, password: str) -> Comer:
        """Who that is; every wrong guess is counted, whether or not there is such a person, and answered alike."""
        configured, trail = self.methods.directory(id), self.making.trail
        about = Details(method=Method.LDAP, provider=id)
        name = f"{ldap.issuer(id)} {canonical_login(login)}"
        lockout = Lockout.by(self.making.lockout, self.making.ephemeral, Guess.PASSWORD)
        attempt = Attempt(name, asking.address)
        try:
            lockout.admit(attempt)
        except TooMany:
            trail.refused(EventKind.LOGIN, AuditReason.LOCKED, account=name, details=about)
            raise
        try:
            person = self.directories.for_(ldap.connection(configured)).sign_in(login, password)
        except (Retryable, Permanent):
            lockout.withdrawn(attempt)
            raise
        if person is None:
            trail.refused(EventKind.LOGIN, AuditReason.WRONG_PASSWORD, account=name, details=about)
            raise Unauthenticated(WRONG)
        lockout.succeeded(attempt)
        return Comer(
            who=ldap.as_external(configured.configuration, person),
            rules=configured.configuration.admission,
            provider=id,
            way=Way.DIRECTORY,
            method=Method.LDAP,
            factor=Factor.PASSWORD,
        )

    def _of_certificate(self, asking: Asking) -> Comer:
        if asking.fingerprint is None:
            self._refuse(Method.CERTIFICATE, AuditReason.NO_CREDENTIAL, NO_CERTIFICATE)
        pem = pki.presented(asking.headers.get(CERTIFICATE, ""), asking.fingerprint)
        if isinstance(pem, Refused):
            self._refuse(Method.CERTIFICATE, AuditReason.MALFORMED, NOT_BELIEVED)
        believed = self._believed(pem)
        if isinstance(believed, Refused):
            self._refuse(Method.CERTIFICATE, REFUSAL.get(believed.reason, AuditReason.POLICY), NOT_BELIEVED)
        configured, identity = believed
        who = pki.as_external(configured, identity)
        if who is None:
            self._refuse(Method.CERTIFICATE, AuditReason.NOT_FOUND, NOT_BELIEVED)
        return Comer(
            who=who,
            rules=configured.admission,
            provider=configured.id,
            way=Way.CERTIFICATE,
            method=Method.CERTIFICATE,
            factor=Factor.CERTIFICATE,
        )

    def _believed(self, pem: str) -> tuple[CertificateConfiguration, CertificateIdentity] | Refused:
        """By the first authorities that vouch for it. Whose authorities they are and who say no, say so for all."""
        refused = Refused(reason=Refusal.CHAIN, detail="No authorities are set up.")
        for configured in self.methods.authorities():
            found = self.checkers.for_(pki.trust(configured)).check(pem, datetime.now(UTC))
            if isinstance(found, CertificateIdentity):
                return configured, found
            refused = found
            if found.reason is not Refusal.CHAIN:
                break
        return refused

    def _of_header(self, asking: Asking) -> Comer:
        settings = self.methods.header()
        found = trustedheader.identify(settings, asking.address, asking.told)
        if isinstance(found, Disbelief):
            self._refuse(Method.PROXY_HEADER, DISBELIEF[found], NOT_PROXIED)
        return Comer(
            who=found,
            rules=settings.configuration.admission,
            provider=trustedheader.ISSUER,
            way=Way.PROXY,
            method=Method.PROXY_HEADER,
            factor=Factor.ELSEWHERE,
        )

    def _refuse(self, method: Method, reason: AuditReason, sentence: str) -> NoReturn:
        self.making.trail.refused(EventKind.LOGIN, reason, details=Details(method=method))
        raise Unauthenticated(sentence)

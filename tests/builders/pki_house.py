"""A root, an issuing authority and what they publish, with a checker that trusts them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from auricle.adapters.certificates.x509 import X509Checker
from auricle.ports.certificates import CertificateChecker, CertificateIdentity, Refused, Revocation, Trust
from builders.pki import MOMENT, Authority, Holder, Publisher


@dataclass
class House:
    """Authorities and what they publish."""

    root: Authority
    issuing: Authority
    web: Publisher

    def publish(self) -> None:
        """The lists as they are now."""
        self.web.lists["/root.crl"] = self.root.revocation_list()
        self.web.lists["/issuing.crl"] = self.issuing.revocation_list()

    def trust(self, **revocation: object) -> Trust:
        """Trust in the root, with the issuing authority known."""
        rules = Revocation(**revocation)  # type: ignore[arg-type]
        return Trust(anchors_pem=self.root.pem, intermediates_pem=self.issuing.pem, revocation=rules)

    def checker(self, **revocation: object) -> X509Checker:
        """A checker without anything kept."""
        return X509Checker(self.trust(**revocation))


def reason(found: CertificateIdentity | Refused) -> str | None:
    """Why not; None for an identity."""
    return found.reason.value if isinstance(found, Refused) else None


def check(checker: CertificateChecker, holder: Holder, now: datetime = MOMENT) -> str | None:
    """Why a certificate is refused, if it is."""
    return reason(checker.check(holder.pem, now))

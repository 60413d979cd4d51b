"""Who is at a route of second factors: with a session, or with nothing but the first factor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from auricle.access.accesstokens import AccessClaims, PendingClaims
from auricle.access.actions import Seen, refuse_until
from auricle.access.mfa import Need, fresh
from auricle.access.model import Asking, Principal, PrincipalId
from auricle.access.permissions import Decision, Reason
from auricle.access.sessions import Proof, Session, SessionId
from auricle.admin.audit.kinds import Method
from auricle.contract.function import Assembled
from auricle.errors import Denied, Unauthenticated
from auricle.identity.entering import Issued, Making
from auricle.identity.federation.actions import take_up
from auricle.identity.lockout import Attempt
from auricle.identity.model import Account
from auricle.identity.store import IdentityStore
from auricle.ports.ephemeral import Revocable
from auricle.ports.signing import Refusal, TokenRefused


@dataclass(frozen=True, slots=True)
class Present(Assembled):
    """Who asks. `session` None: they owe a second factor, or their first one is still to be enrolled, before there is one."""

    who: Principal
    seen: Seen
    session: Session | None
    asking: Asking

    @property
    def person(self) -> PrincipalId:
        """Whose factors it is about."""
        return self.who.id

    @property
    def own(self) -> SessionId:
        """The session; `Denied` while there is none."""
        if not isinstance(self.seen.claims, AccessClaims):
            raise Denied("You are not signed in yet: show your second factor first.")
        return self.seen.claims.sid

    def attempt(self, account: Account, making: Making) -> Attempt:
        """A guess at the second factor, as lockout counts it: in a session, or on a known device, apart from strangers'."""
        if isinstance(self.seen.claims, AccessClaims):
            device: str | None = f"session {self.seen.claims.sid}"
        else:
            device = making.devices.known(making.site, self.asking, account.email)
        return Attempt(str(account.id), self.asking.address, device)

    def may_change(self, account: Account, now: datetime) -> None:
        """`Denied` unless the second factor, or the password of who has none, was shown within the last minutes.

        Who signs in without a factor although one is required has just shown the password, and enrols the first one.
        """
        if self.session is None:
            if account.second_factor:
                refuse_until(Decision(Reason.MFA_PENDING), Need.FACTOR, enrol=False)
            return
        level = Need.FACTOR if account.second_factor else Need.PASSWORD
        if not fresh(self.session, level, now):
            refuse_until(Decision(Reason.FACTOR), level, enrol=False)

    def completed(
        self, store: IdentityStore, making: Making, account: Account, proof: Proof, now: datetime, epoch: int | None = None
    ) -> Issued:
        """What the second factor gives: the session that waited for it, or the successor of the present one.

        The account's row is locked. A pending token does this once.
        """
        claims = self.seen.claims
        if isinstance(claims, AccessClaims):
            return making.succeeded(store, account, claims.sid, proof, self.asking, now, epoch)
        self._spend(claims, making)
        first = Proof(claims.amr[0], datetime.fromtimestamp(claims.iat, UTC))
        issued = making.begun(store, account, (first, proof), self.asking, now, Method(claims.via))
        take_up(store, making, claims.jti, issued.session.id)
        return issued

    @staticmethod
    def _spend(claims: PendingClaims, making: Making) -> None:
        ends = datetime.fromtimestamp(claims.exp, UTC)
        if not making.ephemeral.once(f"pending {claims.jti}", 2 * claims.kind.lifetime.total_seconds()):
            raise TokenRefused(Refusal.ENDED)
        making.ephemeral.revoke(Revocable.TOKEN, str(claims.jti), ends)


def present_account(store: IdentityStore, person: PrincipalId, now: datetime) -> Account:
    """The account with its row locked; `Unauthenticated` when it was closed meanwhile."""
    account = store.locked_account(person)
    if account is None or not account.open(now):
        raise Unauthenticated("You are not signed in any more. Sign in again.")
    return account

"""Owners whom whoever runs this deployment asks for, before there is anybody in it who could."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from auricle.access.model import Site
from auricle.access.permissions import Role
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.contract.ids import uuid7
from auricle.contract.store import Units
from auricle.identity.accounts.letters import composed, link_to
from auricle.identity.accounts.links import writable
from auricle.identity.accounts.model import INVITED_FOR, Coming, Invitation, InvitationId
from auricle.identity.accounts.store import InvitationStore
from auricle.identity.events import LetterWanted
from auricle.identity.mailtexts import Letter
from auricle.identity.store import IdentityStore
from auricle.ports.mail import Mail


def appoint(
    addresses: Sequence[str], units: Units, site: Site, mail: Mail | None, trail: Trail, say: Callable[[str], None]
) -> None:
    """Invite each as an owner, once: nobody who has an account, or whose invitation is open and was handed over.

    Without `mail` the link is said, once. Killed between handing over and noting it, the same is done again.
    """
    for address in [writable(one) for one in addresses]:  # all are looked at before anybody is written to
        invitation = _open_to(address, units, trail)
        if invitation is None:
            say(f"{address} has an account, or an invitation already.")
            continue
        _handed_over(invitation, units, site, mail, say)
        with units.unit() as db:
            InvitationStore(db).sent(invitation.id)


def _open_to(address: str, units: Units, trail: Trail) -> Invitation | None:
    """The invitation that is to be handed over: a new one, or one whose maker was killed."""
    now = datetime.now(UTC)
    with units.unit() as db:
        invitations = InvitationStore(db)
        open = invitations.open_to(address)
        if IdentityStore(db).by_email(address) is not None or (open is not None and not (open.by_house and not open.sent_at)):
            return None
        if open is not None:
            return open
        made = Invitation(
            id=InvitationId(uuid7()),
            kind=Coming.INVITED,
            email=address,
            role=Role.OWNER,
            invited_by=None,
            created_at=now,
            ends_at=now + INVITED_FOR,
            by_house=True,
        )
        invitations.add(made)
        subject = (SubjectKind.INVITATION, made.id)
        trail.within(db).record(EventKind.INVITATION_CREATED, subject, Details(role_after=made.role.value))
        return made


def _handed_over(invitation: Invitation, units: Units, site: Site, mail: Mail | None, say: Callable[[str], None]) -> None:
    wanted = LetterWanted(letter=Letter.INVITATION, invitation=invitation.id)
    if mail is None:
        link = link_to(wanted, units, site)
        say(f"There is no mail server, so hand this link to {invitation.email} yourself. It works once, for seven days: {link}")
        return
    message = composed(wanted, invitation.created_at, f"invitation-{invitation.id}", units, site)
    if message is not None:
        mail.send(message)
        say(f"{invitation.email} is invited by mail.")

"""The letters that identity writes."""

from __future__ import annotations

import logging
from uuid import UUID

import msgspec

from auricle.access.model import Site
from auricle.contract.choices import Scale
from auricle.contract.event import Envelope
from auricle.contract.function import stage
from auricle.contract.store import Units
from auricle.identity.accounts.letters import composed
from auricle.identity.accounts.store import InvitationStore
from auricle.identity.events import LetterWanted
from auricle.ports.mail import Mail

log = logging.getLogger(__name__)


class Sent(msgspec.Struct, frozen=True):
    """What became of a letter. `invitation`: it invited somebody."""

    invitation: UUID | None = None


def note_letter(sent: Sent, invitations: InvitationStore) -> None:
    """Who invited sees that the letter is on its way."""
    if sent.invitation is not None:
        invitations.sent(sent.invitation)


@stage(on=LetterWanted, scale=Scale.BURST, then=note_letter)
def letters(event: LetterWanted, envelope: Envelope, units: Units, mail: Mail, site: Site) -> Sent:
    """Write a letter about an account, with a link that works once where it needs one, and hand it to the mail server.

    At least once: after a failure it is written anew under the same Message-ID, and the links of both are good.
    """
    message = composed(event, envelope.time, envelope.id, units, site)
    if message is None:
        log.info("the letter %s was not written: there is nobody to write to", event.letter)
        return Sent()
    mail.send(message)
    return Sent(event.invitation)

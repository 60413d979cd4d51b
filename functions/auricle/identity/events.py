"""What identity tells the house."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from auricle.access.model import PrincipalId
from auricle.contract.event import Fact
from auricle.identity.mailtexts import Letter


class LetterWanted(Fact, frozen=True, kw_only=True):
    """Somebody is to get a letter. It names them by id and holds no secret: a link's token is made when the letter is written.

    `person` None without an `invitation` or a `change` (of address): there is nobody to write to, which only the writer finds
    out, so that asking for a letter takes the same time for everybody. `by`: whom it tells of; `session`: where from.
    """

    TYPE: ClassVar[str] = "auricle.identity.letter-wanted.v1"

    letter: Letter
    person: PrincipalId | None = None
    invitation: UUID | None = None
    change: UUID | None = None
    by: PrincipalId | None = None
    session: UUID | None = None
    device: str | None = None

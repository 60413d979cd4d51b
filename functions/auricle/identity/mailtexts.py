"""What letters about accounts say. Pure: facts in, subject, text and HTML out; the two say the same words.

Facts that somebody else chose (names) are cut, cleaned and never become links; links are ours and begin with http or https.
No letter holds a picture, a style sheet or anything else that is fetched when it is opened.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from auricle.ports.mail import Message

LONGEST_FACT = 80
SOMEBODY = "Somebody"
_LINK = re.compile(r"https?://[^\s<>\"'\\^`{|}]+")
_LOOKS_LIKE_LINK = re.compile(r"://|www\.|[/\\]|\b[\w-]+\.[a-z]{2,}\b", re.IGNORECASE)


class Letter(StrEnum):
    """Why we write."""

    RESET = "reset"
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - a word, not a password
    FACTORS_CHANGED = "factors-changed"
    WELCOME = "welcome"
    INVITATION = "invitation"
    REGISTRATION = "registration"
    ALREADY_HERE = "already-here"
    REFRESH_REUSED = "refresh-reused"
    NEW_DEVICE = "new-device"
    EMAIL_CHANGE = "email-change"
    EMAIL_CHANGED = "email-changed"
    APPROVAL_ASKED = "approval-asked"
    APPROVED = "approved"
    TEST = "test"


class Facts(Struct, frozen=True, kw_only=True):
    """What a letter may tell. `site` is what this vault calls itself; `until` is when `link` ends; `at` when it happened.

    `by` is who invited or asks; `device` and `place` are our own words for a user agent and an address.
    """

    site: str
    link: str
    at: datetime
    until: datetime | None = None
    by: str | None = None
    device: str | None = None
    place: str | None = None


class MailText(Struct, frozen=True):
    """A letter's words."""

    subject: str
    text: str
    html: str

    def to(self, address: str, key: str) -> Message:
        """The letter to `address`, which under the same `key` is the same letter. `Invalid` when it is no address."""
        return Message(to=address, subject=self.subject, text=self.text, html=self.html, key=key)


class Draft(Struct, frozen=True):
    """A letter before it is laid out: sentences, the link under its label, and what stands below it."""

    subject: str
    says: tuple[str, ...]
    label: str
    below: tuple[str, ...] = ()


def written(letter: Letter, facts: Facts) -> MailText:
    """The words of `letter`. `ValueError`: the link does not begin with http or https, or a fact that it needs is missing."""
    if not _LINK.fullmatch(facts.link):
        raise ValueError("A link in a letter begins with http:// or https:// and holds no spaces or quotes.")
    draft = LETTERS[letter](facts)
    return MailText(draft.subject, _text(draft, facts), _html(draft, facts))


def reset(facts: Facts) -> Draft:
    """Somebody asked for a new password: whoever reads this may set one."""
    return Draft(
        f"Set a new password for {_plain(facts.site)}",
        (
            f"Somebody, probably you, asked for a new password for your account at {_plain(facts.site)}.",
            f"This link works once, {_until(facts)}:",
        ),
        "Set a new password",
        ("If it was not you, do nothing: your password stays as it is.",),
    )


def password_changed(facts: Facts) -> Draft:
    """It is done, and whoever did not do it should know."""
    return Draft(
        f"Your password for {_plain(facts.site)} was changed",
        (
            f"The password of your account at {_plain(facts.site)} was changed on {_time(facts)}.",
            "All other sessions were ended.",
        ),
        "Look at your sessions",
        (NOT_YOU,),
    )


def factors_changed(facts: Facts) -> Draft:
    """Something was added to the second factors or taken from them, and whoever did not do it should know."""
    return Draft(
        f"Your second factors at {_plain(facts.site)} were changed",
        (f"The second factors of your account at {_plain(facts.site)} were changed on {_time(facts)}.",),
        "Look at your factors",
        (NOT_YOU,),
    )


def welcome(facts: Facts) -> Draft:
    """An administrator made an account, which has no password yet."""
    return Draft(
        f"Your account at {_plain(facts.site)}",
        (
            f"{_name(facts.by)} made an account at {_plain(facts.site)} for you. Set its password to use it.",
            f"This link works once, {_until(facts)}:",
        ),
        "Set a password",
        ("If you do not expect an account, do nothing.",),
    )


def registration(facts: Facts) -> Draft:
    """Somebody asked for an account: prove that the address is the reader's."""
    return Draft(
        f"Confirm this address for {_plain(facts.site)}",
        (
            f"Somebody, probably you, asked for an account at {_plain(facts.site)} with this address.",
            f"This link works once, {_until(facts)}:",
        ),
        "Make your account",
        ("If it was not you, do nothing: no account is made.",),
    )


def already_here(facts: Facts) -> Draft:
    """Somebody asked for an account with an address that has one: its owner alone hears of it."""
    return Draft(
        f"You have an account at {_plain(facts.site)}",
        (
            f"Somebody, probably you, asked for an account at {_plain(facts.site)} with this address on {_time(facts)}.",
            "There is one already: sign in to it. If you do not know its password any more, set a new one there.",
        ),
        "Sign in",
        ("If it was not you, do nothing.",),
    )


def invitation(facts: Facts) -> Draft:
    """Somebody wants the reader to join."""
    return Draft(
        f"You are invited to {_plain(facts.site)}",
        (
            f"{_name(facts.by)} invites you to {_plain(facts.site)}.",
            f"This link works once, {_until(facts)}:",
        ),
        "Make your account",
        ("If you do not expect an invitation, do nothing.",),
    )


def refresh_reused(facts: Facts) -> Draft:
    """A refresh token came twice: one of the two was stolen."""
    return Draft(
        f"A session at {_plain(facts.site)} was ended for your safety",
        (
            f"On {_time(facts)} a session of your account was continued from two places, as happens when its key is stolen.",
            f"The second one was {_where(facts)}.",
            "That session and all that came from it were ended. Sign in again.",
        ),
        "Look at your sessions",
        ("If this comes again, set a new password.",),
    )


def new_device(facts: Facts) -> Draft:
    """A sign-in that looks like none before."""
    return Draft(
        f"New sign-in to {_plain(facts.site)}",
        (f"Your account was signed in to on {_time(facts)} from {_where(facts)}, for the first time.",),
        "Look at your sessions",
        ("If it was you, do nothing.", NOT_YOU),
    )


def email_change(facts: Facts) -> Draft:
    """To the new address: prove that it is the reader's."""
    return Draft(
        f"Confirm your new address for {_plain(facts.site)}",
        (
            f"Somebody, probably you, wants to use this address for an account at {_plain(facts.site)}.",
            f"This link works once, {_until(facts)}:",
        ),
        "Use this address",
        ("If it was not you, do nothing: the address is not used.",),
    )


def email_changed(facts: Facts) -> Draft:
    """To the old address: the last letter there."""
    return Draft(
        f"Your address at {_plain(facts.site)} was changed",
        (f"On {_time(facts)} another e-mail address was set for your account. Letters go there from now on.",),
        "Look at your account",
        (NOT_YOU,),
    )


def approval_asked(facts: Facts) -> Draft:
    """To an administrator: a new account waits."""
    return Draft(
        f"An account at {_plain(facts.site)} waits for approval",
        (f"{_name(facts.by)} registered on {_time(facts)} and waits.",),
        "Look at the account",
    )


def approved(facts: Facts) -> Draft:
    """To whom it waited for."""
    return Draft(
        f"Your account at {_plain(facts.site)} is ready",
        (f"Your account at {_plain(facts.site)} was approved. You can sign in now.",),
        "Sign in",
    )


NOT_YOU = "If it was not you, set a new password now and end the sessions that you do not know."


def test(facts: Facts) -> Draft:
    """An administrator tries the mail server."""
    return Draft(
        f"Letters from {_plain(facts.site)} arrive",
        (f"An administrator of {_plain(facts.site)}, probably you, has tried its mail server on {_time(facts)}. It works.",),
        "Open it",
    )


LETTERS: Mapping[Letter, Callable[[Facts], Draft]] = {
    Letter.RESET: reset,
    Letter.PASSWORD_CHANGED: password_changed,
    Letter.FACTORS_CHANGED: factors_changed,
    Letter.WELCOME: welcome,
    Letter.INVITATION: invitation,
    Letter.REGISTRATION: registration,
    Letter.ALREADY_HERE: already_here,
    Letter.REFRESH_REUSED: refresh_reused,
    Letter.NEW_DEVICE: new_device,
    Letter.EMAIL_CHANGE: email_change,
    Letter.EMAIL_CHANGED: email_changed,
    Letter.APPROVAL_ASKED: approval_asked,
    Letter.APPROVED: approved,
    Letter.TEST: test,
}


def _plain(fact: str) -> str:
    """One short line of visible characters: no breaks, no marks that turn the direction of reading."""
    shown = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in fact[: LONGEST_FACT * 4])
    line = " ".join(shown.split())
    return line if len(line) <= LONGEST_FACT else line[: LONGEST_FACT - 1].rstrip() + "…"


def _name(fact: str | None) -> str:
    """What somebody calls themselves, unless a mail program would make a link of it: strangers would advertise through us."""
    shown = _plain(fact or "")
    return SOMEBODY if not shown or _LOOKS_LIKE_LINK.search(unicodedata.normalize("NFKC", shown)) else shown


def _where(facts: Facts) -> str:
    device, place = _plain(facts.device or ""), _plain(facts.place or "")
    return f"{device or 'an unknown device'} ({place})" if place else device or "an unknown device"


def _time(facts: Facts) -> str:
    return f"{facts.at.astimezone(UTC):%Y-%m-%d at %H:%M} UTC"


def _until(facts: Facts) -> str:
    """How long the link is good, in the largest unit that is exact."""
    if facts.until is None:
        raise ValueError("Say until when the link of this letter works.")
    left = facts.until - facts.at
    for unit, name in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        count, rest = divmod(left, unit)
        if count > 0 and not rest:
            return f"for {count} {name}{'' if count == 1 else 's'}"
    return f"until {facts.until.astimezone(UTC):%Y-%m-%d at %H:%M} UTC"


def _text(draft: Draft, facts: Facts) -> str:
    return "\n\n".join((*draft.says, facts.link, *draft.below, _sender(facts))) + "\n"


def _html(draft: Draft, facts: Facts) -> str:
    """The same paragraphs; the address of the link is shown too, for programs that take links away."""
    link = html.escape(facts.link, quote=True)
    button = f'<p><a href="{link}" rel="noreferrer">{html.escape(draft.label)}</a></p>\n<p>{link}</p>'
    above, below = _paragraphs(*draft.says), _paragraphs(*draft.below, _sender(facts))
    head = f'<meta charset="utf-8"><title>{html.escape(draft.subject)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{above}\n{button}\n{below}\n</body></html>\n'


def _paragraphs(*says: str) -> str:
    return "\n".join(f"<p>{html.escape(sentence)}</p>" for sentence in says)


def _sender(facts: Facts) -> str:
    return f"This letter was sent by {_plain(facts.site)}. Answers to it are not read."

"""What a password must be, and for how long: one table of profiles, and one check that really asks all of it (IA-5(1)).

The profiles are data: a deployment starts from one and changes numbers. `fit` looks at the password alone; `Passwords.check`
also at the person's earlier ones, the current one, their age, and what was stolen elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

import msgspec

from auricle.admin.configuration.model import Section
from auricle.errors import Invalid
from auricle.identity.editing import differs_by
from auricle.ports.breaches import BreachList
from auricle.ports.hashing import PasswordHasher, normalised

PART = 4
"""Letters of a name that make a part worth refusing; shorter ones are in every second word."""
SERVICE = ("auricle",)


class Rule(StrEnum):
    """Which rule a password breaks: for the form's marks and the figures."""

    LENGTH = "length"
    CHARACTERS = "characters"
    CLASSES = "classes"
    PREDICTABLE = "predictable"
    PERSONAL = "personal"
    BREACHED = "breached"
    HISTORY = "history"
    CHANGED = "changed"
    TOO_SOON = "too-soon"
    EXPIRED = "expired"
    MUST_CHANGE = "must-change"


class Finding(msgspec.Struct, frozen=True):
    """One rule that is broken, in a sentence that says what to do."""

    rule: Rule
    sentence: str


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. `length` in characters; `classes`: a capital, a small letter, a digit and a sign are all needed.

    `history`: how many earlier passwords may not come back, the current one among them; `changed`: how many characters must
    differ from the current one; `longest` and `shortest`: the age at which it must, and before which it may not, be changed.
    """

    length: int
    classes: bool
    breached: bool = True
    history: int = 24
    changed: int = 0
    longest: timedelta | None = None
    shortest: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        """Rules that nobody can keep, or that protect nobody, are a mistake in a setting."""
        aged = self.longest is None or timedelta(0) <= self.shortest < self.longest
        if not (8 <= self.length <= 64 and 0 <= self.history <= 100 and 0 <= self.changed <= self.length and aged):
            raise ValueError(
                "A password profile has length 8 to 64 (NIST SP 800-63B-4, 3.1.1.2 wants 64 to be possible), history up to "
                f"100, changed up to its length, and shortest below longest; not {self!r}."
            )


class ProfileName(StrEnum):
    """The profiles that there are."""

    STANDARD = "standard"
    NIST = "nist"
    STIG = "stig"


PROFILES = {
    ProfileName.STANDARD: Profile(length=12, classes=True, longest=timedelta(days=60), shortest=timedelta(hours=24)),
    # NIST SP 800-63B-4, 3.1.1.2: length and a list, neither composition nor periodic change.
    ProfileName.NIST: Profile(length=15, classes=False),
    # DISA Application Security and Development STIG: APSC-DV-001680 (15), -001690 to -001720 (classes), -001730 (8 changed),
    # -001760 (24 hours), -001770 (60 days), -001780 (5 generations; ours has FedRAMP's 24).
    ProfileName.STIG: Profile(length=15, classes=True, changed=8, longest=timedelta(days=60), shortest=timedelta(hours=24)),
}


class PasswordRules(msgspec.Struct, frozen=True, kw_only=True):
    """A profile, and what is to be stricter than it; never weaker, so that a profile's name keeps its meaning.

    `breached`: refuse stolen passwords, where the deployment has a list of them (its place is the environment's to say).
    """

    profile: ProfileName = ProfileName.STANDARD
    breached: bool = True
    length: int | None = None
    classes: bool | None = None
    history: int | None = None
    changed: int | None = None
    longest: timedelta | None = None
    shortest: timedelta | None = None

    def __post_init__(self) -> None:
        """`ValueError` for what is weaker than the profile, or cannot be."""
        chosen, named = self.in_full(), PROFILES[self.profile]
        weaker = [n for n in ("length", "classes", "history", "changed", "shortest") if getattr(chosen, n) < getattr(named, n)]
        if named.longest is not None and (chosen.longest is None or chosen.longest > named.longest):
            weaker.append("longest")
        if weaker:
            raise ValueError(f"{', '.join(weaker)}: this is weaker than the profile {self.profile}. Choose another profile.")

    def in_full(self) -> Profile:
        """The profile with its changes."""
        names = ("length", "classes", "history", "changed", "longest", "shortest")
        changes = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return msgspec.structs.replace(PROFILES[self.profile], **changes, breached=self.breached)


PASSWORDS = Section("passwords", PasswordRules)
"""As administrators set them."""


class Person(msgspec.Struct, frozen=True):
    """Whose password it is: what of them may not be in it. `names`: display name, login name and the like."""

    names: tuple[str, ...] = ()
    email: str = ""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a person's passwords: `hashes` newest first, the current one at the front.

    `changed_at`: when the current one was chosen, None when there is none. `must_change`: somebody else chose it, or it was
    found stolen.
    """

    hashes: tuple[str, ...] = ()
    changed_at: datetime | None = None
    must_change: bool = False

    def rehashed(self, hash: str) -> Kept:
        """With the same current password under new parameters, which makes it no younger."""
        return msgspec.structs.replace(self, hashes=(hash, *self.hashes[1:]))


class Passwords:
    """Checks passwords that people choose."""

    def __init__(self, profile: Profile, hasher: PasswordHasher, breaches: BreachList | None) -> None:
        """`breaches` None: nothing is asked (air gap)."""
        self._profile = profile
        self._hasher = hasher
        self._breaches = breaches

    def check(self, password: str, person: Person, kept: Kept, now: datetime, current: str | None = None) -> list[Finding]:
        """Everything that is wrong with `password` as the person's next one; empty when it is good.

        `current`: the current one as it was just typed *and verified*, None where it is not known (reset, first one); without
        it, how much was changed cannot be told. What is slow is asked only of a password that is good so far: earlier ones
        cost a hash each, and no digest of a password that is refused anyway need leave the house.
        """
        found = [*self._too_soon(kept, now), *fit(password, self._profile, person)]
        if not found:
            found = [*self._too_alike(password, current), *self._stolen(password)]
        return found or self._used_before(password, kept)

    def remembered(self, kept: Kept, hash: str, now: datetime, *, must_change: bool = False) -> Kept:
        """What to keep when `hash` becomes the current one: as many as are ever asked, and no more."""
        hashes = (hash, *kept.hashes)[: max(1, self._profile.history)]
        return Kept(hashes=hashes, changed_at=now, must_change=must_change)

    def _too_soon(self, kept: Kept, now: datetime) -> Iterable[Finding]:
        """Not asked of who must change it anyway: a password that somebody else knows never has to be kept for a day."""
        if kept.changed_at is None or due(self._profile, kept, now) is not None:
            return
        if now - kept.changed_at < self._profile.shortest:
            hours = -(-(kept.changed_at + self._profile.shortest - now) // timedelta(hours=1))
            yield Finding(Rule.TOO_SOON, f"The password was changed a short while ago. Change it in {_hours(hours)}.")

    def _too_alike(self, password: str, current: str | None) -> Iterable[Finding]:
        least = self._profile.changed
        if current is not None and least and not differs_by(_folded(current), _folded(password), least):
            yield Finding(
                Rule.CHANGED, f"Change at least {least} characters of the current password; capitals alone do not count."
            )

    def _stolen(self, password: str) -> Iterable[Finding]:
        if self._profile.breached and self._breaches is not None and self._breaches.count(password):
            yield Finding(
                Rule.BREACHED, "This password is on lists of stolen ones, from somewhere else. Choose one used nowhere else."
            )

    def _used_before(self, password: str, kept: Kept) -> list[Finding]:
        """All of them are compared, whichever it is."""
        earlier = kept.hashes[: self._profile.history]
        if sum(self._hasher.verify(password, hash) for hash in earlier):
            return [Finding(Rule.HISTORY, f"None of the last {self._profile.history} passwords may come back. Choose another.")]
        return []


def fit(password: str, profile: Profile, person: Person) -> list[Finding]:
    """What is wrong with a password by itself; also for one that was verified at sign-in, after a profile became stricter."""
    try:
        text = normalised(password).decode()
    except Invalid as refused:
        return [Finding(Rule.CHARACTERS, str(refused))]
    return [*_short(text, profile), *_one_sided(text, profile), *_predictable(text), *_personal(text, person)]


def due(profile: Profile, kept: Kept, now: datetime) -> Finding | None:
    """Why a person may do nothing now but change the password, asked at every sign-in; None: they need not."""
    if kept.must_change:
        return Finding(Rule.MUST_CHANGE, "Choose a password of your own before you go on.")
    ends = expires(profile, kept)
    if ends is not None and now >= ends:
        return Finding(Rule.EXPIRED, "The password is too old. Choose a new one before you go on.")
    return None


def expires(profile: Profile, kept: Kept) -> datetime | None:
    """When it must be changed; None: never. To warn of, and for lists of accounts."""
    return kept.changed_at + profile.longest if kept.changed_at is not None and profile.longest is not None else None


def refuse(findings: Sequence[Finding]) -> None:
    """`Invalid` with all the sentences, when there are any; `rules` names them for the form."""
    if findings:
        rules = [finding.rule.value for finding in findings]
        raise Invalid(" ".join(finding.sentence for finding in findings), field="password", rules=rules)


def _short(text: str, profile: Profile) -> Iterable[Finding]:
    if len(text) < profile.length:
        yield Finding(Rule.LENGTH, f"Use at least {profile.length} characters; several words are easy to remember.")


_CLASSES = (
    ("a capital letter", str.isupper),
    ("a small letter", str.islower),
    ("a digit", str.isdigit),
    ("a sign such as ! or -", lambda one: not one.isalnum() and not unicodedata.category(one).startswith("M")),
)


def _one_sided(text: str, profile: Profile) -> Iterable[Finding]:
    """In any script; an accent that stays apart (NFKC composes where it can) is no sign of its own."""
    missing = [name for name, is_one in _CLASSES if not any(map(is_one, text))] if profile.classes else []
    if missing:
        yield Finding(Rule.CLASSES, f"Add {', '.join(missing[:-1])}{' and ' if missing[1:] else ''}{missing[-1]}.")


_FEW = 5
"""Different characters: "aaaaaaaaaaaa" and "abcabcabcabc" are as long as they like."""


def _predictable(text: str) -> Iterable[Finding]:
    """Repetitions and runs along the alphabet or the digits, which NIST SP 800-63B's lists are to hold."""
    folded = text.casefold()
    steps = [abs(ord(a) - ord(b)) for a, b in pairwise(folded)]
    runs = sum(step <= 1 for step in steps) * 4 > len(steps) * 3
    if len(set(folded)) < _FEW or runs or folded in (folded + folded)[1:-1]:
        yield Finding(Rule.PREDICTABLE, "Repetitions and rows such as abc or 123 are guessed first. Use several words instead.")


def _personal(text: str, person: Person) -> Iterable[Finding]:
    folded = _bare(text)
    local, _, domain = person.email.rpartition("@")
    # Of names also their beginnings, since people shorten those; of the service and the mail's domain the words as they are.
    parts = {part[:PART] for name in (*person.names, local) for part in _words(name)} | set(_words(domain)) | set(SERVICE)
    if any(part in folded for part in parts):
        yield Finding(
            Rule.PERSONAL, "Leave out parts of your name, your e-mail address and this service's name: they are guessed first."
        )


def _words(name: str) -> list[str]:
    """Runs of at least `PART` letters."""
    return [word for word in re.split(r"[\W\d_]+", _bare(name)) if len(word) >= PART]


def _bare(text: str) -> str:
    """Without capitals and accents: Müller's password has no "muller" in it either."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(one for one in apart if not unicodedata.combining(one))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _hours(hours: int) -> str:
    return "an hour" if hours == 1 else f"{hours} hours"

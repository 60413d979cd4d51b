"""The table of checks: a check is a generator of what it has to say, with a docstring that says what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from auricle.cli.checks import Grade
from auricle.cli.clusterdoctor.seen import OURS, READS, Lack, Seen, Sight, names


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line: what was looked at, what was seen, and what to do about it (empty when nothing)."""

    name: str
    grade: Grade
    text: str
    remedy: str = ""


class Said(msgspec.Struct, frozen=True):
    """What a check says: a sentence, and what to do."""

    grade: Grade
    text: str
    remedy: str = ""


def ok(text: str) -> Said:
    """All is well."""
    return Said(Grade.OK, text)


def note(text: str, remedy: str) -> Said:
    """Worth knowing; nothing is broken."""
    return Said(Grade.NOTE, text, remedy)


def problem(text: str, remedy: str) -> Said:
    """Broken."""
    return Said(Grade.PROBLEM, text, remedy)


Body = Callable[[Seen], Iterator[Said]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the doctor looks at."""

    name: str
    summary: str
    needs: tuple[Sight, ...]
    body: Body


CHECKS: dict[str, Check] = {}
"""Every check by name, in the order of declaration."""


def check(*needs: Sight) -> Callable[[Body], Body]:
    """Make a check of a generator; it is not asked while one of `needs` could not be read. `some_name` is `some-name`."""

    def declare(body: Body) -> Body:
        name = body.__name__.strip("_").replace("_", "-")
        if name in CHECKS:
            raise TypeError(f"the check {name} is declared twice")
        CHECKS[name] = Check(name, (body.__doc__ or "").strip(), needs, body)
        return body

    return declare


def findings(seen: Seen) -> Iterator[Finding]:
    """What every check says about `seen`. Pure."""
    yield from _unseen(seen)
    for one in CHECKS.values():
        if any(sight in seen.lacking for sight in one.needs) or (seen.gone and _within(one)):
            continue
        try:
            said = list(one.body(seen))
        except Exception as error:  # a doctor must not faint
            said = [note(f"This could not be checked: {type(error).__name__}: {error}.", "Please report it.")]
        for line in said:
            yield Finding(name=one.name, grade=line.grade, text=line.text, remedy=line.remedy)


def _within(one: Check) -> bool:
    """Whether a check is about Auricle's namespace: without one there is nothing to say but that."""
    return one.name != "namespace" and any(READS[sight].where == OURS for sight in one.needs)


def _unseen(seen: Seen) -> Iterator[Finding]:
    """One finding for each kind of object that could not be read, with what it leaves unchecked."""
    for sight, lack in seen.lacking.items():
        read = READS[sight]
        blind = [one.name for one in CHECKS.values() if sight in one.needs]
        unchecked = f"; not checked: {names(blind, 12)}" if blind else ""
        where = seen.namespace if read.where == OURS else read.where
        if lack is Lack.FORBIDDEN:
            yield Finding(
                name="permission",
                grade=Grade.NOTE,
                text=f"You may not {read.verb} {read.resource}{f' in {where}' if where else ''}{unchecked}.",
                remedy=_grant(read.verb, read.resource, where),
            )
        elif lack is Lack.BROKEN:
            yield Finding(
                name="reading",
                grade=Grade.NOTE,
                text=f"The API server did not answer for {read.resource}{unchecked}.",
                remedy="Try again; if it stays so, look at the API server.",
            )
        elif not read.optional:
            maker = "Knative Serving" if read.group.startswith("serving") else "Knative Eventing"
            yield Finding(
                name="installed",
                grade=Grade.PROBLEM,
                text=f"The cluster does not know {read.resource}: {maker} is not installed{unchecked}.",
                remedy=f"Install {maker} (manifests/README.md says which releases), then look again.",
            )


def _grant(verb: str, resource: str, where: str) -> str:
    """The commands of an administrator that grant one verb."""
    role = f"auricle-doctor-{resource}"
    if not where:
        return (
            f"An administrator grants it: kubectl create clusterrole {role} --verb={verb} --resource={resource} && "
            f"kubectl create clusterrolebinding {role} --clusterrole={role} --user=YOU"
        )
    return (
        f"An administrator grants it: kubectl -n {where} create role {role} --verb={verb} --resource={resource} && "
        f"kubectl -n {where} create rolebinding {role} --role={role} --user=YOU"
    )

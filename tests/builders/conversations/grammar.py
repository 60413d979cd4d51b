"""Sentences that the demo Whisper knows: about 250 English words of meetings, in a handful of patterns."""

from __future__ import annotations

from collections.abc import Callable
from random import Random


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN = ("Anna", "Carla", "Emma", "Grace", "Julia", "Laura", "Maria", "Nina", "Sarah")
MEN = ("Ben", "David", "Frank", "Henry", "Kevin", "Oliver", "Paul", "Tom", "Victor")
NAMES = tuple(sorted(WOMEN + MEN))
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = words("January February March April May June July August September October November December")
ONES = words("one two three four five six seven eight nine")
TEENS = words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
HOURS = ONES + TEENS[:3]
THINGS = words(
    "budget report project design plan schedule release contract invoice website database server product document "
    "agenda presentation roadmap feature proposal code price market list test"
)
MANY = words("customers users bugs tests features invoices documents emails questions problems ideas slides servers developers")
GROUPS = words("team customer client office manager board sales marketing support engineering finance")
ACTS = words(
    "send finish review write update check fix test move change share prepare approve discuss build deliver present close "
    "open sign"
)
KINDS = words("new old good bad big small first second third last final important urgent late early ready clear")
OPINIONS = words("good bad late clear important ready difficult")
PLACES = words("London Paris Berlin Boston Madrid")


def capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def number(draw: Random) -> str:
    kind = draw.random()
    if kind < 0.4:
        return draw.choice(ONES)
    if kind < 0.65:
        return draw.choice(TEENS)
    if kind < 0.8:
        return draw.choice(TENS)
    return f"{draw.choice(TENS)} {draw.choice(ONES)}"


def when(draw: Random) -> str:
    """A time to come."""
    return draw.choice(
        (
            f"on {draw.choice(DAYS)}",
            f"by {draw.choice(DAYS)}",
            f"before {draw.choice(DAYS)}",
            f"in {draw.choice(MONTHS)}",
            f"in {number(draw)} {draw.choice(('days', 'weeks'))}",
            f"at {draw.choice(HOURS)} o'clock",
            draw.choice(("today", "tomorrow", "next week", "this week", "next month", "after the meeting", "this afternoon")),
        )
    )


def thing(draw: Random) -> str:
    kind = draw.random()
    if kind < 0.6:
        return f"the {draw.choice(THINGS)}"
    if kind < 0.85:
        return f"the {draw.choice(KINDS)} {draw.choice(THINGS)}"
    return f"{draw.choice(('our', 'your', 'my', 'their'))} {draw.choice(THINGS)}"


def company(draw: Random) -> str:
    return draw.choice((f"the {draw.choice(GROUPS)}", draw.choice(NAMES), "everyone"))


Pattern = Callable[[Random], str]

STATEMENTS: tuple[Pattern, ...] = (
    lambda d: f"{d.choice(NAMES)} will {d.choice(ACTS)} {thing(d)} {when(d)}.",
    lambda d: f"{d.choice(NAMES)} needs to {d.choice(ACTS)} {thing(d)} {when(d)}.",
    lambda d: f"we need to {d.choice(ACTS)} {thing(d)} {when(d)}.",
    lambda d: f"let us {d.choice(ACTS)} {thing(d)} with {company(d)}.",
    lambda d: f"{thing(d)} will cost {number(d)} thousand dollars.",
    lambda d: f"sales are {d.choice(('up', 'down'))} {number(d)} percent {d.choice(('this month', 'this week', 'this year'))}.",
    lambda d: f"we have {number(d)} {d.choice(MANY)} {d.choice(('now', 'today', 'left', 'open'))}.",
    lambda d: f"we found {number(d)} {d.choice(MANY)} in {thing(d)}.",
    lambda d: f"the deadline is {d.choice(DAYS)} {d.choice(('morning', 'afternoon'))}.",
    lambda d: f"please {d.choice(ACTS)} {thing(d)} {when(d)}.",
    lambda d: f"please call {company(d)} {when(d)}.",
    lambda d: f"we agreed to {d.choice(ACTS)} {thing(d)} {when(d)}.",
    lambda d: f"{d.choice(NAMES)} is working on {thing(d)} with {company(d)}.",
    lambda d: f"the client in {d.choice(PLACES)} wants {thing(d)} {when(d)}.",
    lambda d: f"it will take {number(d)} {d.choice(('hours', 'days', 'weeks', 'minutes', 'months'))}.",
    lambda d: f"the decision is to {d.choice(ACTS)} {thing(d)}.",
    lambda d: f"maybe we should {d.choice(ACTS)} {thing(d)} first.",
)


def statement(draw: Random) -> str:
    """A sentence that needs no answer."""
    return capital(draw.choice(STATEMENTS)(draw))

"""Who says what in a synthetic meeting: greetings, then questions, answers, tasks and decisions."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from builders.conversations.grammar import ACTS, HOURS, MANY, MONTHS, OPINIONS, capital, company, number, statement, thing, when


class Line(NamedTuple):
    """One sentence of the person `speaker` (from 0)."""

    speaker: int
    text: str


def dialogue(names: list[str], draw: Random) -> Iterator[Line]:
    """Endless talk among the people called `names`."""
    speaker = draw.randrange(len(names))
    yield from _greetings(names, speaker, draw)
    yield Line(speaker, f"The first topic is {thing(draw)}.")
    while True:
        asks = _other(speaker, names, draw) if draw.random() < 0.85 else speaker
        answers = _other(asks, names, draw)
        exchange = draw.choice((_task, _time, _opinion, _amount, _request, _decision, _alone, _alone))
        for line in exchange(names, asks, answers, draw):
            yield line
            speaker = line.speaker


def _other(speaker: int, names: list[str], draw: Random) -> int:
    """Somebody else, if there is anybody."""
    return draw.choice([k for k in range(len(names)) if k != speaker] or [speaker])


def _greetings(names: list[str], host: int, draw: Random) -> Iterator[Line]:
    guests = [k for k in range(len(names)) if k != host]
    draw.shuffle(guests)
    for guest in guests:
        yield Line(guest, f"Hello {names[host]}, how are you?")
    if guests:
        yield Line(host, f"Thank you {names[guests[-1]]}.")


def _task(names: list[str], asks: int, answers: int, draw: Random) -> Iterator[Line]:
    act, what = draw.choice(ACTS), thing(draw)
    yield Line(asks, f"Who will {act} {what}?")
    yield Line(answers, capital(f"{draw.choice(('I', 'we'))} will {act} {what} {when(draw)}."))


def _time(names: list[str], asks: int, answers: int, draw: Random) -> Iterator[Line]:
    what = thing(draw)
    yield Line(asks, f"When will {what} be ready?")
    yield Line(
        answers,
        draw.choice(
            (
                f"It will take {number(draw)} {draw.choice(('days', 'weeks', 'hours'))}.",
                f"The deadline for {what} is in {draw.choice(MONTHS)}.",
                f"The meeting starts at {draw.choice(HOURS)} o'clock tomorrow.",
            )
        ),
    )


def _opinion(names: list[str], asks: int, answers: int, draw: Random) -> Iterator[Line]:
    what = thing(draw)
    yield Line(asks, f"What do you think about {what}?")
    yield Line(answers, f"I think {what} is {draw.choice(OPINIONS)}.")


def _amount(names: list[str], asks: int, answers: int, draw: Random) -> Iterator[Line]:
    many = draw.choice(MANY)
    yield Line(asks, f"How many {many} do we have?")
    yield Line(answers, f"We have {number(draw)} {many} {draw.choice(('now', 'today', 'left', 'open'))}.")


def _request(names: list[str], asks: int, answers: int, draw: Random) -> Iterator[Line]:
    yield Line(asks, f"Can you {draw.choice(ACTS)} {thing(draw)} {when(draw)}?")
    yield Line(answers, f"I will call {company(draw)} {when(draw)}.")
    if asks != answers:
        yield Line(asks, f"Thank you {names[answers]}.")


def _decision(names: list[str], asks: int, answers: int, draw: Random) -> Iterator[Line]:
    act, what = draw.choice(ACTS), thing(draw)
    yield Line(asks, f"We need to {act} {what} {when(draw)}.")
    if asks != answers:
        yield Line(answers, f"Yes, I agree with {names[asks]}.")
    reason = draw.choice(("late", "important", "urgent", "ready"))
    yield Line(_other(answers, names, draw), f"We decided to {act} {what} because it is {reason}.")


def _alone(names: list[str], asks: int, answers: int, draw: Random) -> Iterator[Line]:
    yield Line(asks, statement(draw))

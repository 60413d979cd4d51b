"""Cron schedules of five fields, as Kubernetes and Knative read them: are they valid, and how close together do they fire."""

from __future__ import annotations

from itertools import pairwise

SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 6))
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
DAY = 24 * 60


def problem(schedule: str) -> str:
    """What is wrong with a schedule, as half a sentence; empty when nothing is."""
    try:
        _fields(schedule)
    except ValueError as error:
        return str(error)
    return ""


def closest(schedule: str) -> int:
    """Minutes between the two closest firings on a day on which it fires at all; a day for once a day or less."""
    minutes, hours, *_ = _fields(schedule)
    times = sorted(60 * hour + minute for hour in hours for minute in minutes)
    days_follow = [*times, times[0] + DAY]
    return min(later - earlier for earlier, later in pairwise(days_follow))


def _fields(schedule: str) -> list[set[int]]:
    text = SHORTHANDS.get(schedule.strip(), schedule)
    words = text.split()
    if len(words) != len(FIELDS):
        raise ValueError(f"has {len(words)} fields and needs {len(FIELDS)}")
    return [_values(word, *field) for word, field in zip(words, FIELDS, strict=True)]


def _values(word: str, name: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in word.split(","):
        body, slash, step = part.partition("/")
        if slash and (not step.isdigit() or int(step) == 0):
            raise ValueError(f"has the step {step!r} in its {name}")
        first, dash, last = body.partition("-")
        if body in ("*", "?"):
            begin, end = low, high
        else:
            begin = _number(first, name, low, high)
            end = _number(last, name, low, high) if dash else high if slash else begin
        if end < begin:
            raise ValueError(f"has the {name} {body}, which runs backwards")
        found |= set(range(begin, end + 1, int(step) if slash else 1))
    return found


def _number(text: str, name: str, low: int, high: int) -> int:
    names = {"month": _MONTHS, "weekday": _DAYS}.get(name, {})
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdigit() or not low <= int(text) <= high:
        raise ValueError(f"has the {name} {text!r}, which is not from {low} to {high}")
    return int(text)

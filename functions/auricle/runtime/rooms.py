"""Which module declares which function, so that a process imports its own and nothing else.

A house test holds this table against the declarations.
"""

from __future__ import annotations

from auricle.contract.choices import Image

ROUTES: dict[str, str] = {
    "access": "auricle.access.routes",
    "admin": "auricle.admin.routes",
    "bucket_events": "auricle.intake.arrivals",
    "docs": "auricle.admin.docs",
    "files": "auricle.files.routes",
    "intake": "auricle.intake.routes",
    "progress": "auricle.notifications.routes",
    "runs": "auricle.runs.routes",
    "transcripts": "auricle.transcripts.routes",
}
"""Function of routes → module."""

STAGES: dict[str, tuple[str, Image]] = {
    "advance": ("auricle.runs.stages", Image.API),
    "assemble": ("auricle.transcripts.stages", Image.API),
    "dead_letter": ("auricle.admin.stages", Image.API),
    "erase": ("auricle.files.stages", Image.API),
    "export": ("auricle.transcripts.stages", Image.API),
    "prepare": ("auricle.intake.stages", Image.MEDIA),
    "transcribe": ("auricle.speech.stages", Image.SPEECH),
    "diarize": ("auricle.speech.stages", Image.SPEECH),
    "cluster": ("auricle.speech.stages", Image.SPEECH),
}
"""Event function → module and image."""

TIMERS: tuple[str, ...] = (
    "auricle.files.timers",
    "auricle.intake.timers",
    "auricle.runs.timers",
    "auricle.runtime.timers",
)
"""Modules whose timers the one function `timers` runs."""
TIMER_FUNCTION = "timers"


def functions_of(image: Image) -> tuple[str, ...]:
    """Every function that runs in `image`."""
    stages = tuple(name for name, (_, where) in STAGES.items() if where is image)
    return (*ROUTES, *stages, TIMER_FUNCTION) if image is Image.API else stages


def chosen(words: str) -> tuple[str, ...]:
    """The functions that `AURICLE_FUNCTION` asks for: names with commas, or `*api`, `*media`, `*speech`."""
    names: list[str] = []
    for word in (w.strip() for w in words.split(",")):
        names += functions_of(Image(word[1:])) if word.startswith("*") else [word]
    unknown = [n for n in names if n not in ROUTES and n not in STAGES and n != TIMER_FUNCTION]
    if unknown:
        known = ", ".join([*ROUTES, *STAGES, TIMER_FUNCTION])
        raise LookupError(f"AURICLE_FUNCTION names {', '.join(unknown)}; there are: {known}")
    return tuple(dict.fromkeys(names))


def modules_of(functions: tuple[str, ...]) -> tuple[str, ...]:
    """The modules to import for `functions`."""
    found: list[str] = []
    for name in functions:
        if name == TIMER_FUNCTION:
            found += TIMERS
        else:
            found.append(ROUTES[name] if name in ROUTES else STAGES[name][0])
    return tuple(dict.fromkeys(found))

"""Which module declares which function, so that a process imports its own and nothing else.

A house test holds this table against the declarations.
"""

from __future__ import annotations

from auricle.contract.choices import Image

ROUTES: dict[str, tuple[str, ...]] = {
    "access": ("auricle.access.routes",),
    "admin": ("auricle.admin.routes", "auricle.admin.usage.routes"),
    "audit": ("auricle.admin.audit.routes",),
    "bucket_events": ("auricle.intake.arrivals",),
    "docs": ("auricle.admin.docs",),
    "files": ("auricle.files.routes",),
    "identity": (
        "auricle.identity.routes",
        "auricle.identity.accountroutes",
        "auricle.identity.banner.routes",
        "auricle.identity.factorroutes",
        "auricle.identity.federation.routes",
    ),
    "intake": ("auricle.intake.routes",),
    "progress": ("auricle.notifications.routes",),
    "runs": ("auricle.runs.routes",),
    "settings": ("auricle.admin.configuration.routes", "auricle.identity.methods.routes"),
    "transcripts": ("auricle.transcripts.routes",),
    "users": ("auricle.identity.peopleroutes",),
}
"""Function of routes → modules; the first one's docstring is the function's."""

IMAGES: dict[str, Image] = {"identity": Image.IDENTITY, "settings": Image.IDENTITY, "users": Image.IDENTITY}
"""Function of routes → image, where it is another one than `api`."""

STAGES: dict[str, tuple[str, Image]] = {
    "advance": ("auricle.runs.stages", Image.API),
    "assemble": ("auricle.transcripts.stages", Image.API),
    "dead_letter": ("auricle.admin.stages", Image.API),
    "erase": ("auricle.files.stages", Image.API),
    "export": ("auricle.transcripts.stages", Image.API),
    "letters": ("auricle.identity.stages", Image.API),
    "prepare": ("auricle.intake.stages", Image.MEDIA),
    "transcribe": ("auricle.speech.stages", Image.SPEECH),
    "diarize": ("auricle.speech.stages", Image.SPEECH),
    "cluster": ("auricle.speech.stages", Image.SPEECH),
}
"""Event function → module and image."""

TIMERS: tuple[str, ...] = (
    "auricle.admin.audit.timers",
    "auricle.files.timers",
    "auricle.identity.sweeps",
    "auricle.identity.timers",
    "auricle.intake.timers",
    "auricle.runs.timers",
    "auricle.runtime.timers",
)
"""Modules whose timers the one function `timers` runs."""
TIMER_FUNCTION = "timers"


def functions_of(image: Image) -> tuple[str, ...]:
    """Every function that runs in `image`."""
    return tuple(name for name in (*ROUTES, *STAGES, TIMER_FUNCTION) if image_of(name) is image)


def image_of(function: str) -> Image:
    """The image that a function runs in."""
    return STAGES[function][1] if function in STAGES else IMAGES.get(function, Image.API)


def chosen(words: str) -> tuple[str, ...]:
    """The functions that `AURICLE_FUNCTION` asks for: names with commas, or `*` and an image (`*api`)."""
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
            found += ROUTES[name] if name in ROUTES else (STAGES[name][0],)
    return tuple(dict.fromkeys(found))

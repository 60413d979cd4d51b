"""What a renderer knows besides the transcript."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExportContext:
    """`title` is the file's name; `times` puts the moment before each paragraph."""

    title: str = "recording"
    times: bool = True


def clock(seconds: float, separator: str = ".") -> str:
    """`01:02:03.456`."""
    total = round(max(0.0, seconds) * 1000)
    hours, rest = divmod(total, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{separator}{rest % 1000:03d}"


def short_clock(seconds: float) -> str:
    """`1:02:03` or `02:03`."""
    hours, rest = divmod(int(max(0.0, seconds)), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes:02d}:{left:02d}"

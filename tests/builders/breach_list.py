"""The list of stolen passwords in memory, and the files and answers that say the same."""

from __future__ import annotations

from collections.abc import Mapping

from auricle.ports.breaches import breach_digest


class MemoryBreaches:
    """Implements `ports.breaches.BreachList`."""

    def __init__(self, stolen: Mapping[str, int]) -> None:
        self._stolen = {breach_digest(password): count for password, count in stolen.items()}
        self.away = False
        self.asked: list[str] = []
        """Digests, in order."""

    def count(self, password: str) -> int | None:
        digest = breach_digest(password)
        self.asked.append(digest)
        return None if self.away else self._stolen.get(digest, 0)


def as_file(stolen: Mapping[str, int], end: str = "\r\n") -> bytes:
    """As the downloader writes it, among many others."""
    counts = {breach_digest(f"other {n}"): n for n in range(1, 400)} | {breach_digest(p): n for p, n in stolen.items()}
    return "".join(f"{digest}:{counts[digest]}{end}" for digest in sorted(counts)).encode()


def as_range(stolen: Mapping[str, int], start: str) -> bytes:
    """As the service answers for `start`, padded."""
    digests = {breach_digest(password): count for password, count in stolen.items()}
    found = [f"{digest[5:]}:{count}" for digest, count in digests.items() if digest.startswith(start)]
    padding = [f"{breach_digest(f'{start} {n}')[5:]}:0" for n in range(800)]
    return "\r\n".join(sorted(found + padding)).encode()

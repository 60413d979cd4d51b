"""Have I Been Pwned, asked by range (k-anonymity): five characters of a digest leave, hundreds of endings come back."""

from __future__ import annotations

import logging
import re
import time

import urllib3

from auricle.ports.breaches import breach_digest

log = logging.getLogger(__name__)

ADDRESS = "https://api.pwnedpasswords.com"
SENT = 5
"""Characters of the digest that leave: each stands for about two thousand stolen passwords."""
SECONDS = 2.0
"""For the whole question: a person waits for it, and a thread."""
MAX_BYTES = 512 * 1024
"""A padded answer has about 80 KiB."""
_PIECE = 64 * 1024
_LINE = re.compile(r"[0-9A-Fa-f]{35}:[0-9]{1,12}")


class PwnedRange:
    """Implements `ports.breaches.BreachList`. Safe for threads. Not made at all in an air gap."""

    def __init__(self, address: str = ADDRESS, *, seconds: float = SECONDS) -> None:
        """`address`: the service, or a mirror of it; without a slash at the end."""
        self._address = address.rstrip("/")
        self._seconds = seconds
        self._pool = urllib3.PoolManager(maxsize=2, retries=False, timeout=urllib3.Timeout(total=seconds))

    def count(self, password: str) -> int | None:
        """As the port says."""
        digest = breach_digest(password)
        try:
            answer = self._range(digest[:SENT])
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # Kinds of failures only: an error's text may hold the range.
            log.warning("the list of stolen passwords was not asked: %s", type(error).__name__)
            return None
        return _count_in(answer, digest[SENT:])

    def close(self) -> None:
        """Close its connections."""
        self._pool.clear()

    def _range(self, start: str) -> str:
        end = time.monotonic() + self._seconds
        response = self._pool.request(
            "GET",
            f"{self._address}/range/{start}",
            # Padding hides from the network how many endings a range has, and so which range it is.
            headers={"Add-Padding": "true", "User-Agent": "auricle", "Accept-Encoding": "identity"},
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            text = _read(response, end).decode("ascii")
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return text


def _read(response: urllib3.BaseHTTPResponse, end: float) -> bytes:
    """All of it, in bounds: a server that drips would hold the thread for ever."""
    pieces, size = [], 0
    while piece := response.read1(_PIECE, decode_content=False):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BYTES or time.monotonic() > end:
            raise ValueError("too much, or too slow")
    return b"".join(pieces)


def _count_in(answer: str, ending: str) -> int | None:
    """None when this is no list at all, such as the page of a hotel's network, which must not pass for "never stolen"."""
    lines = answer.split()
    if not lines or not all(_LINE.fullmatch(line) for line in lines):
        log.warning("the list of stolen passwords was asked, and something else answered")
        return None
    # Padding has the count 0.
    return max((int(line[36:]) for line in lines if line[:35].upper() == ending), default=0)

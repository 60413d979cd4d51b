"""Models behind URLs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from auricle_gpu.download import Advice, fetch
from auricle_gpu.manifest import ModelFile

ADVICE = Advice(
    refused="It asks who you are: name a Secret with a token in source.credentials.",
    missing="Check the source's uri, and the paths of its files.",
)


class Web:
    """`Source` whose files have a URL each."""

    def __init__(
        self,
        address: Callable[[ModelFile], str],
        headers: Mapping[str, str] | None = None,
        *,
        advice: Advice = ADVICE,
        pause: float = 1.0,
    ) -> None:
        """`address` is asked once per file and call; `pause` seconds (doubling) lie between tries."""
        self._address = address
        self._headers = dict(headers or {})
        self._advice = advice
        self._pause = pause

    def fetch(self, file: ModelFile, target: Path, progress: Callable[[int], None]) -> None:
        """As `Source` says."""
        url = self._address(file)
        fetch(url, target, file.size, progress, headers=self._headers, pause=self._pause, advice=self._advice)


def beneath(base: str, token: str = "", pause: float = 1.0) -> Web:
    """The files beneath the URL `base`, by their paths; `token` is presented as a bearer's."""
    return Web(lambda file: f"{base.rstrip('/')}/{quote(file.path)}", bearer(token), pause=pause)


def bearer(token: str) -> dict[str, str]:
    """The header that presents `token`; none without one."""
    return {"Authorization": f"Bearer {token}"} if token else {}

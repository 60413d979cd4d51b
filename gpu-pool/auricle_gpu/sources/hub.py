"""Models on a hub that speaks like Hugging Face's: repositories at commits."""

from __future__ import annotations

from typing import Protocol

import msgspec

from auricle.errors import NotFound, Permanent, Retryable
from auricle_gpu.download import Advice
from auricle_gpu.manifest import ModelFile
from auricle_gpu.sources import Source
from auricle_gpu.sources.web import Web, bearer

ADVICE = Advice(
    refused="It asks who you are: accept the model's terms on the hub and run `hf auth login` (or name a Secret with a token).",
    missing="Check the model's repo and revision.",
)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a hub has of a repository: `revision` is the exact commit."""

    revision: str
    files: tuple[ModelFile, ...]


class Hub(Protocol):
    """Where models are published."""

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """The repository's files at `revision`. `NotFound`, `Permanent` (terms, sign-in) or `Retryable`."""
        ...

    def at(self, repo: str, revision: str) -> Source:
        """The repository's files at the commit `revision`."""
        ...


class HuggingFace:
    """The Hugging Face hub, or one that speaks like it."""

    def __init__(self, endpoint: str | None = None, pause: float = 1.0, token: str | None = None) -> None:
        """`endpoint` None is the public hub; `token` None is `hf auth login`'s, if there is one; `pause` seconds lie between
        tries."""
        self._endpoint = endpoint
        self._pause = pause
        self._token = token

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """As `Hub` says."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

        try:
            info = HfApi(endpoint=self._endpoint, token=self._token).model_info(
                repo, revision=revision, files_metadata=True, timeout=30
            )
        except GatedRepoError as error:
            raise Permanent(f"{repo} asks you to accept its terms: do so on the hub, then run `hf auth login`.") from error
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise NotFound(f"The hub has no {repo} at {revision}: check repo and revision in models.toml.") from error
        except (HfHubHTTPError, OSError, RuntimeError) as error:
            raise Retryable("The model hub does not answer: check the connection and try again.") from error
        except Exception as error:
            if type(error).__module__.startswith(("httpx", "httpcore")):  # its client's own errors, whichever client it is
                raise Retryable("The model hub cannot be reached: check the connection and try again.") from error
            raise
        files = tuple(
            ModelFile(path=sibling.rfilename, size=int(sibling.size or 0), sha256=sibling.lfs.sha256 if sibling.lfs else "")
            for sibling in info.siblings or ()
        )
        return Snapshot(revision=str(info.sha), files=files)

    def at(self, repo: str, revision: str) -> Source:
        """As `Hub` says."""
        from huggingface_hub import get_token, hf_hub_url

        def address(file: ModelFile) -> str:
            return str(hf_hub_url(repo, file.path, revision=revision, endpoint=self._endpoint))

        token = self._token if self._token is not None else get_token()
        return Web(address, bearer(token or ""), advice=ADVICE, pause=self._pause)

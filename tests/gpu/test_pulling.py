"""`auricle models pull` against a hub on this machine: whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest

from auricle.errors import Conflict, Invalid, NotFound, Permanent, Retryable
from auricle_gpu import models, pulling
from auricle_gpu.manifest import OK, ModelFile
from auricle_gpu.models import DEMO, Entry, State, catalogue, list_models, resolve, verify
from auricle_gpu.prefetch import prefetch
from auricle_gpu.pulling import Pulled, pull
from auricle_gpu.sources.hub import HuggingFace
from gpu.model_hub import COMMIT, ModelHub, model_hub

NAME = "whisper-small"
WEIGHTS = (DEMO / "whisper-demo" / "model.bin").read_bytes()


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    """A repository with the demo Whisper's files and some that no model needs."""
    files = {path.name: path.read_bytes() for path in sorted((DEMO / "whisper-demo").iterdir())}
    with model_hub({**files, "README.md": b"# hello", ".gitattributes": b"*"}) as started:
        yield started


def bring(hub: ModelHub, models_dir: Path, told: list[float] | None = None) -> Pulled:
    return pull(NAME, models_dir, (told if told is not None else []).append, HuggingFace(hub.url, pause=0.01))


def partials(models_dir: Path) -> list[Path]:
    return sorted(models_dir.glob("*.partial"))


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Entry]:
    """models.toml as it will be once somebody has pinned the weights' digest."""
    files = (ModelFile(path="model.bin", size=len(WEIGHTS), sha256=hashlib.sha256(WEIGHTS).hexdigest()),)
    entries = MappingProxyType({**catalogue(), NAME: msgspec.structs.replace(catalogue()[NAME], files=files)})
    monkeypatch.setattr(models, "catalogue", lambda: entries)
    monkeypatch.setattr(pulling, "catalogue", lambda: entries)
    return entries


def test_a_pulled_model_is_whole_verified_and_can_be_loaded(hub: ModelHub, tmp_path: Path) -> None:
    from auricle.adapters.speech.faster_whisper import FasterWhisper

    told: list[float] = []
    done = bring(hub, tmp_path, told)
    assert done.revision == COMMIT
    assert sorted(p.name for p in done.path.iterdir() if p.name != OK) == sorted(
        name for name in hub.files if name not in ("README.md", ".gitattributes")
    )
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert not partials(tmp_path)
    assert {listed.name: listed.state for listed in list_models(tmp_path)}[NAME] is State.VERIFIED
    assert not verify(NAME, tmp_path).first_use
    FasterWhisper(resolve(NAME, tmp_path).path)


def test_digests_nobody_pinned_are_reported_as_trusted_on_first_use(hub: ModelHub, tmp_path: Path) -> None:
    done = bring(hub, tmp_path)
    assert set(done.first_use) == {file.path for file in done.files}
    assert all(len(file.sha256) == 64 for file in done.files)


def test_a_second_pull_fetches_nothing(hub: ModelHub, tmp_path: Path) -> None:
    bring(hub, tmp_path)
    asked = len(hub.ranges)
    again = bring(hub, tmp_path)
    assert again.fetched_bytes == 0
    assert len(hub.ranges) == asked


def test_a_broken_connection_is_taken_up_where_it_broke(hub: ModelHub, tmp_path: Path) -> None:
    hub.stop_after, hub.breaks = 700_000, 3
    bring(hub, tmp_path)
    starts = [start for name, start in hub.ranges if name == "model.bin"]
    assert len(starts) == 4
    assert starts[0] == 0
    assert all(b - a > 600_000 for a, b in pairwise(starts))
    assert (tmp_path / NAME / "model.bin").read_bytes() == WEIGHTS


def test_a_server_that_knows_no_ranges_is_read_from_the_start(hub: ModelHub, tmp_path: Path) -> None:
    hub.stop_after, hub.breaks, hub.without_ranges = 1000, 2, True
    bring(hub, tmp_path)
    assert (tmp_path / NAME / "model.bin").read_bytes() == WEIGHTS


def test_a_killed_pull_goes_on_where_it_was_killed(hub: ModelHub, tmp_path: Path) -> None:
    hub.hang_after = 1_500_000
    script = textwrap.dedent(
        f"""
        from pathlib import Path
        from auricle_gpu.pulling import pull
        from auricle_gpu.sources.hub import HuggingFace
        pull({NAME!r}, Path({str(tmp_path)!r}), lambda _: None, HuggingFace({hub.url!r}))
        """
    )
    child = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 30
        while not (sizes := [p.stat().st_size for p in tmp_path.glob("*.partial/model.bin")]) or sizes[0] < 1_000_000:
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.02)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    hub.release.set()
    hub.hang_after = None
    assert not (tmp_path / NAME).exists()
    hub.ranges.clear()
    done = bring(hub, tmp_path)
    resumed = dict(hub.ranges)["model.bin"]
    assert resumed >= 1_000_000
    assert done.fetched_bytes < sum(file.size for file in done.files)
    assert (tmp_path / NAME / "model.bin").read_bytes() == WEIGHTS


def test_a_corrupt_file_never_becomes_a_model(hub: ModelHub, tmp_path: Path) -> None:
    hub.served["model.bin"] = WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])
    with pytest.raises(Permanent, match=r"model\.bin of whisper-small has another sha256"):
        bring(hub, tmp_path)
    assert not (tmp_path / NAME).exists()
    hub.served.clear()
    hub.ranges.clear()
    bring(hub, tmp_path)
    assert {name for name, _ in hub.ranges} == {"model.bin"}


def test_a_pinned_digest_wins_over_the_hub(hub: ModelHub, tmp_path: Path, pinned: Mapping[str, Entry]) -> None:
    hub.files["model.bin"] = WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])  # the hub serves other weights, with their right digest
    with pytest.raises(Permanent, match="another sha256"):
        bring(hub, tmp_path)
    hub.files["model.bin"] = WEIGHTS
    assert bring(hub, tmp_path).first_use == ()


def test_a_file_longer_than_announced_is_refused(hub: ModelHub, tmp_path: Path) -> None:
    hub.served["vocabulary.json"] = hub.files["vocabulary.json"] + b" "
    with pytest.raises(Permanent, match="longer than it should be"):
        bring(hub, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_a_newer_revision_replaces_the_old_folder(hub: ModelHub, tmp_path: Path) -> None:
    old = tmp_path / NAME
    old.mkdir()
    (old / "model.bin").write_bytes(b"old")
    bring(hub, tmp_path)
    assert (old / "model.bin").read_bytes() == WEIGHTS
    assert not partials(tmp_path)


def test_terms_that_nobody_accepted_are_explained(hub: ModelHub, tmp_path: Path) -> None:
    hub.statuses["api"] = 403
    with pytest.raises(Permanent, match="accept its terms"):
        bring(hub, tmp_path)


def test_a_repository_that_is_gone_is_explained(hub: ModelHub, tmp_path: Path) -> None:
    hub.statuses["api"] = 404
    with pytest.raises(NotFound, match=r"models\.toml"):
        bring(hub, tmp_path)


def test_a_refused_file_is_explained(hub: ModelHub, tmp_path: Path) -> None:
    hub.statuses["model.bin"] = 401
    with pytest.raises(Permanent, match="hf auth login"):
        bring(hub, tmp_path)


def test_a_server_in_trouble_is_tried_again_and_then_reported(hub: ModelHub, tmp_path: Path) -> None:
    hub.statuses["model.bin"] = 503
    with pytest.raises(Retryable, match="run the same command again"):
        bring(hub, tmp_path)
    assert len([name for name, _ in hub.ranges if name == "model.bin"]) == 5


def test_a_hub_that_is_away_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="connection"):
        pull(NAME, tmp_path, lambda _: None, HuggingFace("http://127.0.0.1:9", pause=0.01))


def test_one_pull_of_a_model_at_a_time(hub: ModelHub, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / f".{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="being pulled already"):
            bring(hub, tmp_path)


@pytest.mark.parametrize(("name", "error"), [("whisper-demo", Invalid), ("nothing-like-it", NotFound), ("../x", Invalid)])
def test_only_published_models_can_be_pulled(tmp_path: Path, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        pull(name, tmp_path, lambda _: None, HuggingFace("http://127.0.0.1:9"))


def test_prefetch_brings_what_is_absent_and_asks_nobody_for_the_rest(hub: ModelHub, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []

    def progress(name: str, fraction: float) -> None:
        told.append((name, fraction))

    ready = prefetch(["voices-demo", NAME], tmp_path, progress, HuggingFace(hub.url, pause=0.01))
    assert [model.name for model in ready] == ["voices-demo", NAME]
    hub.ranges.clear()
    prefetch([NAME], tmp_path, progress, HuggingFace("http://127.0.0.1:9"))
    assert hub.ranges == []
    assert told[-1] == (NAME, 1.0)

"""Killed at any step, served wrong bytes, evicted, changed, in any order: no folder with `.ok` ever holds wrong bytes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest import mock

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle_gpu import folders
from auricle_gpu.caching import Order, Wrong, bring, evict
from auricle_gpu.manifest import PARTIAL, ModelFile, manifest_of

BYTES = {
    "one": {"weights": b"abcdefghij" * 3, "config": b"{}", "deep/words": b"a b c"},
    "two": {"weights": b"ABCDEFGHIJ" * 3, "config": b"{}", "deep/words": b"a b c d e f"},
    "three": {"shared": b"abcdefghij" * 3, "config": b"[]"},
}
MODEL = {"one": "m", "two": "m", "three": "m-other"}


class Killed(BaseException):
    """Nothing after this instant happens."""


class Clock:
    """Counts what is done to the disk, and kills at the `last` of it."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.last is not None and self.steps > self.last:
            raise Killed


class Blocks:
    """A source that writes four bytes at a time; of files in `spoilt` the first copy comes wrong."""

    def __init__(self, content: str, spoilt: frozenset[str], clock: Clock) -> None:
        self.files = BYTES[content]
        self.spoilt = set(spoilt)
        self.clock = clock

    def fetch(self, file: ModelFile, target: Path, progress: Callable[[int], None]) -> None:
        data = self.files[file.path]
        if file.path in self.spoilt:
            self.spoilt.discard(file.path)
            data = bytes(byte ^ 1 for byte in data)
        target.parent.mkdir(parents=True, exist_ok=True)
        there = target.stat().st_size if target.is_file() else 0
        with target.open("ab", buffering=0) as opened:
            for at in range(there, len(data), 4):
                self.clock.step()
                opened.write(data[at : at + 4])


@contextmanager
def mortal(clock: Clock) -> Iterator[None]:
    """Every change of names, and every fsync, is a moment to die before."""

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            clock.step()
            return real(*arguments, **named)

        return call

    with ExitStack() as stack:
        for name in ("fsync", "rename", "replace", "unlink", "rmdir", "link", "mkdir"):
            stack.enter_context(mock.patch.object(os, name, dying(getattr(os, name))))
        stack.enter_context(mock.patch.object(folders, "_exchanged", dying(folders._exchanged)))
        yield


def order(content: str) -> Order:
    files = (ModelFile(path=p, size=len(d), sha256=hashlib.sha256(d).hexdigest()) for p, d in BYTES[content].items())
    return Order(model=MODEL[content], kind="test", uri="somewhere", files=tuple(files))


def trusted(models: Path) -> set[str]:
    """The contents that functions would take, each compared byte by byte."""
    found = set()
    for folder in models.iterdir():
        manifest = manifest_of(folder) if folder.suffix != PARTIAL else None
        if manifest is None:
            continue
        for file in manifest.files:
            data = (folder / file.path).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256), f"{folder.name}: {file.path}"
        (content,) = (name for name in BYTES if order(name).files == manifest.files)
        found.add(content)
    return found


class Round(msgspec.Struct, frozen=True):
    """One job: on which content, and when it dies."""

    content: str
    evicts: bool
    last: int | None
    spoilt: frozenset[str]


rounds = st.lists(
    st.builds(
        Round,
        content=st.sampled_from(sorted(BYTES)),
        evicts=st.sampled_from([False, False, False, True]),
        last=st.one_of(st.none(), st.integers(0, 60)),
        spoilt=st.frozensets(st.sampled_from(["weights", "config", "deep/words", "shared"])),
    ),
    max_size=6,
)


@given(rounds)
@settings(max_examples=250, deadline=None)
def test_no_folder_with_ok_ever_holds_wrong_bytes_and_every_job_that_lives_converges(history: list[Round]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        for job in history:
            clock = Clock(job.last)
            with mortal(clock), suppress(Killed, Wrong):
                if job.evicts:
                    evict(MODEL[job.content], [order(job.content).digest], models)
                else:
                    bring(order(job.content), models, Blocks(job.content, job.spoilt, clock), lambda _: None)
            trusted(models)
        for content in ("three", "one"):
            bring(order(content), models, Blocks(content, frozenset(), Clock(None)), lambda _: None)
        assert trusted(models) == {"one", "three"}
        assert not [path for path in models.iterdir() if path.suffix == PARTIAL]


def test_every_single_moment_of_an_exchange_is_survived() -> None:
    """Exhaustively: an old content in place, the new one killed at each step, then brought."""
    for last in range(200):
        with tempfile.TemporaryDirectory() as folder:
            models = Path(folder)
            bring(order("one"), models, Blocks("one", frozenset(), Clock(None)), lambda _: None)
            clock, died = Clock(last), False
            with mortal(clock):
                try:
                    bring(order("two"), models, Blocks("two", frozenset(), clock), lambda _: None)
                except Killed:
                    died = True
            assert trusted(models) in ({"one"}, {"two"}), f"killed at step {last}"
            bring(order("two"), models, Blocks("two", frozenset(), Clock(None)), lambda _: None)
            assert trusted(models) == {"two"}
            if not died:
                assert last > 20
                return
    raise AssertionError("it never got to its end")

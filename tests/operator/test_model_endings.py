"""Model caches that somebody deletes, and an operator that is killed at any of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from auricle_operator.api.conditions import stamp
from auricle_operator.cluster import CLAIM, JOB, MODELS, VOLUME
from auricle_operator.models.reconcile import teardown
from builders.operator_cluster import MemoryCluster
from builders.operator_lab import VOICES, Lab, delete, label, laboratory


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with laboratory(tmp_path) as made:
        yield made


def test_deleting_takes_folders_labels_and_volumes_and_says_what_stays(lab: Lab) -> None:
    lab.nodes.up("gpu2")
    lab.cache()
    lab.settle()
    lab.nodes.down("gpu2")
    lab.turn()
    delete(lab, "whisper")
    assert not (lab.nodes.models("gpu1") / "whisper").exists()
    assert (lab.nodes.models("gpu2") / "whisper").exists()
    assert not lab.nodes.labels("gpu1")
    assert not lab.cluster.there(VOLUME)
    assert not lab.cluster.there(CLAIM)
    assert any("stays on gpu2: the node is away" in told[2] for told in lab.cluster.told)


def test_deleting_does_not_wait_for_a_download_under_way(lab: Lab) -> None:
    lab.cache()
    lab.turn()
    (download,) = lab.cluster.there(JOB)
    delete(lab, "whisper")
    assert download not in lab.cluster.there(JOB)
    assert not any(path.is_dir() for path in lab.nodes.models("gpu1").iterdir())


def test_who_leaves_first_leaves_the_volume_to_whoever_still_needs_it(lab: Lab) -> None:
    for name in ("first", "second"):
        lab.cache(name)
    lab.settle()
    for name in ("first", "second"):
        lab.cluster.at(MODELS, name)["metadata"]["deletionTimestamp"] = stamp(lab.now)
    delete(lab, "first")
    assert len(lab.cluster.there(VOLUME)) == len(lab.cluster.there(CLAIM)) == 1
    delete(lab, "second")
    assert not lab.cluster.there(VOLUME)
    assert not (lab.nodes.models("gpu1") / "second").exists()


def test_a_folder_that_cannot_be_deleted_holds_nobody_up_for_ever(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    lab.cache()
    lab.settle()
    with monkeypatch.context() as patched:
        patched.setattr("auricle_gpu.caching.evict", refuse)
        delete(lab, "whisper", hours=1)
    assert (lab.nodes.models("gpu1") / "whisper").exists()
    assert any("could not be deleted" in told[2] for told in lab.cluster.told)


class Stopped(BaseException):
    """The operator is killed."""


class Dying(MemoryCluster):
    """Kills whoever makes its `last` call."""

    last = 10**9

    async def _called(self, verb: str, kind: Any) -> None:
        await super()._called(verb, kind)
        if len(self.calls) >= self.last:
            raise Stopped


@pytest.mark.parametrize("ends", ["ready", "gone"])
def test_an_operator_killed_at_each_of_its_calls_comes_to_the_same_state(lab: Lab, ends: str) -> None:
    """Each turn dies one call later than the one before, until one lives; then the nodes work."""
    lab.cluster.__class__ = Dying
    dying = cast("Dying", lab.cluster)
    lab.cache()
    for _ in range(4):
        _killed(lab, dying, "turn")
        lab.nodes.work()
        lab.wait(seconds=1)
    assert lab.condition()[0] == "True"
    assert len(lab.nodes.ran) == 1
    if ends == "gone":
        lab.cluster.at(MODELS, "whisper")["metadata"]["deletionTimestamp"] = stamp(lab.now)
        for _ in range(4):
            _killed(lab, dying, "leave")
            lab.nodes.work()
            lab.wait(seconds=1)
        assert not (lab.nodes.models("gpu1") / "whisper").exists()
        assert not lab.cluster.there(VOLUME)
        assert not lab.nodes.labels("gpu1")


@pytest.mark.parametrize("worked", [0, 1])
def test_an_operator_killed_at_each_of_its_calls_never_takes_one_content_for_another(lab: Lab, worked: int) -> None:
    """Its content changes and changes back; the job between has not begun, or has ended and nobody looked."""
    lab.cluster.__class__ = Dying
    dying = cast("Dying", lab.cluster)
    lab.cache()
    lab.settle()
    lab.wait(minutes=1)
    lab.store.files["config.json"] = b"{}"
    lab.cache(files={**VOICES, "config.json": b"{}"})
    lab.turn()
    lab.wait(seconds=5)
    for _ in range(worked):
        lab.nodes.work()
    lab.wait(seconds=5)
    lab.store.files["config.json"] = VOICES["config.json"]
    lab.cache()
    for _ in range(4):
        _killed(lab, dying, "turn")
        if lab.nodes.labels("gpu1") or lab.state() == "Ready":
            assert (lab.nodes.models("gpu1") / "whisper" / "config.json").read_bytes() == VOICES["config.json"]
        lab.nodes.work()
        lab.wait(seconds=1)
    assert lab.condition()[0] == "True"
    assert lab.nodes.labels("gpu1") == {label(): "ready"}


def _killed(lab: Lab, dying: Dying, what: str) -> None:
    for last in range(1, 60):
        dying.calls.clear()
        dying.last = last
        try:
            if what == "turn":
                lab.turn()
            else:
                asyncio.run(teardown(lab.world, {"metadata": {"name": "whisper"}}))
        except Stopped:
            continue
        dying.last = 10**9
        return
    raise AssertionError("a reconcile never ends")

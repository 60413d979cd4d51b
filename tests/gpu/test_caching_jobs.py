"""The job that brings a model to a node: whole, verified and last, or not there; whatever breaks, is killed or is full."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from auricle.errors import Invalid, Permanent
from auricle_gpu import folders
from auricle_gpu.caching import Exit, Full, Line, Order, Step, Wrong, bring, evict, main, source_of
from auricle_gpu.folders import publish
from auricle_gpu.manifest import OK, Manifest, ModelFile, manifest_of
from auricle_gpu.models import DEMO, require_verified
from builders.model_store import ModelStore, listed, model_store

DEMO_WHISPER = {path.name: path.read_bytes() for path in sorted((DEMO / "whisper-demo").iterdir())}
WEIGHTS = DEMO_WHISPER["model.bin"]


@pytest.fixture
def store() -> Iterator[ModelStore]:
    with model_store(DEMO_WHISPER) as started:
        yield started


def order(store: ModelStore, model: str = "whisper-x", **files: bytes) -> Order:
    return Order(model=model, kind="http", uri=f"{store.url}/base", files=listed(files or store.files))


def brought(order: Order, models_dir: Path, told: list[Line] | None = None) -> bool:
    return bring(order, models_dir, source_of(order, None, None), (told if told is not None else []).append)


def job(order: Order, models_dir: Path, *more: str, folder: Path | None = None) -> subprocess.Popen[str]:
    """A real job's process, as a pod runs it."""
    written = (folder or models_dir.parent) / f"{order.model}.json"
    written.write_bytes(msgspec.json.encode(order))
    command = [sys.executable, "-m", "auricle_gpu.caching", "bring", str(models_dir), str(written)]
    return subprocess.Popen(
        [*command, "--termination", str(models_dir.parent / "words"), *more], stdout=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, list[Line]]:
    out, _ = process.communicate(timeout=60)
    return process.returncode, [msgspec.json.decode(line, type=Line) for line in out.splitlines()]


def partials(models_dir: Path) -> list[str]:
    return sorted(path.name for path in models_dir.glob("*.partial"))


def test_a_job_leaves_a_verified_model_and_says_how_far_it_is(store: ModelStore, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    status, lines = ended(job(order(store), models))
    assert status == Exit.DONE
    assert lines[-1] == Line(verdict="ready", done=lines[-1].total, total=sum(map(len, store.files.values())))
    fetched = [line.done for line in lines if line.step == Step.FETCHING]
    assert fetched == sorted(fetched)
    assert {line.file for line in lines if line.step == Step.VERIFYING} == set(store.files)
    assert require_verified("whisper-x", models, digests=True).path == models / "whisper-x"
    assert not partials(models)
    asked = len(store.asked)
    assert ended(job(order(store), models))[0] == Exit.DONE
    assert len(store.asked) == asked


def test_without_its_ok_the_folder_is_refused(store: ModelStore, tmp_path: Path) -> None:
    brought(order(store), tmp_path)
    (tmp_path / "whisper-x" / OK).unlink()
    with pytest.raises(Permanent, match=r"has no \.ok"):
        require_verified("whisper-x", tmp_path)


def test_a_file_that_comes_corrupt_is_thrown_away_and_fetched_again_alone(store: ModelStore, tmp_path: Path) -> None:
    store.wrong["model.bin"] = [WEIGHTS[:-1] + b"!"]
    brought(order(store), tmp_path)
    assert [name for name, _ in store.asked].count("model.bin") == 2
    assert [name for name, _ in store.asked].count("config.json") == 1
    assert require_verified("whisper-x", tmp_path, digests=True)


def test_a_source_that_serves_other_bytes_is_named_and_never_becomes_a_model(store: ModelStore, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    store.wrong["model.bin"] = [WEIGHTS[:-1] + b"!"] * 9
    status, lines = ended(job(order(store), models))
    assert (status, lines[-1].verdict) == (Exit.WRONG, "wrong")
    assert "model.bin of whisper-x has another sha256" in (tmp_path / "words").read_text()
    assert not (models / "whisper-x").exists()
    store.wrong.clear()
    assert ended(job(order(store), models))[0] == Exit.DONE


def test_a_job_killed_in_the_middle_goes_on_there(store: ModelStore, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    store.hang_after = 1_500_000
    process = job(order(store), models)
    _until(lambda: any(p.stat().st_size > 1_000_000 for p in models.glob("*.partial/model.bin")))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert not (models / "whisper-x").exists()
    store.hang_after = None
    store.release.set()
    store.asked.clear()
    assert ended(job(order(store), models))[0] == Exit.DONE
    assert dict(store.asked)["model.bin"] >= 1_000_000
    assert require_verified("whisper-x", models, digests=True)


def test_a_job_that_is_asked_to_end_ends_at_once(store: ModelStore, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    store.hang_after = 1_000
    process = job(order(store), models)
    _until(lambda: bool(list(models.glob("*.partial/*"))))
    process.terminate()
    assert ended(process)[0] == 128 + signal.SIGTERM


def test_two_jobs_on_one_folder_work_one_after_the_other(store: ModelStore, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    both = [job(order(store), models) for _ in range(2)]
    assert [ended(process)[0] for process in both] == [Exit.DONE, Exit.DONE]
    assert sorted(name for name, _ in store.asked) == sorted(store.files)


def test_changed_content_takes_the_place_of_the_old_which_its_readers_keep(store: ModelStore, tmp_path: Path) -> None:
    brought(order(store), tmp_path)
    with (tmp_path / "whisper-x" / "config.json").open("rb") as reader:
        store.files["config.json"] = b'{"changed": true}'
        store.asked.clear()
        brought(order(store), tmp_path)
        assert reader.read() == DEMO_WHISPER["config.json"]
    assert (tmp_path / "whisper-x" / "config.json").read_bytes() == b'{"changed": true}'
    assert [name for name, _ in store.asked] == ["config.json"], "what stayed the same is linked"
    assert not partials(tmp_path)


def test_where_nothing_can_be_exchanged_two_renames_do(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_exchanged", lambda one, other: False)
    brought(order(store), tmp_path)
    store.files["config.json"] = b"{}"
    brought(order(store), tmp_path)
    assert (tmp_path / "whisper-x" / "config.json").read_bytes() == b"{}"
    assert not partials(tmp_path)


def test_two_models_share_a_file_as_one(store: ModelStore, tmp_path: Path) -> None:
    brought(order(store), tmp_path)
    store.asked.clear()
    store.files["other.json"] = b"[]"
    brought(order(store, "whisper-y", **{"weights.bin": WEIGHTS, "other.json": b"[]"}), tmp_path)
    assert [name for name, _ in store.asked] == ["other.json"]
    shared = tmp_path / "whisper-x" / "model.bin", tmp_path / "whisper-y" / "weights.bin"
    assert shared[0].stat().st_ino == shared[1].stat().st_ino
    evict("whisper-x", [order(store).digest, _digest(store)], tmp_path)
    assert shared[1].read_bytes() == WEIGHTS


def _digest(store: ModelStore) -> str:
    return Order(model="whisper-x", kind="http", uri="", files=listed(DEMO_WHISPER)).digest


def test_a_shared_file_that_is_corrupt_is_not_taken_over_nor_written_into(store: ModelStore, tmp_path: Path) -> None:
    brought(order(store), tmp_path)
    other = tmp_path / "whisper-x" / "model.bin"
    other.write_bytes(WEIGHTS[:-1] + b"!")
    brought(order(store, "whisper-y", **{"model.bin": WEIGHTS}), tmp_path)
    assert (tmp_path / "whisper-y" / "model.bin").read_bytes() == WEIGHTS
    assert other.read_bytes() == WEIGHTS[:-1] + b"!"


def test_where_no_link_can_be_made_the_file_is_fetched(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another device")

    brought(order(store), tmp_path)
    monkeypatch.setattr(os, "link", refuse)
    brought(order(store, "whisper-y", **{"model.bin": WEIGHTS}), tmp_path)
    assert (tmp_path / "whisper-y" / "model.bin").stat().st_nlink == 1


def test_a_model_that_rots_on_disk_loses_its_ok_and_is_mended_alone(store: ModelStore, tmp_path: Path) -> None:
    brought(order(store), tmp_path)
    rotten = tmp_path / "whisper-x" / "tokenizer.json"
    rotten.write_bytes(b"x" * rotten.stat().st_size)
    store.asked.clear()
    store.statuses["tokenizer.json"] = 403
    with pytest.raises(Permanent):
        brought(order(store), tmp_path)
    assert manifest_of(tmp_path / "whisper-x") is None, "nobody is to believe it any more"
    store.statuses.clear()
    brought(order(store), tmp_path)
    assert {name for name, _ in store.asked} == {"tokenizer.json"}
    assert require_verified("whisper-x", tmp_path, digests=True)


class Filling:
    """A source on whose `limit`th byte the volume is full."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def fetch(self, file: ModelFile, target: Path, progress: Callable[[int], None]) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(DEMO_WHISPER[file.path][: self.limit])
        self.limit -= file.size
        if self.limit < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("limit", [0, 1, 5_000, 2_000_000])
def test_a_volume_that_fills_up_says_so_and_keeps_nothing_half(store: ModelStore, tmp_path: Path, limit: int) -> None:
    with pytest.raises(Full, match=r"whisper-x needs \d+ more bytes and \d+ are free"):
        bring(order(store), tmp_path, Filling(limit), lambda _: None)
    assert not (tmp_path / "whisper-x").exists()
    assert not partials(tmp_path)
    brought(order(store), tmp_path)
    assert require_verified("whisper-x", tmp_path, digests=True)


def test_what_cannot_fit_is_not_begun(store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type(real)(real.total, real.used, 1000))
    with pytest.raises(Full, match="and 1000 are free"):
        brought(order(store), tmp_path)
    assert not store.asked


IN_A_SMALL_VOLUME = """
mount -t tmpfs -o size={size} none "$1" || exit 99
mkdir "$1/models"; "$2" -m auricle_gpu.caching bring "$1/models" "$3" --termination "$4"; status=$?
ls -A "$1/models"; exit $status
"""


def small_volume(size: str, order: Order, folder: Path) -> tuple[int, list[str]]:
    """A job in a file system of `size`, which only its own process sees."""
    (folder / "order.json").write_bytes(msgspec.json.encode(order))
    (folder / "volume").mkdir(exist_ok=True)
    script = IN_A_SMALL_VOLUME.format(size=size)
    arguments = [str(folder / "volume"), sys.executable, str(folder / "order.json"), str(folder / "words")]
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script, "sh", *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount a file system of their own")
    return done.returncode, done.stdout.splitlines()


def test_a_really_full_disk_is_named_with_what_is_needed_and_free(store: ModelStore, tmp_path: Path) -> None:
    status, lines = small_volume("1m", order(store), tmp_path)
    assert status == Exit.FULL
    assert json.loads(next(line for line in lines if "verdict" in line))["verdict"] == "full"
    assert [line for line in lines if not line.startswith("{")] == [".whisper-x.lock"]
    words = (tmp_path / "words").read_text()
    assert f"needs {sum(map(len, store.files.values()))} more bytes" in words
    assert "Free space on the node" in words
    assert small_volume("64m", order(store), tmp_path)[0] == Exit.DONE


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", ".ok", ".ok.new", "a/\0b", "", "."])
def test_paths_that_lead_out_or_are_ours_are_refused(tmp_path: Path, path: str) -> None:
    asked = Order(model="m", kind="http", uri="http://127.0.0.1:9", files=(ModelFile(path=path, size=1, sha256="0" * 64),))
    with pytest.raises(Invalid, match="leads out"):
        brought(asked, tmp_path)


def test_an_order_for_a_folder_elsewhere_is_refused(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        brought(order(store, "../x"), tmp_path)
    with pytest.raises(Invalid):
        evict("../x", ["0"], tmp_path)


def test_a_volume_that_nobody_may_write_is_explained(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("auricle_gpu.caching.link_known", closed)
    with pytest.raises(Permanent, match="group 65532"):
        brought(order(store), tmp_path)


def test_eviction_takes_what_it_was_told_to_and_nothing_else(store: ModelStore, tmp_path: Path) -> None:
    first = order(store)
    brought(first, tmp_path)
    assert not evict("whisper-x", ["f" * 64], tmp_path), "another content has taken its place"
    assert (tmp_path / "whisper-x" / OK).exists()
    command = ["evict", str(tmp_path), "whisper-x", first.digest]
    assert main([*command, "--termination", str(tmp_path / "words")]) == Exit.DONE
    assert not (tmp_path / "whisper-x").exists()
    assert main([*command, "--termination", str(tmp_path / "words")]) == Exit.DONE


def test_a_source_that_is_away_is_told_from_one_that_refuses(store: ModelStore, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    store.statuses["model.bin"] = 404
    assert ended(job(order(store), models))[0] == Exit.REFUSED
    written = tmp_path / "order.json"
    written.write_text("{}")
    assert main(["bring", str(models), str(written), "--termination", str(tmp_path / "words")]) == Exit.REFUSED


def test_unfinished_folders_of_other_contents_go_and_those_of_other_models_stay(store: ModelStore, tmp_path: Path) -> None:
    for name in ("whisper-x-0123456789ab.partial", "whisper-x-small-0123456789ab.partial"):
        (tmp_path / name).mkdir()
    brought(order(store), tmp_path)
    assert partials(tmp_path) == ["whisper-x-small-0123456789ab.partial"]


def test_an_exchange_cut_off_before_the_old_folder_went_is_not_written_into(store: ModelStore, tmp_path: Path) -> None:
    """The old content, which readers may have open, then lies under the new one's unfinished name."""
    brought(order(store), tmp_path)
    store.files["tokenizer.json"] = DEMO_WHISPER["tokenizer.json"] + b" "
    wanted = order(store)
    old = tmp_path / f"whisper-x-{wanted.digest[:12]}.partial"
    (tmp_path / "whisper-x").rename(old)
    with (old / "tokenizer.json").open("rb") as reader:
        brought(wanted, tmp_path)
        assert reader.read() == DEMO_WHISPER["tokenizer.json"]
    assert require_verified("whisper-x", tmp_path, digests=True)


def test_publishing_writes_ok_into_a_folder_nobody_takes_for_a_model_yet(tmp_path: Path) -> None:
    partial = tmp_path / "m-0123456789ab.partial"
    (partial / "deep").mkdir(parents=True)
    (partial / "deep" / "file").write_bytes(b"x")
    target = publish(partial, Manifest(model="m", revision="", files=listed({"deep/file": b"x"})))
    assert target == tmp_path / "m"
    assert (target / OK).is_file()


def test_wrong_is_said_of_the_file_and_the_source(store: ModelStore, tmp_path: Path) -> None:
    store.wrong["config.json"] = [b"{}" + b" " * (len(DEMO_WHISPER["config.json"]) - 2)] * 2
    with pytest.raises(Wrong, match=rf"config\.json of whisper-x has another sha256, as {store.url}"):
        brought(order(store), tmp_path)


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)

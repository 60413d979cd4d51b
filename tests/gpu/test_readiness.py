"""A speech process is ready when its model is verified and warm, and says until then what is missing."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from auricle.errors import Invalid, Permanent
from auricle_gpu.budget import Device
from auricle_gpu.manifest import OK, Manifest, describe, manifest_of, write_manifest
from auricle_gpu.models import DEMO, require_verified, verify
from auricle_gpu.pool import Pool, SpeechSettings
from auricle_gpu.prefetch import main as prefetch_main
from auricle_gpu.readiness import Warming

VOICES = "voices-7"


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A volume with one real model that nobody verified yet."""
    shutil.copytree(DEMO / "voices-demo", tmp_path / VOICES)
    return tmp_path


def strict(models_dir: Path | None, *, digests: bool = False, pinned: str = "") -> Pool:
    return Pool(
        SpeechSettings(models_dir=models_dir, device=Device.CPU, threads=1, verified_only=True, digests=digests, pinned=pinned)
    )


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_folder_without_ok_is_refused_with_what_to_do(models_dir: Path) -> None:
    with pytest.raises(Permanent, match=rf"no \.ok\. Run `auricle models verify {VOICES}`"):
        strict(models_dir).diarizer(VOICES)
    verify(VOICES, models_dir)
    strict(models_dir).diarizer(VOICES)


def test_the_ok_file_is_json_that_others_can_write_too(models_dir: Path) -> None:
    (file,) = (p for p in (models_dir / VOICES).iterdir() if p.suffix == ".onnx")
    written = describe(file, file.name)
    (models_dir / VOICES / OK).write_text(
        f'{{"model": "{VOICES}", "revision": "8a1d", "files":'
        f' [{{"path": "{file.name}", "size": {written.size}, "sha256": "{written.sha256}"}}]}}'
    )
    assert require_verified(VOICES, models_dir, digests=True).name == VOICES


def test_an_ok_file_of_the_first_version_still_counts(models_dir: Path) -> None:
    verify(VOICES, models_dir)
    found = manifest_of(models_dir / VOICES)
    assert found is not None
    old = {"name": VOICES, "source": "somebody/voices@8a1d", "files": msgspec.to_builtins(found.files)}
    (models_dir / VOICES / OK).write_bytes(msgspec.json.encode(old))
    assert manifest_of(models_dir / VOICES) == Manifest(
        model=VOICES, revision="8a1d", source="somebody/voices", files=found.files
    )
    assert require_verified(VOICES, models_dir).name == VOICES


def test_a_folder_copied_under_another_name_is_refused(models_dir: Path) -> None:
    verify(VOICES, models_dir)
    shutil.copytree(models_dir / VOICES, models_dir / "voices-8")
    with pytest.raises(Permanent, match=f"holds the model {VOICES}"):
        require_verified("voices-8", models_dir)


def test_sizes_are_always_compared_and_digests_when_asked(models_dir: Path) -> None:
    verify(VOICES, models_dir)
    (file,) = (p for p in (models_dir / VOICES).iterdir() if p.suffix == ".onnx")
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    assert require_verified(VOICES, models_dir).name == VOICES
    with pytest.raises(Permanent, match="another sha256"):
        require_verified(VOICES, models_dir, digests=True)
    file.write_bytes(data[:-1])
    with pytest.raises(Permanent, match="damaged"):
        require_verified(VOICES, models_dir)


def test_demo_models_need_no_volume() -> None:
    pool = strict(None, digests=True)
    pool.warm_up(["voices-demo"])
    assert pool.warm() == ("voices-demo",)


def test_a_pinned_process_serves_no_other_model() -> None:
    pool = strict(None, pinned="voices-demo")
    pool.diarizer("voices-demo")
    with pytest.raises(Invalid, match="must filter on model: voices-demo"):
        pool.transcriber("whisper-demo")


def test_it_is_not_ready_before_its_model_is_warm() -> None:
    gate, loaded = threading.Event(), []

    def load(names: Sequence[str]) -> None:
        gate.wait(30)
        loaded.extend(names)

    warming = Warming(["whisper-large"], load)
    assert "whisper-large is being verified and loaded" in warming.trouble()
    assert warming.trouble()
    gate.set()
    eventually(lambda: warming.trouble() == "")
    assert loaded == ["whisper-large"]


def test_a_volume_that_is_filled_later_makes_it_ready(models_dir: Path) -> None:
    pool = strict(models_dir)
    warming = Warming([VOICES], pool.warm_up, again=0.01)
    eventually(lambda: "auricle models verify" in warming.trouble())
    verify(VOICES, models_dir)
    eventually(lambda: warming.trouble() == "")
    assert pool.warm() == (VOICES,)


def test_what_a_library_cannot_load_is_said_and_tried_again() -> None:
    errors = [RuntimeError("not a model"), OSError("stale handle")]

    def load(names: Sequence[str]) -> None:
        if errors:
            raise errors.pop(0)

    warming = Warming(["m"], load, again=0.01)
    eventually(lambda: warming.trouble() == "")
    assert errors == []


def test_a_job_fills_a_volume_by_command(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prefetch_main([str(models_dir), VOICES]) == 0
    assert f"ready: {VOICES}" in capsys.readouterr().out
    assert require_verified(VOICES, models_dir, digests=True).name == VOICES
    assert prefetch_main([str(models_dir), "nothing-like-it"]) == 1
    assert prefetch_main([str(models_dir)]) == 2


def test_ok_is_written_whole_or_not_at_all(models_dir: Path) -> None:
    write_manifest(models_dir / VOICES, Manifest(model=VOICES, revision="", files=()))
    assert [p.name for p in (models_dir / VOICES).iterdir() if p.name.startswith(OK)] == [OK]

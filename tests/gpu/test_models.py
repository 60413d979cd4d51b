"""Where models lie, what state they are in, and what people are told when something is wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from auricle.errors import Invalid, NotFound, Permanent
from auricle_gpu.manifest import OK, manifest_of
from auricle_gpu.models import CATALOGUE, DEMO, Kind, State, catalogue, list_models, resolve, verify

BUILTIN = [name for name, entry in catalogue().items() if entry.builtin]


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A folder with one model that somebody copied there."""
    shutil.copytree(DEMO / "voices-demo", tmp_path / "my-voices")
    return tmp_path


def test_the_catalogue_is_the_file_beside_the_package() -> None:
    assert CATALOGUE.resolve() == Path(__file__).parents[2] / "gpu-pool" / "models.toml"


@pytest.mark.parametrize("name", BUILTIN)
def test_built_in_models_are_the_bytes_that_models_toml_pins(name: str) -> None:
    found = verify(name, None)
    assert not found.first_use
    assert {file.path for file in found.files} == {file.path for file in catalogue()[name].files}
    assert not (DEMO / name / OK).exists()


def test_every_pinned_file_has_a_size_and_a_digest() -> None:
    files = [file for entry in catalogue().values() for file in entry.files]
    assert all(file.size > 0 and len(file.sha256) == 64 for file in files)


def test_every_model_is_built_in_or_has_a_repository() -> None:
    assert all(entry.builtin != bool(entry.repo) for entry in catalogue().values())


def test_built_in_models_need_no_folder() -> None:
    model = resolve("whisper-demo", None)
    assert (model.kind, model.path) == (Kind.WHISPER, DEMO / "whisper-demo")
    assert model.run.decoding.beam_size == 1
    assert model.run.decoding.bridge_seconds < 0


def test_real_whispers_hear_full_windows() -> None:
    run = catalogue()["whisper-small"].run
    assert (run.decoding.beam_size, run.decoding.window_seconds) == (5, 30.0)
    assert run.decoding.bridge_seconds > 0
    assert run.compute_type.cpu == "int8"


def test_an_absent_model_is_answered_with_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="auricle models pull whisper-small"):
        resolve("whisper-small", tmp_path)
    with pytest.raises(NotFound, match="set MODELS_DIR"):
        resolve("whisper-small", None)


def test_an_unknown_model_is_answered_with_the_known_ones(models_dir: Path) -> None:
    with pytest.raises(NotFound, match=r"my-voices.*whisper-demo"):
        resolve("whisper-huge", models_dir)


@pytest.mark.parametrize("name", ["../../etc", "/etc", "a/b", "", ".", "..", "Groß", "x" * 100])
def test_names_cannot_lead_out_of_the_folder(models_dir: Path, name: str) -> None:
    with pytest.raises(Invalid, match="no name of a model"):
        resolve(name, models_dir)


def test_a_folder_put_there_by_hand_is_run_by_the_defaults_of_its_kind(models_dir: Path) -> None:
    model = resolve("my-voices", models_dir)
    assert (model.kind, model.path) == (Kind.VOICES, models_dir / "my-voices")
    assert model.memory_bytes > 3_000_000


def test_a_folder_that_is_no_model_is_refused_and_not_listed(models_dir: Path) -> None:
    (models_dir / "holiday").mkdir()
    with pytest.raises(Permanent, match="neither a Whisper"):
        resolve("holiday", models_dir)
    assert "holiday" not in {listed.name for listed in list_models(models_dir)}


def test_the_list_says_what_is_here_and_what_can_be_pulled(models_dir: Path) -> None:
    (models_dir / "whisper-small-0123456789ab.partial").mkdir()
    states = {listed.name: listed.state for listed in list_models(models_dir)}
    assert states["whisper-demo"] is State.BUILTIN
    assert states["my-voices"] is State.UNVERIFIED
    assert states["whisper-small"] is State.ABSENT
    assert not any("partial" in name for name in states)
    verify("my-voices", models_dir)
    states = {listed.name: listed.state for listed in list_models(models_dir)}
    assert states["my-voices"] is State.VERIFIED


def test_what_nobody_pinned_is_trusted_once_and_held_to_it(models_dir: Path) -> None:
    first = verify("my-voices", models_dir)
    assert first.first_use
    assert not verify("my-voices", models_dir).first_use
    manifest = manifest_of(models_dir / "my-voices")
    assert manifest is not None
    assert manifest.files == first.files

    weights = models_dir / "my-voices" / "speaker-embedding.onnx"
    data = bytearray(weights.read_bytes())
    data[1000] ^= 1
    weights.write_bytes(data)
    with pytest.raises(Permanent, match=r"speaker-embedding\.onnx has another sha256"):
        verify("my-voices", models_dir)


def test_a_file_cut_short_is_noticed_before_it_is_loaded(models_dir: Path) -> None:
    verify("my-voices", models_dir)
    os.truncate(models_dir / "my-voices" / "speaker-embedding.onnx", 1000)
    with pytest.raises(Permanent, match="is damaged"):
        resolve("my-voices", models_dir)


def test_verifying_tells_its_progress(models_dir: Path) -> None:
    told: list[float] = []
    verify("my-voices", models_dir, told.append)
    assert told[-1] == 1.0

"""Which speech models there are, where they lie, whether their bytes are right and how they want to be run.

A model is a folder: one of the demo models in this package, or `models_dir/NAME`. `pulling` fetches folders from the hub.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec

from auricle.adapters.speech.faster_whisper import Decoding
from auricle.adapters.speech.onnx_voices import VoiceRules
from auricle.errors import NotFound, Permanent
from auricle_gpu.manifest import NAME, OK, PARTIAL, Manifest, ModelFile, checked, describe, differs, manifest_of, write_manifest

HERE = Path(__file__).parent
CATALOGUE = HERE / "models.toml"
DEMO = HERE / "demo"
WEIGHTS_TO_MEMORY = 4


class Kind(StrEnum):
    """What a model does, and which adapter runs it."""

    WHISPER = "whisper"  # words: adapters.speech.faster_whisper
    VOICES = "voices"  # voices without torch: adapters.speech.onnx_voices
    PYANNOTE = "pyannote"  # voices with torch: adapters.speech.pyannote


class PerDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number that depends on the device."""

    cpu: int = 4
    cuda: int = 16


class ComputeType(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """CTranslate2's arithmetic, by device."""

    cpu: str = "default"
    cuda: str = "default"


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is run; each adapter takes what concerns it."""

    batch: PerDevice = PerDevice()
    compute_type: ComputeType = ComputeType()
    decoding: Decoding = Decoding()
    rules: VoiceRules = VoiceRules()


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of models.toml."""

    kind: Kind
    about: str
    license: str
    builtin: bool = False
    repo: str = ""
    revision: str = "main"
    memory_mb: int = 0
    run: Run = Run()
    files: tuple[ModelFile, ...] = ()


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be loaded. `memory_bytes` is what it takes of its device while warm."""

    name: str
    kind: Kind
    path: Path
    memory_bytes: int
    run: Run


class State(StrEnum):
    """What is known of a model's folder."""

    BUILTIN = "builtin"  # came with the package
    VERIFIED = "verified"  # pulled, or verified once
    UNVERIFIED = "unverified"  # put there by hand
    ABSENT = "absent"  # can be pulled


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `auricle models list`. `size` in bytes on disk; 0 when unknown."""

    name: str
    kind: Kind
    state: State
    size: int
    about: str
    license: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found. `first_use`: nobody had pinned the digests, so what was there is trusted from now on."""

    name: str
    files: tuple[ModelFile, ...]
    first_use: bool


@cache
def catalogue() -> Mapping[str, Entry]:
    """The models of models.toml by name, each with the defaults of its kind filled in."""
    with CATALOGUE.open("rb") as file:
        tables = tomllib.load(file)
    defaults = tables.get("defaults", {})
    found: dict[str, Entry] = {}
    for name, table in tables["models"].items():
        run = _merged(defaults.get(table["kind"], {}), table.get("run", {}))
        found[name] = msgspec.convert({**table, "run": run}, Entry)
    return found


@cache
def defaults(kind: Kind) -> Run:
    """How a folder that models.toml does not name is run."""
    with CATALOGUE.open("rb") as file:
        return msgspec.convert(tomllib.load(file).get("defaults", {}).get(kind.value, {}), Run)


def list_models(models_dir: Path | None) -> list[Listed]:
    """All models of the catalogue and all folders of `models_dir`, by name."""
    entries = catalogue()
    listed: list[Listed] = []
    for name in sorted({*entries, *_folders(models_dir)}):
        entry = entries.get(name)
        folder = _folder(name, models_dir)
        there = folder is not None and folder.is_dir()
        kind = entry.kind if entry else _kind_of(folder) if folder is not None else None
        if kind is None:
            continue
        state = State.ABSENT
        if entry and entry.builtin:
            state = State.BUILTIN
        elif there and folder is not None:
            state = State.VERIFIED if (folder / OK).is_file() else State.UNVERIFIED
        known = sum(file.size for file in entry.files) if entry else 0
        listed.append(
            Listed(
                name=name,
                kind=kind,
                state=state,
                size=sum(path.stat().st_size for path in _files_of(folder)) if there and folder is not None else known,
                about=entry.about if entry else "Put here by hand.",
                license=entry.license if entry else "",
            )
        )
    return listed


def resolve(name: str, models_dir: Path | None) -> Model:
    """The model called `name`, ready to be loaded.

    Raises `NotFound` when there is none (and says how to get it), `Permanent` when its folder is damaged.
    """
    entry = catalogue().get(name)
    folder = _folder(name, models_dir)
    if folder is None or not folder.is_dir():
        raise NotFound(_how_to_get(name, entry, models_dir))
    kind = entry.kind if entry else _kind_of(folder)
    if kind is None:
        raise Permanent(f"The folder {name} among the models is neither a Whisper, an ONNX voice nor a pyannote model.")
    manifest = manifest_of(folder)
    for file in manifest.files if manifest else ():
        path = folder / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            raise Permanent(f"The model {name} is damaged ({file.path}): run `auricle models pull {name}` again.")
    on_disk = sum(path.stat().st_size for path in _files_of(folder))
    memory = entry.memory_mb * 2**20 if entry and entry.memory_mb else on_disk * WEIGHTS_TO_MEMORY
    return Model(name=name, kind=kind, path=folder, memory_bytes=memory, run=entry.run if entry else defaults(kind))


def verify(name: str, models_dir: Path | None, progress: Callable[[float], None] = lambda _: None) -> Verification:
    """Read every file of the model and compare it with models.toml, else with the folder's `.ok`.

    Writes `.ok` when all is well; what nobody pinned is trusted as it is. Raises `Permanent` naming the first wrong file.
    """
    model = resolve(name, models_dir)
    entry = catalogue().get(name)
    manifest = manifest_of(model.path)
    expected = (entry.files if entry else ()) or (manifest.files if manifest else ())
    found = _described(model.path, progress)
    for file in expected:
        actual = next((f for f in found if f.path == file.path), None)
        wrong = "is missing" if actual is None else differs(file, actual)
        if wrong:
            raise Permanent(f"The model {name} is damaged: {file.path} {wrong}. Run `auricle models pull {name}` again.")
    if not (entry and entry.builtin) and manifest is None:
        source, revision = (entry.repo, entry.revision) if entry and entry.repo else ("by hand", "")
        write_manifest(model.path, Manifest(model=name, revision=revision, source=source, files=found))
    return Verification(name=name, files=found, first_use=not expected)


def require_verified(name: str, models_dir: Path | None, *, digests: bool = False) -> Model:
    """The model for those who take nothing on trust: built in, or a folder whose `.ok` names exactly what is there.

    Sizes are always compared; with `digests` every file is read too (once per process and file as it is on disk). Raises
    `NotFound` or `Permanent` with what to do.
    """
    model = resolve(name, models_dir)
    manifest = manifest_of(model.path)
    entry = catalogue().get(name)
    if manifest is None and not (entry and entry.builtin):
        raise Permanent(
            f"The model {name} was never verified: its folder has no {OK}. Run `auricle models verify {name}` where the folder "
            f"can be written, or `auricle models pull {name}`."
        )
    if manifest is not None and manifest.model != name:
        raise Permanent(f"The folder {name} holds the model {manifest.model}: run `auricle models pull {name}` again.")
    expected = manifest.files if manifest else entry.files if entry else ()
    for file in expected if digests else ():
        wrong = differs(file, _described_once(model.path / file.path, file.path))
        if wrong:
            raise Permanent(f"The model {name} is damaged: {file.path} {wrong}. Run `auricle models pull {name}` again.")
    return model


def _described_once(path: Path, name: str) -> ModelFile:
    """`describe`, remembered as long as the file on disk stays the same."""
    seen = path.stat()
    return _described_as(path, name, seen.st_ino, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=256)
def _described_as(path: Path, name: str, inode: int, size: int, mtime_ns: int) -> ModelFile:
    return describe(path, name)


def _folder(name: str, models_dir: Path | None) -> Path | None:
    entry = catalogue().get(checked(name))
    if entry and entry.builtin:
        return DEMO / name
    return models_dir / name if models_dir else None


def _folders(models_dir: Path | None) -> Iterator[str]:
    """Names of the folders that may be models."""
    if models_dir is None or not models_dir.is_dir():
        return
    for path in models_dir.iterdir():
        if path.is_dir() and NAME.match(path.name) and path.suffix != PARTIAL:
            yield path.name


def _files_of(folder: Path) -> list[Path]:
    """Files of the model itself, in order; hidden ones are ours or the hub's."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in paths if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _described(folder: Path, progress: Callable[[float], None]) -> tuple[ModelFile, ...]:
    paths = _files_of(folder)
    found: list[ModelFile] = []
    for number, path in enumerate(paths, 1):
        found.append(describe(path, path.relative_to(folder).as_posix()))
        progress(number / len(paths))
    return tuple(found)


def _kind_of(folder: Path) -> Kind | None:
    """What the files of a folder look like."""
    if (folder / "model.bin").is_file():
        return Kind.WHISPER
    if (folder / "config.yaml").is_file():
        return Kind.PYANNOTE
    return Kind.VOICES if any(folder.glob("*.onnx")) else None


def _how_to_get(name: str, entry: Entry | None, models_dir: Path | None) -> str:
    if entry is None:
        known = ", ".join(sorted({*catalogue(), *_folders(models_dir)}))
        return f"There is no speech model called “{name}”. Choose one of: {known}."
    if models_dir is None:
        return f"The model {name} is not here: set MODELS_DIR to a folder for models, then run `auricle models pull {name}`."
    return f"The model {name} is not here yet: run `auricle models pull {name}`."


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `under`, table by table."""
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        both[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return both

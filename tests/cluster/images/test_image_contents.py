"""What is in an image, what is not, and what it weighs."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.images.built import PACKAGES, USER, Image, image

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[3]
MEGABYTE = 10**6
BUDGETS = {
    "auricle-api": 180 * MEGABYTE,
    "auricle-identity": 200 * MEGABYTE,
    "auricle-media": 450 * MEGABYTE,
    "auricle-operator": 260 * MEGABYTE,
}
"""Unpacked, everything included: every node that a function wakes on, or that fetches a model, has to pull and unpack it."""
LOCKS = {
    "auricle-api": "functions/image/api.lock",
    "auricle-identity": "functions/image/identity.lock",
    "auricle-media": "functions/image/media.lock",
    "auricle-speech": "gpu-pool/image/speech-cpu.lock",
    "auricle-operator": "operator/image/operator.lock",
}
PROVING = {"argon2", "joserfc", "webauthn", "pyotp", "segno", "ldap3", "authlib"}
BUILDERS = {"pip", "setuptools", "wheel", "_distutils_hack", "pkg_resources", "cyclonedx_py"}
ABSENT = {
    "auricle-api": BUILDERS
    | PROVING
    | {"numpy", "av", "onnxruntime", "ctranslate2", "faster_whisper", "torch", "auricle_gpu", "boto3"},
    "auricle-identity": BUILDERS | {"numpy", "av", "onnxruntime", "torch", "auricle_gpu", "boto3"},
    "auricle-media": BUILDERS
    | PROVING
    | {"redis"}
    | {"ctranslate2", "tokenizers", "huggingface_hub", "torch", "auricle_gpu", "boto3"},
    "auricle-operator": BUILDERS
    | (PROVING - {"argon2"})  # minio brings it along
    | {"numpy", "av", "onnxruntime", "ctranslate2", "faster_whisper", "torch", "redis"},
    "auricle-speech": BUILDERS | PROVING | {"redis"} | {"torch", "torchaudio", "pyannote", "boto3"},
}
UNCHECKED = 0b01
"""The flag word of byte code that is trusted without a look at its source (PEP 552)."""


@pytest.fixture(scope="module", params=LOCKS)
def ours(request: pytest.FixtureRequest) -> Image:
    """Each image of ours in turn, the operator's too, which runs no functions."""
    return image(request.param)


@pytest.fixture(scope="module")
def files(ours: Image) -> Iterator[Path]:
    """The image's root folder."""
    with ours.mounted() as root:
        yield root


@pytest.mark.parametrize("name", BUDGETS)
def test_an_image_keeps_to_its_budget(name: str) -> None:
    layers = image(name).layers
    shown = ", ".join(f"{size / MEGABYTE:.1f}" for size in layers)
    print(f"{name}: {sum(layers) / MEGABYTE:.1f} MB unpacked; system and layers above it: {shown}")
    assert sum(layers) <= BUDGETS[name], f"{name} is over its budget; its layers in MB, lowest first: {shown}"


def test_code_is_a_small_layer_of_its_own() -> None:
    system, packages, code, start = image("auricle-api").layers
    assert code < packages / 5 < system, "a change of ours must not ship every library again"
    assert start < MEGABYTE


def test_nothing_is_inside_that_no_function_needs(ours: Image, files: Path) -> None:
    inside = {entry.name for entry in (files / PACKAGES).iterdir()}
    assert not inside & ABSENT[ours.name]
    assert not list((files / PACKAGES).rglob("tests"))


def test_versions_are_those_of_the_lock(ours: Image, files: Path) -> None:
    pinned = dict(re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", (ROOT / LOCKS[ours.name]).read_text()))
    found = {}
    for metadata in (files / PACKAGES).glob("*.dist-info/METADATA"):
        fields = dict(re.findall(r"(?m)^(Name|Version): (.+)$", metadata.read_text(errors="replace").split("\n\n")[0]))
        found[re.sub(r"[-_.]+", "-", fields["Name"]).lower()] = fields["Version"]
    assert found.pop("auricle")
    assert found == pinned


def test_the_list_of_contents_names_every_package(ours: Image, files: Path) -> None:
    bill = json.loads((files / "app/sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {re.sub(r"[-_.]+", "-", part["name"]).lower(): part["version"] for part in bill["components"]}
    assert listed == dict(re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", (ROOT / LOCKS[ours.name]).read_text()))


def test_every_source_is_compiled_and_trusted(files: Path) -> None:
    sources = list((files / PACKAGES).rglob("*.py"))
    assert len(sources) > 500
    for source in sources:
        code = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        assert code.exists(), f"{source.relative_to(files)} would be compiled at every cold start"
        assert code.read_bytes()[4] == UNCHECKED, source


def test_the_standard_library_is_compiled(files: Path) -> None:
    library = next(path for path in (files / "usr/local/lib/python3.11", files / "usr/lib/python3.11") if path.is_dir())
    missing = [
        path.relative_to(library)
        for path in library.rglob("*.py")
        if not (path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc").exists() and "-packages" not in str(path)
    ]
    assert not missing


def test_a_function_can_read_everything_and_change_nothing(files: Path) -> None:
    for path in (files / "app").rglob("*"):
        entry = path.lstat()
        if stat.S_ISLNK(entry.st_mode):
            continue
        wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(entry.st_mode) else 0)
        assert entry.st_mode & wanted == wanted, f"{path} cannot be read by user {USER}"
        assert not entry.st_mode & (stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID), path
        assert entry.st_uid != USER, path


def test_it_starts_without_a_shell_as_nobody(ours: Image) -> None:
    config = ours.config
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"][0] == "/app/venv/bin/python"
    assert not config.get("Cmd")
    labels = config["Labels"]
    for name in ("title", "description", "licenses", "version", "revision"):
        assert labels[f"org.opencontainers.image.{name}"], name
    assert labels["org.opencontainers.image.version"] == ours.reference.rpartition(":")[2]

"""What goes into the images, held against what the project declares; nothing is built here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FUNCTIONS = (
    'ENTRYPOINT ["/app/venv/bin/python", "-m", "functions_framework", "--source", "/app/functions/main.py", '
    '"--target", "handle", "--signature-type", "http"]'
)
DOCKERFILES = {
    "functions/Dockerfile": [FUNCTIONS],
    "gpu-pool/Dockerfile": [FUNCTIONS],
    # The first one is that of the stage it shares with them.
    "operator/Dockerfile": [FUNCTIONS, 'ENTRYPOINT ["/app/venv/bin/python", "-m", "auricle_operator"]'],
}
"""Dockerfile → how its images start."""
CHECKED = "requirements.lock"
TORCH = "requirements-speech.lock"
# lock, the extra of pyproject.toml that it pins, what the tests run with
LOCKS = {
    "functions/image/api.lock": ("redis", CHECKED),
    "functions/image/identity.lock": ("identity", CHECKED),
    "functions/image/media.lock": ("media", CHECKED),
    "gpu-pool/image/speech-cpu.lock": ("speech", CHECKED),
    "gpu-pool/image/speech.lock": ("gpu", TORCH),
    "operator/image/operator.lock": ("operator", CHECKED),
}


def read(path: str) -> str:
    return (ROOT / path).read_text()


def named(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]).lower()


def pins(path: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([a-z0-9.-]+)==([^\s\\;]+)", read(path)))


def declared(extra: str) -> set[str]:
    """What pyproject.toml asks for, an extra that names another one included."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = set(project["dependencies"])
    for requirement in project["optional-dependencies"].get(extra, []):
        inner = re.match(r"auricle\[(.+)\]$", requirement)
        wanted |= set(project["optional-dependencies"][inner.group(1)]) if inner else {requirement}
    return {named(requirement) for requirement in wanted}


def instructions(path: str) -> list[str]:
    """A Dockerfile's instructions, each on one line."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^\s*#.*\n", "", read(path)))
    return [line for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_everything_that_its_image_needs(lock: str) -> None:
    extra, _ = LOCKS[lock]
    missing = declared(extra) - set(pins(lock))
    assert not missing, f"{lock} is older than pyproject.toml: run functions/image/lock.sh"


@pytest.mark.parametrize("lock", LOCKS)
def test_images_run_the_versions_that_are_tested(lock: str) -> None:
    tested = pins(LOCKS[lock][1])
    only_here = {"nvidia-cublas-cu12", "nvidia-cuda-nvrtc-cu12"}  # of use on a device only; no test has one
    differing = {name: (found, tested.get(name)) for name, found in pins(lock).items() if tested.get(name) != found}
    assert not differing.keys() - only_here, f"{lock} is older than the tests' lock: run functions/image/lock.sh"


@pytest.mark.parametrize("lock", [*LOCKS, "functions/image/build.lock"])
def test_a_lock_holds_digests_and_no_addresses(lock: str) -> None:
    entries = re.split(r"(?m)^(?=[a-z0-9.-]+==)", read(lock))[1:]
    assert entries
    assert not [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry]
    assert "://" not in read(lock)


def test_the_api_image_has_exactly_what_every_function_needs() -> None:
    others = set().union(*(declared(extra) for extra in ("identity", "media", "speech", "gpu", "s3"))) - declared("redis")
    assert not others & set(pins("functions/image/api.lock"))


def test_torch_and_its_sound_move_together() -> None:
    found = pins("gpu-pool/image/speech.lock")
    assert found["torch"] == found["torchaudio"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_every_image_starts_python_itself_as_nobody(dockerfile: str) -> None:
    lines = instructions(dockerfile)
    assert [line for line in lines if line.startswith("ENTRYPOINT")] == DOCKERFILES[dockerfile]
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users[-1] == "65532:65532"
    assert not [line for line in lines if line.startswith("CMD")]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_nothing_is_installed_without_a_digest(dockerfile: str) -> None:
    for line in instructions(dockerfile):
        for command in re.findall(r"pip (?:--python \S+ )?install [^&]*", line):
            ours = "--no-build-isolation" in command and command.split()[-1] == "."
            assert ours or ("--require-hashes" in command and "--only-binary :all:" in command), command


def test_all_dockerfiles_share_the_system_that_nodes_then_pull_once() -> None:
    stages = [re.split(r"(?m)^(?=FROM )", read(path)) for path in DOCKERFILES]
    system, runtime, tools = (part.strip() for part in stages[0][1:4])
    for other in stages[1:]:
        assert [part.strip() for part in other[1:4]] == [system, runtime, tools]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_build_is_given_every_file_that_it_copies(dockerfile: str) -> None:
    given = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    for line in instructions(dockerfile):
        if line.startswith("COPY") and "--from=" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert source.split("/")[0] in given, f"{source} is kept out by .dockerignore"


def test_skaffold_builds_what_is_there() -> None:
    config = yaml.safe_load(read("skaffold.yaml"))
    for artifact in config["build"]["artifacts"]:
        docker = artifact["docker"]
        path = Path(artifact.get("context", ".")) / docker.get("dockerfile", "Dockerfile")
        assert (ROOT / path).is_file(), path
        targets = {line.split()[-1] for line in instructions(str(path)) if line.startswith("FROM") and " AS " in line}
        patched = [
            patch["value"]
            for profile in config["profiles"]
            for patch in profile.get("patches", [])
            if patch["path"] == f"/build/artifacts/{config['build']['artifacts'].index(artifact)}/docker/target"
        ]
        assert {docker["target"], *patched} <= targets if "target" in docker else True
    profiles = [config, *config["profiles"]]
    paths = [path for one in profiles for path in one.get("manifests", {}).get("kustomize", {}).get("paths", [])]
    assert paths
    for path in paths:
        assert (ROOT / path).is_dir(), path

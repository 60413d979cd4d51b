"""skaffold.yaml as skaffold itself reads it: every profile is valid and renders our overlays with the images it built.

Not here: `skaffold build`, which asks a container engine, and the whole of `skaffold diagnose`, which asks a registry for the
base images. Both are outside of this lane; tests/cluster/images builds the same targets of the same Dockerfiles.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.deployment import CACHE, CLUSTER_HOME, ROOT, auricle

pytestmark = pytest.mark.cluster

SKAFFOLD = shutil.which("skaffold") or str(CACHE / "bin" / "skaffold")
IMAGES = ("auricle-api", "auricle-identity", "auricle-media", "auricle-speech", "auricle-gateway")
# profiles → the overlay, and the targets of the first four images
PROFILES = {
    "": ("overlays/dev", ["api", "identity", "media", "speech-cpu"]),
    "dev": ("skaffold/dev", ["api-dev", "identity-dev", "media-dev", "speech-cpu"]),
    "single-node": ("overlays/single-node", ["api", "identity", "media", "speech-cpu"]),
    "cluster": ("skaffold/cluster", ["api", "identity", "media", "speech"]),
    "cluster,processors": ("skaffold/cluster", ["api", "identity", "media", "speech-cpu"]),
    "tenants": ("overlays/tenants", ["api", "identity", "media", "speech-cpu"]),
}


def images_of(profile: str) -> tuple[str, ...]:
    """What a profile builds."""
    return (*IMAGES, "auricle-operator") if profile == "tenants" else IMAGES


@pytest.fixture(scope="module", autouse=True)
def skaffold() -> None:
    if not Path(SKAFFOLD).exists():
        pytest.skip("There is no skaffold: `bash tests/cluster/images/skaffold.sh` builds it out of Go modules (5 minutes).")


def said(home: Path, *words: str, profile: str) -> str:
    """What skaffold prints for a profile."""
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{CLUSTER_HOME / 'bin'}:{os.environ['PATH']}",
        "SKAFFOLD_UPDATE_CHECK": "false",
        "SKAFFOLD_INTERACTIVE": "false",
        **({"SKAFFOLD_PROFILE": profile} if profile else {}),
    }
    done = subprocess.run([SKAFFOLD, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def folder_of(profile: str) -> str:
    """The kustomization that a profile deploys, with its secrets made."""
    folder, _ = PROFILES[profile]
    secrets = ROOT / "manifests" / folder.replace("skaffold/", "overlays/") / "secrets"
    auricle("manifests", "secrets", str(secrets))
    return folder


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_says_what_it_builds_and_deploys(profile: str, tmp_path: Path) -> None:
    config = yaml.safe_load(said(tmp_path, "diagnose", "--yaml-only", profile=profile))
    artifacts = config["build"]["artifacts"]
    assert tuple(artifact["image"] for artifact in artifacts) == images_of(profile)
    folder, targets = PROFILES[profile]
    assert [artifact["docker"]["target"] for artifact in artifacts[:4]] == targets
    assert config["manifests"]["kustomize"]["paths"] == [str(ROOT / "manifests" / folder)]
    assert config["portForward"][0]["resourceName"] == "gateway"
    synced = [artifact["image"] for artifact in artifacts if artifact.get("sync", {}).get("manual")]
    assert synced == (["auricle-api", "auricle-identity", "auricle-media"] if profile == "dev" else [])


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_renders_with_the_images_that_were_built(profile: str, tmp_path: Path) -> None:
    folder_of(profile)
    built = tmp_path / "built.json"
    built.write_text(
        json.dumps({"builds": [{"imageName": name, "tag": f"example.test/{name}:abc"} for name in images_of(profile)]})
    )
    said(
        tmp_path,
        "render",
        "--build-artifacts",
        str(built),
        "--digest-source=none",
        "--output",
        str(tmp_path / "all.yaml"),
        profile=profile,
    )
    found = [item for item in yaml.safe_load_all((tmp_path / "all.yaml").read_text()) if item]
    ours = [image for item in found for image in images_in(item) if "auricle-" in image]
    assert len(ours) >= (3 if profile == "tenants" else 4)
    assert set(ours) <= {f"example.test/{name}:abc" for name in images_of(profile)}, (
        "an image that was built is not the one deployed"
    )
    roots = {
        container["securityContext"]["readOnlyRootFilesystem"]
        for item in found
        if item["apiVersion"].startswith("serving.knative.dev")
        for container in item["spec"]["template"]["spec"]["containers"]
        if item["metadata"]["labels"]["auricle.dev/image"] != "speech"
    }
    # In the shared namespace no function runs.
    assert roots == (set() if profile == "tenants" else {profile != "dev"}), (
        "only `skaffold dev` may change files of a running pod"
    )


def images_in(value: Any) -> list[str]:
    """Every container's image, at any depth."""
    if isinstance(value, dict):
        mine = [value["image"]] if isinstance(value.get("image"), str) and "name" in value else []
        return mine + [image for inner in value.values() for image in images_in(inner)]
    if isinstance(value, list):
        return [image for inner in value for image in images_in(inner)]
    return []

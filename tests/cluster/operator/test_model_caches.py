"""Model caches on a real node: volumes, jobs under Pod Security `restricted`, labels, and everything that goes wrong on the way.

The second node is a real kubelet (`node/node2.sh`): it goes away and comes back with its disk.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auricle_gpu.manifest import OK, content
from auricle_gpu.models import DEMO, require_verified
from builders.model_store import ModelStore, listed, model_store
from cluster.deployment import CACHE, CLUSTER_HOME, NODE_IP, ROOT, apply, kubectl, objects, until
from cluster.operator.platform import SYSTEM
from cluster.operator.running import Operator, tenant, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
NODE, ADDRESS = "models1", "10.90.0.4"
WHISPER = {path.name: path.read_bytes() for path in sorted((DEMO / "whisper-demo").iterdir())}
KIND = "modelcaches.auricle.dev"


def node2(verb: str) -> None:
    """The second node comes (with the operator's image) or goes; its disk stays."""
    environment = {**os.environ, "CLUSTER_HOME": str(CLUSTER_HOME), "NODE2_NAME": NODE, "NODE2_IP": ADDRESS, "FAKE_GPUS": "1"}
    script = ROOT / "tests" / "cluster" / "node" / "node2.sh"
    done = subprocess.run([script, verb], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"node2.sh {verb}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    if verb == "up":
        socket = CLUSTER_HOME / "run" / NODE / "containerd.sock"
        subprocess.run(["ctr", "-n", "k8s.io", "-a", socket, "images", "import", archive()], check=True, capture_output=True)


def archive() -> Path:
    """The operator's image, as a file."""
    rows = [line.split("\t") for line in (CACHE / "images" / "images.tsv").read_text().splitlines()]
    return next(Path(file) for name, _, file in rows if name == "auricle-operator")


@dataclass(frozen=True)
class Lane:
    """A node's folder for models, and a place that models come from."""

    store: ModelStore
    folder: Path

    def cache(self, name: str, held: dict[str, bytes], **spec: Any) -> None:
        """As a person applies it."""
        named = [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in listed(held)]
        given = {
            "model": name,
            "source": {"kind": "http", "uri": f"{self.store.url}/base"},
            "files": named,
            "placement": {"nodeSelector": {"kubernetes.io/hostname": NODE}},
            "storage": {"path": str(self.folder), **spec.pop("storage", {})},
            **spec,
        }
        apply({"apiVersion": "auricle.dev/v1alpha1", "kind": "ModelCache", "metadata": {"name": name}, "spec": given})

    def copy(self, name: str) -> dict[str, Any]:
        """What the status says of the node."""
        (found,) = objects(KIND, name)
        return dict(found.get("status", {}).get("nodes", {}).get(NODE, {}))

    def becomes(self, name: str, state: str, seconds: float = 120) -> dict[str, Any]:
        """Waits for a state of the copy; returns it."""
        until(f"{name} is {state}", lambda: self.copy(name).get("state") == state, seconds)
        return self.copy(name)


def labels() -> dict[str, str]:
    """Of models, on the node."""
    (node,) = objects("node", NODE)
    return {k: v for k, v in node["metadata"]["labels"].items() if k.startswith("models.auricle.dev/")}


def label(name: str, files: dict[str, bytes]) -> str:
    return f"models.auricle.dev/{content(name, listed(files))[:12]}"


@pytest.fixture(scope="module")
def lane(operator: Operator) -> Iterator[Lane]:
    folder = CLUSTER_HOME / "pv" / f"models-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    node2("up")
    try:
        with model_store(WHISPER, NODE_IP) as store:
            yield Lane(store, folder)
            kubectl("delete", KIND, "--all", "--wait=true", timeout=180)
            assert not [p.name for p in folder.iterdir() if p.is_dir()], "what was taken away is gone from the disk"
            assert not labels()
    finally:
        node2("down")
        shutil.rmtree(folder, ignore_errors=True)


def test_a_cache_becomes_ready_on_its_node(lane: Lane) -> None:
    lane.cache("whisper-one", WHISPER)
    wait_for(KIND, "whisper-one", Ready="True", Downloaded="True", SpaceAvailable="True")
    assert require_verified("whisper-one", lane.folder, digests=True)
    assert labels()[label("whisper-one", WHISPER)] == "ready"
    events = objects("events", "-A", "--field-selector", "involvedObject.name=whisper-one")
    assert any("verified on" in event["message"] for event in events)


def test_a_file_that_two_caches_share_is_on_the_disk_once(lane: Lane) -> None:
    lane.store.files["second.json"] = b"[]"
    lane.store.asked.clear()
    lane.cache("whisper-two", {"model.bin": WHISPER["model.bin"], "second.json": b"[]"})
    wait_for(KIND, "whisper-two", Ready="True")
    assert {name for name, _ in lane.store.asked} == {"second.json"}
    assert len({(lane.folder / name / "model.bin").stat().st_ino for name in ("whisper-one", "whisper-two")}) == 1


def test_a_corrupt_download_says_so_and_converges(lane: Lane) -> None:
    data = b"weights" * 10_000
    lane.store.files["corrupt.bin"] = data
    lane.store.wrong["corrupt.bin"] = [b"x" * len(data)] * 2
    lane.cache("corrupt", {"corrupt.bin": data})
    assert "corrupt.bin of corrupt has another sha256" in lane.becomes("corrupt", "Failed")["error"]
    assert not (lane.folder / "corrupt").exists()
    wait_for(KIND, "corrupt", Ready="True")


def test_a_killed_download_goes_on_where_it_was(lane: Lane) -> None:
    data = b"0123456789" * 200_000
    lane.store.files["killed.bin"] = data
    lane.store.hang_after = 1_500_000
    lane.cache("killed", {"killed.bin": data})
    until("bytes arrive", lambda: any(p.stat().st_size > 1_000_000 for p in lane.folder.glob("killed-*.partial/*")), 60)
    chosen = ["-n", SYSTEM, "delete", "pod", "--grace-period=0", "--force", "--field-selector=status.phase=Running"]
    kubectl(*chosen, "-l", "app.kubernetes.io/name=models")
    lane.store.hang_after = None
    lane.store.release.set()
    wait_for(KIND, "killed", Ready="True")
    starts = [start for name, start in lane.store.asked if name == "killed.bin"]
    assert starts[-1] >= 1_000_000
    assert (lane.folder / "killed" / "killed.bin").read_bytes() == data


def test_changed_content_takes_the_place_of_the_old(lane: Lane) -> None:
    changed = {**WHISPER, "config.json": b"{}"}
    with (lane.folder / "whisper-one" / "config.json").open("rb") as reader:
        lane.store.files["config.json"] = b"{}"
        lane.cache("whisper-one", changed)
        until("it is labelled anew", lambda: label("whisper-one", changed) in labels(), 120)
        assert reader.read() == WHISPER["config.json"]
    assert label("whisper-one", WHISPER) not in labels()
    assert (lane.folder / "whisper-one" / "config.json").read_bytes() == b"{}"
    lane.store.files["config.json"] = WHISPER["config.json"]
    lane.cache("whisper-one", WHISPER)
    wait_for(KIND, "whisper-one", Ready="True")
    assert (lane.folder / "whisper-one" / "config.json").read_bytes() == WHISPER["config.json"]


def test_a_budget_sends_the_longest_unused_away(lane: Lane) -> None:
    """On a folder of its own, so that nobody else's models count."""
    lane = Lane(lane.store, lane.folder / "narrow")
    lane.folder.mkdir()
    lane.folder.chmod(0o2775)
    os.chown(lane.folder, -1, 65532)
    for name in ("unused", "wanted"):
        lane.store.files[f"{name}.bin"] = name.encode() * 1000
    storage = {"storage": {"budget": "10k"}}
    lane.cache("unused", {"unused.bin": lane.store.files["unused.bin"]}, **storage)
    wait_for(KIND, "unused", Ready="True")
    apply(tenant("narrow", models=["wanted"]))
    try:
        lane.cache("wanted", {"wanted.bin": lane.store.files["wanted.bin"]}, **storage)
        wait_for(KIND, "wanted", Ready="True")
        lane.becomes("unused", "Evicted")
        assert not (lane.folder / "unused").exists()
    finally:
        kubectl("delete", "tenant", "narrow", timeout=300)
        kubectl("delete", KIND, "unused", "wanted", timeout=120)
        shutil.rmtree(lane.folder)


def test_a_full_disk_is_told_with_what_is_needed_and_free(lane: Lane) -> None:
    size = shutil.disk_usage(lane.folder).free * 2
    named = [{"path": "huge", "size": size, "sha256": "0" * 64}]
    lane.cache("huge", {}, files=named)
    try:
        found = wait_for(KIND, "huge", SpaceAvailable="False")
        assert f"needs {size} more bytes" in found["SpaceAvailable"]["message"]
        assert not list(lane.folder.glob("huge*"))
    finally:
        kubectl("delete", KIND, "huge", timeout=120)


def test_a_node_that_goes_is_said_and_verified_when_it_comes_back(lane: Lane) -> None:
    node2("down")
    lane.becomes("whisper-one", "NodeGone")
    found = wait_for(KIND, "whisper-one", Ready="False")
    assert found["Ready"]["reason"] == "NoNodes"
    lane.store.asked.clear()
    node2("up")
    wait_for(KIND, "whisper-one", Ready="True")
    assert labels()[label("whisper-one", WHISPER)] == "ready"
    assert not [name for name, _ in lane.store.asked if name in WHISPER], "its folder was there"


def test_a_folder_that_lost_its_ok_is_refused_by_functions_until_a_job_mends_it(lane: Lane) -> None:
    (lane.folder / "whisper-one" / OK).unlink()
    node2("down")
    lane.becomes("whisper-one", "NodeGone")
    node2("up")
    wait_for(KIND, "whisper-one", Ready="True")
    assert require_verified("whisper-one", lane.folder, digests=True)

"""Speech on a pool of GPU nodes: there and nowhere else, never more than there are, from zero and back, and waiting in words.

The GPUs are pretended (`node/fake-gpu.sh`); node, taint, scheduler, device counting and autoscaling are real. AURICLE_GPU_NODE
names a node of another cluster that carries the label and the taint; then it keeps the devices that it has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml

from auricle.cli.client import Server
from auricle_gpu.models import DEMO, verify
from cluster.deployment import CACHE, CLUSTER_HOME, ROOT, Deployment, kubectl, objects, until
from cluster.vault import MEETING, finished, patiently, run_of, uploaded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
NODE = os.environ.get("AURICLE_GPU_NODE", "pool1")  # sorts behind the first node
OURS = "AURICLE_GPU_NODE" not in os.environ
SCRIPTS = ROOT / "tests" / "cluster" / "node"
SPEECH = "auricle.dev/scale=gpu"
VOICES = "voices-of-the-lane"
"""A model on the volume: what the package ships needs none."""
CHUNK_SECONDS = 13


def script(name: str, *words: str, **more: str) -> None:
    """One of the node's scripts."""
    environment = {**os.environ, "CLUSTER_HOME": str(CLUSTER_HOME), **more}
    done = subprocess.run([SCRIPTS / name, *words], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{name} {words}: {done.stdout[-1000:]}{done.stderr[-2000:]}"


def gpus(count: int) -> None:
    """Let the node have so many devices."""
    script("fake-gpu.sh", str(count), NODE_NAME=NODE, TAINT="1")
    if count == 0:  # it takes the labels too; the node stays one of the pool's
        kubectl("label", "node", NODE, "nvidia.com/gpu.present=true", "--overwrite")
    until("the node offers its devices", lambda: allocatable() == count, 60)


def allocatable() -> int:
    """Devices that the node offers now."""
    (node,) = objects("node", NODE)
    return int(node["status"]["allocatable"].get("nvidia.com/gpu", 0))


def load_speech_image() -> None:
    """Into the second node's own store; the first one has it already."""
    rows = [line.split("\t") for line in (CACHE / "images" / "images.tsv").read_text().splitlines()]
    archive = next(file for name, _, file in rows if name == "auricle-speech")
    socket = CLUSTER_HOME / "run" / NODE / "containerd.sock"
    subprocess.run(
        ["ctr", "-n", "k8s.io", "-a", socket, "images", "import", archive], check=True, capture_output=True, timeout=300
    )


@pytest.fixture(scope="module")
def gpu_node(auricle: Deployment) -> Iterator[str]:
    """A second node with one device, labelled and tainted. It comes after the deployment, whose volumes are on the first."""
    if OURS:
        script("node2.sh", "up", NODE2_NAME=NODE, FAKE_GPUS="1")
        load_speech_image()
    yield NODE
    if OURS:
        script("node2.sh", "down", NODE2_NAME=NODE)


@pytest.fixture(scope="module")
def pooled(auricle: Deployment, gpu_node: str) -> Iterator[Deployment]:
    """The deployment with the component gpu; afterwards it is as it was."""
    before = auricle.components, auricle.patches
    volume = models_volume(auricle.namespace, gpu_node)
    kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(volume))
    auricle.components, auricle.patches = (*auricle.components, "gpu"), (*auricle.patches, *patches(auricle.namespace))
    auricle.again()
    auricle.wait_ready()
    yield auricle
    auricle.components, auricle.patches = before
    auricle.again()
    auricle.wait_ready()
    auricle.kubectl("delete", "pvc", "models", "--wait=true", timeout=180)
    kubectl("delete", "pv", f"{auricle.namespace}-models")


def models_volume(namespace: str, node: str) -> dict[str, Any]:
    """A volume on the GPU node with one verified model in it."""
    path = CLUSTER_HOME / "pv" / f"{namespace}-models"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(DEMO / "voices-demo", path / VOICES)
    verify(VOICES, path)
    for item in (path, *path.rglob("*")):
        item.chmod(0o755 if item.is_dir() else 0o644)
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-models", "labels": {"auricle.dev/lane": namespace}},
        "spec": {
            "capacity": {"storage": "50Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "local",
            "claimRef": {"namespace": namespace, "name": "models"},
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def patches(namespace: str) -> list[dict[str, Any]]:
    """What a lane has otherwise than a pool: pretended devices, no patience, a volume of one node."""
    annotations = "/spec/template/metadata/annotations/autoscaling.knative.dev~1"
    speech = [
        {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "SPEECH_DEVICE", "value": "cpu"}},
        {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "DIARIZE_MODEL", "value": VOICES}},
        {"op": "replace", "path": f"{annotations}scale-to-zero-pod-retention-period", "value": "0s"},
        {"op": "add", "path": f"{annotations}window", "value": "6s"},
    ]
    claim = [
        {"op": "replace", "path": "/spec/accessModes", "value": ["ReadWriteOnce"]},
        {"op": "add", "path": "/spec/storageClassName", "value": "local"},
        {"op": "add", "path": "/spec/volumeName", "value": f"{namespace}-models"},
    ]
    conductor = [
        {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "DIARIZE_MODEL", "value": VOICES}}
    ]
    chosen = {"group": "serving.knative.dev", "kind": "Service"}
    return [
        {"target": {**chosen, "labelSelector": SPEECH}, "patch": yaml.safe_dump(speech)},
        {"target": {**chosen, "name": "advance|intake|timers"}, "patch": yaml.safe_dump(conductor)},
        {"target": {"kind": "PersistentVolumeClaim", "name": "models"}, "patch": yaml.safe_dump(claim)},
    ]


class Watch:
    """Looks at the pods as long as the context lasts, and remembers what must never be."""

    def __init__(self, auricle: Deployment) -> None:
        self.auricle = auricle
        self.faults: list[str] = []
        self.speech_nodes: set[str] = set()
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def _look(self) -> None:
        while not self._over.wait(0.5):
            pods = self.auricle.pods("auricle.dev/function")
            placed = [p for p in pods if p["spec"].get("nodeName") and p["status"].get("phase") in ("Pending", "Running")]
            speech = [p for p in placed if p["metadata"]["labels"]["auricle.dev/scale"] == "gpu"]
            self.speech_nodes |= {p["spec"]["nodeName"] for p in speech}
            self.most = max(self.most, len(speech))
            strangers = [p["metadata"]["name"] for p in placed if p not in speech and p["spec"]["nodeName"] == NODE]
            self.faults += [f"{name} is on the GPU node" for name in strangers]


def speech_pods(auricle: Deployment) -> list[dict[str, Any]]:
    """Pods of speech functions, those that wait for a device too."""
    return auricle.pods(SPEECH)


def test_speech_lands_on_the_gpu_node_alone_and_goes_back_to_zero(pooled: Deployment, server: Server) -> None:
    until("no speech pod is there", lambda: not speech_pods(pooled), 180)
    with Watch(pooled) as watch:
        file_id = uploaded(server, MEETING, chunk_seconds=CHUNK_SECONDS)
        run = finished(server, run_of(server, file_id), 900)
    assert run["state"] == "succeeded", run
    assert run["warnings"] == []
    assert watch.faults == []
    assert watch.speech_nodes == {NODE}
    assert watch.most == allocatable() == 1, "three functions, two pods each at most, and one device"
    until("speech is at zero again", lambda: not speech_pods(pooled), 180)


def test_models_are_read_only_and_verified(pooled: Deployment, server: Server) -> None:
    pods = pooled.get("services.serving.knative.dev", "-l", SPEECH)
    for service in pods:
        (container,) = service["spec"]["template"]["spec"]["containers"]
        (mount,) = [m for m in container["volumeMounts"] if m["mountPath"] == "/models"]
        assert mount["readOnly"] is True
        assert container["resources"]["limits"]["nvidia.com/gpu"] in (1, "1")
    assert (CLUSTER_HOME / "pv" / f"{pooled.namespace}-models" / VOICES / ".ok").exists()


def test_without_a_free_gpu_a_run_says_that_it_waits_and_goes_on_when_one_is_free(pooled: Deployment, server: Server) -> None:
    until("no speech pod is there", lambda: not speech_pods(pooled), 180)
    gpus(0)
    told: list[str | None] = []
    try:
        threading.Thread(target=listen, args=(server, told), daemon=True).start()
        file_id = uploaded(server, MEETING, chunk_seconds=CHUNK_SECONDS)
        run_id = run_of(server, file_id)
        waiting = until("the run says that it waits", lambda: waits(server, run_id), 180)
        assert waiting["state"] == "running"
        assert {s["waiting_for"] for s in waiting["steps"] if s["name"] == "transcribe"} == {"gpu"}
        until("listeners are told", lambda: "gpu" in told, 90)
        pods = speech_pods(pooled)
        assert pods
        assert {p["status"]["phase"] for p in pods} == {"Pending"}
        assert pooled.unready() == []  # waiting is no failed deployment
        time.sleep(5)  # still nothing but waiting
        assert waits(server, run_id)
    finally:
        gpus(1)
    run = finished(server, run_id, 900)
    assert run["state"] == "succeeded", run
    assert run["waiting_for"] is None
    assert {s["attempts"] for s in run["steps"]} == {1}
    letters = patiently(lambda: server.call("GET", "/api/dead-letters", state="open"))["items"]
    assert [letter for letter in letters if letter["run_id"] == run_id] == []


def waits(server: Server, run_id: str) -> dict[str, Any] | None:
    """The run, if it says that it waits for a GPU."""
    run = dict(patiently(lambda: server.call("GET", f"/api/runs/{run_id}")))
    return run if run["waiting_for"] == "gpu" else None


def listen(server: Server, told: list[str | None]) -> None:
    """Remember what listeners hear of runs, until one waits for a GPU: a listener keeps its function awake."""
    with closing(server.events()) as events:
        for _, kind, data in events:
            if kind == "run":
                told.append(data["waiting_for"])
                if told[-1] == "gpu":
                    return

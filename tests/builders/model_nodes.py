"""Nodes on which the operator's jobs really run: each has a folder of this machine, and a job's command is called as written."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path

from auricle_gpu.caching import main
from auricle_operator.api.conditions import moment, stamp
from auricle_operator.cluster import CLAIM, CONFIG, JOB, NODE, POD, VOLUME, Manifest
from builders.operator_cluster import MemoryCluster

NAMESPACE = "auricle-system"


class ModelNodes:
    """The kubelets and the job controller of a `MemoryCluster`. `home` holds a folder per node."""

    def __init__(self, cluster: MemoryCluster, home: Path) -> None:
        self.cluster = cluster
        self.home = home
        self.ran: list[str] = []

    def up(self, name: str, **labels: str) -> None:
        """A node of the GPU pool comes (again), as its kubelet says it: without labels that others gave it."""
        given = {"kubernetes.io/hostname": name, "nvidia.com/gpu.present": "true", **labels}
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        metadata = {"name": name, "labels": given}
        self.cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status})
        (self.home / name / "models").mkdir(parents=True, exist_ok=True)

    def down(self, name: str) -> None:
        """A node goes, and the pods on it with it."""
        self.cluster.remove(NODE, name)

    def models(self, name: str) -> Path:
        """Its folder of models."""
        return self.home / name / "models"

    def labels(self, name: str) -> dict[str, str]:
        """Of models, on a node."""
        found = self.cluster.at(NODE, name)["metadata"]["labels"]
        return {key: value for key, value in found.items() if key.startswith("models.auricle.dev/")}

    def work(self) -> int:
        """Run every job whose node is there to its end; how many."""
        waiting = [name for name in self.cluster.there(JOB) if not self.cluster.at(JOB, name, NAMESPACE).get("status")]
        return sum(self._run(self.cluster.at(JOB, name, NAMESPACE)) for name in waiting)

    def _run(self, job: Manifest) -> bool:
        pod = job["spec"]["template"]["spec"]
        claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
        volumes = {name: self._volume(claim) for name, claim in claims.items()}
        node = pod["nodeSelector"].get("kubernetes.io/hostname")
        if node is not None and node not in self.cluster.there(NODE):
            return False
        self.ran.append(job["metadata"]["name"])
        words = self.home / "words"
        words.unlink(missing_ok=True)
        places = {f"/{name}": str(path) for name, path in volumes.items()}
        command = [places.get(word, word) for word in pod["containers"][0]["command"][3:]]
        command = [self._order(pod) if word == "/order/order.json" else word for word in command]
        said = io.StringIO()
        with redirect_stdout(said):
            status = main([*command, "--termination", str(words)])
        self._ended(job, status, words.read_text() if words.exists() else "", said.getvalue())
        return True

    def _volume(self, claim: str) -> Path:
        """Where a claim's volume is: a folder of the node that its volume names, or a shared one."""
        if claim not in self.cluster.there(VOLUME):
            shared = self.home / "claims" / claim
            shared.mkdir(parents=True, exist_ok=True)
            return shared
        assert claim in self.cluster.there(CLAIM)
        spec = self.cluster.at(VOLUME, claim)["spec"]
        (node,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"]
        return self.home / node / Path(spec["local"]["path"]).name

    def _order(self, pod: Manifest) -> str:
        (name,) = (v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v)
        path = self.home / f"{name}.json"
        path.write_text(self.cluster.at(CONFIG, name, NAMESPACE)["data"]["order.json"])
        return str(path)

    def _ended(self, job: Manifest, status: int, words: str, said: str) -> None:
        name, now = job["metadata"]["name"], stamp(self.cluster.now())
        job["status"] = {
            "conditions": [
                {"type": "Failed" if status else "Complete", "status": "True", "lastTransitionTime": now, "message": ""}
            ]
        }
        labels = {**job["spec"]["template"]["metadata"]["labels"], "batch.kubernetes.io/job-name": name}
        terminated = {"exitCode": status, "message": words}
        self.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"{name}-pod", "namespace": NAMESPACE, "labels": labels},
                "status": {"containerStatuses": [{"name": "models", "state": {"terminated": terminated}}]},
            }
        )
        self.cluster.said[NAMESPACE, f"{name}-pod"] = said

    def collect(self, older: timedelta = timedelta(hours=1)) -> None:
        """Finished jobs that are old enough go, as their time to live says."""
        for name in self.cluster.there(JOB):
            job = self.cluster.at(JOB, name, NAMESPACE)
            ends = [c["lastTransitionTime"] for c in job.get("status", {}).get("conditions", ())]
            if ends and self.cluster.now() - moment(ends[0]) >= older:
                self.cluster.remove(JOB, name, NAMESPACE)
                self.cluster.remove(POD, f"{name}-pod", NAMESPACE)

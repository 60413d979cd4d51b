"""An Auricle on the real cluster, as tests see it: overlay `dev` in a namespace of its own."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("AURICLE_CACHE", Path.home() / ".cache" / "auricle"))
CLUSTER_HOME = Path(os.environ.get("CLUSTER_HOME", CACHE / "cluster"))
KUBECONFIG = Path(os.environ.get("KUBECONFIG", CLUSTER_HOME / "admin.kubeconfig"))
NODE_IP = os.environ.get("AURICLE_NODE_IP", "10.90.0.1")
GATEWAY_IP = "10.96.77.77"
"""A cluster address of ours, so that the gateway's name in signed URLs and its certificate are known before it exists."""


class Refused(Exception):
    """kubectl said no; the message is what it said."""


def kubectl(*words: str, given: str | None = None, timeout: float = 120) -> str:
    """Run kubectl against the lane's cluster; returns what it prints."""
    done = subprocess.run(["kubectl", *words], input=given, capture_output=True, text=True, timeout=timeout, env=_environment())
    if done.returncode:
        raise Refused(f"kubectl {' '.join(words)[:200]}: {done.stderr.strip()[:4000]}")
    return done.stdout


def auricle(*words: str, timeout: float = 300) -> str:
    """Run the command line against the lane's cluster, whatever KUBECONFIG the caller has or has not; returns what it prints."""
    program = Path(sys.executable).parent / "auricle"
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=timeout, env=_environment())
    assert done.returncode == 0, f"auricle {' '.join(words)}: {done.stderr[-4000:]}"
    return done.stdout


def _environment() -> dict[str, str]:
    """This process's, with the lane's cluster and its programs."""
    return {**os.environ, "KUBECONFIG": str(KUBECONFIG), "PATH": f"{CLUSTER_HOME / 'bin'}:{os.environ['PATH']}"}


def objects(*words: str) -> list[dict[str, Any]]:
    """`kubectl get … -o json`, as a list."""
    found: dict[str, Any] = json.loads(kubectl("get", *words, "-o", "json"))
    return list(found["items"]) if "items" in found else [found]


def apply(*manifests: dict[str, Any]) -> None:
    """As a person does, with kubectl."""
    given = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=given)


def until(what: str, true: Callable[[], Any], seconds: float = 120, every: float = 0.5) -> Any:
    """Wait until `true()` is truthy, and return that; a refusal of kubectl counts as not yet."""
    end = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < end:
        try:
            last = true()
        except (Refused, urllib3.exceptions.HTTPError, OSError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds:.0f} s; last seen: {str(last)[:1500]}")


def until_none(what: str, left: Callable[[], list[str]], seconds: float) -> None:
    """Wait until nothing is left; says what was."""
    end = time.monotonic() + seconds
    while waiting := left():
        assert time.monotonic() < end, f"{what} after {seconds:.0f} s: {'; '.join(waiting)[:3000]}"
        time.sleep(2)


@dataclass(frozen=True)
class Certificate:
    """A self-made authority and what it signed for the gateway (PEM)."""

    authority: str
    certificate: str
    key: str


def certificate_for(*addresses: str) -> Certificate:
    """For `addresses` (IP addresses or names)."""
    now = datetime.datetime.now(datetime.UTC)

    def build(name: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (name, issuer)]
        return (
            x509.CertificateBuilder()
            .subject_name(named[0])
            .issuer_name(named[1])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=30))
        )

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    root = (
        build("lane authority", "lane authority", root_key)
        .add_extension(constraints, True)
        .add_extension(usage, True)
        .add_extension(identifier, False)
        .sign(root_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = []
    for address in addresses:
        with contextlib.suppress(ValueError):
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
            continue
        names.append(x509.DNSName(address))
    leaf = (
        build("auricle", "lane authority", key)
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return Certificate(root.public_bytes(pem).decode(), leaf.public_bytes(pem).decode(), private)


def images() -> list[dict[str, str]]:
    """kustomize's `images:` for what `images/build.sh` built last; stand-ins for public images keep their names."""
    rows = [line.split("\t") for line in (CACHE / "images" / "images.tsv").read_text().splitlines()]
    return [
        {"name": name, "newName": reference.rpartition(":")[0], "newTag": reference.rpartition(":")[2]}
        for name, reference, _ in rows
        if ":" not in name
    ]


def image(name: str) -> str:
    """The reference of one of ours, as the lane's nodes have it."""
    (found,) = [f"{row['newName']}:{row['newTag']}" for row in images() if row["name"] == name]
    return found


@dataclass
class Deployment:
    """One namespace with an Auricle in it."""

    namespace: str
    folder: Path  # of its kustomization, beneath tests/cluster/.build
    overlay: str = "dev"
    components: Sequence[str] = ()
    patches: Sequence[dict[str, Any]] = ()
    address: str = GATEWAY_IP
    token: str = ""
    certificate: Certificate = field(default_factory=lambda: certificate_for(GATEWAY_IP, "gateway", "auricle.test"))

    @property
    def url(self) -> str:
        """Of the gateway, as this machine and its pods reach it."""
        return f"https://{self.address}"

    @property
    def authority(self) -> Path:
        """The certificate authority that clients trust."""
        return self.folder / "authority.pem"

    def kubectl(self, *words: str, given: str | None = None, timeout: float = 120) -> str:
        """kubectl in this namespace."""
        return kubectl("-n", self.namespace, *words, given=given, timeout=timeout)

    def get(self, *words: str) -> list[dict[str, Any]]:
        """Objects of this namespace."""
        return objects("-n", self.namespace, *words)

    def pods(self, selector: str = "serving.knative.dev/service") -> list[dict[str, Any]]:
        """Pods that exist, also those that are ending."""
        return self.get("pods", "-l", selector)

    def services(self) -> list[str]:
        """Names of our Knative Services."""
        return [s["metadata"]["name"] for s in self.get("services.serving.knative.dev")]

    def secret(self, name: str, key: str) -> str:
        """A Secret's value."""
        (found,) = self.get("secret", name)
        return base64.b64decode(found["data"][key]).decode()

    def up(self) -> None:
        """Apply the overlay from nothing and wait until everything is Ready."""
        self._folder()
        kubectl("apply", "-f", "-", given=f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {self.namespace}}}\n")
        self._volumes()
        self._gateway_certificate()
        self._apply()
        self.wait_ready()
        self.token = self._first_token()
        self._state.write_text(json.dumps({"token": self.token, **dataclasses.asdict(self.certificate)}))

    def find(self) -> bool:
        """Take up what an earlier run left (KEEP=1); whether there is something."""
        if not self._state.exists():
            return False
        state = json.loads(self._state.read_text())
        self.token, self.certificate = state.pop("token"), Certificate(**state)
        return True

    @property
    def _state(self) -> Path:
        return self.folder / "state.json"

    def again(self) -> None:
        """Apply the overlay once more, as an upgrade does: a Job cannot be changed."""
        self._folder()
        self.kubectl("delete", "job", "migrate", "bucket-setup", "--ignore-not-found")
        self._apply()

    def wait_ready(self, seconds: float = 420) -> None:
        """Jobs done, Services, Triggers, Broker and schedules Ready, plain workloads available."""
        until_none("workloads that are not there yet", self._unavailable, seconds)
        until("the database is migrated", lambda: self._succeeded("migrate"), seconds, 2)
        until_none("what is not Ready yet", self.unready, seconds)

    def unready(self) -> list[str]:
        """What is not Ready yet, with its reason."""
        kinds = "services.serving.knative.dev,triggers.eventing.knative.dev,brokers.eventing.knative.dev,pingsources.sources.knative.dev"
        found = []
        for item in self.get(kinds):
            ready = [c for c in item.get("status", {}).get("conditions", ()) if c["type"] == "Ready"]
            if not ready or ready[0]["status"] != "True":
                why = ready[0].get("message", ready[0].get("reason", "")) if ready else "not seen yet"
                found.append(f"{item['kind']}/{item['metadata']['name']}: {why}")
        return found

    def empty(self, seconds: float = 240) -> None:
        """Wait until every function is back at zero pods."""
        until("every function is at zero pods", lambda: not self.pods(), seconds, 1)

    def down(self) -> None:
        """Take everything out again."""
        self.retire()
        kubectl("wait", "--for=delete", f"namespace/{self.namespace}", "--timeout=300s", timeout=310)
        kubectl("delete", "pv", "-l", f"auricle.dev/lane={self.namespace}", timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def retire(self) -> None:
        """Begin to take everything out. Functions first: whoever deletes a namespace with pods in it looks again only after half
        of the longest grace period there is, which is a speech function's."""
        for kind in ("triggers.eventing.knative.dev", "brokers.eventing.knative.dev", "services.serving.knative.dev"):
            self.kubectl("delete", kind, "--all", "--wait=true", timeout=300)
        until("functions end", lambda: not self.pods(), 180, 1)
        kubectl("delete", "namespace", self.namespace, "--wait=false")

    def _folder(self) -> None:
        """The lane's kustomization: the overlay as it is, with our images, addresses and authority."""
        self.folder.mkdir(parents=True, exist_ok=True)
        overlay = ROOT / "manifests" / "overlays" / self.overlay
        secrets = overlay / "secrets"
        auricle("manifests", "secrets", str(secrets))
        address = [
            {"op": "add", "path": "/spec/clusterIP", "value": self.address},
        ]
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.namespace,
            "resources": [os.path.relpath(overlay, self.folder)],
            "components": [os.path.relpath(ROOT / "manifests" / "components" / c, self.folder) for c in self.components],
            "images": images(),
            "configMapGenerator": [
                {"name": "auricle-settings", "behavior": "merge", "literals": [f"BLOBS_PUBLIC_URL={self.url}"]},
            ],
            "patches": [
                {"target": {"kind": "Service", "version": "v1", "name": "gateway"}, "patch": yaml.safe_dump(address)},
                *self.patches,
            ],
        }
        (self.folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        self.authority.write_text(self.certificate.authority)

    def _apply(self) -> None:
        """As an administrator does; what has to exist first is retried until it does."""
        built = kubectl("kustomize", str(self.folder))
        until(
            "the overlay is accepted",
            lambda: kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=built),
            90,
            3,
        )

    def _claims(self) -> Iterator[str]:
        """The names of what the overlay claims."""
        for item in yaml.safe_load_all(kubectl("kustomize", str(self.folder))):
            name = item["metadata"]["name"]
            if item["kind"] == "PersistentVolumeClaim":
                yield name
            for template in item["spec"].get("volumeClaimTemplates", ()) if item["kind"] == "StatefulSet" else ():
                yield f"{template['metadata']['name']}-{name}-0"

    def _volumes(self) -> None:
        """This node has no provisioner: a local volume for each claim, and for nobody else's."""
        kubectl("delete", "pv", "-l", f"auricle.dev/lane={self.namespace}", timeout=60)  # whose claims went with an earlier one
        node = objects("nodes")[0]["metadata"]["name"]
        for claim in self._claims():
            name = f"{self.namespace}-{claim}"
            path = CLUSTER_HOME / "pv" / name
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
            path.chmod(0o777)
            volume = {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name, "labels": {"auricle.dev/lane": self.namespace}},
                "spec": {
                    "capacity": {"storage": "50Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": "local",
                    "claimRef": {"namespace": self.namespace, "name": claim},
                    "local": {"path": str(path)},
                    "nodeAffinity": {
                        "required": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
                            ]
                        }
                    },
                },
            }
            kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(volume))

    def _gateway_certificate(self) -> None:
        data = {"tls.crt": self.certificate.certificate, "tls.key": self.certificate.key}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "gateway-tls"},
            "stringData": data,
        }
        self.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(secret))

    def _unavailable(self) -> list[str]:
        chosen = "app.kubernetes.io/part-of=auricle,!serving.knative.dev/service"
        wanted = self.get("deployments.apps,statefulsets.apps", "-l", chosen)
        return [
            *self._cannot_start(),
            *(
                w["metadata"]["name"]
                for w in wanted
                if w["spec"].get("replicas", 1) and w.get("status", {}).get("readyReplicas", 0) < w["spec"].get("replicas", 1)
            ),
        ]

    def _cannot_start(self) -> list[str]:
        """Pods that no waiting helps: their image is not in the node."""
        for pod in self.get("pods"):
            for container in pod["status"].get("containerStatuses", ()):
                why = container["state"].get("waiting", {}).get("reason", "")
                if why in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"):
                    raise AssertionError(f"{container['image']} is not in the node: bash tests/cluster/images/load.sh")
        return []

    def _succeeded(self, job: str) -> bool:
        return any(j["metadata"]["name"].startswith(job) and j.get("status", {}).get("succeeded") for j in self.get("jobs"))

    def _first_token(self) -> str:
        """The owner's token, made by the job that the guide tells an administrator to run."""
        name = f"owner-{int(time.time())}"
        self.kubectl("create", "job", name, "--from=cronjob/owner-token")
        until("the owner's token is made", lambda: self._succeeded(name), 90)
        found = re.search(r"aur_\S+", self.kubectl("logs", f"job/{name}"))
        assert found, "the job printed no token"
        return found[0]


def fresh_folder(namespace: str) -> Path:
    """Where a deployment's kustomization is put together: kustomize wants it inside the repository."""
    return ROOT / "tests" / "cluster" / ".build" / namespace

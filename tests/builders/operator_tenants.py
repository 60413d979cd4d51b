"""An operator in memory with one release and two plans, and everybody else who would be at work in a cluster: Knative, jobs, the
rooms of secrets and models."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import msgspec

from auricle.deploy.generated import MANIFESTS
from auricle.deploy.release import Release, config_map, release
from auricle.runtime.database import newest_revision
from auricle_operator.api.rules import API_VERSION
from auricle_operator.applying import Applying
from auricle_operator.cluster import BROKER, CONFIG, JOB, KSERVICE, NAMESPACE, PING, SECRETS, TENANT, TENANTS, TRIGGER, Manifest
from auricle_operator.mirror import Mirror
from auricle_operator.settings import Settings
from auricle_operator.tenants import plans
from auricle_operator.tenants.reconcile import Tenants
from auricle_operator.world import World
from builders.operator_cluster import MemoryCluster
from builders.operator_outside import MemoryDatabases, MemoryStores

Answer = TypeVar("Answer")
SYSTEM = "auricle-system"
HOME = "auricle-acme"
MIGRATE = f"migrate-{newest_revision()}"
MIN, MAX = "autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/max-scale"
IMAGES = {name: f"registry.example/{name}@sha256:{'0' * 64}" for name in ("api", "identity", "media", "speech")}


class Clock:
    """A time that only a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, seconds: float) -> None:
        """Let it be later."""
        self.time += timedelta(seconds=seconds)


class House:
    """One operator and its cluster."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.timer_token = b"tick"
        self.cluster = MemoryCluster(self.clock)
        self.databases, self.stores = MemoryDatabases(), MemoryStores()
        self.world = World(
            cluster=self.cluster,
            databases=self.databases,
            stores=self.stores,
            settings=Settings(**{"image": "auricle-operator:1", **settings}),
            now=self.clock,
        )
        self.restart()
        self.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        self.cluster.put(config_map(this_release("r1")))
        self.plan("standard")
        self.plan("gpu", speech="gpu")

    def restart(self) -> None:
        """A new process of the operator, which knows nothing."""
        self.mirror = Mirror()
        self.applying = Applying(self.cluster, self.mirror)
        self.tenants = Tenants(self.world, self.mirror, self.applying)

    def plan(self, name: str, **said: Any) -> None:
        """Somebody applies a plan."""
        body = msgspec.json.encode({"patches": PATCHES, **said}).decode()
        metadata = {"name": f"plan-{name}", "namespace": SYSTEM, "labels": {plans.LABEL: name}}
        self.cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {plans.KEY: body}})

    def tenant(self, name: str = "acme", **spec: Any) -> Manifest:
        """Somebody applies a Tenant."""
        said = {"release": "r1", "domains": [f"{name}.example"], **spec}
        said = {key: value for key, value in said.items() if value is not None}
        before = self.cluster.objects.get((API_VERSION, "Tenant", "", name), {})
        kept = {key: before[key] for key in ("status",) if key in before}
        return self.cluster.put({"apiVersion": API_VERSION, "kind": "Tenant", "metadata": {"name": name}, "spec": said, **kept})

    def look(self) -> None:
        """The operator's watches have told it everything."""
        self.mirror._found.clear()
        for manifest in self.cluster.objects.values():
            self.mirror.saw(manifest)

    def pass_(self, name: str = "acme") -> float | None:
        """One reconcile."""
        self.look()
        return run(self.tenants.reconcile(self.cluster.at(TENANTS, name)))

    def others_work(self, namespace: str = "auricle-acme") -> None:
        """Everybody else does what objects ask for: jobs end well, secrets are made, Knative is Ready."""
        for kind in (KSERVICE, BROKER, TRIGGER, PING):
            self.cluster.become_ready(kind, namespace)
        self.cluster.become_ready(NAMESPACE)
        for name in self.cluster.there(JOB, namespace):
            self.cluster.at(JOB, name, namespace)["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        for name in self.cluster.there(SECRETS, namespace):
            secret = self.cluster.at(SECRETS, name, namespace)
            current = secret.get("status", {}).get("current") or f"{secret['spec']['secret']}-v1"
            self.made(secret, current)

    def made(self, secret: Manifest, current: str) -> None:
        """The room of secrets has made a version."""
        namespace, coded = secret["metadata"]["namespace"], base64.b64encode(self.timer_token).decode()
        metadata = {"name": current, "namespace": namespace, "labels": {TENANT: namespace.removeprefix("auricle-")}}
        self.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"TIMER_TOKEN": coded}})
        secret["status"] = {
            "observedGeneration": secret["metadata"]["generation"],
            "current": current,
            "version": int(current.rpartition("-v")[2]),
            "conditions": [{"type": "Ready", "status": "True", "reason": "Made", "lastTransitionTime": "2026-11-21T12:00:00Z"}],
        }

    def settle(self, name: str = "acme", passes: int = 8) -> Manifest:
        """Until nothing changes any more; the Tenant then."""
        for _ in range(passes):
            self.pass_(name)
            self.others_work(f"auricle-{name}")
        self.pass_(name)
        return self.cluster.at(TENANTS, name)


PATCHES: list[Mapping[str, Any]] = [
    {
        "target": {"group": "serving.knative.dev", "kind": "Service"},
        "patch": {"spec": {"template": {"metadata": {"annotations": {"autoscaling.knative.dev/max-scale": "3"}}}}},
    }
]


@cache
def this_release(name: str, schema: str | None = None, contraction: str = "") -> Release:
    """This code as a release."""
    made = release(name, IMAGES, MANIFESTS)
    return msgspec.structs.replace(made, schema=schema or made.schema, contraction=contraction)


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """An answer, outside of any loop."""
    return asyncio.run(work)


def condition(manifest: Manifest, type: str) -> tuple[str, str]:
    """(status, reason) of a condition."""
    for found in manifest["status"]["conditions"]:
        if found["type"] == type:
            return found["status"], found["reason"]
    raise AssertionError(f"{type} is not told: {manifest['status']['conditions']}")


def service(house: House, name: str) -> Manifest:
    """A function's Service in the namespace of acme."""
    return house.cluster.at(KSERVICE, name, HOME)


def pod(house: House, name: str) -> Manifest:
    """The spec of its pods."""
    found: Manifest = service(house, name)["spec"]["template"]["spec"]
    return found


def annotations(house: House, name: str) -> dict[str, str]:
    """Of its revisions."""
    found: dict[str, str] = service(house, name)["spec"]["template"]["metadata"]["annotations"]
    return found


def settings(house: House, name: str = "files") -> dict[str, str]:
    """The settings that it reads."""
    config = pod(house, name)["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    found: dict[str, str] = house.cluster.at(CONFIG, config, HOME)["data"]
    return found


def now(house: House) -> Manifest:
    """The Tenant acme as the API server has it."""
    return house.cluster.at(TENANTS, "acme")

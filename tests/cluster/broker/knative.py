"""Knative's brokers under the conformance suite's rules: one in a namespace of its own, with subscribers on this machine."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import yaml

from cluster.broker.sharing import SharedSubscriber, shared
from cluster.deployment import CLUSTER_HOME, kubectl, objects, until, until_none
from contract.broker.under_test import Declared, Feature

HERE = Path(__file__).parent
SINK = "/broker/dead"
QUIET = 3.0
"""Seconds without a delivery after which none is expected: longer than any backoff of the suite but those that are meant
to outlast it."""


class KnativeBroker:
    """A Broker of one class. `start`, then `declare` once: the spec of a Broker and the filter of a Trigger stay as made."""

    features: frozenset[Feature] = frozenset()
    """Unused: all rules are asked, and the record says which ones differ."""
    sink = SINK

    def __init__(self, kind: str, namespace: str, subscriber: SharedSubscriber) -> None:
        """`kind`: `rabbitmq` or `in-memory`, as the manifest beside this file is called."""
        self.kind = kind
        self.namespace = namespace
        self._subscriber = subscriber
        self._ingress = ""

    @property
    def ingress(self) -> str:
        """Where events are posted."""
        return self._ingress

    def start(self) -> None:
        """Make namespace and broker; returns when the broker is Ready."""
        kubectl("create", "namespace", self.namespace)
        values = {"namespace": self.namespace, "sink": self._subscriber.url + SINK}
        if self.kind == "rabbitmq":
            values |= self._server()
        manifest = Template((HERE / f"{self.kind}.yaml").read_text()).substitute(values)
        until("the broker is accepted", lambda: kubectl("apply", "-f", "-", given=manifest), 60, 2)
        until("the broker is Ready", lambda: _ready(self._get("brokers.eventing.knative.dev", "default")[0]), 180, 1)
        self._ingress = self._address()

    def declare(self, triggers: Sequence[Declared]) -> None:
        """Have these triggers in force; those that differ in their type only share one."""
        plan = shared(self._subscriber.url, triggers)
        self._subscriber.shared = plan
        manifest = yaml.safe_dump_all([_trigger(trigger) for trigger in plan.triggers])
        kubectl("-n", self.namespace, "apply", "-f", "-", given=manifest, timeout=300)
        until_none("triggers that are not Ready", self._waiting, 300)

    def settle(self, triggers: Sequence[Declared]) -> None:
        """Wait until these were quiet for a while."""
        addresses = {t.subscriber for t in triggers} | {t.dead_letter for t in triggers if t.dead_letter}
        paths = [urlsplit(address).path for address in addresses]
        began = time.monotonic()
        while self._subscriber.under_way(paths) or time.monotonic() - max(self._subscriber.latest(paths), began) < QUIET:
            assert time.monotonic() - began < 60, f"{paths} do not come to rest"
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill RabbitMQ's pod, as the loss of a node does; returns when the next one is Ready."""
        kubectl("-n", self.namespace, "delete", "pod", "rabbit-server-0", "--force", "--grace-period=0")
        until("RabbitMQ is back", lambda: _ready(self._get("pod", "rabbit-server-0")[0]), 120)

    def stop(self) -> None:
        """Take everything out again, also what was made half only: triggers first, while RabbitMQ is there to take their queues away."""
        for kind in ("triggers.eventing.knative.dev", "brokers.eventing.knative.dev"):
            kubectl("-n", self.namespace, "delete", kind, "--all", "--wait=true", timeout=240)
        kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=180s", timeout=190)
        if self.kind == "rabbitmq":
            kubectl("delete", "pv", self.namespace, "--ignore-not-found")
            shutil.rmtree(self._volume, ignore_errors=True)

    @property
    def _volume(self) -> Path:
        return CLUSTER_HOME / "pv" / self.namespace

    def _server(self) -> dict[str, str]:
        """A volume on this node (which has no provisioner), and the image that the cluster's own RabbitMQ has."""
        self._volume.mkdir(parents=True)
        self._volume.chmod(0o777)
        image = objects("-n", "rabbitmq", "rabbitmqcluster", "rabbit")[0]["spec"]["image"]
        pod = objects("-n", "rabbitmq", "pod", "rabbit-server-0")[0]
        return {"volume": str(self._volume), "node": pod["spec"]["nodeName"], "image": image}

    def _address(self) -> str:
        """The ingress by its cluster address: names of the cluster mean nothing on this machine."""
        url = urlsplit(self._get("brokers.eventing.knative.dev", "default")[0]["status"]["address"]["url"])
        name, namespace = (url.hostname or "").split(".")[:2]
        service = objects("-n", namespace, "service", name)[0]
        return f"http://{service['spec']['clusterIP']}{url.path}"

    def _get(self, *words: str) -> list[dict[str, Any]]:
        return objects("-n", self.namespace, *words)

    def _waiting(self) -> list[str]:
        """Triggers that are not Ready, and dispatchers whose pods are not: the former do not wait for the latter."""
        triggers = [t["metadata"]["name"] for t in self._get("triggers.eventing.knative.dev") if not _ready(t)]
        pods = [
            d["metadata"]["name"] for d in self._get("deployments.apps") if not d.get("status", {}).get("availableReplicas")
        ]
        return triggers + pods


def _ready(item: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", ()))


def _trigger(wanted: Declared) -> dict[str, Any]:
    delivery: dict[str, Any] = {
        "retry": wanted.retry,
        "backoffPolicy": wanted.backoff,
        "backoffDelay": _duration(wanted.delay),
        "timeout": _duration(wanted.timeout),
    }
    if wanted.dead_letter:
        delivery["deadLetterSink"] = {"uri": wanted.dead_letter}
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {
            "name": _name(wanted.name),
            "annotations": {
                "rabbitmq.eventing.knative.dev/parallelism": str(wanted.parallelism),
                "rabbitmq.eventing.knative.dev/cpu-request": "5m",
                "rabbitmq.eventing.knative.dev/memory-request": "30Mi",
            },
        },
        "spec": {
            "broker": "default",
            "filter": {"attributes": dict(wanted.filter)},
            "subscriber": {"uri": wanted.subscriber},
            "delivery": delivery,
        },
    }


def _name(name: str) -> str:
    """Short enough for the names that are made of it."""
    return name if len(name) <= 40 else name[:30].rstrip("-") + "-" + f"{sum(map(ord, name)) % 100000:05}" + name[-2:]


def _duration(seconds: float) -> str:
    """Knative keeps tenths of a second."""
    return f"PT{math.ceil(seconds * 10 - 1e-9) / 10:g}S"

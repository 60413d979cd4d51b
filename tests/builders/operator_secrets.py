"""A tenant's namespace with managed secrets, and the functions that use them, for tests of the room `secrets`."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from auricle.errors import Retryable
from auricle_operator.api.managedsecret import ROTATE, Purpose
from auricle_operator.cluster import KSERVICE, SECRETS, TENANT, Manifest
from auricle_operator.outside import AccessKey, Login
from auricle_operator.secrets.reconcile import reconcile
from auricle_operator.settings import Settings
from auricle_operator.world import World
from builders.operator_cluster import MemoryCluster
from builders.operator_outside import MemoryDatabases, MemoryStores

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOME = "auricle-system"
PLACE = "auricle-acme"
VERSIONED = [purpose for purpose in Purpose if purpose not in (Purpose.SIGNING, Purpose.PROVIDER)]
"""Made by the operator, as numbered Secrets."""
OUTSIDE = [Purpose.DATABASE, Purpose.BUCKET]
"""Known to a server outside the cluster too, which lets two in at once."""
T = TypeVar("T")


class Killed(Exception):
    """The process is gone."""


def drive(work: Coroutine[Any, Any, T], kill_at: int = 0) -> T:
    """Run what waits for nothing real; leave it for ever where it gives way for the `kill_at`-th time."""
    given_way = 0
    while True:
        try:
            work.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        given_way += 1
        if given_way == kill_at:
            work.close()
            raise Killed


class SecretHouse:
    """The tenant acme, its database and bucket, and one clock for everybody."""

    def __init__(self) -> None:
        self.now = START
        self.cluster = MemoryCluster(lambda: self.now)
        self.databases = MemoryDatabases()
        self.stores = MemoryStores()
        self.world = World(
            cluster=self.cluster,
            databases=self.databases,
            stores=self.stores,
            settings=Settings(),
            now=lambda: self.now,
        )
        self.serving: dict[str, int] = {}  # service -> the version that its ready revision has
        self.seen_values: dict[str, dict[str, bytes]] = {}  # master's name -> values, of all that there ever were
        self._revisions = 0
        for name, labels in ((HOME, {}), (PLACE, {TENANT: "acme"})):
            self.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        drive(self.databases.ensure("acme"))
        drive(self.stores.ensure(self.world.bucket("acme"), None, ""))

    # What people do.

    def keep(self, purpose: Purpose, *, name: str = "", secret: str = "", **spec: Any) -> str:
        """Somebody applies a ManagedSecret; returns its name."""
        name = name or purpose.value
        source = {"external": {"name": "given"}} if purpose is Purpose.PROVIDER else {"generate": {}}
        self.cluster.put(
            {
                "apiVersion": "auricle.dev/v1alpha1",
                "kind": "ManagedSecret",
                "metadata": {"name": name, "namespace": PLACE},
                "spec": {"purpose": purpose.value, "source": source, "secret": secret or f"auricle-{name}", **spec},
            }
        )
        return name

    def ask(self, name: str, value: str) -> None:
        """`kubectl annotate`."""
        self.cluster.at(SECRETS, name, PLACE)["metadata"].setdefault("annotations", {})[ROTATE] = value

    def give(self, values: dict[str, str], **labels: str) -> None:
        """Somebody writes the Secret `given`, which the operator copies."""
        self.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "given", "namespace": HOME, "labels": labels or {TENANT: "acme"}},
                "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
            }
        )

    def later(self, **more: float) -> None:
        """Time goes by."""
        self.now += timedelta(**more)

    # What the operator does.

    def look(self, name: str, kill_at: int = 0) -> float | None:
        """One reconcile."""
        work = reconcile(self.world, self.cluster.at(SECRETS, name, PLACE))
        try:  # real servers are waited for
            return drive(work, kill_at) if self.world.databases is self.databases else asyncio.run(work)
        finally:
            for (_, kind, where, master), found in self.cluster.objects.items():
                if kind == "Secret" and where == HOME:
                    self.seen_values[master] = _values(found)

    def status(self, name: str) -> dict[str, Any]:
        """As it was last written."""
        found: dict[str, Any] = self.cluster.at(SECRETS, name, PLACE).get("status", {})
        return found

    def condition(self, name: str, type: str = "Ready") -> tuple[str, str, str]:
        """(status, reason, message)."""
        found = next(c for c in self.status(name)["conditions"] if c["type"] == type)
        return found["status"], found["reason"], found["message"]

    # What functions do.

    def service(self, service: str, secret_name: str, *, ready: bool = True, kind: Any = KSERVICE) -> None:
        """Its template names that Secret from now on; `ready`: a revision of just that serves."""
        self._revisions += 1
        old = self.cluster.objects.get((kind.api_version, kind.name, PLACE, service), {}).get("status", {})
        env = [{"name": "IT", "valueFrom": {"secretKeyRef": {"name": secret_name, "key": "IT"}}}]
        made = self.cluster.put(
            {
                "apiVersion": kind.api_version,
                "kind": kind.name,
                "metadata": {"name": service, "namespace": PLACE},
                "spec": {"template": {"spec": {"containers": [{"env": env}]}}},
            }
        )
        latest = f"{service}-{self._revisions}"
        made["status"] = {
            **old,
            "observedGeneration": made["metadata"]["generation"],
            "latestCreatedRevisionName": latest,
            **({"latestReadyRevisionName": latest} if ready else {}),
        }
        if ready:
            self.serving[service] = int(secret_name.rpartition("-v")[2])

    def follow(self, name: str, *services: str, ready: bool = True) -> None:
        """The Tenant's reconcile has rendered these with what the status names."""
        for service in services:
            self.service(service, self.status(name)["current"], ready=ready)

    # What others find.

    def secrets(self, namespace: str) -> dict[str, dict[str, bytes]]:
        """Name to values, of those that are ours."""
        return {
            found["metadata"]["name"]: _values(found)
            for (_, kind, where, _), found in sorted(self.cluster.objects.items())
            if (kind, where) == ("Secret", namespace) and "auricle.dev/secret" in found["metadata"].get("labels", {})
        }

    def numbers(self, name: str) -> list[int]:
        """Versions that have a master."""
        family = self.cluster.at(SECRETS, name, PLACE)["spec"]["secret"]
        prefix = f"acme.{family}.v"
        return sorted(int(n.removeprefix(prefix)) for n in self.secrets(HOME) if n.startswith(prefix))

    def works(self, values: dict[str, bytes]) -> bool:
        """Whether a server outside lets this credential in."""
        if "S3_ACCESS_KEY_ID" in values:
            key = AccessKey(id=values["S3_ACCESS_KEY_ID"].decode(), secret=values["S3_SECRET_ACCESS_KEY"].decode())
            return self.stores.may(key, self.world.bucket("acme"))
        (url,) = (urlsplit(value.decode()) for value in values.values())
        login = Login((url.username or "").rpartition("_")[2])
        return self.databases.enters("acme", login, url.password or "")

    def version(self, name: str, number: int) -> dict[str, bytes]:
        """The values of a version that there is, or was."""
        family = self.cluster.at(SECRETS, name, PLACE)["spec"]["secret"]
        return self.seen_values[f"acme.{family}.v{number}"]

    def told(self) -> str:
        """Everything that people can read without being allowed to read Secrets."""
        readable = [o for o in self.cluster.objects.values() if o["kind"] != "Secret"]
        metadata = [o["metadata"] for o in self.cluster.objects.values()]
        return json.dumps([readable, metadata, self.cluster.told], default=str)


def stubborn(house: SecretHouse, name: str, tries: int = 3) -> float | None:
    """Look again where something was away, as the caller does."""
    for _ in range(tries):
        try:
            return house.look(name)
        except Retryable:
            continue
    return None


def _values(manifest: Manifest) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in manifest.get("data", {}).items()}

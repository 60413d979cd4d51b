"""A deployment in which nothing is wrong, as a cluster shows it, and ways to plant a fault."""

from __future__ import annotations

import base64
import copy
import dataclasses
import datetime
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auricle.cli.clusterdoctor import Lack, Seen, Sight
from auricle.cli.clusterdoctor.seen import READS
from auricle.deploy.catalogue import catalogue
from auricle.deploy.generated import MANIFESTS
from auricle.deploy.lint import Facts, facts_for
from auricle.deploy.lint.facts import SECRETS
from auricle.deploy.render import Manifest, render, units

NAMESPACE = "auricle"
NOW = datetime.datetime(2026, 5, 4, 12, tzinfo=datetime.UTC)
HOST = "vault.example"
WANTED = {
    "config-features": {"kubernetes.podspec-nodeselector": "enabled", "kubernetes.podspec-tolerations": "enabled"},
    "config-defaults": {"max-revision-timeout-seconds": "1800"},
    "config-autoscaler": {"allow-zero-initial-scale": "true"},
}
FEATURES = ("nodeselector", "tolerations", "runtimeclassname", "persistent-volume-claim", "priorityclassname")
SETTINGS = {
    **WANTED,
    "config-features": {f"kubernetes.podspec-{name}": "enabled" for name in FEATURES},
    "config-deployment": {"progress-deadline": "600s"},
}
Objects = dict[Sight, list[Manifest]]


class Deployed:
    """What a test may spoil before it is looked at."""

    def __init__(self, objects: Objects, **more: Any) -> None:
        self.objects = objects
        self.more = more

    def one(self, sight: Sight, name: str) -> Manifest:
        """One object."""
        (found,) = [item for item in self.objects[sight] if item["metadata"]["name"] == name]
        return found

    def seen(self) -> Seen:
        """As the doctor sees it."""
        objects = {sight: tuple(items) for sight, items in self.objects.items()}
        chosen = dataclasses.replace(_bare(), objects=objects, **self.more)
        platform = {item["metadata"]["name"]: item["data"] for item in self.objects[Sight.SERVING_CONFIG]}
        return dataclasses.replace(chosen, facts=_facts_with(platform))


Change = Callable[[Deployed], None]


def put(sight: Sight, name: str, path: str, value: Any) -> Change:
    """Write `value` at `path` (words; numbers are positions, `+` appends), making what is missing on the way."""

    def change(deployed: Deployed) -> None:
        *way, last = path.split()
        here: Any = deployed.one(sight, name)
        for word, following in pairwise([*way, last]):
            here = here[int(word)] if isinstance(here, list) else here.setdefault(word, [] if following == "+" else {})
        if last == "+":
            here.append(copy.deepcopy(value))
        elif isinstance(here, list):
            here[int(last)] = value
        else:
            here[last] = copy.deepcopy(value)

    return change


def drop(sight: Sight, name: str, path: str) -> Change:
    """Remove what stands at `path`."""

    def change(deployed: Deployed) -> None:
        *way, last = path.split()
        here: Any = deployed.one(sight, name)
        for word in way:
            here = here[int(word)] if isinstance(here, list) else here[word]
        del here[int(last) if isinstance(here, list) else last]

    return change


def remove(sight: Sight, *names: str) -> Change:
    """Fewer objects."""
    return lambda deployed: [deployed.objects[sight].remove(deployed.one(sight, name)) for name in names] and None


def empty(sight: Sight) -> Change:
    """None of them."""
    return lambda deployed: deployed.objects[sight].clear()


def add(sight: Sight, item: Manifest) -> Change:
    """One more."""
    return lambda deployed: deployed.objects[sight].append(_whole(sight, copy.deepcopy(item)))


def told(sight: Sight, name: str, kind: str, status: str, message: str) -> Change:
    """Another condition, in place of the one of its kind."""

    def change(deployed: Deployed) -> None:
        held = deployed.one(sight, name).setdefault("status", {})
        others = [c for c in held.get("conditions", ()) if c["type"] != kind]
        held["conditions"] = [*others, {"type": kind, "status": status, "message": message}]

    return change


def otherwise(**more: Any) -> Change:
    """Another fact about the look itself: `version`, `server_clock`, `letters`, …"""
    return lambda deployed: deployed.more.update(more)


def blind(sight: Sight, lack: Lack) -> Change:
    """What cannot be seen."""

    def change(deployed: Deployed) -> None:
        deployed.objects[sight] = []
        deployed.more["lacking"] = {**deployed.more.get("lacking", {}), sight: lack}

    return change


def both(*changes: Change) -> Change:
    """One after the other."""
    return lambda deployed: [change(deployed) for change in changes] and None


def healthy(grouped: bool = False) -> Deployed:
    """Everything as it should be; `grouped`: functions of one image share a Service."""
    return Deployed(copy.deepcopy(_objects(grouped)))


@cache
def _facts() -> Facts:
    return facts_for("cluster")


def _facts_with(platform: dict[str, dict[str, str]]) -> Facts:
    return msgspec.structs.replace(_facts(), knative=platform)


@cache
def _bare() -> Seen:
    return Seen(
        namespace=NAMESPACE,
        facts=_facts(),
        version="v1.34.3",
        now=NOW.timestamp(),
        server_clock=NOW.timestamp(),
        wanted=WANTED,
        migrated="The database is at revision 0003.",
        head="0003",
    )


def _whole(sight: Sight, item: Manifest) -> Manifest:
    """With what every object of a cluster has."""
    read = READS[sight]
    item.setdefault("apiVersion", f"{read.group}/{read.version}" if read.group else read.version)
    item.setdefault("kind", read.kind)
    if read.where == "*":
        item["metadata"].setdefault("namespace", NAMESPACE)
    return item


def _ready(item: Manifest, kind: str = "Ready") -> Manifest:
    item.setdefault("status", {})["conditions"] = [{"type": kind, "status": "True"}]
    return item


def _file(path: str) -> list[Manifest]:
    return [item for item in yaml.safe_load_all((MANIFESTS / path).read_text()) if item]


@cache
def _objects(grouped: bool) -> Objects:
    found: Objects = {sight: [] for sight in Sight}
    for item in (item for objects in render(units(catalogue(), grouped=grouped)).values() for item in objects):
        if item["kind"] in BY_KIND:
            found[BY_KIND[item["kind"]]].append(_running(copy.deepcopy(item)))
    sink = found[Sight.TRIGGERS][0]["spec"]["delivery"]["deadLetterSink"]["ref"]["name"]
    for sight, items in (_beside(sink) | _workloads() | _cluster()).items():
        found[sight] += items
    return {sight: [_whole(sight, item) for item in items] for sight, items in found.items()}


BY_KIND = {"Service": Sight.SERVICES, "Trigger": Sight.TRIGGERS, "PingSource": Sight.PINGS}


def _running(item: Manifest) -> Manifest:
    """A generated object after an overlay's patches and Knative's work."""
    name = item["metadata"]["name"]
    if item["kind"] == "PingSource":
        item["spec"]["ceOverrides"]["extensions"]["ticket"] = "dGlja2V0"
    if item["kind"] == "Trigger":
        item["status"] = {"subscriberUri": f"http://{name}.auricle.svc.cluster.local"}
    if item["kind"] == "Service":
        (container,) = item["spec"]["template"]["spec"]["containers"]
        container["image"] = f"registry.example/{container['image']}:1.4"
        container["resources"] = {"requests": {"cpu": "10m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}}
        item["status"] = {f"latest{word}RevisionName": f"{name}-00001" for word in ("Created", "Ready")}
        if name == "transcribe":
            _on_gpu(item, container)
    return _ready(item)


def _on_gpu(item: Manifest, container: Manifest) -> None:
    container["resources"]["limits"]["nvidia.com/gpu"] = "1"
    container["env"] = [*container["env"], {"name": "TRANSCRIBE_MODEL", "value": "whisper-large"}]
    container["volumeMounts"] = [*container["volumeMounts"], {"name": "models", "mountPath": "/models", "readOnly": True}]
    template = item["spec"]["template"]
    template["metadata"]["annotations"]["autoscaling.knative.dev/initial-scale"] = "0"
    template["spec"] |= {
        "nodeSelector": {"nvidia.com/gpu.present": "true"},
        "runtimeClassName": "nvidia",
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "volumes": [
            *template["spec"]["volumes"],
            {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        ],
    }


def _beside(sink: str) -> Objects:
    """What stands beside the functions in their namespace."""
    (broker,) = _file("base/eventing/broker.yaml")
    broker["spec"]["delivery"]["deadLetterSink"]["ref"]["name"] = sink
    broker["metadata"]["annotations"] = {"eventing.knative.dev/broker.class": "RabbitMQBroker"}
    (namespace,) = _file("base/policies/namespace.yaml")
    quota, ranges = _file("base/policies/quota.yaml")
    quota["status"] = {"hard": quota["spec"]["hard"], "used": {"pods": "20", "services.loadbalancers": "1"}}
    data = {"BLOBS_PUBLIC_URL": f"https://{HOST}"}
    kept = {**SECRETS, "postgres": frozenset({"AURICLE_MIGRATE_PASSWORD"})}
    secrets = [{"metadata": {"name": name}, "data": dict.fromkeys(keys, "set")} for name, keys in kept.items()]
    next(s for s in secrets if s["metadata"]["name"] == "gateway-tls")["data"]["tls.crt"] = certificate(HOST)
    return {
        Sight.BROKERS: [_ready(broker)],
        Sight.NAMESPACE: [{**namespace, "status": {"phase": "Active"}}],
        Sight.QUOTAS: [quota],
        Sight.LIMIT_RANGES: [ranges],
        Sight.POLICIES: _file("base/policies/network.yaml"),
        Sight.DISRUPTION: _file("base/policies/disruption.yaml"),
        Sight.CONFIG_MAPS: [{"metadata": {"name": "auricle-settings"}, "data": data}],
        Sight.SECRETS: secrets,
        Sight.CERTIFICATES: [_ready({"metadata": {"name": "gateway"}, "spec": {"dnsNames": [HOST]}})],
    }


def _workloads() -> Objects:
    (_, migrate) = _file("base/jobs/migrate.yaml")
    bucket = next(item for item in _file("base/jobs/bucket-setup.yaml") if item["kind"] == "Job")
    migrate["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/auricle-api:1.4"
    dumps = next(
        i
        for i in _file("components/postgres/backup.yaml")
        if i["metadata"]["name"] == "postgres-backup" and i["kind"] == "CronJob"
    )
    dumps["status"] = {"lastSuccessfulTime": "2026-05-04T01:42:00Z"}
    (gateway,) = _file("base/gateway/deployment.yaml")
    gateway |= {"status": {"readyReplicas": 1}}
    postgres = {"metadata": {"name": "postgres"}, "spec": {"replicas": 1}, "status": {"readyReplicas": 1}}
    claims = [
        {"metadata": {"name": name}, "spec": {"storageClassName": "fast"}, "status": {"phase": "Bound"}}
        for name in ("models", "data-postgres-0")
    ]
    return {
        Sight.JOBS: [_ready(migrate, "Complete"), _ready(bucket, "Complete")],
        Sight.CRON_JOBS: [dumps],
        Sight.DEPLOYMENTS: [gateway],
        Sight.STATEFUL_SETS: [postgres],
        Sight.CLAIMS: claims,
        Sight.PODS: [pod("gateway-1", {})],
        Sight.KUBERNETES_SERVICES: [{"metadata": {"name": "gateway"}, "spec": {"type": "ClusterIP"}}],
    }


def _cluster() -> Objects:
    node = {
        "metadata": {"name": "node1", "labels": {"nvidia.com/gpu.present": "true"}},
        "spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"nvidia.com/gpu": "2"}, "capacity": {"nvidia.com/gpu": "2"}},
    }
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        Sight.SERVING: [_knative("activator"), _knative("controller")],
        Sight.EVENTING: [_knative("eventing-controller")],
        Sight.SERVING_CONFIG: [
            {"metadata": {"name": name, "namespace": "knative-serving"}, "data": dict(data)} for name, data in SETTINGS.items()
        ],
        Sight.NODES: [_ready(node)],
        Sight.LEASES: [{"metadata": {"name": "node1"}, "spec": {"renewTime": "2026-05-04T11:59:55.123456Z"}}],
        Sight.STORAGE_CLASSES: [
            {"metadata": {"name": "fast", "annotations": default}, "volumeBindingMode": "WaitForFirstConsumer"}
        ],
        Sight.RUNTIME_CLASSES: [{"metadata": {"name": "nvidia"}}],
    }


def _knative(name: str) -> Manifest:
    return _ready({"metadata": {"name": name, "labels": {"app.kubernetes.io/version": "1.21.2"}}}, "Available")


def pod(name: str, state: Manifest, service: str = "", **status: Any) -> Manifest:
    """A pod with one container in a state, of a Knative Service or of nobody."""
    labels = {"serving.knative.dev/service": service} if service else {}
    container = {"name": "function", "image": "registry.example/auricle-api:1.4", "state": state, **status}
    return {"metadata": {"name": name, "labels": labels}, "status": {"phase": "Running", "containerStatuses": [container]}}


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(host: str, days: float = 90, since: float = -1) -> str:
    """As the Secret has it: for `host`, from `since` days until `days` days after NOW."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "auricle")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_key().public_key())
        .serial_number(7)
        .not_valid_before(NOW + datetime.timedelta(days=since))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
        .sign(_key(), hashes.SHA256())
    )
    return base64.b64encode(built.public_bytes(serialization.Encoding.PEM)).decode()

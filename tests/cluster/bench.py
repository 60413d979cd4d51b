"""Figures from the real cluster, as ratios and differences within one run.

`python tests/cluster/bench.py NAMESPACE [--rounds 3]` needs an Auricle that is Ready there (the lane leaves one with
`make test-cluster KEEP=1`). It prints one JSON line per figure.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import urllib3
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.deployment import kubectl, objects, until

HELLO = """
import time
import functions_framework

arrived = {}

@functions_framework.http
def handle(request):
    if request.method == "POST":
        arrived.setdefault(request.headers["ce-id"], time.time())
        return "", 204
    return arrived if request.path == "/arrived" else "hello"
"""
HOPS = 300


class Ingress:
    """Requests to Knative Services by the way that the gateway takes."""

    def __init__(self, namespace: str) -> None:
        """Finds the cluster-local ingress."""
        (service,) = objects("-n", "kourier-system", "svc", "kourier-internal")
        self._url = f"http://{service['spec']['clusterIP']}"
        self._namespace = namespace
        self._pool = urllib3.PoolManager(retries=False, timeout=120)

    def seconds(self, name: str, path: str = "/healthz") -> float:
        """From sending the request to the answer's last byte."""
        began = time.perf_counter()
        answer = self._pool.request("GET", self._url + path, headers={"Host": f"{name}.{self._namespace}.svc.cluster.local"})
        taken = time.perf_counter() - began
        assert answer.status == 200, (name, answer.status, answer.data[:200])
        return taken

    def json(self, name: str, path: str) -> Any:
        """What a function answers."""
        return self._pool.request(
            "GET", self._url + path, headers={"Host": f"{name}.{self._namespace}.svc.cluster.local"}
        ).json()


@click.command()
@click.argument("namespace")
@click.option("--rounds", default=3)
def main(namespace: str, rounds: int) -> None:
    """Measure the Auricle in NAMESPACE."""
    say("memory at rest", **at_rest(namespace))
    hello(namespace)
    try:
        cold_starts(namespace, rounds)
        hops(namespace)
    finally:
        kubectl("-n", namespace, "delete", "ksvc/hello", "configmap/hello", "trigger/hello", "--ignore-not-found")


def at_rest(namespace: str) -> dict[str, Any]:
    """Pods that are there when nothing is asked, and what they take: working set in MiB by the kubelet's count."""
    empty(namespace)
    pods = [p for p in objects("-n", namespace, "pods") if p["status"]["phase"] == "Running"]
    (node,) = {p["spec"]["nodeName"] for p in pods}
    summary = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    memory = {
        p["podRef"]["name"]: sum(c.get("memory", {}).get("workingSetBytes", 0) for c in p.get("containers", ())) / 2**20
        for p in summary["pods"]
        if p["podRef"]["namespace"] == namespace
    }
    dispatchers = [m for name, m in memory.items() if "dispatcher" in name]
    return {
        "pods": len(pods),
        "dispatchers": len(dispatchers),
        "dispatchers_mib": round(sum(dispatchers)),
        "all_mib": round(sum(memory.values())),
    }


def empty(namespace: str) -> None:
    """Wait until no function has a pod."""
    until("no function has a pod", lambda: not objects("-n", namespace, "pods", "-l", "serving.knative.dev/service"), 300, 1)


def cold_starts(namespace: str, rounds: int) -> None:
    """Zero → first byte of every function, beside a bare functions-framework app in the same image."""
    ingress = Ingress(namespace)
    names = [s["metadata"]["name"] for s in objects("-n", namespace, "services.serving.knative.dev")]
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        empty(namespace)
        for name in names:
            found[name].append(ingress.seconds(name))
            time.sleep(1)
    bare = statistics.median(found.pop("hello"))
    say("hello from zero", median=round(bare, 2))
    for name, times in found.items():
        say(
            f"{name} from zero",
            median=round(statistics.median(times), 2),
            beyond_hello=round(statistics.median(times) - bare, 2),
        )
    warm = [ingress.seconds(names[0]) for _ in range(50)][10:]
    say("warm request", p50_ms=round(statistics.median(warm) * 1000, 1))


def hops(namespace: str) -> None:
    """POST to the broker → the handler of a warm function, one event at a time; both clocks are this machine's."""
    reference = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"}
    spec = {
        "broker": "default",
        "filter": {"attributes": {"type": "bench.hop"}},
        "subscriber": {"ref": reference},
        "delivery": {
            "retry": 1,
            "backoffPolicy": "linear",
            "backoffDelay": "PT1S",
            "timeout": "PT30S",
            "deadLetterSink": {"ref": reference},
        },
    }
    apply(
        namespace, [{"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": "hello"}, "spec": spec}]
    )
    kubectl("-n", namespace, "wait", "trigger/hello", "--for=condition=Ready", "--timeout=120s", timeout=130)
    time.sleep(5)  # Ready does not wait for the dispatcher's pod
    (broker,) = objects("-n", namespace, "brokers.eventing.knative.dev", "default")
    pool = urllib3.PoolManager(timeout=30, headers={"Content-Type": "application/json"})
    ingress, sent, taken = Ingress(namespace), {}, []
    host = urllib3.util.parse_url(broker["status"]["address"]["url"])
    (service,) = objects("-n", namespace, "svc", str(host.host).partition(".")[0])
    url = f"http://{service['spec']['clusterIP']}{host.path or '/'}"
    for number in range(HOPS):
        headers = {"ce-id": str(number), "ce-source": "/bench", "ce-type": "bench.hop", "ce-specversion": "1.0"}
        sent[str(number)] = time.time()
        answer = pool.request("POST", url, body=b"{}", headers={**headers, "Content-Type": "application/json"})
        taken.append((time.time() - sent[str(number)]) * 1000)
        assert answer.status == 202, answer.data
        time.sleep(0.02)
    time.sleep(2)
    arrived = ingress.json("hello", "/arrived")
    hop = [(arrived[n] - at) * 1000 for n, at in list(sent.items())[20:] if n in arrived]  # the first ones warm the way
    say("publish to 202", p50_ms=percentile(taken, 50), p99_ms=percentile(taken, 99))
    say("publish to handler", events=len(arrived), p50_ms=percentile(hop, 50), p99_ms=percentile(hop, 99))


def percentile(values: Sequence[float], share: int) -> float:
    """The nearest rank."""
    return round(sorted(values)[min(len(values) - 1, len(values) * share // 100)], 1)


def hello(namespace: str) -> None:
    """A bare Service beside ours: same image, same framework, none of our code."""
    (model,) = objects("-n", namespace, "services.serving.knative.dev", "docs")
    container = model["spec"]["template"]["spec"]["containers"][0]
    pod = {
        "containers": [
            {
                **{
                    k: container[k] for k in ("image", "imagePullPolicy", "securityContext", "readinessProbe") if k in container
                },
                "name": "function",
                "env": [{"name": "FUNCTION_SOURCE", "value": "/hello/main.py"}, {"name": "FUNCTION_TARGET", "value": "handle"}],
                "args": ["--source", "/hello/main.py", "--target", "handle"],
                "volumeMounts": [{"name": "hello", "mountPath": "/hello"}, {"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [{"name": "hello", "configMap": {"name": "hello"}}, {"name": "tmp", "emptyDir": {}}],
    }
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "hello", "labels": {"networking.knative.dev/visibility": "cluster-local"}},
        "spec": {"template": {"spec": pod}},
    }
    source = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hello"}, "data": {"main.py": HELLO}}
    apply(namespace, [source, service])
    kubectl("-n", namespace, "wait", "ksvc/hello", "--for=condition=Ready", "--timeout=120s", timeout=130)


def apply(namespace: str, given: Sequence[dict[str, Any]]) -> None:
    """Server-side apply."""
    kubectl("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(given))


def say(figure: str, **values: object) -> None:
    """One line."""
    click.echo(json.dumps({"figure": figure, **values}))


if __name__ == "__main__":
    main()

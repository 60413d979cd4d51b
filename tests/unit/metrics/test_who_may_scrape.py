"""Who may reach the metrics, and whom `figures` may reach: the network policies as they are, evaluated as a network would."""

from __future__ import annotations

import pytest
import yaml

from auricle.deploy.generated import MANIFESTS
from auricle.deploy.lint import facts_for
from auricle.deploy.lint.network import End, Need, permitted
from auricle.deploy.lint.places import Place
from auricle.deploy.lint.world import World

FILES = ("base/policies", "components/monitoring", "components/postgres", "components/pgbouncer")
LABELLED = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "watch", "labels": {"auricle.dev/monitoring": "true"}},
}


def end(name: str, namespace: str = "auricle", **labels: str) -> End:
    return End(name, namespace, labels or {"app.kubernetes.io/name": name})


PROMETHEUS = end("prometheus", "watch")
NEIGHBOUR = end("prometheus", "elsewhere")
FIGURES, GATEWAY, POSTGRES, POOLER = (end(name) for name in ("figures", "gateway", "postgres", "pgbouncer"))
FUNCTION = End(
    "files", "auricle", {"app.kubernetes.io/name": "files", "auricle.dev/function": "files", "auricle.dev/image": "api"}
)
STORE = end("object-store")


@pytest.fixture(scope="module")
def world() -> World:
    found = [LABELLED]
    for folder in FILES:
        for item in yaml.safe_load_all((MANIFESTS / folder / "network.yaml").read_text()):
            item["metadata"]["namespace"] = "auricle"
            found.append(item)
    return World(found, facts_for("dev", []))


def may(world: World, source: End, target: End, port: int) -> bool:
    need = Need(Place.top(LABELLED), source, target, port, "")
    return permitted(world, need, "Egress") and permitted(world, need, "Ingress")


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (PROMETHEUS, FUNCTION, 9095),
        (PROMETHEUS, FIGURES, 9095),
        (FIGURES, POSTGRES, 5432),
        (FIGURES, POOLER, 6432),
        (FIGURES, GATEWAY, 8443),
    ],
    ids=lambda value: value.label if isinstance(value, End) else str(value),
)
def test_whoever_needs_it_gets_through(world: World, source: End, target: End, port: int) -> None:
    assert may(world, source, target, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (NEIGHBOUR, FUNCTION, 9095),
        (NEIGHBOUR, FIGURES, 9095),
        (FUNCTION, FIGURES, 9095),
        (FIGURES, FUNCTION, 9095),
        (PROMETHEUS, FUNCTION, 8080),
        (PROMETHEUS, FUNCTION, 8012),
        (PROMETHEUS, POSTGRES, 5432),
        (PROMETHEUS, POOLER, 6432),
        (FIGURES, FUNCTION, 8012),
        (FIGURES, STORE, 9000),
        (FIGURES, end("anybody", "internet"), 443),
    ],
    ids=lambda value: f"{value.namespace} {value.label}" if isinstance(value, End) else str(value),
)
def test_nobody_else_does(world: World, source: End, target: End, port: int) -> None:
    assert not may(world, source, target, port)

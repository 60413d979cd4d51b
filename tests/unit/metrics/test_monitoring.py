"""What the monitoring component shows, asks and says is about metrics that exist, with the labels and values that they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import click
import pytest
import yaml

from auricle.cli import main as cli
from auricle.deploy.generated import MANIFESTS, ROOT
from auricle.runs.model import RunState
from auricle.runtime import figures, metrics
from auricle.runtime.coldstart import PHASES
from auricle.runtime.metrics import Kind, Series
from auricle.runtime.telemetry import OUTCOMES

HERE = MANIFESTS / "components" / "monitoring"
OURS: dict[str, Series] = {s.name: s for s in (*metrics.PROCESS_SERIES, *figures.SERIES)}
OF_ANY_PROCESS = ("up", "process_resident_memory_bytes")
GIVEN_BY_SCRAPING = {"namespace", "pod", "job"}
"""Labels that prometheus.yaml and the operator both give."""
VALUES = {
    "outcome": {*OUTCOMES.values(), "broken"},
    "phase": set(PHASES),
    "state": {state.value for state in RunState},
    "status": {"5.."},
    "job": {"auricle-functions", "auricle-figures"},
    "namespace": {"$namespace"},
}
WORDS = {
    *("absent", "clamp_min", "count", "histogram_quantile", "max_over_time", "min_over_time", "sum", "time", "topk", "vector"),
    *("and", "by", "offset", "on", "or", "unless"),
}
"""Of PromQL, as far as we use it."""
SELECTOR = re.compile(r"([a-z_]+)\s*\{([^}]*)\}")
MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "auricle.json").read_text())
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((HERE / "prometheus" / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Where it stands, and the query."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield f"the panel {panel['title']}", target["expr"]
    for rule in rules():
        yield f"the alert {rule['alert']}", rule["expr"]


def names() -> dict[str, set[str]]:
    """Every name that a query may use, with its labels."""
    found: dict[str, set[str]] = dict.fromkeys(OF_ANY_PROCESS, GIVEN_BY_SCRAPING)
    for name, series in OURS.items():
        labels = GIVEN_BY_SCRAPING | set(series.labels)
        if series.kind is Kind.HISTOGRAM:
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    return found


def faults(query: str) -> Iterator[str]:
    """What in a query is about nothing."""
    known = names()
    bare = re.sub(r'"[^"]*"', "", query)
    used = set(re.findall(r"[a-z_]+", re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b\d+[smhd]\b", " ", GROUPING.sub(" ", bare)))) - WORDS
    yield from (f"no metric is called {name}" for name in used - known.keys())
    for name, matchers in SELECTOR.findall(query):
        for label, _, value in MATCHER.findall(matchers):
            if label not in known.get(name, ()):
                yield f"{name} has no label {label}"
            wrong = set(value.split("|")) - VALUES.get(label, set())
            yield from (f"{label} is never {one}" for one in wrong)
    carried = set().union(*(known.get(name, set()) for name in used))
    for group in GROUPING.findall(query):
        yield from (f"nothing here has a label {one}" for one in {w.strip() for w in group.split(",")} - carried)


@pytest.mark.parametrize(("where", "query"), [*queries()], ids=[where for where, _ in queries()])
def test_every_query_is_about_metrics_labels_and_values_that_exist(where: str, query: str) -> None:
    assert list(faults(query)) == []


@pytest.mark.parametrize(
    "query",
    [
        "auricle_run",
        'auricle_runs{state="lost"}',
        'auricle_dead_letters{function="export"}',
        "sum by (le) (auricle_runs)",
        "auricle_http_request_seconds",
        "process_cpu_seconds",
        'auricle_cold_start_seconds_bucket{phase=~"queued|asleep"}',
    ],
)
def test_a_query_about_nothing_is_found(query: str) -> None:
    assert list(faults(query)) != []


def test_everything_that_is_exported_is_shown() -> None:
    shown = " ".join(target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ()))
    assert [name for name in OURS if not re.search(rf"\b{name}(_bucket)?\b", shown)] == []


def test_the_dashboard_can_be_taken_up_by_any_grafana() -> None:
    board = dashboard()
    assert board["uid"] == "auricle"
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {v["name"] for v in board["templating"]["list"]} == {"datasource", "namespace"}
    for panel in panels:
        if panel["type"] != "row":
            assert {t["datasource"]["uid"] for t in panel["targets"]} == {"${datasource}"}, panel["title"]
            assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells


def test_grafana_and_functions_are_told_by_the_component() -> None:
    component = yaml.safe_load((HERE / "kustomization.yaml").read_text())
    settings, board = component["configMapGenerator"]
    assert settings["name"] == "auricle-settings"
    assert settings["behavior"] == "merge"
    assert board["options"]["labels"]["grafana_dashboard"] == "1"


def test_everybody_means_the_same_port_and_it_is_not_the_queue_proxy_s() -> None:
    (literal,) = yaml.safe_load((HERE / "kustomization.yaml").read_text())["configMapGenerator"][0]["literals"]
    port = literal.removeprefix("METRICS_PORT=")
    assert int(port) not in (8012, 8013, 8022, 8112, 8080, 9090, 9091)
    others = {
        (path.name, number)
        for path in HERE.rglob("*.yaml")
        for line in path.read_text().splitlines()
        for number in re.findall(r"(?:[pP]ort: |\}:)(\d{4})\b", line.partition("#")[0])
    }
    assert {number for _, number in others} - {"5432", "6432", "8443"} == {port}
    assert {name for name, number in others if number == port} == {
        *("figures.yaml", "network.yaml", "monitors.yaml", "prometheus.yaml")
    }


def test_the_operator_is_given_the_same_rules() -> None:
    given = yaml.safe_load((HERE / "operator" / "rules.yaml").read_text())
    plain = yaml.safe_load((HERE / "prometheus" / "rules.yaml").read_text())
    assert given["spec"] == plain, "write prometheus/rules.yaml into operator/rules.yaml, indented by two spaces, beneath spec:"


@pytest.mark.parametrize("rule", rules(), ids=[rule["alert"] for rule in rules()])
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    summary, description = (rule["annotations"][key].strip() for key in ("summary", "description"))
    assert re.search(r"[.]$", summary)
    assert len(summary) < 140
    assert re.search(r"\b(look|renew|add|raise|put|`auricle|its log)\b", description, re.IGNORECASE)
    assert re.search(r"[.]$", description)


def test_commands_that_alerts_name_exist() -> None:
    told = " ".join(" ".join(rule["annotations"]["description"].split()) for rule in rules())
    named = set(re.findall(r"`auricle ([a-z-]+) ([a-z-]+)`", told))
    assert named
    for group, command in named:
        found = cli.get_command(click.Context(cli), group)
        assert isinstance(found, click.Group), group
        assert command in found.commands, f"{group} {command}"


@pytest.mark.parametrize("page", ["manifests/README.md", "functions/README.md"])
def test_documents_name_metrics_that_exist(page: str) -> None:
    written = set(re.findall(r"`(auricle_[a-z_]+)(?:\{[^}`]*\})?`", (ROOT / page).read_text()))
    assert {
        name for name in written if not name.startswith(("auricle_app", "auricle_migrate", "auricle_gpu"))
    } <= names().keys() | OURS

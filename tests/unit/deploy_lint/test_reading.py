"""Durations, quantities, schedules, selectors and filters are read as Kubernetes and Knative read them."""

from __future__ import annotations

import pytest

from auricle.deploy.lint import EventKind, knative_settings
from auricle.deploy.lint.cron import closest, problem
from auricle.deploy.lint.facts import consumer_timeout
from auricle.deploy.lint.places import Place, go_seconds, iso_seconds, quantity
from auricle.deploy.lint.references import selects


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT0.5S", 0.5),
        ("PT2M", 120),
        ("PT1H30M", 5400),
        ("P1DT1S", 86401),
        ("P1D", 86400),
        ("2s", None),
        ("PT", None),
        ("P", None),
        (5, None),
    ],
)
def test_iso_durations(text: object, seconds: float | None) -> None:
    assert iso_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1m30s", 90), ("1h", 3600), ("500ms", 0.5), ("PT1S", None), ("60", None), ("", None)]
)
def test_go_durations(text: str, seconds: float | None) -> None:
    assert go_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "amount"),
    [("512Mi", 512 * 2**20), ("1.5Gi", 1.5 * 2**30), ("250m", 0.25), (2, 2), ("1G", 1e9), ("much", None), ("1Zi", None)],
)
def test_quantities(text: object, amount: float | None) -> None:
    assert quantity(text) == amount


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        ("*/15 * * * *", 15),
        ("7 * * * *", 60),
        ("7,37 * * * *", 30),
        ("0,50 * * * *", 10),
        ("7 */2 * * *", 120),
        ("0 9-17 * * mon-fri", 60),
        ("23 3 * * *", 1440),
        ("5/20 * * * *", 20),
        ("@hourly", 60),
        ("0 0 1 jan *", 1440),
        ("50 23 * * *", 1440),
        ("0,55 0,23 * * *", 5),
    ],
)
def test_how_close_together_a_schedule_fires(schedule: str, minutes: int) -> None:
    assert problem(schedule) == ""
    assert closest(schedule) == minutes


@pytest.mark.parametrize(
    "schedule", ["", "* * * *", "60 * * * *", "*/0 * * * *", "* 24 * * *", "5-2 * * * *", "a * * * *", "* * * * * *"]
)
def test_what_is_no_schedule_is_told(schedule: str) -> None:
    assert problem(schedule).startswith("has ")


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({"type": "auricle.a.done.v1"}, True),
        ({"type": "auricle.a.done.v1", "work": "x"}, True),
        ({"type": "auricle.a.done.v2"}, False),
        ({"concerns": "run"}, True),
        ({"concerns": "file"}, False),
        ({"type": "auricle.a.done.v1", "colour": "red"}, False),
        ({"type": "auricle.a.done.v1", "tenant": "one"}, True),
    ],
)
def test_what_can_pass_a_filter(given: dict[str, str], passes: bool) -> None:
    assert EventKind(type="auricle.a.done.v1", attributes=("work",), concerns="run").may_match(given) is passes


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({}, True),
        ({"matchLabels": {"app": "a"}}, True),
        ({"matchLabels": {"app": "b"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_selectors(selector: dict[str, object], chosen: bool) -> None:
    assert selects(Place.top(selector), {"app": "a"}) is chosen


def test_a_place_remembers_its_way_and_is_empty_where_nothing_is() -> None:
    item = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"a": [{"b": {"x.y/z": 1}}]}}
    (first,) = (Place.top(item) / "spec" / "a").each()
    found = first / "b" / "x.y/z"
    assert (found.path, found.value, found.label) == ("spec.a[0].b[x.y/z]", 1, "Deployment/web")
    assert not (first / "c" / "d").present


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({"rabbitmq": {"additionalConfig": "vm = 1\nconsumer_timeout = 86400000\n"}}, 86400),
        ({"rabbitmq": {"advancedConfig": "[{rabbit, [\n {consumer_timeout, 7200000}\n]}]."}}, 7200),
        ({"replicas": 1}, 0),
        (None, 0),
    ],
)
def test_how_long_rabbitmq_waits(spec: object, seconds: float) -> None:
    assert consumer_timeout([{"kind": "RabbitmqCluster", "spec": spec}, {"kind": "ConfigMap"}]) == seconds


def test_settings_of_serving_are_told_from_those_of_eventing() -> None:
    def config(namespace: str, value: str) -> dict[str, object]:
        return {"kind": "ConfigMap", "metadata": {"name": "config-features", "namespace": namespace}, "data": {"flag": value}}

    assert knative_settings([config("knative-serving", "enabled"), config("knative-eventing", "disabled")]) == {
        "config-features": {"flag": "enabled"}
    }

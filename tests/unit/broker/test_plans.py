"""A plan that could not be served as real brokers would is refused in a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from auricle.errors import Invalid
from auricle.runtime.local.broker import chaos, plans
from auricle.runtime.local.errors import CannotStart


def plan(**changes: Any) -> dict[str, Any]:
    """A plan as JSON has it."""
    return {
        "data": "/nowhere",
        "database_url": "postgresql+pg8000://u:p@/d?unix_sock=/s",
        "broker_port": 1,
        "gateway_port": 2,
        "subscriptions": [subscription()],
        "pools": [{"name": "p", "functions": ["f"], "url": "http://127.0.0.1:1"}],
        **changes,
    }


def subscription(**changes: Any) -> dict[str, Any]:
    """A subscription as JSON has it."""
    return {"name": "s", "filter": {"type": "t"}, "pool": "p", "path": "/events/f", **changes}


def load(folder: Path, content: dict[str, Any]) -> plans.Plan:
    """Read a plan from a file."""
    path = folder / "plan.json"
    path.write_text(json.dumps(content))
    return plans.load(path)


def test_a_good_plan_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, plan()).subscriptions[0].filter == {"type": "t"}


@pytest.mark.parametrize(
    "filter",
    [
        {"prefix": {"type": "auricle."}},
        {"all": [{"exact": {"type": "t"}}]},
        {"cesql": "type = 't'"},
        {"exact": "t"},
        {"type": ["a", "b"]},
        {"type": ""},
        {"my-own": "x"},
        {"runId": "x"},
        [{"exact": {"type": "t"}}],
        "type = 't'",
    ],
)
def test_filters_other_than_exact_attributes_are_refused_aloud(tmp_path: Path, filter: object) -> None:
    with pytest.raises(CannotStart, match="not one of exact attributes"):
        load(tmp_path, plan(subscriptions=[subscription(filter=filter)]))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"subscriptions": [subscription(), subscription()]}, "two subscriptions called 's'"),
        ({"subscriptions": [subscription(pool="q")]}, "pool 'q', which the plan does not have"),
        ({"subscriptions": [subscription(path="events")]}, "begin with a slash"),
        ({"subscriptions": [subscription(parallelism=0)]}, "parallelism of subscription s must be at least 1"),
        ({"subscriptions": [subscription(delivery={"dead_letter": "x"})]}, "'x', which the plan does not have"),
        ({"subscriptions": [subscription(delivery={"retry": -1})]}, "retry of subscription s"),
        ({"subscriptions": [subscription(delivery={"timeout": 0})]}, "timeout of subscription s"),
        ({"subscriptions": [subscription(delivery={"backoff": "quadratic"})]}, "is not right"),
        ({"pools": [{"name": "p", "functions": []}]}, "needs either a url"),
        ({"pools": [{"name": "p", "functions": [], "url": "http://h", "command": ["x"]}]}, "needs either a url"),
        ({"pools": [{"name": "p", "functions": [], "url": "https://h"}]}, "must be http://"),
        ({"pools": [{"name": "../p", "functions": [], "command": ["x"]}]}, "name of a log file"),
        ({"pools": [{"name": "p", "functions": [], "command": ["x"], "concurrency": 0}]}, "concurrency of pool p"),
        ({"timers": [{"name": "t", "minutes": 0, "data": "{}"}]}, "minutes of timer t"),
        ({"broker_path": "/default"}, "/NAMESPACE/NAME"),
        ({"broker_port": "x"}, "is not right"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(CannotStart, match=why):
        load(tmp_path, plan(**changes))


def test_a_missing_or_broken_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="No such file"):
        plans.load(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(CannotStart, match="not JSON"):
        plans.load(tmp_path / "plan.json")


def test_the_process_ends_with_1_and_the_sentence(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan(subscriptions=[subscription(filter={"cesql": "TRUE"})])))
    command = [sys.executable, "-m", "auricle.runtime.local.broker", str(tmp_path / "plan.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "not one of exact attributes" in json.loads(done.stderr)["message"]


def test_the_process_stays_small() -> None:
    """It lives as long as the host does: no web framework, no ORM, no arrays, no room."""
    script = (
        "import sys, auricle.runtime.local.broker.__main__\n"
        "heavy = {'flask', 'sqlalchemy', 'numpy', 'cloudevents', 'requests', 'urllib3', 'click', 'psutil', 'botocore'}\n"
        "rooms = {m for m in sys.modules if m.startswith('auricle.')} - {m for m in sys.modules if m.startswith(\n"
        "    ('auricle.runtime', 'auricle.contract', 'auricle.errors'))}\n"
        "print(sorted(heavy & set(sys.modules)), sorted(rooms))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[] []"


def test_chaos_is_read_and_repeats_itself() -> None:
    first, second = chaos.parse("dup=0.5,reorder=0.5,seed=7"), chaos.parse("seed=7,reorder=0.5,dup=0.5")
    waits = [first.waits() for _ in range(200)]
    assert waits == [second.waits() for _ in range(200)]
    assert 50 < sum(len(copies) == 2 for copies in waits) < 150
    assert 50 < sum(copies[0] > 0 for copies in waits) < 150
    assert [chaos.parse("seed=3").waits() for _ in range(3)] == [[0.0]] * 3


@pytest.mark.parametrize("text", ["dup=2", "dup", "drop=0.1", "seed=x", "dup=-0.1"])
def test_chaos_that_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(Invalid, match="--chaos"):
        chaos.parse(text)

"""Each alert fires when it should and is silent when it should be, as Prometheus' own tool evaluates it.

Series are written as promtool wants them, one value a minute: `1x5` is six ones, `_x5` five minutes without any.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from auricle.deploy.generated import MANIFESTS

pytestmark = pytest.mark.services
RULES = MANIFESTS / "components" / "monitoring" / "prometheus" / "rules.yaml"
N = 'namespace="auricle"'
Series = dict[str, str]
WELL = {f"auricle_database_up{{{N}}}": "1x60", f"auricle_certificate_ends_timestamp_seconds{{{N}}}": "1000000000x60"}
"""A deployment that nobody needs to look at. promtool's clock begins at 0."""


def requests(pod: str, fine: str, failed: str) -> Series:
    """One pod's counters."""
    of = f'{N},pod="{pod}",function="files",method="GET",route="/api/files"'
    return {
        f'auricle_http_requests_total{{{of},status="200"}}': fine,
        f'auricle_http_requests_total{{{of},status="503"}}': failed,
    }


def deliveries(pod: str, done: str, broken: str) -> Series:
    of = f'{N},pod="{pod}",function="export"'
    return {
        f'auricle_deliveries_total{{{of},outcome="done"}}': done,
        f'auricle_deliveries_total{{{of},outcome="broken"}}': broken,
    }


def cold_starts(pods: int, phase: str, first_minute: int = 1) -> Series:
    """Processes that spent between 30 and 60 seconds in a phase, and were there for five minutes."""
    found = {}
    for number in range(pods):
        of = f'{N},pod="p{number}",function="transcribe",phase="{phase}"'
        name = "auricle_cold_start_seconds"
        begin = f"_x{first_minute} "
        found |= {f'{name}_bucket{{{of},le="{le}"}}': begin + value for le, value in (("30.0", "0x4"), ("60.0", "1x4"))}
        found |= {f'{name}_bucket{{{of},le="+Inf"}}': begin + "1x4", f"{name}_count{{{of}}}": begin + "1x4"}
    return found


def gauge(name: str, values: str) -> Series:
    return {f"{name}{{{N}}}": values}


def without(name: str) -> Series:
    return {series: values for series, values in WELL.items() if name not in series}


CASES: dict[str, tuple[Series, dict[int, tuple[str, ...]]]] = {
    "all is well": (WELL, {0: (), 30: (), 59: ()}),
    "the database goes away": (
        {**WELL, **gauge("auricle_database_up", "1x5 0x20")},
        {5: (), 7: (), 9: ("AuricleDatabaseDown",)},
    ),
    "nobody tells anything": ({}, {5: (), 11: ("AuricleUnseen",)}),
    "the certificate ends in less than two weeks": (
        {**WELL, **gauge("auricle_certificate_ends_timestamp_seconds", f"{14 * 86400 + 600}x30")},
        {9: (), 11: ("AuricleCertificateEnds",)},
    ),
    "the gateway is away": (without("certificate"), {5: (), 11: ("AuricleGatewayShowsNoCertificate",)}),
    "the database has few connections left": (
        {
            **WELL,
            **gauge("auricle_database_connections", "80x20 90x20"),
            **gauge("auricle_database_connections_allowed", "100x40"),
        },
        {20: (), 25: (), 32: ("AuricleConnectionsNearLimit",)},
    ),
    "a dead letter is there until somebody replays it": (
        {**WELL, **gauge("auricle_dead_letters", "0x5 1x5 0x5")},
        {5: (), 6: ("AuricleDeadLetters",), 12: ()},
    ),
    "a run does not move": (
        {**WELL, **gauge("auricle_runs_stuck", "0x5 1x20")},
        {12: (), 17: ("AuricleRunsStuck",)},
    ),
    "a run waits for a device": (
        {**WELL, **gauge("auricle_oldest_wait_seconds", "0+60x59")},
        {30: (), 33: (), 37: ("AuricleRunsWaitLong",)},
    ),
    "events are not sent": (
        {**WELL, **gauge("auricle_outbox_events", "50x40")},
        {10: (), 16: ("AuricleOutboxGrows",)},
    ),
    "many events, which are sent": ({**WELL, **gauge("auricle_outbox_events", "50x8 0 50x8 0 50x8 0")}, {16: (), 25: ()}),
    "a worker died and nobody noticed": (
        {**WELL, **gauge("auricle_leases_expired", "1x40")},
        {10: (), 16: ("AuricleLeasesExpired",)},
    ),
    "requests to pods that were not there a moment ago fail": (
        {**WELL, **requests("new", "_x20 20x9", "_x20 3x9")},
        {19: (), 21: (), 27: ("AuricleRequestsFail",), 45: ()},
    ),
    "requests failed long ago, in a pod that still lives": ({**WELL, **requests("old", "1000x59", "500x59")}, {30: (), 59: ()}),
    "requests begin to fail in a pod that has long lived": (
        {**WELL, **requests("old", "1000+10x59", "0x20 1+2x39")},
        {20: (), 35: ("AuricleRequestsFail",)},
    ),
    "two of ten requests fail": ({**WELL, **requests("new", "_x20 8x9", "_x20 2x9")}, {27: ()}),
    "events break a function that has just been woken": (
        {**WELL, **deliveries("new", "_x20 6x9", "_x20 4x9")},
        {21: (), 27: ("AuricleDeliveriesFail",), 45: ()},
    ),
    "one event in ten breaks": ({**WELL, **deliveries("new", "_x20 18x9", "_x20 2x9")}, {27: ()}),
    "cold starts wait for nodes": (
        {**WELL, **cold_starts(5, "queued")},
        {3: (), 18: ("AuricleColdStartsSlow",), 40: ()},
    ),
    "a few cold starts were slow": ({**WELL, **cold_starts(4, "queued")}, {18: ()}),
    "the work itself takes long": ({**WELL, **cold_starts(9, "first_byte")}, {18: ()}),
}


def promtool(*words: str | Path) -> None:
    found = shutil.which("promtool")
    if found is None:
        pytest.fail("There is no promtool: bash tests/services/install.sh")
    done = subprocess.run([found, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid() -> None:
    promtool("check", "rules", RULES)


@pytest.mark.parametrize("case", CASES)
def test_alerts_fire_when_somebody_should_look_and_only_then(case: str, tmp_path: Path) -> None:
    series, expected = CASES[case]
    asked = 'count by (alertname) (ALERTS{alertstate="firing"})'
    trial = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": asked,
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
                    }
                    for minute, alerts in expected.items()
                ],
            }
        ],
    }
    (tmp_path / "trial.yaml").write_text(yaml.safe_dump(trial))
    promtool("test", "rules", tmp_path / "trial.yaml")


def test_every_alert_is_tried() -> None:
    named = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    tried = {alert for _, expected in CASES.values() for alerts in expected.values() for alert in alerts}
    assert named == tried

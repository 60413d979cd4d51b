"""How much a tenant may have, and where: devices, scales, limits and nodes."""

from __future__ import annotations

from typing import Any

import pytest

from auricle_operator.cluster import JOB
from builders.operator_tenants import HOME, MAX, MIGRATE, MIN, House, annotations, condition, now, pod, settings


@pytest.fixture
def house() -> House:
    return House()


def node(house: House, devices: int) -> None:
    allocatable = {"nvidia.com/gpu": str(devices)}
    house.cluster.put(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "g1"}, "spec": {}, "status": {"allocatable": allocatable}}
    )


@pytest.mark.parametrize(
    ("devices", "quota", "own", "most"),
    [(2, None, None, "2"), (8, None, None, "3"), (8, 1, None, "1"), (2, None, 5, "2"), (8, None, 5, "5")],
)
def test_speech_functions_never_ask_for_more_devices_than_there_are(
    house: House, devices: int, quota: int | None, own: int | None, most: str
) -> None:
    node(house, devices)
    spec: dict[str, Any] = {"quotas": {"gpu": quota} if quota else {}, "scale": {"transcribe": {"max": own}} if own else {}}
    house.tenant(plan="gpu", **spec)
    house.settle()
    assert annotations(house, "transcribe")[MAX] == most
    assert settings(house, "advance")["WINDOW"] == str(min(devices, quota or devices))
    assert pod(house, "transcribe")["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert condition(now(house), "GPUReady")[0] == "True"


def test_without_a_device_the_tenant_waits_for_one_and_no_revision_fails(house: House) -> None:
    house.tenant(plan="gpu")
    house.settle()
    assert (now(house)["status"]["phase"], condition(now(house), "GPUReady")) == ("WaitingForGPU", ("False", "WaitingForGPU"))
    assert condition(now(house), "Ready")[0] == "True"
    assert annotations(house, "transcribe")["autoscaling.knative.dev/initial-scale"] == "0"
    node(house, 1)
    house.settle()
    assert now(house)["status"]["phase"] == "Ready"


def test_a_pool_that_grows_by_itself_counts_as_what_it_can_grow_to() -> None:
    house = House(gpu_pool=2)
    house.tenant(plan="gpu")
    house.settle()
    assert (now(house)["status"]["phase"], annotations(house, "transcribe")[MAX]) == ("Ready", "2")


def test_the_tenants_own_numbers_go_before_the_plans_and_a_functions_before_its_scales(house: House) -> None:
    house.tenant(scale={"interactive": {"max": 7}, "files": {"min": 1}, "transcripts": {"max": 2}})
    house.settle()
    assert (annotations(house, "files")[MIN], annotations(house, "files")[MAX]) == ("1", "7")
    assert annotations(house, "transcripts")[MAX] == "2"
    assert annotations(house, "prepare")[MAX] == "3"  # the plan's


def test_pods_and_jobs_run_where_the_tenant_may(house: House) -> None:
    house.tenant(residency={"nodeSelector": {"topology.kubernetes.io/region": "eu"}})
    house.settle()
    assert pod(house, "files")["nodeSelector"] == {"topology.kubernetes.io/region": "eu"}
    job = house.cluster.at(JOB, MIGRATE, HOME)
    assert job["spec"]["template"]["spec"]["nodeSelector"] == {"topology.kubernetes.io/region": "eu"}


def test_limits_become_settings(house: House) -> None:
    house.tenant(quotas={"storage": "5Gi", "minutesPerMonth": 0, "concurrentRuns": 2}, retention={"auditDays": 100})
    house.settle()
    said = settings(house)
    assert (said["MAX_STORAGE_BYTES"], said["MINUTES_PER_MONTH"], said["MAX_RUNS"], said["AUDIT_KEEP_DAYS"]) == (
        str(5 * 1024**3),
        "0",
        "2",
        "100",
    )
    assert (said["S3_BUCKET"], said["PUBLIC_URL"]) == ("auricle-acme", "https://acme.example")
    assert "MODELS_DIR" not in said

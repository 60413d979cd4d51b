"""Models a tenant asks for: mounted from where their caches put them, and told of while they are not there."""

from __future__ import annotations

import pytest

from auricle_operator.api.rules import API_VERSION
from builders.operator_tenants import House, condition, now, pod, settings


@pytest.fixture
def house() -> House:
    return House()


def cache(house: House, name: str, path: str = "/models", ready: bool = True) -> None:
    house.cluster.put(
        {
            "apiVersion": API_VERSION,
            "kind": "ModelCache",
            "metadata": {"name": name},
            "spec": {
                "model": name,
                "source": {"kind": "directory", "uri": "/x"},
                "files": [{"path": "a", "size": 1, "sha256": "0" * 64}],
                "storage": {"path": path},
            },
            "status": {
                "observedGeneration": 1,
                "conditions": [
                    {"type": "Ready", "status": "True" if ready else "False", "reason": "Fetching", "message": "40 %"}
                ],
            },
        }
    )


def test_models_are_mounted_read_only_from_where_their_caches_put_them(house: House) -> None:
    cache(house, "large-v3")
    house.tenant(models=["large-v3"])
    house.settle()
    (volume,) = [v for v in pod(house, "transcribe")["volumes"] if v["name"] == "models"]
    claim = volume["persistentVolumeClaim"]
    assert claim["readOnly"]
    assert claim["claimName"].startswith("models-")
    made = [m for m in house.cluster.objects.values() if m["kind"] in ("PersistentVolume", "PersistentVolumeClaim")]
    assert [m["spec"]["accessModes"] for m in made] == [["ReadOnlyMany"]] * 2
    assert settings(house, "transcribe")["MODELS_REQUIRED"] == "true"


@pytest.mark.parametrize(
    ("models", "reason"), [(["large-v3", "tiny"], "Storage"), (["none"], "NoSuchModel"), (["slow"], "Fetching")]
)
def test_models_that_are_not_there_are_told(house: House, models: list[str], reason: str) -> None:
    cache(house, "large-v3")
    cache(house, "tiny", path="/elsewhere")
    cache(house, "slow", ready=False)
    house.tenant(models=models)
    house.settle()
    assert condition(now(house), "ModelsReady") == ("False", reason)

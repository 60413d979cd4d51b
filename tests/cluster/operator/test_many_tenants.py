"""Two hundred tenants without functions, all at once: they converge, and it is told what that took."""

from __future__ import annotations

import time

import pytest
import yaml

from auricle_operator.api.rules import GROUP
from cluster.deployment import kubectl, objects, until_none
from cluster.operator.recording import Recorder
from cluster.operator.running import Operator, tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]


@pytest.mark.parametrize("count", [200])
def test_many_tenants_at_once_converge(operator: Operator, rights: Recorder, count: int) -> None:
    before, began = sum(rights.recorded.values()), time.monotonic()
    all_names = [f"many-{n}" for n in range(count)]
    given = [tenant(name, plan="lane", deletionPolicy="delete") for name in all_names]
    for one in given:
        one["metadata"]["annotations"] = {f"{GROUP}/confirm-deletion": one["metadata"]["name"]}
    kubectl("apply", "--server-side", "-f", "-", given="\n---\n".join(map(yaml.safe_dump, given)), timeout=300)

    def waiting() -> list[str]:
        ready = {
            i["metadata"]["name"]
            for i in objects("tenants")
            for c in i.get("status", {}).get("conditions", ())
            if (c["type"], c["status"]) == ("Ready", "True")
        }
        return sorted(set(all_names) - ready)

    until_none("tenants that are not Ready", waiting, 1200)
    seconds, calls = time.monotonic() - began, sum(rights.recorded.values()) - before
    print(f"{count} tenants: {seconds:.0f} s, {calls / count:.1f} API calls per tenant")
    began = time.monotonic()
    kubectl("delete", "tenants", *all_names, "--wait=false", timeout=300)
    until_none("tenants that do not end", lambda: there("tenants", "many-"), 1200)
    assert there("namespaces", "auricle-many-") == []
    print(f"their end: {time.monotonic() - began:.0f} s")


def there(kind: str, prefix: str) -> list[str]:
    return [name for item in objects(kind) if (name := item["metadata"]["name"]).startswith(prefix)]

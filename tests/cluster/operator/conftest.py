"""What tests of the operator on the real cluster may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.deployment import apply, image, kubectl, objects, until_none
from cluster.operator.platform import SYSTEM, prepared
from cluster.operator.recording import Recorder, recorder_of
from cluster.operator.running import Operator, let_go, tenant, wait_for
from cluster.operator.servers import Servers, running_servers
from cluster.operator.vaults import Vault

ACCOUNT = "auricle-operator"


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A PostgreSQL and a MinIO that pods reach, for the whole run; skips where MinIO is not built."""
    with running_servers() as found:
        yield found


@pytest.fixture(scope="session")
def platform(servers: Servers) -> Iterator[None]:
    """The cluster is ready for tenants. At the end no tenant is left: those of a test that failed go, too."""
    prepared(servers)
    yield
    if os.environ.get("KEEP") != "1":
        kubectl("delete", "namespace", SYSTEM, "--wait=false")


@pytest.fixture(scope="session")
def rights(platform: None) -> Iterator[Recorder]:
    """The way to the API server that the operator goes: with exactly its own rights, all of them written down."""
    with recorder_of(ACCOUNT, SYSTEM) as recorder:
        yield recorder


@pytest.fixture(scope="session")
def operator(servers: Servers, rights: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator, at work."""
    folder: Path = tmp_path_factory.mktemp("operator")
    chosen = {**servers.settings, "namespace": SYSTEM, "resync": 20, "image": image("auricle-operator")}
    with Operator(folder, chosen, rights.kubeconfig(folder / "kubeconfig")) as running:
        yield running
        let_go(*(item["metadata"]["name"] for item in objects("tenants")))
        until_none("tenants that are still there", lambda: [i["metadata"]["name"] for i in objects("tenants")], 300)


@pytest.fixture(scope="session")
def acme(operator: Operator) -> Vault:
    """A tenant with a Service per function, Ready; it goes with the operator."""
    apply(tenant("acme", release="lane", plan="lane", domains=["acme.example"], displayName="ACME"))
    wait_for("tenant", "acme", seconds=900, Ready="True")
    return Vault("acme")

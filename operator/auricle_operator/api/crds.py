"""The three kinds as Kubernetes learns of them: CustomResourceDefinitions, made from the types that the operator decodes with.

None has a `scale` subresource. A tenant has no number of its own (each of its functions scales by itself), and a cache's
`minCopies` is what it takes to be ready: how many copies there are follows from the nodes, so scaling it would do nothing.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec

from auricle_operator.api import managedsecret, modelcache, tenant
from auricle_operator.api.rules import GROUP, VERSION, Column, Rule
from auricle_operator.api.schema import resource


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One kind, and everything a cluster is told about it."""

    kind: str
    plural: str
    short: tuple[str, ...]
    namespaced: bool
    spec: type[msgspec.Struct]
    status: type[msgspec.Struct]
    naming: tuple[Rule, ...]
    columns: tuple[Column, ...]
    text: str

    @property
    def name(self) -> str:
        """Of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def of(module: ModuleType, spec: type[msgspec.Struct], status: type[msgspec.Struct], *, namespaced: bool) -> Resource:
    """What a module of this package says of its kind."""
    return Resource(
        kind=module.KIND,
        plural=module.PLURAL,
        short=module.SHORT,
        namespaced=namespaced,
        spec=spec,
        status=status,
        naming=module.NAMING,
        columns=module.COLUMNS,
        text=str(module.__doc__).strip(),
    )


RESOURCES = (
    of(tenant, tenant.TenantSpec, tenant.TenantStatus, namespaced=False),
    of(managedsecret, managedsecret.ManagedSecretSpec, managedsecret.ManagedSecretStatus, namespaced=True),
    of(modelcache, modelcache.ModelCacheSpec, modelcache.ModelCacheStatus, namespaced=False),
)


def definition(kind: Resource) -> dict[str, Any]:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": kind.name,
            "labels": {"app.kubernetes.io/name": kind.plural, "app.kubernetes.io/part-of": "auricle"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": list(kind.short),
                "categories": ["auricle"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": resource(kind.spec, kind.status, kind.naming, kind.text)},
                }
            ],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    said: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return said | ({"priority": column.priority} if column.priority else {})

"""For every rule of the operator's kinds: what it rejects, and the nearest thing that it accepts."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from auricle_operator.api import managedsecret, modelcache, tenant
from auricle_operator.api.crds import RESOURCES, Resource
from auricle_operator.api.rules import API_VERSION, NAMED, Rule
from auricle_operator.cluster import Manifest

NAMESPACE = "a-namespace"
"""Where examples with a namespace lie; a lane puts its own there."""
SHA = "0123456789abcdef" * 4
COMMIT = "0123abcdef" * 4
WEIGHTS = {"path": "weights/model.bin", "size": 3, "sha256": SHA}
SPECS: dict[str, dict[str, Any]] = {
    tenant.KIND: {"release": "2026.11", "domains": ["vault.example.org"], "admins": ["ada@example.org"]},
    managedsecret.KIND: {"purpose": "database", "source": {"generate": {}}, "secret": "auricle-database", "interval": "720h"},
    modelcache.KIND: {"model": "small", "source": {"kind": "hf", "uri": "owner/name", "revision": COMMIT}, "files": [WEIGHTS]},
}
"""One of each kind that every rule accepts."""


def example(kind: str, name: str = "example", **changes: Any) -> Manifest:
    """That one with other fields in its spec; None leaves a field out."""
    spec = {k: v for k, v in {**SPECS[kind], **changes}.items() if v is not None}
    place = {"namespace": NAMESPACE} if kind == managedsecret.KIND else {}
    return copy.deepcopy({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **place}, "spec": spec})


@dataclass(frozen=True)
class Row:
    """One rule. Where it looks at a change, `before` is what was there."""

    kind: str
    holder: str
    """The type that has the rule."""
    message: str
    rejected: Manifest
    accepted: Manifest
    before: Manifest | None = None

    @property
    def rule(self) -> tuple[str, str]:
        return (self.holder, self.message)

    def __str__(self) -> str:
        return f"{self.holder}: {self.message}"


def rules() -> Iterator[tuple[str, Rule]]:
    """(type, rule) of everything that people can write."""
    for resource in RESOURCES:
        yield from ((resource.kind, rule) for rule in resource.naming)
        for holder in _structs(msgspec.inspect.type_info(resource.spec)):
            yield from ((holder.__name__, rule) for rule in getattr(holder, "RULES", ()))


def resource_of(kind: str) -> Resource:
    """Of our three."""
    return next(resource for resource in RESOURCES if resource.kind == kind)


def _structs(kind: Any) -> Iterator[type]:
    if isinstance(kind, msgspec.inspect.StructType):
        yield kind.cls
        for field in kind.fields:
            yield from _structs(field.type)
    for inner in ("type", "item_type", "value_type"):
        if hasattr(kind, inner):
            yield from _structs(getattr(kind, inner))
    for choice in getattr(kind, "types", ()):
        yield from _structs(choice)


def _named(kind: str, rejected: str, accepted: str, message: str = NAMED.message) -> Row:
    return Row(kind, kind, message, example(kind, rejected), example(kind, accepted))


def _row(
    kind: str,
    holder: type,
    message: str,
    rejected: Mapping[str, Any],
    accepted: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> Row:
    return Row(
        kind,
        holder.__name__,
        message,
        example(kind, **rejected),
        example(kind, **accepted),
        None if before is None else example(kind, **before),
    )


def _source(kind: str, uri: str, revision: str = "") -> dict[str, Any]:
    return {"source": {"kind": kind, "uri": uri, "revision": revision}}


def _file(path: str) -> dict[str, Any]:
    return {"files": [{**WEIGHTS, "path": path}]}


T, S, M = tenant.KIND, managedsecret.KIND, modelcache.KIND
LEADS_OUT = "path leads out of the model's folder or is no plain one: no slash before, behind or twice; no . or .. as a part."
ROWS: tuple[Row, ...] = (
    _named(T, "a" * 41, "a" * 40),
    _named(S, "two.words", "two-words"),
    _named(M, "ends.with.dots", "ends-with-none"),
    _named(T, "system", "systems", "system would share the operator's own namespace: choose another name."),
    _row(
        T,
        tenant.TenantSpec,
        "A tenant that is suspended keeps its release: it is what comes back.",
        before={"release": "2026.11"},
        rejected={"release": None, "suspended": True},
        accepted={"release": "2026.12", "suspended": True},
    ),
    _row(
        T,
        tenant.TenantSpec,
        "A domain stands there twice.",
        rejected={"domains": ["a.example.org", "b.example.org", "a.example.org"]},
        accepted={"domains": ["a.example.org", "b.example.org"]},
    ),
    _row(
        T,
        tenant.TenantSpec,
        "A tenant with functions needs a domain: name one in spec.domains.",
        rejected={"domains": None},
        accepted={"domains": None, "release": None},
    ),
    _row(
        T,
        tenant.Broker,
        "A broker's class cannot be changed: make another tenant, or delete and apply this one (deletionPolicy: retain).",
        before={"broker": {"class": "kafka"}},
        rejected={"broker": None},  # left out it is rabbitmq, and that is a change
        accepted={"broker": {"class": "kafka"}, "displayName": "Renamed"},
    ),
    _row(
        T,
        tenant.FunctionScale,
        "min is above max: lower it, or raise max.",
        rejected={"scale": {"interactive": {"min": 3, "max": 2}}},
        accepted={"scale": {"interactive": {"min": 2, "max": 2}, "burst": {"min": 3}}},
    ),
    _row(
        S,
        managedsecret.ManagedSecretSpec,
        "A secret's purpose cannot be changed: make another ManagedSecret.",
        before={},
        rejected={"purpose": "owner"},
        accepted={"interval": "721h"},
    ),
    _row(
        S,
        managedsecret.ManagedSecretSpec,
        "A secret's name cannot be changed: make another ManagedSecret.",
        before={},
        rejected={"secret": "auricle-other"},
        accepted={"overlap": "25h"},
    ),
    _row(
        S,
        managedsecret.ManagedSecretSpec,
        "overlap is shorter than longestUrl: signed URLs would die before their time. Raise overlap.",
        rejected={"purpose": "bucket", "overlap": "23h59m59s"},
        accepted={"purpose": "bucket", "overlap": "24h"},
    ),
    _row(
        S,
        managedsecret.ManagedSecretSpec,
        "interval is shorter than an hour: raise it.",
        rejected={"interval": "59m59s", "overlap": "1m"},
        accepted={"interval": "60m", "overlap": "1m"},
    ),
    _row(
        S,
        managedsecret.ManagedSecretSpec,
        "interval is not longer than overlap: the next exchange would begin before this one ends.",
        rejected={"interval": "24h"},  # as long as the overlap that is there when none is said
        accepted={"interval": "24h1s"},
    ),
    _row(
        S,
        managedsecret.ManagedSecretSpec,
        "A provider's key is somebody else's: name the Secret that holds it in source.external.",
        rejected={"purpose": "provider"},
        accepted={"purpose": "provider", "source": {"external": {"name": "mail-provider"}}},
    ),
    _row(
        S,
        managedsecret.ManagedSecretSpec,
        "This kind of secret cannot be exchanged while requests are under way: leave interval out, and rotate it by hand.",
        rejected={"purpose": "events"},
        accepted={"purpose": "events", "interval": None},
    ),
    _row(
        S,
        managedsecret.Source,
        "Say either generate or external: a secret has one source.",
        rejected={"source": {"generate": {}, "external": {"name": "mine"}}},
        accepted={"source": {"external": {"name": "mine"}}},
    ),
    _row(
        M,
        modelcache.ModelCacheSpec,
        "A cache's model cannot be changed: make another ModelCache.",
        before={},
        rejected={"model": "large"},
        accepted={"pinned": True},
    ),
    _row(M, modelcache.CachedFile, LEADS_OUT, rejected=_file("weights/../../etc"), accepted=_file("weights/..etc")),
    _row(
        M,
        modelcache.ModelSource,
        "revision of a hub is a whole commit (40 hex digits): names of branches move.",
        rejected=_source("hf", "owner/name", "main"),
        accepted=_source("hf", "owner/name", COMMIT),
    ),
    _row(
        M,
        modelcache.ModelSource,
        "revision of an OCI artifact is its digest: sha256:…",
        rejected=_source("oci", "registry.example.org/models/small", "latest"),
        accepted=_source("oci", "registry.example.org/models/small", f"sha256:{SHA}"),
    ),
    _row(
        M,
        modelcache.ModelSource,
        "uri begins with https:// (or http:// inside the cluster).",
        rejected=_source("http", "ftp://models.example.org/small"),
        accepted=_source("http", "http://models.models.svc/small"),
    ),
    _row(
        M,
        modelcache.ModelSource,
        "uri begins with s3://.",
        rejected=_source("s3", "models/small"),
        accepted=_source("s3", "s3://models/small"),
    ),
    _row(
        M,
        modelcache.ModelSource,
        "uri is an absolute path.",
        rejected=_source("directory", "models/small"),
        accepted=_source("directory", "/models/small"),
    ),
    _row(
        M,
        modelcache.Storage,
        "Name the claim that holds the models in storage.claim.",
        rejected={"storage": {"kind": "claim"}},
        accepted={"storage": {"kind": "claim", "claim": "models"}},
    ),
    _row(
        M,
        modelcache.Storage,
        "path is absolute: begin it with a slash.",
        rejected={"storage": {"path": "models"}},
        accepted={"storage": {"path": "/models"}},
    ),
)

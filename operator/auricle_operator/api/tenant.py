"""A tenant: a team's own vault. Cluster-scoped, because it owns a namespace."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec

from auricle_operator.api.conditions import Conditions
from auricle_operator.api.rules import NAMED, Column, Label, Name, Quantity, Rule, Written, about

KIND = "Tenant"
PLURAL = "tenants"
SHORT = ("tn",)
NAMING = (
    NAMED,
    Rule("self.metadata.name != 'system'", "system would share the operator's own namespace: choose another name."),
)

READY = "Ready"
NAMESPACE = "NamespaceReady"
SECRETS = "SecretsReady"
DATABASE = "DatabaseReady"
BUCKET = "BucketReady"
BROKER = "BrokerReady"
FUNCTIONS = "FunctionsReady"
QUOTA = "QuotaReady"
MODELS = "ModelsReady"
GPU = "GPUReady"
"""Condition types. `GPUReady` alone does not make a tenant unready: the vault works, and speech waits for a device."""


class Deletion(StrEnum):
    """What becomes of a tenant's data when its resource is deleted."""

    RETAIN = "retain"  # database, bucket and master keys stay; a tenant of the same name takes them up again
    SNAPSHOT = "snapshot"  # the database is dumped into the bucket and dropped; bucket and master keys stay
    DELETE = "delete"  # nothing stays


class BrokerClass(StrEnum):
    """What carries events."""

    RABBITMQ = "rabbitmq"
    KAFKA = "kafka"


class Phase(StrEnum):
    """One word for `kubectl get`."""

    PENDING = "Pending"
    PROVISIONING = "Provisioning"
    MIGRATING = "Migrating"
    ROLLING = "Rolling"
    READY = "Ready"
    WAITING_FOR_GPU = "WaitingForGPU"
    SUSPENDED = "Suspended"
    DEGRADED = "Degraded"
    DELETING = "Deleting"


class Broker(Written, frozen=True):
    """What carries this tenant's events."""

    klass: Annotated[BrokerClass, about("rabbitmq or kafka. A broker's class can never be changed.")] = msgspec.field(
        default=BrokerClass.RABBITMQ, name="class"
    )
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.class == oldSelf.class",
            "A broker's class cannot be changed: make another tenant, or delete and apply this one (deletionPolicy: retain).",
        ),
    )


class Quotas(Written, frozen=True):
    """What a tenant may take at most. Left out: no limit but the plan's."""

    storage: Annotated[Quantity | None, about("Bytes in the bucket, such as 500Gi.")] = None
    minutes_per_month: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | None, about("Minutes of recordings transcribed in a calendar month (UTC).")
    ] = None
    concurrent_runs: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1000)] | None, about("Runs under way at once; more wait their turn.")
    ] = None
    gpu: Annotated[Annotated[int, msgspec.Meta(ge=0, le=1000)] | None, about("Devices at once.")] = None


class Retention(Written, frozen=True):
    """How long what is kept for looking back is kept."""

    audit_days: Annotated[
        Annotated[int, msgspec.Meta(ge=90, le=36500)] | None, about("Days of audit trail in the database once it is published.")
    ] = None


class FunctionScale(Written, frozen=True):
    """How many pods of one function."""

    min: Annotated[Annotated[int, msgspec.Meta(ge=0, le=1000)] | None, about("Pods that never sleep.")] = None
    max: Annotated[Annotated[int, msgspec.Meta(ge=1, le=1000)] | None, about("Pods at most.")] = None
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("!has(self.min) || !has(self.max) || self.min <= self.max", "min is above max: lower it, or raise max."),
    )


class Residency(Written, frozen=True):
    """Where this tenant's pods may run."""

    node_selector: Annotated[dict[str, Label], about("Labels that a node must have.", max_length=16)] = msgspec.field(
        default_factory=dict
    )


class TenantSpec(Written, frozen=True):
    """What a team's vault shall be."""

    display_name: Annotated[str, about("What people call it.", max_length=120)] = ""
    plan: Annotated[
        Name, about("Sizes: a plan of the operator's (kubectl -n auricle-system get configmap -l auricle.dev/plan).")
    ] = "standard"
    release: Annotated[
        Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=40)] | None,
        about("Which release of the functions. Left out: namespace, database, bucket and keys, but no functions."),
    ] = None
    suspended: Annotated[bool, about("Everything sleeps and every request is refused; nothing is lost.")] = False
    domains: Annotated[
        tuple[
            Annotated[
                str, msgspec.Meta(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)+[a-z][-a-z0-9]*[a-z0-9]$", max_length=253)
            ],
            ...,
        ],
        about("Names under which people reach it; the first one is in links.", max_length=16),
    ] = ()
    admins: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"^[^@ ]+@[^@ ]+$", max_length=254)], ...],
        about("E-mail addresses that are invited as owners once the vault is there.", max_length=32, unique=True),
    ] = ()
    quotas: Quotas = Quotas()
    retention: Retention = Retention()
    models: Annotated[
        tuple[Name, ...], about("ModelCaches that this tenant's speech functions use.", max_length=16, unique=True)
    ] = ()
    broker: Broker = Broker()
    residency: Residency = Residency()
    scale: Annotated[
        dict[str, FunctionScale], about("Function or scale (interactive, burst, batch, gpu, …) to pods.", max_length=64)
    ] = msgspec.field(default_factory=dict)
    deletion_policy: Annotated[Deletion, about("What becomes of the data when this resource is deleted.")] = Deletion.RETAIN

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.suspended || has(self.release) || !has(oldSelf.release)",
            "A tenant that is suspended keeps its release: it is what comes back.",
        ),
        Rule(
            "self.domains.all(d, self.domains.filter(e, e == d).size() == 1)",
            "A domain stands there twice.",
        ),
        Rule(
            "!has(self.release) || self.domains.size() > 0",
            "A tenant with functions needs a domain: name one in spec.domains.",
        ),
    )


class Usage(Written, frozen=True):
    """What it takes now."""

    storage_bytes: int | None = None
    database_bytes: int | None = None
    minutes_this_month: int | None = None
    runs: int | None = None
    pods: int | None = None
    measured_at: str | None = None


class Versions(Written, frozen=True):
    """What is at work."""

    release: str | None = None
    schema: str | None = None
    operator: str | None = None
    secrets: dict[str, int] = msgspec.field(default_factory=dict)


class TenantStatus(Written, frozen=True):
    """What is."""

    observed_generation: int = 0
    phase: Phase | None = None
    conditions: Conditions = ()
    namespace: str | None = None
    url: str | None = None
    usage: Usage = Usage()
    versions: Versions = Versions()


COLUMNS = (
    Column("Phase", ".status.phase"),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("URL", ".status.url"),
    Column("Release", ".status.versions.release"),
    Column("Plan", ".spec.plan", priority=1),
    Column("Storage", ".status.usage.storageBytes", "integer", 1),
    Column("Minutes", ".status.usage.minutesThisMonth", "integer", 1),
    Column("Why", '.status.conditions[?(@.type=="Ready")].message', priority=1),
    Column("Age", ".metadata.creationTimestamp", "date"),
)

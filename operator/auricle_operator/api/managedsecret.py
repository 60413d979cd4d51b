"""A secret that the operator makes, hands out and exchanges. Namespaced: it lies in its tenant's namespace."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from auricle_operator.api.conditions import Conditions
from auricle_operator.api.rules import NAMED, Column, Duration, Name, ObjectName, Rule, Written, about

KIND = "ManagedSecret"
PLURAL = "managedsecrets"
SHORT = ("msec",)
NAMING = (NAMED,)

READY = "Ready"
ROTATING = "Rotating"
ROTATE = "auricle.dev/rotate"
"""Annotation: any value that was not there before exchanges the secret now (`kubectl auricle rotate`)."""


class Purpose(StrEnum):
    """What a secret is for, and thereby how it is made and exchanged (`secrets.purposes`)."""

    DATABASE = "database"  # the functions' login: two roles take turns
    OWNER = "owner"  # the login of jobs that alter the schema
    BUCKET = "bucket"  # an access key of the object store for this tenant's bucket
    SIGNING = "signing"  # keys of sign-ins: a ring, published before it signs
    EVENTS = "events"
    GATEWAY = "gateway"
    EPHEMERAL = "ephemeral"
    SEALING = "sealing"
    BUCKET_TOKEN = "bucket-token"  # noqa: S105 - a word
    TIMERS = "timers"
    SETUP = "setup"
    PROVIDER = "provider"  # somebody else's key (mail, language models): always an external reference


class State(StrEnum):
    """How far an exchange is."""

    STABLE = "Stable"
    ROLLING = "Rolling"  # the new one is there, consumers move over
    OVERLAPPING = "Overlapping"  # everybody has the new one, the old one still works
    WAITING = "Waiting"  # for a reference, a database, a store


class External(Written, frozen=True):
    """A Secret that somebody else keeps (by hand, External Secrets, Vault): copied whenever it changes."""

    name: Annotated[ObjectName, about("Of the Secret in the operator's namespace.", min_length=1)]


class Generate(Written, frozen=True):
    """The operator makes it."""


class Source(Written, frozen=True):
    """Where values come from: exactly one of these."""

    generate: Generate | None = None
    external: External | None = None
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.generate) != has(self.external)", "Say either generate or external: a secret has one source."),
    )


class ManagedSecretSpec(Written, frozen=True):
    """What is kept, for whom, and how often it is exchanged."""

    purpose: Annotated[Purpose, about("What it is for; this decides how it is made and exchanged.")]
    source: Source
    secret: Annotated[Name, about("Name of the Secret, without its version: auricle-database makes auricle-database-v7.")]
    interval: Annotated[Duration | None, about("Exchange it after so long, at least an hour. Left out: only when asked.")] = (
        None
    )
    overlap: Annotated[Duration, about("How long the old one works once everybody has the new one.")] = "24h"
    longest_url: Annotated[
        Duration, about("Life of the longest presigned URL; those of the old key die with it, so the overlap is never shorter.")
    ] = "24h"
    consumers: Annotated[
        tuple[ObjectName, ...], about("Services that have it. Left out: all that name it.", max_length=64, unique=True)
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("self.purpose == oldSelf.purpose", "A secret's purpose cannot be changed: make another ManagedSecret."),
        Rule("self.secret == oldSelf.secret", "A secret's name cannot be changed: make another ManagedSecret."),
        Rule(
            "self.purpose != 'bucket' || duration(self.overlap) >= duration(self.longestUrl)",
            "overlap is shorter than longestUrl: signed URLs would die before their time. Raise overlap.",
        ),
        Rule("!has(self.interval) || duration(self.interval) >= duration('1h')", "interval is shorter than an hour: raise it."),
        Rule(
            "!has(self.interval) || duration(self.interval) > duration(self.overlap)",
            "interval is not longer than overlap: the next exchange would begin before this one ends.",
        ),
        Rule(
            "self.purpose != 'provider' || has(self.source.external)",
            "A provider's key is somebody else's: name the Secret that holds it in source.external.",
        ),
        Rule(
            "!(self.purpose in ['events', 'ephemeral', 'bucket-token', 'timers', 'setup']) || !has(self.interval)",
            "This kind of secret cannot be exchanged while requests are under way: leave interval out, and rotate it by hand.",
        ),
    )


class Known(Written, frozen=True):
    """One version."""

    number: int
    secret: str
    created_at: str
    state: str  # current | next | old


class ManagedSecretStatus(Written, frozen=True):
    """What is."""

    observed_generation: int = 0
    conditions: Conditions = ()
    state: State | None = None
    current: Annotated[str, about("The Secret that consumers take.")] = ""
    version: int = 0
    versions: tuple[Known, ...] = ()
    rotated_at: str | None = None
    next_rotation: str | None = None
    revokes_at: str | None = None
    asked: Annotated[str, about("The last value of the annotation auricle.dev/rotate that was acted upon.")] = ""


COLUMNS = (
    Column("Purpose", ".spec.purpose"),
    Column("State", ".status.state"),
    Column("Version", ".status.version", "integer"),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Rotated", ".status.rotatedAt", "date"),
    Column("Next", ".status.nextRotation", priority=1),
    Column("Why", '.status.conditions[?(@.type=="Ready")].message', priority=1),
    Column("Age", ".metadata.creationTimestamp", "date"),
)

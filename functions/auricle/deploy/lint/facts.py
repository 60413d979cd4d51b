"""What lint has to know beside the objects: the code's catalogue, its event types, the overlay, Knative's settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from auricle.contract.event import Fact
from auricle.deploy.catalogue import FunctionEntry, catalogue
from auricle.deploy.render import every_fact
from auricle.deploy.secretobjects import SECRET_FILES, SECRET_OBJECTS
from auricle.runtime.settings import Settings

SERVING = "knative-serving"
ALLOWED = frozenset({"enabled", "allowed"})
SECRETS: dict[str, frozenset[str]] = {
    **{held: frozenset(n.upper() for n, by in SECRET_OBJECTS.items() if by == held) for held in SECRET_OBJECTS.values()},
    **{file.secret: frozenset({file.key}) for file in SECRET_FILES.values()},
    "auricle-owner": frozenset({"OWNER_DATABASE_URL"}),  # for jobs that alter the database
    "client-authorities": frozenset({"ca.crt"}),  # components/client-certificates
    "gateway-tls": frozenset({"tls.crt", "tls.key"}),  # by cert-manager (components/tls), or by hand
}
"""Secrets that a cluster's administrator makes, with their keys: manifests only refer to them."""
HOST_VARIABLES = frozenset(
    {"FUNCTION_TARGET", "FUNCTION_SOURCE", "FUNCTION_SIGNATURE_TYPE", "HOST", "WORKERS", "HOME", "TMPDIR"}
)
"""Variables that functions-framework and Python read; anything else that a function is given must be one of our settings."""


CONSUMER_TIMEOUT = 1800.0
"""Seconds after which RabbitMQ takes an unacknowledged message back, unless it is told otherwise."""
_CONSUMER = re.compile(r"^[\s\[{]*consumer_timeout\s*[=,]\s*(\d+)", re.MULTILINE)


class EventKind(msgspec.Struct, frozen=True, kw_only=True):
    """One event type: which attributes its events carry beside the type."""

    type: str
    attributes: tuple[str, ...] = ()
    concerns: str = ""

    def may_match(self, attributes: Mapping[str, Any]) -> bool:
        """Whether an event of this type can pass a Trigger's exact filter."""
        for name, wanted in attributes.items():
            if (name == "type" and wanted != self.type) or (name == "concerns" and wanted != self.concerns):
                return False
            if name not in (*ALWAYS, *self.attributes) and not (name == "concerns" and self.concerns):
                return False
        return True


ALWAYS = ("type", "id", "source", "subject", "time", "datacontenttype", "specversion", "tenant", "traceparent")
"""Attributes that any event may carry."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything lint and budget know that no object says. Pure data, so that tests can make any world."""

    overlay: str
    """`cluster` asks for more than `dev`: images by digest."""
    catalogue: tuple[FunctionEntry, ...]
    kinds: tuple[EventKind, ...]
    """Every event type that the code can publish or reply."""
    knative: Mapping[str, Mapping[str, str]] = {}
    """Knative Serving's settings as manifests/knative sets them: ConfigMap → key → value."""
    platform: tuple[Mapping[str, Any], ...] = ()
    """Objects of the cluster beneath that count although nobody here makes them, such as its RabbitmqCluster."""
    secrets: Mapping[str, frozenset[str]] = msgspec.field(default_factory=lambda: dict(SECRETS))
    """Secrets made outside the manifests, and their keys."""
    external: frozenset[str] = frozenset()
    """Other objects made outside, as `Kind/name`."""
    settings: Mapping[str, Any] = {}
    """Every setting's variable and default."""

    def entry(self, name: str) -> FunctionEntry | None:
        """The function called `name`."""
        return next((f for f in self.catalogue if f.name == name), None)

    def chosen(self, words: str) -> tuple[list[FunctionEntry], list[str]]:
        """The functions that `AURICLE_FUNCTION` asks for, and the names among them that no function has."""
        found: list[FunctionEntry] = []
        unknown: list[str] = []
        for word in (w.strip() for w in words.split(",") if w.strip()):
            hits = [f for f in self.catalogue if (f"*{f.image}" == word or f.name == word)]
            found += [f for f in hits if f not in found]
            unknown += [] if hits else [word]
        return found, unknown

    def knative_setting(self, config: str, key: str, default: str) -> str:
        """One of Knative Serving's settings, or Knative's default for it."""
        return str(self.knative.get(config, {}).get(key, default))

    def allows(self, feature: str) -> bool:
        """Whether manifests/knative turns a pod feature on."""
        return self.knative_setting("config-features", feature, "disabled").lower() in ALLOWED


def facts_for(overlay: str, platform: Iterable[Mapping[str, Any]] = (), external: Iterable[str] = ()) -> Facts:
    """The facts of this code for an overlay.

    `platform` is what a cluster has before Auricle: the ConfigMaps of manifests/knative, a RabbitmqCluster.
    """
    beneath = tuple(platform)
    entries = tuple(catalogue())  # imports every room, and with them every fact
    return Facts(
        overlay=overlay,
        catalogue=entries,
        kinds=tuple(kind_of(fact) for fact in every_fact()),
        knative=knative_settings(beneath),
        platform=beneath,
        external=frozenset(external),
        settings={name.upper(): getattr(Settings(), name) for name in Settings.__struct_fields__},
    )


def knative_settings(objects: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The data of every ConfigMap of Knative Serving among `objects`."""
    found: dict[str, dict[str, str]] = {}
    for item in objects:
        metadata = item.get("metadata") or {}
        if item.get("kind") == "ConfigMap" and metadata.get("namespace", SERVING) == SERVING:
            found.setdefault(str(metadata.get("name", "")), {}).update(item.get("data") or {})
    return found


def consumer_timeout(objects: Iterable[Mapping[str, Any]]) -> float:
    """Seconds of the consumer_timeout that a RabbitmqCluster among `objects` sets; 0 when none does."""
    for item in objects:
        spec = item.get("spec") if item.get("kind") == "RabbitmqCluster" else None
        configured = spec.get("rabbitmq") if isinstance(spec, Mapping) else None
        for text in configured.values() if isinstance(configured, Mapping) else ():
            found = _CONSUMER.search(str(text))
            if found:
                return float(found[1]) / 1000
    return 0


def kind_of(fact: type[Fact]) -> EventKind:
    """What a filter can know about a fact."""
    return EventKind(type=fact.TYPE, attributes=fact.ATTRIBUTES, concerns=fact.CONCERNS)

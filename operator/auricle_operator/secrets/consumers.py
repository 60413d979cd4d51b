"""Who has which version: read from the Services and Jobs of a tenant's namespace. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from auricle_operator.cluster import Manifest
from auricle_operator.secrets.objects import number_in
from auricle_operator.secrets.rotation import Consumer


def consumers(services: Iterable[Manifest], family: str, only: Collection[str] = ()) -> tuple[Consumer, ...]:
    """The Knative Services that name a Secret of `family`, or those of them whose names are in `only`."""
    found = []
    for service in services:
        name, versions = service["metadata"]["name"], named(service["spec"].get("template", {}), family)
        if versions and (not only or name in only):
            found.append(Consumer(name, versions, serves_its_template(service)))
    return tuple(found)


def serves_its_template(service: Manifest) -> bool:
    """Whether the revision that requests reach is the one that the template says."""
    status = service.get("status", {})
    latest = status.get("latestCreatedRevisionName")
    seen = status.get("observedGeneration", 0) >= service["metadata"].get("generation", 0)
    return seen and latest is not None and latest == status.get("latestReadyRevisionName")


def at_work(jobs: Iterable[Manifest], family: str) -> tuple[str, ...]:
    """Jobs that have a Secret of `family` and are not done."""
    return tuple(job["metadata"]["name"] for job in jobs if named(job["spec"]["template"], family) and not _done(job))


def named(template: Manifest, family: str) -> frozenset[int]:
    """The versions of `family` that a pod's template names, as variables or volumes."""
    numbers = (number_in(name, family) for name in _secrets(template))
    return frozenset(number for number in numbers if number is not None)


def _secrets(part: Any) -> Iterator[str]:
    """Names of Secrets: `secretKeyRef` and `secretRef` of variables, `secret` of volumes and of what they project."""
    if isinstance(part, list):
        for each in part:
            yield from _secrets(each)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in ("secretKeyRef", "secretRef", "secret") and isinstance(value, dict):
                yield str(value.get("name") or value.get("secretName") or "")
            else:
                yield from _secrets(value)


def _done(job: Manifest) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)

"""Bring about what a managed secret says. May be killed at any await and run again.

The order makes it so: first the master copy, which is the intent; then the server outside is told exactly those values; then
the tenant's Secret; then the status, from which the Tenant's reconcile renders functions.
"""

from __future__ import annotations

from typing import Any

import msgspec

from auricle.deploy.lint.places import go_seconds
from auricle.errors import Invalid, Permanent
from auricle_operator.api.managedsecret import ManagedSecretSpec, ManagedSecretStatus
from auricle_operator.api.rules import as_applied
from auricle_operator.cluster import NAMESPACE, SECRET, SECRETS, TENANT, Gone, Manifest
from auricle_operator.secrets.objects import FAMILY, Family
from auricle_operator.secrets.purposes import Row, row
from auricle_operator.secrets.report import Problem, refused
from auricle_operator.secrets.round import Round
from auricle_operator.world import World

ENDING = 2.0
"""Seconds until what is being deleted is looked at again."""


async def reconcile(world: World, manifest: Manifest) -> float | None:
    """One step nearer to what `manifest` (a ManagedSecret) says; seconds until it wants to be called again."""
    metadata = manifest["metadata"]
    before = status_of(manifest)
    try:
        home = await world.cluster.get(NAMESPACE, metadata["namespace"])
        if home is None or "deletionTimestamp" in home["metadata"]:
            return None
        spec = spec_of(manifest)
        family = Family(
            tenant=tenant_of(world, home),
            secret=spec.secret,
            namespace=metadata["namespace"],
            home=world.settings.namespace,
            owner=manifest,
        )
        await _first_of_its_kind(world, manifest, spec, row(spec))
        return await Round(world, family, spec, before).run()
    except Gone:
        return ENDING
    except (Invalid, Permanent) as error:
        status = refused(Problem("Refused", str(error)), before, metadata.get("generation", 0), world.now())
        if status != before:
            await world.cluster.status(SECRETS, metadata["name"], metadata["namespace"], as_applied(status))
        return None


async def teardown(world: World, manifest: Manifest) -> float | None:
    """Take away what the tenant was given. Masters stay, and are taken up again by a ManagedSecret of the same `spec.secret`,
    so that deleting one by mistake loses nothing; `forget` is for a tenant of which nothing shall stay. What was copied from
    somebody else goes altogether: they still have it."""
    namespace, secret = manifest["metadata"]["namespace"], manifest["spec"]["secret"]
    left = await world.cluster.list(SECRET, namespace, {FAMILY: secret})
    for found in left:
        await world.cluster.delete(SECRET, found["metadata"]["name"], namespace)
    if left and await world.cluster.list(SECRET, namespace, {FAMILY: secret}):
        return ENDING
    home = await world.cluster.get(NAMESPACE, namespace)
    tenant = (home or {}).get("metadata", {}).get("labels", {}).get(TENANT, "")
    if tenant and manifest["spec"].get("source", {}).get("external"):
        await _forget(world, {TENANT: tenant, FAMILY: secret})
    return None


async def forget(world: World, tenant: str) -> None:
    """Delete all masters of a tenant whose database and bucket are gone, too. For its Tenant's `deletionPolicy: delete`."""
    await _forget(world, {TENANT: tenant})


def spec_of(manifest: Manifest) -> ManagedSecretSpec:
    """What is asked for; `Invalid` says what cannot be read."""
    try:
        spec = msgspec.convert(manifest["spec"], ManagedSecretSpec)
    except msgspec.ValidationError as error:
        raise Invalid(f"This ManagedSecret cannot be read: {error}. Correct its spec.") from error
    for name, duration in (("interval", spec.interval), ("overlap", spec.overlap), ("longestUrl", spec.longest_url)):
        if duration is not None and go_seconds(duration) is None:
            raise Invalid(f"spec.{name} is no duration: write it as 90s, 24h or 2160h.")
    return spec


def status_of(manifest: Manifest) -> ManagedSecretStatus:
    """What was known; nothing where somebody wrote something else there."""
    try:
        return msgspec.convert(manifest.get("status", {}), ManagedSecretStatus)
    except msgspec.ValidationError:
        return ManagedSecretStatus()


def tenant_of(world: World, home: Manifest) -> str:
    """Whose namespace this is; `Invalid` when it is nobody's."""
    name = home["metadata"]["name"]
    tenant: str | None = home["metadata"].get("labels", {}).get(TENANT)
    if not tenant or world.namespace(tenant) != name:
        raise Invalid(
            f"The namespace {name} is no tenant's ({TENANT} is not what its name says), so nothing is made here. Make the"
            " ManagedSecret in the namespace of a Tenant."
        )
    return tenant


async def _first_of_its_kind(world: World, manifest: Manifest, spec: ManagedSecretSpec, mine: Row) -> None:
    """Two that name the same Secret, or take turns in the same place, would undo each other's work: the first one stays."""
    for other in await world.cluster.list(SECRETS, manifest["metadata"]["namespace"]):
        if _age(other) >= _age(manifest) or "deletionTimestamp" in other["metadata"]:
            continue
        said: dict[str, Any] = other["spec"]
        same_place = mine.alone and said.get("purpose") == spec.purpose.value and not said.get("source", {}).get("external")
        if said.get("secret") == spec.secret or same_place:
            raise Invalid(
                f"The ManagedSecret {other['metadata']['name']} does this already. Delete one of the two: there is one place"
                " for it."
            )


def _age(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"].get("creationTimestamp", ""), manifest["metadata"]["name"]


async def _forget(world: World, labels: dict[str, str]) -> None:
    for master in await world.cluster.list(SECRET, world.settings.namespace, labels):
        if FAMILY in master["metadata"]["labels"]:
            await world.cluster.delete(SECRET, master["metadata"]["name"], world.settings.namespace)

"""The one gateway of a cluster: which host is whose, and the keys by which it speaks to each tenant's functions.

nginx reads a file per host and per key at each request (manifests/components/gateway-tenants): what is written here counts as
soon as kubelet has brought it, within a minute and a half.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from cryptography import x509

from auricle.deploy.gateway import GROUPED
from auricle_operator.api.conditions import Finding, Truth
from auricle_operator.api.managedsecret import ManagedSecretSpec, ManagedSecretStatus, Purpose
from auricle_operator.api.tenant import TenantSpec
from auricle_operator.cluster import CONFIG, KEEPER, MANAGER, SECRET, SECRETS, TENANTS, Manifest
from auricle_operator.settings import Settings
from auricle_operator.world import World

HOSTS, KEYS, CERTIFICATES = "gateway-hosts", "gateway-keys", "gateway-certificates"
CERTIFICATE = "auricle.dev/certificate"
"""Label (`gateway`) of a TLS Secret in the operator's namespace that the gateway shall show for the names it holds."""
DOMAINS = "DomainsReady"
"""Condition type: whether all of a tenant's domains lead to it."""
FROM = "from"
"""Key of `gateway-keys` that says which Secrets its other keys were read from, so that only what changed is read again."""
WANTED = {Purpose.GATEWAY: "GATEWAY_KEY", Purpose.BUCKET_TOKEN: "BUCKET_TOKEN"}
"""The secrets of a tenant that the gateway has, and the variable of each."""


class Claim(msgspec.Struct, frozen=True):
    """A tenant as the gateway sees it."""

    tenant: str
    born: str
    spec: TenantSpec
    ending: bool

    @property
    def state(self) -> str:
        """What the gateway is told of it; empty: nothing."""
        if self.ending or self.spec.release is None:
            return ""
        return "suspended" if self.spec.suspended else "open"


class Origin(msgspec.Struct, frozen=True):
    """Where a key was read: an immutable Secret of a certain ManagedSecret, and the digest of what stood there."""

    uid: str
    secret: str
    digest: str = ""


def claims(tenants: Iterable[Manifest]) -> list[Claim]:
    """Tenants, the oldest first: what two of them claim is the older one's."""
    found = []
    for tenant in tenants:
        try:
            spec = msgspec.convert(tenant.get("spec", {}), TenantSpec)
        except msgspec.ValidationError:
            continue  # its own condition says so; nobody else's vault shall be closed by it
        metadata = tenant["metadata"]
        born, ending = metadata.get("creationTimestamp", ""), "deletionTimestamp" in metadata
        found.append(Claim(tenant=metadata["name"], born=born, spec=spec, ending=ending))
    return sorted(found, key=lambda claim: (claim.born, claim.tenant))


def hosts(
    tenants: Iterable[Manifest], settings: Settings, grouped: Collection[str] = ()
) -> tuple[Manifest, dict[str, Finding]]:
    """The ConfigMap `gateway-hosts`, and of each tenant whether its domains lead to it. Whoever is being deleted claims nothing
    any more; a tenant without a release keeps its claim, and is not reached. `grouped`: plans with one Service per image."""
    owners: dict[str, str] = {}
    lines: dict[str, str] = {}
    findings: dict[str, Finding] = {}
    for claim in claims(tenants):
        if claim.ending:
            continue
        taken = {domain: owners[domain] for domain in claim.spec.domains if domain in owners}
        for domain in claim.spec.domains:
            owner = owners.setdefault(domain, claim.tenant)
            if owner == claim.tenant and claim.state:
                name = claim.tenant
                lines[domain] = f"{claim.state} {settings.prefix}{name} {settings.bucket_prefix}{name}{_layout(claim, grouped)}"
        findings[claim.tenant] = _finding(taken)
    return _object("ConfigMap", HOSTS, settings, {"data": lines}), findings


def _layout(claim: Claim, grouped: Collection[str]) -> str:
    """A word more where a path leads to its image's Service and not to its function's."""
    return f" {GROUPED}" if claim.spec.plan in grouped else ""


def _finding(taken: Mapping[str, str]) -> Finding:
    if not taken:
        return Finding(DOMAINS, Truth.TRUE, "Mapped")
    said = "; ".join(f"{domain} belongs to the tenant {owner}, which is older" for domain, owner in taken.items())
    return Finding(DOMAINS, Truth.FALSE, "DomainTaken", f"{said}: remove it from spec.domains of one of the two.")


def keys(values: Mapping[str, str], origins: Mapping[str, Origin], settings: Settings) -> Manifest:
    """The Secret `gateway-keys`: `values` by file name, and where each was read."""
    written = msgspec.json.encode(origins, order="deterministic").decode()
    return _secret(KEYS, settings, {**values, FROM: written})


def certificates(secrets: Iterable[Manifest], settings: Settings) -> Manifest:
    """The Secret `gateway-certificates` out of TLS Secrets: `HOST.crt` and `HOST.key` for every name that one of them holds. Of
    two for one name the one that was made later counts. Names with a star are those of `gateway-tls`."""
    found: dict[str, str] = {}
    for secret in sorted(secrets, key=lambda s: (s["metadata"].get("creationTimestamp", ""), s["metadata"]["name"])):
        chain, key = (_decoded(secret, name) for name in ("tls.crt", "tls.key"))
        for name in _names(chain) if key else ():
            found |= {f"{name}.crt": chain, f"{name}.key": key}
    return _secret(CERTIFICATES, settings, found)


def _names(chain: str) -> list[str]:
    """The hosts that a certificate (PEM, the first of its chain) is for; none where it cannot be read."""
    try:
        first = x509.load_pem_x509_certificate(chain.encode())
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName) if "*" not in name]


async def reconcile_gateway(world: World, grouped: Collection[str] = ()) -> dict[str, Finding]:
    """Bring the gateway's three objects in step with all tenants and their secrets; returns of each tenant whether its domains
    lead to it. To be called when a tenant's domains, plan, release, suspension or secrets changed, and at each resync.
    `grouped`: as in `hosts`."""
    where, tenants = world.settings.namespace, await world.cluster.list(TENANTS)
    mapped, findings = hosts(tenants, world.settings, grouped)
    await _apply(world, mapped)
    await _apply(world, await _keys(world, [claim for claim in claims(tenants) if claim.state], grouped))
    shown = await world.cluster.list(SECRET, where, {CERTIFICATE: "gateway"})
    await _apply(world, certificates(shown, world.settings))
    return findings


async def _keys(world: World, wanted: list[Claim], grouped: Collection[str]) -> Manifest:
    """The keys of tenants, those of suspended ones but for the bucket's: nobody is told of their objects."""
    by_namespace = {world.namespace(claim.tenant): claim for claim in wanted}
    before = await world.cluster.get(SECRET, KEYS, world.settings.namespace) or {}
    values: dict[str, str] = {}
    origins: dict[str, Origin] = {}
    for secret in await world.cluster.list(SECRETS):
        claim = by_namespace.get(secret["metadata"]["namespace"])
        purpose = msgspec.convert(secret["spec"], ManagedSecretSpec).purpose
        if claim is None or purpose not in WANTED or secret["metadata"]["name"] != purpose:
            continue
        if purpose is Purpose.BUCKET_TOKEN and claim.state != "open":
            continue
        file = _file(world, claim.tenant, purpose)
        kept = await _kept_or_read(world, secret, WANTED[purpose], file, before)
        if kept is not None:
            value, origins[file] = kept
            whose = f"{world.namespace(claim.tenant)}{_layout(claim, grouped)}"
            values[file] = f"{whose} {value}" if purpose is Purpose.BUCKET_TOKEN else value
    return keys(values, origins, world.settings)


def _file(world: World, tenant: str, purpose: Purpose) -> str:
    if purpose is Purpose.GATEWAY:
        return f"gateway-key.{world.namespace(tenant)}"
    return f"bucket-token.{world.bucket(tenant)}"


async def _kept_or_read(
    world: World, managed: Manifest, variable: str, file: str, before: Manifest
) -> tuple[str, Origin] | None:
    """The value of a managed secret, from `before` if that is still it; None while there is none."""
    metadata = managed["metadata"]
    name = msgspec.convert(managed.get("status", {}), ManagedSecretStatus).current
    if not name:
        return None
    known = _known(before).get(file)
    kept = _decoded(before, file).rpartition(" ")[2]
    if known == Origin(metadata.get("uid", ""), name, _digest(kept)) and kept:
        return kept, known
    found = await world.cluster.get(SECRET, name, metadata["namespace"])
    value = _decoded(found or {}, variable)
    return (value, Origin(metadata.get("uid", ""), name, _digest(value))) if value else None


def _known(before: Manifest) -> dict[str, Origin]:
    try:
        return msgspec.json.decode(_decoded(before, FROM), type=dict[str, Origin])
    except msgspec.DecodeError:
        return {}  # somebody wrote into it: all is read again


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _decoded(secret: Mapping[str, Any], key: str) -> str:
    """A Secret's value; empty where there is none that can be read."""
    try:
        return base64.b64decode(secret.get("data", {}).get(key, "")).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _apply(world: World, manifest: Manifest) -> None:
    """Unless it is there as it should be: most calls change nothing."""
    kind = CONFIG if manifest["kind"] == CONFIG.name else SECRET
    found = await world.cluster.get(kind, manifest["metadata"]["name"], manifest["metadata"]["namespace"])
    if (
        found is None
        or found.get("data", {}) != manifest["data"]
        or not _LABELS.items() <= found["metadata"].get("labels", {}).items()
    ):
        await world.cluster.apply(manifest)


_LABELS = {"app.kubernetes.io/name": "gateway", "app.kubernetes.io/part-of": "auricle", KEEPER: MANAGER}


def _secret(name: str, settings: Settings, values: Mapping[str, str]) -> Manifest:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return _object("Secret", name, settings, {"type": "Opaque", "data": data})


def _object(kind: str, name: str, settings: Settings, body: Manifest) -> Manifest:
    metadata = {"name": name, "namespace": settings.namespace, "labels": _LABELS}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **body}

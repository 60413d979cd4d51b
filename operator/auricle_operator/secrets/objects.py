"""The Secrets of a managed secret: the master copies in the operator's namespace, and what its tenant is given."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from auricle_operator.api.conditions import moment, stamp
from auricle_operator.cluster import KEEPER, MANAGER, TENANT, Manifest, digest, owned
from auricle_operator.secrets.purposes import PUBLIC, Values, ring_of
from auricle_operator.secrets.rotation import Step, Version

FAMILY = "auricle.dev/secret"
"""Label of every Secret of ours: `spec.secret` of its ManagedSecret."""
NUMBER = "auricle.dev/version"
CREATED = "auricle.dev/created"
HANDED_OUT = "auricle.dev/handed-out-at"
SHUT = "auricle.dev/shut-at"
STEP = "auricle.dev/step"
TURN = "auricle.dev/turn"
ASKED = "auricle.dev/asked"
DIGEST = "auricle.dev/digest"
"""Annotations of them. A copy carries all but when it was handed out and shut, so that a lost master comes back from it."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A version with its values."""

    version: Version
    values: Values

    def __repr__(self) -> str:
        """Never the values: they would end up in tracebacks and logs."""
        return f"Held({self.version.number})"


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """Whose secrets these are."""

    tenant: str
    secret: str
    namespace: str  # the tenant's
    home: str  # the operator's
    owner: Manifest

    def master_name(self, number: int) -> str:
        """In the operator's namespace."""
        return f"{self.tenant}.{self.secret}.v{number}"

    def copy_name(self, number: int) -> str:
        """In the tenant's."""
        return f"{self.secret}-v{number}"

    def master(self, held: Held) -> Manifest:
        """The Secret from which everything else can be made again."""
        return _secret(
            self.master_name(held.version.number),
            self.home,
            held.values,
            annotations=_annotations(held.version),
            labels={FAMILY: self.secret, TENANT: self.tenant, KEEPER: MANAGER},
            immutable=True,
        )

    def copy(self, held: Held) -> Manifest:
        """What functions are given."""
        return self._owned(self.copy_name(held.version.number), held.version, held.values, immutable=True)

    def in_place(self, held: Held, now: datetime) -> tuple[Manifest, Manifest]:
        """Of keys of sign-ins: what everybody may know, and then (after it is published) what signs."""
        public = {PUBLIC.key: ring_of(held.values).public.document(now)}
        return (
            self._owned(PUBLIC.secret, held.version, public, immutable=False),
            self._owned(self.secret, held.version, held.values, immutable=False),
        )

    def read(self, manifest: Manifest) -> Held | None:
        """A Secret that `master` or `copy` (or the private one of `in_place`) made; None when it is not whole."""
        annotations = manifest["metadata"].get("annotations", {})
        try:
            values = {key: base64.b64decode(value) for key, value in manifest.get("data", {}).items()}
            version = Version(
                number=int(annotations[NUMBER]),
                created=moment(annotations[CREATED]),
                digest=annotations[DIGEST],
                step=Step(annotations[STEP]),
                turn=annotations.get(TURN, ""),
                asked=annotations.get(ASKED, ""),
                handed_out=_moment(annotations.get(HANDED_OUT)),
                shut=_moment(annotations.get(SHUT)),
            )
        except (KeyError, ValueError):
            return None
        return Held(version=version, values=values) if digest_of(values) == version.digest else None

    def _owned(self, name: str, version: Version, values: Values, *, immutable: bool) -> Manifest:
        kept = {k: v for k, v in _annotations(version).items() if k not in (HANDED_OUT, SHUT, ASKED)}
        made = _secret(
            name,
            self.namespace,
            values,
            annotations={**kept, DIGEST: digest_of(values)},
            labels={FAMILY: self.secret},
            immutable=immutable,
        )
        return owned(made, self.owner, tenant_name=self.tenant)


def digest_of(values: Values) -> str:
    """By which a Secret's values are known to be whole, and a source to have changed."""
    return digest({"values": {key: base64.b64encode(value).decode() for key, value in values.items()}})


def values_of(manifest: Manifest) -> Values:
    """What somebody else's Secret holds."""
    return {key: base64.b64decode(value) for key, value in (manifest.get("data") or {}).items()}


def as_it_should_be(found: Manifest, wanted: Manifest) -> bool:
    """Whether a Secret says all that it was made to say, and will stay."""
    mine, ours = found["metadata"], wanted["metadata"]
    return (
        "deletionTimestamp" not in mine
        and found.get("data", {}) == wanted["data"]
        and found.get("immutable", False) == wanted.get("immutable", False)
        and _within(ours.get("labels", {}), mine.get("labels", {}))
        and _within(ours["annotations"], mine.get("annotations", {}))
        and {o["uid"] for o in ours.get("ownerReferences", ())} <= {o["uid"] for o in mine.get("ownerReferences", ())}
    )


def number_in(name: str, family: str) -> int | None:
    """Of a name such as `<family>-v7`."""
    found = re.fullmatch(re.escape(family) + r"-v([1-9][0-9]{0,8})", name)
    return int(found[1]) if found else None


def rounded_up(now: datetime) -> datetime:
    """To the second, and never before `now`: an overlap that is counted from it is not shorter."""
    whole = now.astimezone(UTC).replace(microsecond=0)
    return whole if whole == now else whole + timedelta(seconds=1)


def _annotations(version: Version) -> dict[str, str]:
    found = {
        NUMBER: str(version.number),
        CREATED: stamp(version.created),
        DIGEST: version.digest,
        STEP: version.step.value,
        TURN: version.turn,
        ASKED: version.asked,
        HANDED_OUT: stamp(version.handed_out) if version.handed_out else "",
        SHUT: stamp(version.shut) if version.shut else "",
    }
    return {key: value for key, value in found.items() if value}


def _secret(
    name: str, namespace: str, values: Values, *, annotations: dict[str, str], labels: dict[str, str], immutable: bool
) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
        **({"immutable": True} if immutable else {}),
    }


def _moment(stamped: str | None) -> datetime | None:
    return moment(stamped) if stamped else None


def _within(wanted: Mapping[str, str], found: Mapping[str, str]) -> bool:
    return all(found.get(key) == value for key, value in wanted.items())

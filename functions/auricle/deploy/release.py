"""A release as data: everything the operator needs to render a tenant's namespace, of this version or of another one.

`auricle manifests release` prints it as a ConfigMap; an operator renders whichever release a Tenant names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from auricle.contract.choices import Image
from auricle.deploy.catalogue import FunctionEntry, catalogue
from auricle.deploy.components import Component, objects_in, read
from auricle.deploy.render import SETTINGS, Manifest
from auricle.errors import Invalid

KEY = "release.json"
LABEL = "auricle.dev/release"
PREFIX = "release-"
SYSTEM = "auricle-system"
"""Where the operator looks, unless it is told otherwise."""
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    **{"rabbitmq": (), "kafka": (), "cpu": (), "gpu": ("replacements",)},
    "other-houses": (),
}
"""Component that a tenant may have → what of its file the operator does itself: it counts the devices."""

JOBS = ("migrate.yaml", "tenants/contract.yaml", "tenants/invite.yaml")
"""Beneath manifests/base/jobs. The bucket is the operator's own work, and owners are invited."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What one release's functions are, and what stands around them in a namespace."""

    name: str
    images: dict[str, str]
    functions: tuple[FunctionEntry, ...]
    schema: str
    """The newest migration, which `migrate` brings a database to."""
    contraction: str = ""
    """The newest of those that take something away, which `contract` runs once every tenant is past; empty: none."""
    policies: tuple[Manifest, ...]
    """Walls, quota and budgets (manifests/base/policies), without the namespace."""
    broker: tuple[Manifest, ...]
    jobs: tuple[Manifest, ...]
    settings: dict[str, str]
    components: dict[str, Component]


def release(name: str, images: Mapping[str, str], manifests: Path) -> Release:
    """This code's release. `images`: image (api, identity, media, speech) to its reference, best with a digest."""
    if missing := sorted({image.value for image in Image} - set(images)):
        raise Invalid(f"Say where the images {', '.join(missing)} are: --image {missing[0]}=REGISTRY/NAME@sha256:…")
    from auricle.runtime.database import newest_contraction, newest_revision

    said = yaml.safe_load((manifests / "base/settings/kustomization.yaml").read_text())
    return Release(
        name=name,
        images={image.value: images[image.value] for image in Image},
        functions=tuple(catalogue()),
        schema=newest_revision(),
        contraction=newest_contraction(),
        policies=tuple(m for m in objects_in(manifests / "base/policies") if m["kind"] != "Namespace"),
        broker=tuple(objects_in(manifests / "base/eventing")),
        jobs=tuple(m for file in JOBS for m in objects_in(manifests / "base/jobs" / file)),
        settings=_literals(said["configMapGenerator"]),
        components={
            component: read(manifests / "components" / component, beside=beside) for component, beside in COMPONENTS.items()
        },
    )


def config_map(made: Release, namespace: str = SYSTEM) -> Manifest:
    """`made` as the operator finds it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{PREFIX}{made.name}",
            "namespace": namespace,
            "labels": {LABEL: made.name, "app.kubernetes.io/part-of": "auricle"},
        },
        "immutable": True,
        "data": {KEY: msgspec.json.encode(made).decode()},
    }


def decoded(found: Manifest) -> Release:
    """The release in a ConfigMap."""
    try:
        return msgspec.json.decode(found["data"][KEY], type=Release)
    except (KeyError, msgspec.MsgspecError) as error:
        name = found["metadata"]["name"]
        raise Invalid(f"ConfigMap {name} holds no release that can be read: {error}. Apply it again.") from error


def _literals(generators: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    (settings,) = (made for made in generators if made["name"] == SETTINGS)
    return dict(line.split("=", 1) for line in settings["literals"])

"""kustomize's Components, read as data, so that the operator applies the very files that `manifests/overlays` are made of.

Only what our components use: resources, nested components, settings (`configMapGenerator` with `behavior: merge` of
`auricle-settings`) and patches (JSON patches, and merges of mappings). Anything else in a file is refused by name.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonpatch
import msgspec
import yaml

from auricle.deploy.render import SETTINGS, Manifest
from auricle.errors import Invalid

LOCAL = "config.kubernetes.io/local-config"
"""Annotation of what only kustomize itself reads."""
KNOWN = frozenset({"apiVersion", "kind", "resources", "components", "configMapGenerator", "patches"})


class Target(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Which objects a patch is for. Names and kinds are regular expressions, as kustomize takes them."""

    group: str | None = None
    version: str | None = None
    kind: str | None = None
    name: str | None = None
    label_selector: str | None = None

    def takes(self, manifest: Manifest) -> bool:
        """Whether `manifest` is meant."""
        group, _, version = manifest["apiVersion"].rpartition("/")
        metadata = manifest["metadata"]
        return (
            self.group in (None, group)
            and self.version in (None, version)
            and (self.kind is None or re.fullmatch(self.kind, manifest["kind"]) is not None)
            and (self.name is None or re.fullmatch(self.name, metadata["name"]) is not None)
            and (self.label_selector is None or selects(self.label_selector, metadata.get("labels", {})))
        )


class Patch(msgspec.Struct, frozen=True, kw_only=True):
    """One patch: `operations` (RFC 6902), or what to `merge` in."""

    target: Target
    operations: tuple[Manifest, ...] = ()
    merge: Manifest | None = None

    def applied(self, manifest: Manifest) -> Manifest:
        """`manifest` after it, if it is meant."""
        if not self.target.takes(manifest):
            return manifest
        if self.merge is not None:
            said = {key: value for key, value in self.merge.items() if key not in ("apiVersion", "kind")}
            both: Manifest = merged(manifest, {**said, "metadata": _without_name(said.get("metadata", {}))})
            return both
        try:
            patched: Manifest = dict(jsonpatch.apply_patch(manifest, list(self.operations)))
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise Invalid(f"A patch does not fit {manifest['kind']} {manifest['metadata']['name']}: {error}") from error
        return patched


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """What one adds: objects, settings, patches of what is there."""

    resources: tuple[Manifest, ...] = ()
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    patches: tuple[Patch, ...] = ()

    def applied(self, manifests: Iterable[Manifest]) -> list[Manifest]:
        """`manifests` and ours, patched."""
        found = [*copy.deepcopy(list(manifests)), *copy.deepcopy(list(self.resources))]
        for patch in self.patches:
            found = [patch.applied(manifest) for manifest in found]
        return found


def read(folder: Path, *, beside: Collection[str] = ()) -> Component:
    """The component in `folder`. `beside` names parts of its file that whoever reads does otherwise (`replacements`)."""
    said = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := sorted(set(said) - KNOWN - set(beside)):
        raise Invalid(f"{folder.name}/kustomization.yaml has {', '.join(unknown)}, which is not read here.")
    nested = [read(folder / name, beside=beside) for name in said.get("components", ())]
    files = [folder / name for name in said.get("resources", ())]
    own = [manifest for file in files for manifest in objects_in(file)]
    return Component(
        resources=(*(r for n in nested for r in n.resources), *own),
        settings={**{k: v for n in nested for k, v in n.settings.items()}, **_settings(said, folder)},
        patches=(*(p for n in nested for p in n.patches), *patches_of(said.get("patches", ()))),
    )


def objects_in(file: Path) -> list[Manifest]:
    """The objects of a YAML file, or of a folder with a plain kustomization; not those that only kustomize reads."""
    if file.is_dir():
        listed = yaml.safe_load((file / "kustomization.yaml").read_text())
        return [m for name in listed.get("resources", ()) for m in objects_in(file / name)]
    found = [m for m in yaml.safe_load_all(file.read_text()) if m]
    return [m for m in found if LOCAL not in m["metadata"].get("annotations", {})]


def patches_of(said: Sequence[Mapping[str, Any]]) -> tuple[Patch, ...]:
    """kustomize's `patches:`."""
    found = []
    for one in said:
        body = yaml.safe_load(one["patch"]) if isinstance(one["patch"], str) else one["patch"]
        target = msgspec.convert(dict(one["target"]), Target)
        many = isinstance(body, list)
        found.append(Patch(target=target, operations=tuple(body) if many else (), merge=None if many else body))
    return tuple(found)


def merged(manifest: Any, more: Any) -> Any:
    """Mappings by key, None takes one away; everything else is replaced."""
    if not (isinstance(manifest, Mapping) and isinstance(more, Mapping)):
        return copy.deepcopy(more)
    left = {key: value for key, value in manifest.items() if more.get(key, ...) is not None}
    return {**left, **{key: merged(left.get(key), value) for key, value in more.items() if value is not None}}


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Kubernetes' label selectors, as far as our patches use them: `a=b`, `a in (b, c)`, with commas."""
    for part in re.split(r",(?![^(]*\))", selector):
        if several := re.fullmatch(r"\s*(\S+)\s+in\s+\(([^)]*)\)\s*", part):
            if labels.get(several[1]) not in [word.strip() for word in several[2].split(",")]:
                return False
        elif one := re.fullmatch(r"\s*([^=\s]+)\s*==?\s*(\S+)\s*", part):
            if labels.get(one[1]) != one[2]:
                return False
        else:
            raise Invalid(f"The label selector “{selector}” cannot be read.")
    return True


def _settings(said: Mapping[str, Any], folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for made in said.get("configMapGenerator", ()):
        if (made.get("name"), made.get("behavior"), "files" in made) != (SETTINGS, "merge", False):
            raise Invalid(f"{folder.name}/kustomization.yaml makes a ConfigMap {made.get('name')}, which is not read here.")
        found |= dict(line.split("=", 1) for line in made["literals"])
    return found


def _without_name(metadata: Mapping[str, Any]) -> Manifest:
    return {key: value for key, value in metadata.items() if key != "name"}

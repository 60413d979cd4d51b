"""A release as data, and kustomize's components read as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from auricle.deploy.catalogue import catalogue
from auricle.deploy.components import Component, patches_of, read, selects
from auricle.deploy.generated import MANIFESTS
from auricle.deploy.release import COMPONENTS, config_map, decoded, release
from auricle.deploy.render import render, units
from auricle.errors import Invalid
from builders.operator_tenants import IMAGES, this_release


def thing(**metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "files", "labels": {"auricle.dev/scale": "interactive"}, **metadata},
        "spec": {"a": {"b": 1}, "list": [1, 2]},
    }


def patched(manifest: dict[str, Any], target: dict[str, str], patch: Any) -> dict[str, Any]:
    body = patch if isinstance(patch, str) else yaml.safe_dump(patch)
    (found,) = Component(patches=patches_of([{"target": target, "patch": body}])).applied([manifest])
    return found


def test_a_release_comes_out_of_its_config_map_as_it_went_in() -> None:
    made = this_release("r1")
    assert decoded(config_map(made)) == made
    assert {entry.name for entry in made.functions} == {entry.name for entry in catalogue()}
    assert len(msgspec.json.encode(config_map(made))) < 900_000  # etcd takes a mebibyte


def test_the_pods_of_each_job_are_those_that_the_walls_let_out() -> None:
    for job in (m for m in this_release("r1").jobs if m["kind"] == "Job"):
        assert job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == job["metadata"]["name"]


def test_a_release_says_which_image_is_missing() -> None:
    with pytest.raises(Invalid, match="speech"):
        release("r1", {name: IMAGES[name] for name in ("api", "identity", "media")}, MANIFESTS)


def test_a_config_map_that_holds_no_release_says_so() -> None:
    with pytest.raises(Invalid, match="no release"):
        decoded({"metadata": {"name": "release-x"}, "data": {"release.json": "{}"}})


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_that_tenants_have_can_be_read_and_fits_our_functions(name: str) -> None:
    component = read(MANIFESTS / "components" / name, beside=COMPONENTS[name])
    assert component.patches or component.resources
    ours = this_release("r1").functions
    assert component.applied(m for objects in render(units(ours)).values() for m in objects)


def test_merges_keep_what_they_do_not_name_and_none_takes_away() -> None:
    found = patched(thing(), {"kind": "Service"}, {"metadata": {"name": "any"}, "spec": {"a": {"c": 2}, "list": None}})
    assert found["metadata"]["name"] == "files"
    assert found["spec"] == {"a": {"b": 1, "c": 2}}


def test_operations_follow_rfc_6902_and_one_that_does_not_fit_names_its_object() -> None:
    found = patched(thing(), {"kind": "Service"}, "- {op: add, path: /spec/list/-, value: 3}")
    assert found["spec"]["list"] == [1, 2, 3]
    with pytest.raises(Invalid, match="Service files"):
        patched(thing(), {"kind": "Service"}, "- {op: replace, path: /spec/none/x, value: 3}")


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ({"kind": "Service", "group": "serving.knative.dev"}, True),
        ({"kind": "Service", "group": "apps"}, False),
        ({"name": "files|access"}, True),
        ({"name": "file"}, False),
        ({"labelSelector": "auricle.dev/scale in (stream, interactive)"}, True),
        ({"labelSelector": "auricle.dev/scale=gpu"}, False),
    ],
)
def test_targets_choose_as_kustomizes_do(target: dict[str, str], meant: bool) -> None:
    assert ("x" in patched(thing(), target, {"spec": {"x": 1}})["spec"]) is meant


def test_a_selector_that_is_not_understood_is_refused() -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        selects("a notin (b)", {})


def test_what_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("kind: Component\nreplacements: []\n")
    with pytest.raises(Invalid, match="replacements"):
        read(tmp_path)
    assert read(tmp_path, beside=("replacements",)) == Component()

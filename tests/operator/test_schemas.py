"""The operator's kinds as the API server learns of them, as far as that can be seen without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import msgspec
import pytest
from jsonschema import Draft202012Validator

from auricle_operator import generated
from auricle_operator.api.crds import RESOURCES, Resource, definition
from auricle_operator.api.rules import Rule, Written, about
from auricle_operator.api.schema import Place, Schema, resource, structural
from auricle_operator.cluster import MODELS, SECRETS, TENANTS, Manifest
from builders.operator_rules import ROWS, SPECS, Row, example, resource_of, rules


def test_every_rule_has_an_example_that_it_rejects_and_one_that_it_accepts() -> None:
    assert sorted(row.rule for row in ROWS) == sorted((holder, rule.message) for holder, rule in rules())


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_a_rule_rejects_is_fine_but_for_the_rule(row: Row) -> None:
    for manifest in filter(None, (row.rejected, row.accepted, row.before)):
        assert faults(manifest) == []
        msgspec.convert(manifest["spec"], resource_of(row.kind).spec)


def test_what_is_committed_was_made_from_the_types() -> None:
    assert {path.name for path, text in generated.files().items() if not path.exists() or path.read_text() != text} == set()
    assert generated.superfluous() == []


@pytest.mark.parametrize("kind", RESOURCES, ids=lambda kind: kind.kind)
def test_schemas_are_structural(kind: Resource) -> None:
    found = list(parts(schema_of(kind)))
    assert all(part["type"] in {"object", "array", "string", "integer", "boolean"} for _, part in found)
    assert [path for path, part in found if {"$ref", "anyOf", "oneOf", "allOf", "nullable"} & part.keys()] == []
    assert [path for path, part in found if "properties" in part and "additionalProperties" in part] == []
    for _, part in found:
        Draft202012Validator.check_schema(part)


@pytest.mark.parametrize("kind", RESOURCES, ids=lambda kind: kind.kind)
def test_lists_that_are_sets_or_maps_hold_what_can_be_told_apart(kind: Resource) -> None:
    for path, part in parts(schema_of(kind)):
        match part.get("x-kubernetes-list-type"):
            case "set":
                assert part["items"]["type"] == "string", path
            case "map":
                assert set(part["x-kubernetes-list-map-keys"]) <= set(part["items"]["required"]), path


@pytest.mark.parametrize("kind", RESOURCES, ids=lambda kind: kind.kind)
def test_the_api_servers_defaults_are_those_of_the_operator(kind: Resource) -> None:
    said = SPECS[kind.kind]
    there = filled(schema_of(kind)["properties"]["spec"], said)
    assert there != said
    assert faults({**example(kind.kind), "spec": there}) == []
    assert msgspec.convert(there, kind.spec) == msgspec.convert(said, kind.spec)


@pytest.mark.parametrize("kind", RESOURCES, ids=lambda kind: kind.kind)
def test_a_status_that_the_operator_writes_fits(kind: Resource) -> None:
    written = msgspec.to_builtins(kind.status())
    assert faults({**example(kind.kind), "status": written}) == []
    assert "default" not in str(schema_of(kind)["properties"]["status"]["properties"])
    assert schema_of(kind)["properties"]["status"]["properties"]["observedGeneration"]["type"] == "integer"


@pytest.mark.parametrize("kind", RESOURCES, ids=lambda kind: kind.kind)
def test_columns_show_fields_that_exist(kind: Resource) -> None:
    there = {path for path, _ in parts(schema_of(kind))} | {".metadata.creationTimestamp"}
    for column in kind.columns:
        path, filtered, field = column.path.partition("[?(@.type==")
        assert (f"{path}.*.{field.rpartition('.')[2]}" if filtered else path) in there, column


def test_definitions_say_what_the_operator_asks_for() -> None:
    for ours, kind in zip((TENANTS, SECRETS, MODELS), RESOURCES, strict=True):
        spec = definition(kind)["spec"]
        (version,) = spec["versions"]
        assert f"{spec['group']}/{version['name']}" == ours.api_version
        assert (spec["names"]["kind"], spec["names"]["plural"]) == (ours.name, ours.plural)
        assert (spec["scope"] == "Namespaced") == ours.namespaced
        assert spec["names"]["categories"] == ["auricle"]
        assert version["subresources"] == {"status": {}}


class Moving(Written, frozen=True):
    word: Annotated[str, about("A word.", max_length=3)] = ""
    RULES: ClassVar[tuple[Rule, ...]] = (Rule("self.word == oldSelf.word", "It stays."),)


class Always(Written, frozen=True):
    moving: Moving = Moving()


class Sometimes(Written, frozen=True):
    moving: Moving | None = None


class Listed(Written, frozen=True):
    moving: Annotated[tuple[Moving, ...], about("Some.", max_length=3)] = ()


class Endless(Written, frozen=True):
    words: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=3)], ...], about("Some.")] = ()


class Nothing(Written, frozen=True):
    pass


def test_a_rule_about_changes_stands_only_where_something_always_is() -> None:
    assert resource(Always, Nothing, (), "")["properties"]["spec"]["properties"]["moving"]["default"] == {"word": ""}
    for kind in (Sometimes, Listed):
        with pytest.raises(TypeError, match=r"spec\.moving.*got around"):
            resource(kind, Nothing, (), "")


def test_what_people_write_has_bounds() -> None:
    with pytest.raises(TypeError, match=r"spec\.words: say maxItems"):
        resource(Endless, Nothing, (), "")
    assert resource(Nothing, Endless, (), "")["properties"]["status"]["properties"]["words"]["type"] == "array"


@pytest.mark.parametrize("kind", [int | str, float, dict[int, str]])
def test_a_type_that_has_no_word_is_named(kind: Any) -> None:
    with pytest.raises(TypeError, match="here"):
        structural(msgspec.inspect.type_info(kind), Place(path="here", written=True))


def schema_of(kind: Resource) -> Schema:
    found: Schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def faults(manifest: Manifest) -> list[str]:
    """What is wrong with an object, rules aside."""
    validator = Draft202012Validator(schema_of(resource_of(manifest["kind"])))
    return [error.message for error in validator.iter_errors(manifest)]


def parts(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema within one, by path; items of lists and maps are `*`."""
    yield path, schema
    inner = dict(schema.get("properties", {}))
    if repeated := schema.get("items", schema.get("additionalProperties")):
        inner["*"] = repeated
    for name, part in inner.items():
        yield from parts(part, f"{path}.{name}")


def filled(schema: Schema, value: Any) -> Any:
    """With defaults, as the API server fills them in."""
    if isinstance(value, list):
        return [filled(schema["items"], item) for item in value]
    if not isinstance(value, dict):
        return value
    if "additionalProperties" in schema:
        return {name: filled(schema["additionalProperties"], part) for name, part in value.items()}
    known = schema.get("properties", {})
    whole = {name: part["default"] for name, part in known.items() if "default" in part} | value
    return {name: filled(known[name], part) for name, part in whole.items()}

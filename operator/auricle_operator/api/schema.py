"""The types of this package as structural schemas (OpenAPI v3 as the API server takes it): no $ref, no anyOf."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as types

from auricle_operator.api.rules import Rule

Schema = dict[str, Any]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a resource a type stands."""

    path: str
    written: bool
    """By people: then defaults are stated, and everything must be bounded, or the API server cannot reckon what rules cost."""
    always: bool = True
    """There before and after every change: only there is a rule checked that compares with `oldSelf`."""

    def into(self, name: str, *, always: bool = True) -> Place:
        """A field, or the items of a list or map."""
        return Place(path=f"{self.path}.{name}", written=self.written, always=self.always and always)


def resource(spec: type[msgspec.Struct], status: type[msgspec.Struct], rules: Sequence[Rule], text: str) -> Schema:
    """Of a whole resource; `rules` speak of its metadata. A type that cannot be said, or has no bound, is a TypeError."""
    return {
        "type": "object",
        "description": text,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(types.type_info(spec), Place(path="spec", written=True)),
            "status": structural(types.type_info(status), Place(path="status", written=False, always=False)),
        },
        "x-kubernetes-validations": [_validation(rule) for rule in rules],
    }


def structural(kind: types.Type, place: Place) -> Schema:
    """Of one type."""
    match kind:
        case types.Metadata(type=inner, extra_json_schema=extra):
            return structural(inner, place) | (extra or {})
        case types.UnionType(types=choices):
            return structural(_only(choices, place), place)
        case types.StructType():
            return _object(kind, place)
        case types.DictType(key_type=types.StrType(), value_type=value, max_length=most):
            items = structural(value, place.into("*", always=False))
            return {"type": "object", "additionalProperties": items} | _bounds(place, maxProperties=most)
        case types.VarTupleType(item_type=item, min_length=least, max_length=most):
            items = structural(item, place.into("*", always=False))
            return {"type": "array", "items": items} | _bounds(place, minItems=least, maxItems=most)
        case types.EnumType(cls=words):
            return {"type": "string", "enum": [word.value for word in words]}
        case types.StrType(min_length=least, max_length=most, pattern=pattern):
            return {"type": "string"} | _bounds(place, minLength=least, maxLength=most) | _said(pattern=pattern)
        case types.IntType(ge=least, le=most):
            return {"type": "integer", "format": "int64"} | _said(minimum=least, maximum=most)
        case types.BoolType():
            return {"type": "boolean"}
    raise TypeError(f"{place.path}: {kind} has no word in a structural schema")


def _object(kind: types.StructType, place: Place) -> Schema:
    rules: Sequence[Rule] = getattr(kind.cls, "RULES", ())
    for rule in rules:
        if "oldSelf" in rule.cel and not place.always:
            raise TypeError(f"{place.path}: not there before every change, so {rule.cel!r} could be got around")
    said: Schema = {"type": "object", "description": inspect.getdoc(kind.cls)}
    if kind.fields:
        said["properties"] = {field.encode_name: _field(field, place) for field in kind.fields}
    if required := [field.encode_name for field in kind.fields if field.required]:
        said["required"] = required
    if rules:
        said["x-kubernetes-validations"] = [_validation(rule) for rule in rules]
    return said


def _field(field: types.Field, place: Place) -> Schema:
    default = _default(field)
    said = structural(field.type, place.into(field.encode_name, always=field.required or default is not None))
    return said | ({"default": default} if place.written and default is not None else {})


def _default(field: types.Field) -> Any:
    """What the API server fills in; None where nothing is."""
    value = field.default if field.default is not NODEFAULT else None
    if value is None and field.default_factory is not NODEFAULT:
        value = field.default_factory()
    return _whole(value)


def _whole(value: Any) -> Any:
    """With what is left out of it elsewhere: rules look at a default before the defaults within it are filled in."""
    if isinstance(value, msgspec.Struct):
        found = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
        return {name: _whole(part) for name, part in found.items() if part is not None}
    return [_whole(item) for item in value] if isinstance(value, tuple) else msgspec.to_builtins(value)


def _only(choices: Sequence[types.Type], place: Place) -> types.Type:
    """What an optional field holds. It is left out and never null: `omit_defaults` sees to it on our side."""
    left = [choice for choice in choices if not isinstance(choice, types.NoneType)]
    if len(left) != 1:
        raise TypeError(f"{place.path}: a field has one type, not {len(left)}")
    return left[0]


def _bounds(place: Place, **bounds: int | None) -> Schema:
    missing = [name for name, bound in bounds.items() if bound is None and name.startswith("max")]
    if place.written and missing:
        raise TypeError(f"{place.path}: say {missing[0]} (max_length), or the API server takes it for endless")
    return _said(**bounds)


def _said(**words: Any) -> Schema:
    return {name: word for name, word in words.items() if word is not None}


def _validation(rule: Rule) -> Schema:
    return {"rule": rule.cel, "message": rule.message}

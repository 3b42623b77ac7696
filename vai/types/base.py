"""The base of all wire objects.

Invariants: a wire object is an immutable value, its fields have the names of the Messages API,
and it keeps members that VAI does not know. Members without a field are in `extra`; an object
of an unknown type is complete in `raw`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

__all__ = ["OpenStruct", "Unknown", "build_struct", "to_wire"]

T = TypeVar("T", bound="OpenStruct")


class OpenStruct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A JSON object that keeps its unknown members in `extra`, in their order."""

    extra: dict[str, Any] = {}


class Unknown(OpenStruct, frozen=True, kw_only=True):
    """A JSON object of a type that VAI does not know, unchanged."""

    raw: dict[str, Any]


def build_struct(cls: type[T], raw: dict[str, Any], /, **parsed: Any) -> T:
    """Make `cls` from a JSON object: check the fields and keep unknown members.

    `parsed` holds the fields whose wire objects the caller has already built.

    Raises:
        msgspec.ValidationError: a field is missing or of a wrong type; the text ends
            with the path below this object.
    """
    names = _JSON_NAMES.get(cls) or _json_names(cls)
    tag = cls.__struct_config__.tag
    if raw.keys() <= names and (tag is None or raw.get("type") == tag):
        return msgspec.convert({**raw, **parsed} if parsed else raw, cls)
    members: dict[str, Any] = {"extra": {}}
    for name, value in raw.items():
        if name in names:
            members[name] = value
        else:
            members["extra"][name] = value
    members.update(parsed)
    if tag is not None:
        members["type"] = tag
    return msgspec.convert(members, cls)


_JSON_NAMES: dict[type, frozenset[str]] = {}


def _json_names(cls: type[OpenStruct]) -> frozenset[str]:
    """The JSON names of the fields of `cls`."""
    names = set(cls.__struct_fields__) - {"extra"}
    if cls.__struct_config__.tag is not None:
        names.add("type")
    return _JSON_NAMES.setdefault(cls, frozenset(names))


def to_wire(value: Any) -> Any:
    """The JSON form of a wire object, unknown members included, as plain dicts and lists."""
    if isinstance(value, Unknown):
        return value.raw
    if isinstance(value, OpenStruct):
        tag, fields = _FIELD_PLANS.get(type(value)) or _field_plan(type(value))
        wire: dict[str, Any] = {} if tag is None else {"type": tag}
        for name, default in fields:
            field = getattr(value, name)
            if field != default:
                wire[name] = to_wire(field) if isinstance(field, OpenStruct | list) else field
        if value.extra:
            wire.update(value.extra)
        return wire
    if isinstance(value, list):
        return [to_wire(item) for item in value]
    return value


_FieldPlan = tuple[Any, tuple[tuple[str, Any], ...]]

_FIELD_PLANS: dict[type, _FieldPlan] = {}

_ALWAYS = object()
"""Replaces the default of a field that has none: no value is equal to it."""


def _field_plan(cls: type[OpenStruct]) -> _FieldPlan:
    """The tag of `cls`, and the name and the default of each of its fields."""
    fields = []
    for field in msgspec.structs.fields(cls):
        default: Any = _ALWAYS
        if field.default is not msgspec.NODEFAULT:
            default = field.default
        elif field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if field.name != "extra":
            fields.append((field.name, default))
    return _FIELD_PLANS.setdefault(cls, (cls.__struct_config__.tag, tuple(fields)))

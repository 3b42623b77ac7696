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
    names, tag = _JSON_NAMES.get(cls) or _json_names(cls)
    if names.issuperset(raw) and (tag is None or raw.get("type") == tag):
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


_JSON_NAMES: dict[type, tuple[frozenset[str], Any]] = {}


def _json_names(cls: type[OpenStruct]) -> tuple[frozenset[str], Any]:
    """The JSON names of the fields of `cls`, and its tag."""
    names = set(cls.__struct_fields__) - {"extra"}
    tag = cls.__struct_config__.tag
    if tag is not None:
        names.add("type")
    return _JSON_NAMES.setdefault(cls, (frozenset(names), tag))


def to_wire(value: Any) -> Any:
    """The JSON form of a wire object, unknown members included, as plain dicts and lists."""
    # The exact type decides: `isinstance` asks the metaclass of a struct, which is far slower.
    kind = type(value)
    if kind is list:
        return [to_wire(item) for item in value]
    plan = _FIELD_PLANS.get(kind)
    if plan is None:
        if kind in _PLAIN or not isinstance(value, OpenStruct):
            return value
        plan = _field_plan(kind)
    tag, fields = plan
    if fields is None:
        return value.raw
    wire: dict[str, Any] = {} if tag is None else {"type": tag}
    for name, default in fields:
        field = getattr(value, name)
        if field is not default and (default is _ALWAYS or field != default):
            wire[name] = field if type(field) in _PLAIN else to_wire(field)
    if value.extra:
        wire.update(value.extra)
    return wire


_PLAIN = frozenset({str, int, float, bool, dict, type(None)})
"""Types of JSON values that hold no wire object."""

_FieldPlan = tuple[Any, tuple[tuple[str, Any], ...] | None]

_FIELD_PLANS: dict[type, _FieldPlan] = {}

_ALWAYS = object()
"""Replaces the default of a field that has none: no value is equal to it."""


def _field_plan(cls: type[OpenStruct]) -> _FieldPlan:
    """The tag of `cls`, and the name and the default of each of its fields; None for the fields of
    an `Unknown`, whose JSON form is complete."""
    if issubclass(cls, Unknown):
        return _FIELD_PLANS.setdefault(cls, (None, None))
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

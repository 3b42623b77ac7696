"""The ground all wire objects stand on.

The law of this package: a wire object is an immutable value, it has the names of the
Messages API, and what VAI does not know survives. Members without a field of their
own are kept in `extra`; objects of an unknown type are kept whole in `raw`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

__all__ = ["OpenStruct", "Unknown", "build", "to_wire"]

T = TypeVar("T", bound="OpenStruct")


class OpenStruct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A JSON object whose unknown members are kept in `extra`, in their order."""

    extra: dict[str, Any] = {}


class Unknown(OpenStruct, frozen=True, kw_only=True):
    """A JSON object of a type that VAI does not know, kept as it came."""

    raw: dict[str, Any]


def build(cls: type[T], raw: dict[str, Any], /, **parsed: Any) -> T:
    """Make `cls` from a JSON object: checks the fields, keeps unknown members.

    `parsed` holds the fields whose wire objects the caller has already built.

    Raises:
        msgspec.ValidationError: a field is missing or of a wrong type; the text ends
            with the path below this object.
    """
    names = _NAMES.get(cls) or _names(cls)
    tag = cls.__struct_config__.tag
    if raw.keys() <= names and (tag is None or raw.get("type") == tag):
        return msgspec.convert({**raw, **parsed} if parsed else raw, cls)
    known: dict[str, Any] = {"extra": {}}
    for name, value in raw.items():
        if name in names:
            known[name] = value
        else:
            known["extra"][name] = value
    known.update(parsed)
    if tag is not None:
        known["type"] = tag
    return msgspec.convert(known, cls)


_NAMES: dict[type, frozenset[str]] = {}


def _names(cls: type[OpenStruct]) -> frozenset[str]:
    """The JSON names that `cls` has a place for."""
    names = set(cls.__struct_fields__) - {"extra"}
    if cls.__struct_config__.tag is not None:
        names.add("type")
    return _NAMES.setdefault(cls, frozenset(names))


def to_wire(value: Any) -> Any:
    """The JSON form of a wire object, unknown members included, as plain dicts and lists."""
    if isinstance(value, Unknown):
        return value.raw
    if isinstance(value, OpenStruct):
        tag, fields = _PLANS.get(type(value)) or _plan(type(value))
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


_Plan = tuple[Any, tuple[tuple[str, Any], ...]]

_PLANS: dict[type, _Plan] = {}

_ALWAYS = object()
"""Stands for the default of a field that has none: no value is equal to it."""


def _plan(cls: type[OpenStruct]) -> _Plan:
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
    return _PLANS.setdefault(cls, (cls.__struct_config__.tag, tuple(fields)))

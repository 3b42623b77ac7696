"""The ground all wire objects stand on.

The law of this package: a wire object is an immutable value, it has the names of the
Messages API, and what VAI does not know survives. Members without a field of their
own are kept in `extra`; objects of an unknown type are kept whole in `raw`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

__all__ = ["Open", "Unknown", "build", "to_wire"]

T = TypeVar("T", bound="Open")


class Open(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A JSON object whose unknown members are kept in `extra`, in their order."""

    extra: dict[str, Any] = {}


class Unknown(Open, frozen=True, kw_only=True):
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


def _names(cls: type[Open]) -> frozenset[str]:
    """The JSON names that `cls` has a place for."""
    names = set(cls.__struct_fields__) - {"extra"}
    if cls.__struct_config__.tag is not None:
        names.add("type")
    return _NAMES.setdefault(cls, frozenset(names))


def to_wire(value: Any) -> Any:
    """The JSON form of a wire object, unknown members included, as plain dicts and lists."""
    if isinstance(value, Unknown):
        return value.raw
    if isinstance(value, Open):
        wire: dict[str, Any] = {}
        if value.__struct_config__.tag is not None:
            wire["type"] = value.__struct_config__.tag
        defaults = _defaults(type(value))
        for name in value.__struct_fields__:
            field = getattr(value, name)
            if name != "extra" and not (name in defaults and field == defaults[name]):
                wire[name] = to_wire(field)
        wire.update(value.extra)
        return wire
    if isinstance(value, list):
        return [to_wire(item) for item in value]
    return value


_DEFAULTS: dict[type, dict[str, Any]] = {}


def _defaults(cls: type[Open]) -> dict[str, Any]:
    """Field name -> default, for the fields that have one."""
    found = _DEFAULTS.get(cls)
    if found is None:
        found = {}
        for field in msgspec.structs.fields(cls):
            if field.default is not msgspec.NODEFAULT:
                found[field.name] = field.default
            elif field.default_factory is not msgspec.NODEFAULT:
                found[field.name] = field.default_factory()
        _DEFAULTS[cls] = found
    return found

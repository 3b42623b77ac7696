"""JSON with members of wrong types -> the objects that VAI reads.

The strict decoder is fast and refuses a whole object for one member: an empty list where PHP
servers mean an empty object, a number for a name, a null in a list. Where it refuses, this module
fits the value: a member of a wrong type counts as absent, all others stay.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect
from msgspec.structs import fields

from vai.codec.halves import SplitCharacters

__all__ = ["LenientDecoder", "fit_object", "is_error"]

S = TypeVar("S", bound=msgspec.Struct)


class LenientDecoder:
    """Reads, in order, the texts of a stream that a strict decoder refused."""

    def __init__(self) -> None:
        self._halves = SplitCharacters()
        self.waits = False
        """Whether this decoder must read the next text: the last one ended in half a character."""

    def read_objects(self, data: bytes, cls: type[S]) -> list[S] | None:
        """The objects in `data`, fitted to `cls`: one, those of an array, or one for each line.

        JSON of another type holds none. None means that the text is damaged.
        """
        values = self._decode_values(data)
        self.waits = self._halves.is_waiting
        if values is None:
            return None
        if len(values) == 1 and isinstance(values[0], list):
            values = values[0]
        return [fit_object(value, cls) for value in values if isinstance(value, dict)]

    def _decode_values(self, data: bytes) -> list[Any] | None:
        """The value of a text, or of each of its lines; None if it is damaged."""
        with suppress(ValueError, RecursionError):
            return [self._halves.loads(data)]
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2:
            return None
        try:
            return [self._halves.loads(line) for line in lines]
        except (ValueError, RecursionError):
            return None


def fit_object(value: dict[str, Any], cls: type[S]) -> S:
    """`value` as an object of `cls`; all members of `cls` must have defaults."""
    members: dict[str, Any] = {}
    for name, field, kind in _field_plan(cls):
        if name in value:
            member = _fit_value(value[name], kind)
            if member is not None:
                members[field] = member
    return cls(**members)


def is_error(value: Any) -> bool:
    """Whether `value` reports an error; the empty members that some servers send do not."""
    return any(map(is_error, value.values())) if isinstance(value, dict) else bool(value)


@cache
def _field_plan(cls: type[msgspec.Struct]) -> list[tuple[str, str, inspect.Type]]:
    return [(field.encode_name, field.name, inspect.type_info(field.type)) for field in fields(cls)]


def _fit_value(value: Any, kind: inspect.Type) -> Any:
    """`value` as `kind`; None if it does not fit."""
    if isinstance(kind, inspect.UnionType):
        fits = (_fit_value(value, one) for one in kind.types)
        return next((fit for fit in fits if fit is not None), None)
    if isinstance(kind, inspect.StructType):
        return fit_object(value, kind.cls) if isinstance(value, dict) else None
    if isinstance(kind, inspect.ListType):
        items = [value] if isinstance(value, dict) and value else value
        if not isinstance(items, list):
            return None
        items = [_fit_value(item, kind.item_type) for item in items]
        return [item for item in items if item is not None]
    if isinstance(kind, inspect.DictType):
        return value if isinstance(value, dict) else None
    if isinstance(kind, inspect.StrType):
        return _fit_text(value)
    if isinstance(kind, inspect.IntType):
        return _fit_number(value)
    if isinstance(kind, inspect.BoolType):
        return value if isinstance(value, bool) else None
    if isinstance(kind, inspect.RawType):
        return msgspec.Raw(msgspec.json.encode(value)) if value is not None else None
    return value if isinstance(kind, inspect.AnyType) else None


def _fit_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else None


def _fit_number(value: Any) -> int | None:
    """A count; some servers send counts as strings or with a decimal point."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(float(value)) if not isinstance(value, int) else value
    except (ValueError, OverflowError):
        return None

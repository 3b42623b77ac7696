"""JSON Schema -> the part of it that Anthropic can enforce on a response.

Invariants: a response may be freer than the requested schema, never different.
A keyword that Anthropic cannot enforce becomes text in the description, where the model
still reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from vai.providers.translate.diagnostics import Diagnostics

__all__ = ["to_enforceable_schema"]

Schema = dict[str, Any]

_MAX_DEPTH: Final = 64
_FORMATS: Final = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"}
)
"""Formats that the SDK keeps in a schema: types of anthropic 2.12.0,
https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""
_SILENT: Final = frozenset({"$id", "$schema", "description"})


def to_enforceable_schema(schema: Schema, at: str, diagnostics: Diagnostics) -> Schema:
    """`schema` with only enforced keywords. `at` is its path in the request."""
    return _SchemaConverter(at, diagnostics).convert_schema(schema, 0)


class _SchemaConverter:
    def __init__(self, at: str, diagnostics: Diagnostics) -> None:
        self._at = at
        self._diagnostics = diagnostics

    def convert_schema(self, schema: Any, depth: int) -> Schema:
        if depth > _MAX_DEPTH:
            self._diagnostics.note_refused(self._at, f"expected at most {_MAX_DEPTH} levels")
            return {}
        if not isinstance(schema, dict):
            # "true" allows everything, as {} does; "false" has no form here.
            return {}
        converted: Schema = {}
        notes: Schema = {}
        for name, value in schema.items():
            if not self._keep_keyword(name, value, converted, depth) and name not in _SILENT:
                notes[name] = value
        if converted.get("type") == "object" or "properties" in converted:
            if schema.get("additionalProperties", False) is not False:
                self._diagnostics.note_dropped(f"{self._at}[additionalProperties]")
            notes.pop("additionalProperties", None)
            converted["additionalProperties"] = False
        words = [str(schema["description"])] if schema.get("description") else []
        words += [f"{name}: {_to_json(value)}" for name, value in notes.items()]
        if words:
            converted["description"] = "\n".join(words)
        return converted

    def _keep_keyword(self, name: str, value: Any, converted: Schema, depth: int) -> bool:
        """Whether `converted` now holds the keyword `name`."""
        test = _AS_IT_IS.get(name)
        if test is not None and test(value):
            converted[name] = value
        elif name in ("$defs", "definitions", "properties") and isinstance(value, dict):
            converted[name] = {
                key: self.convert_schema(item, depth + 1) for key, item in value.items()
            }
        elif name in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            keyword = "allOf" if name == "allOf" else "anyOf"
            if keyword in converted:
                return False
            converted[keyword] = [self.convert_schema(item, depth + 1) for item in value]
        elif name == "items" and isinstance(value, dict):
            converted[name] = self.convert_schema(value, depth + 1)
        else:
            return False
        return True


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int | float)


def _accept_any(_: Any) -> bool:
    return True


_AS_IT_IS: Final[dict[str, Callable[[Any], bool]]] = {
    "$ref": _accept_any,
    "const": _is_plain,
    "enum": lambda value: isinstance(value, list) and all(map(_is_plain, value)),
    "format": lambda value: isinstance(value, str) and value in _FORMATS,
    "minItems": lambda value: value in (0, 1),
    "required": lambda value: isinstance(value, list),
    "title": _accept_any,
    "type": _accept_any,
}
"""Keywords that Anthropic enforces, each with a test for the values."""


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

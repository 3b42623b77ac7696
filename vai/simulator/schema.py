"""A value that satisfies a JSON Schema.

Invariants: the value depends on the schema and the hints alone, and every
recursion ends: optional members stop at a shallow depth, required ones at a hard one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["Hints", "SchemaTooDeep", "example"]

_OPTIONAL_DEPTH: Final = 4
_DEPTH: Final = 32
_MOST_VALUES: Final = 10_000
_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2026-11-22T12:00:00Z",
    "date": "2026-11-22",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "ada@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "5f0c7d9e-1b2a-4c3d-8e4f-0123456789ab",
}
_NAME = re.compile(r"(?<!^)(?<![.!?] )\b[A-Z]\w{2,}")
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,6})?")


class SchemaTooDeep(ValueError):
    """A schema whose required members never end, or are too many."""


class Hints(msgspec.Struct, frozen=True):
    """What a question suggests for the values: its first proper name and number."""

    word: str = "example"
    number: float = 1.0

    @classmethod
    def of(cls, question: str) -> Hints:
        name, number = _NAME.search(question[:2000]), _NUMBER.search(question[:2000])
        return cls(name[0] if name else "example", float(number[0]) if number else 1.0)


def example(schema: Any, hints: Hints) -> Any:
    """Build a value for `schema`.

    Raises:
        SchemaTooDeep: its required members recurse without end.
    """
    return _Maker(schema, hints).make(schema, 0)


class _Maker:
    """One schema document, so that ``$ref`` can be resolved."""

    def __init__(self, root: Any, hints: Hints) -> None:
        self._root = root
        self._hints = hints
        self._values = 0

    def make(self, schema: Any, depth: int) -> Any:
        self._values += 1
        if depth > _DEPTH or self._values > _MOST_VALUES:
            raise SchemaTooDeep("schema nests without end")
        if not isinstance(schema, dict):
            return self._hints.word
        if "$ref" in schema:
            return self.make(self._resolve(schema["$ref"]), depth + 1)
        for fixed in ("const", "default"):
            if fixed in schema:
                return schema[fixed]
        if schema.get("enum"):
            return schema["enum"][0]
        for union in ("anyOf", "oneOf"):
            if schema.get(union):
                return self.make(self._variant(schema[union]), depth + 1)
        if schema.get("allOf"):
            return self.make(self._merged(schema), depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((k for k in kind if k != "null"), "null")
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                item = schema.get("items", {"type": "string"})
                return [
                    self.make(item, depth + 1) for _ in range(min(schema.get("minItems", 1), 64))
                ]
            case "boolean":
                return True
            case "null":
                return None
            case "integer" | "number":
                return self._number(schema, kind)
        return self._string(schema)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required") or []
        return {
            name: self.make(member, depth + 1)
            for name, member in (schema.get("properties") or {}).items()
            if name in required or depth < _OPTIONAL_DEPTH
        }

    def _number(self, schema: dict[str, Any], kind: str) -> float | int:
        value = self._hints.number
        if "exclusiveMinimum" in schema:
            value = max(value, schema["exclusiveMinimum"] + 1)
        if "exclusiveMaximum" in schema:
            value = min(value, schema["exclusiveMaximum"] - 1)
        value = min(value, schema.get("maximum", value))
        value = max(value, schema.get("minimum", value))
        step = schema.get("multipleOf")
        if step:
            value = -(-value // step) * step
        return int(value) if kind == "integer" or value == int(value) else value

    def _string(self, schema: dict[str, Any]) -> str:
        text = _FORMATS.get(schema.get("format", ""), self._hints.word)
        text = text.ljust(min(schema.get("minLength", 0), 10_000), "x")
        return text[: schema.get("maxLength", len(text))]

    def _resolve(self, ref: Any) -> Any:
        node = self._root
        for step in str(ref).removeprefix("#").strip("/").split("/"):
            if step:
                node = node.get(step, {}) if isinstance(node, dict) else {}
        return node

    @staticmethod
    def _variant(variants: list[Any]) -> Any:
        """The first variant that is not null: `null` would say nothing."""
        return next(
            (v for v in variants if not (isinstance(v, dict) and v.get("type") == "null")),
            variants[0],
        )

    def _merged(self, schema: dict[str, Any]) -> dict[str, Any]:
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            if isinstance(part, dict) and "$ref" in part:
                part = self._resolve(part["$ref"])
            if not isinstance(part, dict):
                continue
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", []), *part.get("required", [])]
            merged |= part
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged

"""JSON Schema -> the strict subset that structured output needs.

In the strict subset, every object lists all of its properties as required and allows no others.
An optional property becomes a nullable one, which is the server's form for "may be
missing". A schema whose meaning would change otherwise (open maps, conditions) stays
in the non-strict mode.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.decode.text_filter import WRAPPER

__all__ = ["InliningBudget", "NotStrict", "object_schema", "to_strict_schema", "with_object_root"]

Schema = dict[str, Any]

_MAX_DEPTH: Final = 64
_MAX_NODES: Final = 5000
_MAX_MEMBERS: Final = 50_000
"""Members of all nodes together: the conversion copies a node up to `_MAX_DEPTH` times."""
_MAX_INLINED: Final = 20_000
"""The most values that references in all schemas of one request may repeat."""
_UNSUPPORTED: Final = frozenset(
    {
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "patternProperties",
        "propertyNames",
        "unevaluatedProperties",
        "prefixItems",
        "contains",
        "uniqueItems",
        "minProperties",
        "maxProperties",
    }
)
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_NULL: Final[Schema] = {"type": "null"}


class NotStrict(Exception):
    """The schema has no strict form; the message states why."""


class InliningBudget:
    """The number of values that references may still repeat in one request.

    A reference of a few characters can stand for a schema of any size, and schemas can refer
    to each other in a chain that doubles with each link.
    """

    def __init__(self) -> None:
        self._left = _MAX_INLINED

    def charge_copy(self, schema: Schema) -> None:
        """Charge one more copy of `schema` to the budget.

        Raises:
            NotStrict: the request repeats too much.
        """
        level: list[Any] = [schema]
        while level:
            self._left -= len(level)
            if self._left < 0:
                raise NotStrict("references repeat too much of it")
            below: list[Any] = []
            for item in level:
                if isinstance(item, dict):
                    below.extend(item.values())
                elif isinstance(item, list):
                    below.extend(item)
            level = below


def object_schema(schema: Schema | None) -> Schema:
    """A tool's schema in the form that servers expect: an object with properties."""
    members = {
        name: value for name, value in (schema or {}).items() if name not in ("$schema", "$id")
    }
    if not members:
        return {"type": "object", "properties": {}}
    if members.get("type") == "object" and "properties" not in members:
        members["properties"] = {}
    return members


def with_object_root(schema: Schema) -> tuple[Schema, bool]:
    """The schema with an object at its root, and whether this function added the object."""
    inner = object_schema(schema)
    if inner.get("type") == "object":
        return inner, False
    moved = {name: inner.pop(name) for name in ("$defs", "definitions") if name in inner}
    root = {
        "type": "object",
        "properties": {WRAPPER: inner},
        "required": [WRAPPER],
        "additionalProperties": False,
    }
    return root | moved, True


def to_strict_schema(schema: Schema, inlining: InliningBudget) -> Schema:
    """The strict form of `schema`, whose root must be an object.

    Args:
        inlining: shared by all schemas of a request.

    Raises:
        NotStrict: the schema has no strict form.
    """
    root = _without_labels(schema)
    if root.get("type") != "object" or "anyOf" in root:
        raise NotStrict("the root must be a plain object")
    return _StrictConversion(root, inlining).convert_schema(root, 0)


def _without_labels(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name not in ("$schema", "$id")}


class _StrictConversion:
    """One conversion; local references are looked up in `root`."""

    def __init__(self, root: Schema, inlining: InliningBudget) -> None:
        self._root = root
        self._inlining = inlining
        self._nodes = 0
        self._members = 0

    def convert_schema(self, schema: Any, depth: int) -> Schema:
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            raise NotStrict("it is too large or refers to itself without end")
        if not isinstance(schema, dict):
            raise NotStrict("a schema of true or false allows anything")
        schema = self._inline_references(schema)
        self._count_members(schema)
        beyond = _UNSUPPORTED & schema.keys()
        if beyond:
            raise NotStrict(f"it uses {min(beyond)}")
        converted = {
            name: value for name, value in schema.items() if self._is_supported(name, value)
        }
        for name in ("$defs", "definitions"):
            if isinstance(converted.get(name), dict):
                converted[name] = {
                    k: self.convert_schema(v, depth + 1) for k, v in converted[name].items()
                }
        if "oneOf" in converted:
            if "anyOf" in converted:
                raise NotStrict("it uses oneOf and anyOf together")
            converted["anyOf"] = converted.pop("oneOf")
        if "anyOf" in converted:
            converted["anyOf"] = [
                self.convert_schema(item, depth + 1) for item in _require_list(converted["anyOf"])
            ]
        if "items" in converted:
            converted["items"] = self.convert_schema(converted["items"], depth + 1)
        if "object" in _schema_types(converted) or "properties" in converted:
            self._close_object(converted, depth)
        elif not converted.keys() & {"type", "anyOf", "enum", "const", "$ref"}:
            raise NotStrict("a schema without a type allows anything")
        elif "array" in _schema_types(converted) and "items" not in converted:
            raise NotStrict("an array without items allows anything")
        return converted

    def _count_members(self, schema: Schema) -> None:
        self._members += len(schema)
        if self._members > _MAX_MEMBERS:
            raise NotStrict("it is too large")

    def _inline_references(self, schema: Schema) -> Schema:
        """Inline an `allOf` with one item, and any `$ref` that has siblings."""
        for _ in range(_MAX_DEPTH):
            if "allOf" in schema:
                parts = _require_list(schema["allOf"])
                if len(parts) != 1 or not isinstance(parts[0], dict):
                    raise NotStrict("it uses allOf")
                inner = parts[0]
            elif "$ref" in schema and len(schema) > 1:
                inner = self._resolve_reference(schema["$ref"])
                self._inlining.charge_copy(inner)
            else:
                return schema
            self._count_members(inner)
            self._count_members(schema)
            siblings = {
                name: value for name, value in schema.items() if name not in ("allOf", "$ref")
            }
            schema = {**inner, **siblings}
        raise NotStrict("it refers to itself without end")

    def _resolve_reference(self, reference: Any) -> Schema:
        value: Any = self._root
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise NotStrict("it refers to another document")
        for step in reference[2:].split("/"):
            value = (
                value.get(step.replace("~1", "/").replace("~0", "~"))
                if isinstance(value, dict)
                else None
            )
        if not isinstance(value, dict):
            raise NotStrict("a reference leads nowhere")
        return value

    @staticmethod
    def _is_supported(name: str, value: Any) -> bool:
        # A default has no meaning where every property is required.
        if name == "format":
            return isinstance(value, str) and value in _FORMATS
        return name != "default"

    def _close_object(self, schema: Schema, depth: int) -> None:
        if schema.get("additionalProperties", False) is not False:
            raise NotStrict("an object allows properties that are not listed")
        properties = schema.get("properties")
        if not properties or not isinstance(properties, dict):
            raise NotStrict("an object lists no properties")
        required = {
            item for item in _require_list(schema.get("required") or []) if isinstance(item, str)
        }
        schema["properties"] = {
            name: converted if name in required else _make_nullable(converted)
            for name, value in properties.items()
            if (converted := self.convert_schema(value, depth + 1)) is not None
        }
        schema["required"] = list(properties)
        schema["additionalProperties"] = False


def _require_list(value: Any) -> list[Any]:
    """`value`, which is a list in every valid schema."""
    if not isinstance(value, list):
        raise NotStrict("a keyword that takes a list has something else")
    return value


def _schema_types(schema: Schema) -> tuple[Any, ...]:
    kind = schema.get("type")
    return tuple(kind) if isinstance(kind, list) else (kind,)


def _make_nullable(schema: Schema) -> Schema:
    if "null" in _schema_types(schema) or _NULL in schema.get("anyOf", ()):
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], dict(_NULL)]}
    if "type" in schema and not schema.keys() & {"enum", "const", "$ref"}:
        return {**schema, "type": [*_schema_types(schema), "null"]}
    return {"anyOf": [schema, dict(_NULL)]}

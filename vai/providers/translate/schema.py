"""JSON Schema -> the strict subset that structured output needs.

Strict means: every object lists all of its properties as required and allows no others.
An optional property becomes a nullable one, which is how the server expresses "may be
missing". A schema whose meaning would change otherwise (open maps, conditions) is left
to the non-strict mode.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.decode.text_filter import WRAPPER

__all__ = ["Inlining", "NotStrict", "object_schema", "rooted", "strict"]

Schema = dict[str, Any]

_MAX_DEPTH: Final = 64
_MAX_NODES: Final = 5000
_MAX_MEMBERS: Final = 50_000
"""Members of all nodes together: a node is copied up to `_MAX_DEPTH` times."""
_MAX_INLINED: Final = 20_000
"""Values that references of all schemas of one request may repeat."""
_BEYOND: Final = frozenset(
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
    """The schema has no strict form; the text says why."""


class Inlining:
    """How much references may still repeat in one request.

    A reference of a few characters can stand for a schema of any size, and schemas can refer
    to each other in a chain that doubles with each link.
    """

    def __init__(self) -> None:
        self._left = _MAX_INLINED

    def charge(self, schema: Schema) -> None:
        """Account for one more copy of `schema`.

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
    """A tool's schema as servers expect it: an object that names its properties."""
    found = {
        name: value for name, value in (schema or {}).items() if name not in ("$schema", "$id")
    }
    if not found:
        return {"type": "object", "properties": {}}
    if found.get("type") == "object" and "properties" not in found:
        found["properties"] = {}
    return found


def rooted(schema: Schema) -> tuple[Schema, bool]:
    """The schema with an object at its root, and whether one had to be put there."""
    found = object_schema(schema)
    if found.get("type") == "object":
        return found, False
    moved = {name: found.pop(name) for name in ("$defs", "definitions") if name in found}
    root = {
        "type": "object",
        "properties": {WRAPPER: found},
        "required": [WRAPPER],
        "additionalProperties": False,
    }
    return root | moved, True


def strict(schema: Schema, inlining: Inlining) -> Schema:
    """The strict form of `schema`, whose root must be an object.

    Args:
        inlining: shared by all schemas of a request.

    Raises:
        NotStrict: there is none.
    """
    root = _without_labels(schema)
    if root.get("type") != "object" or "anyOf" in root:
        raise NotStrict("the root must be a plain object")
    return _Strictness(root, inlining).convert(root, 0)


def _without_labels(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name not in ("$schema", "$id")}


class _Strictness:
    """One conversion; local references are looked up in `root`."""

    def __init__(self, root: Schema, inlining: Inlining) -> None:
        self._root = root
        self._inlining = inlining
        self._nodes = 0
        self._members = 0

    def convert(self, schema: Any, depth: int) -> Schema:
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            raise NotStrict("it is too large or refers to itself without end")
        if not isinstance(schema, dict):
            raise NotStrict("a schema of true or false allows anything")
        schema = self._inlined(schema)
        self._count(schema)
        beyond = _BEYOND & schema.keys()
        if beyond:
            raise NotStrict(f"it uses {min(beyond)}")
        found = {name: value for name, value in schema.items() if self._is_kept(name, value)}
        for name in ("$defs", "definitions"):
            if isinstance(found.get(name), dict):
                found[name] = {k: self.convert(v, depth + 1) for k, v in found[name].items()}
        if "oneOf" in found:
            if "anyOf" in found:
                raise NotStrict("it uses oneOf and anyOf together")
            found["anyOf"] = found.pop("oneOf")
        if "anyOf" in found:
            found["anyOf"] = [self.convert(item, depth + 1) for item in _list(found["anyOf"])]
        if "items" in found:
            found["items"] = self.convert(found["items"], depth + 1)
        if "object" in _types(found) or "properties" in found:
            self._close_object(found, depth)
        elif not found.keys() & {"type", "anyOf", "enum", "const", "$ref"}:
            raise NotStrict("a schema without a type allows anything")
        elif "array" in _types(found) and "items" not in found:
            raise NotStrict("an array without items allows anything")
        return found

    def _count(self, schema: Schema) -> None:
        self._members += len(schema)
        if self._members > _MAX_MEMBERS:
            raise NotStrict("it is too large")

    def _inlined(self, schema: Schema) -> Schema:
        """Without `allOf` of one, and without siblings beside `$ref`."""
        for _ in range(_MAX_DEPTH):
            if "allOf" in schema:
                parts = _list(schema["allOf"])
                if len(parts) != 1 or not isinstance(parts[0], dict):
                    raise NotStrict("it uses allOf")
                inner = parts[0]
            elif "$ref" in schema and len(schema) > 1:
                inner = self._resolved(schema["$ref"])
                self._inlining.charge(inner)
            else:
                return schema
            self._count(inner)
            self._count(schema)
            own = {name: value for name, value in schema.items() if name not in ("allOf", "$ref")}
            schema = {**inner, **own}
        raise NotStrict("it refers to itself without end")

    def _resolved(self, reference: Any) -> Schema:
        found: Any = self._root
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise NotStrict("it refers to another document")
        for step in reference[2:].split("/"):
            found = (
                found.get(step.replace("~1", "/").replace("~0", "~"))
                if isinstance(found, dict)
                else None
            )
        if not isinstance(found, dict):
            raise NotStrict("a reference leads nowhere")
        return found

    @staticmethod
    def _is_kept(name: str, value: Any) -> bool:
        # A default has no meaning where every property is required.
        if name == "format":
            return isinstance(value, str) and value in _FORMATS
        return name != "default"

    def _close_object(self, found: Schema, depth: int) -> None:
        if found.get("additionalProperties", False) is not False:
            raise NotStrict("an object allows properties that are not listed")
        properties = found.get("properties")
        if not properties or not isinstance(properties, dict):
            raise NotStrict("an object lists no properties")
        required = {item for item in _list(found.get("required") or []) if isinstance(item, str)}
        found["properties"] = {
            name: converted if name in required else _nullable(converted)
            for name, value in properties.items()
            if (converted := self.convert(value, depth + 1)) is not None
        }
        found["required"] = list(properties)
        found["additionalProperties"] = False


def _list(value: Any) -> list[Any]:
    """`value`, which is a list in every schema that is one."""
    if not isinstance(value, list):
        raise NotStrict("a keyword that takes a list has something else")
    return value


def _types(schema: Schema) -> tuple[Any, ...]:
    kind = schema.get("type")
    return tuple(kind) if isinstance(kind, list) else (kind,)


def _nullable(schema: Schema) -> Schema:
    if "null" in _types(schema) or _NULL in schema.get("anyOf", ()):
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], dict(_NULL)]}
    if "type" in schema and not schema.keys() & {"enum", "const", "$ref"}:
        return {**schema, "type": [*_types(schema), "null"]}
    return {"anyOf": [schema, dict(_NULL)]}

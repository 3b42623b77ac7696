"""Values made from schemas, and schemas made to hurt."""

from __future__ import annotations

import time

import pytest

from vai.simulator.composer import SchemaHints, SchemaTooDeep, make_example

HINTS = SchemaHints("Paris", 3)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "Paris"),
        ({"type": "string", "maxLength": 2}, "Pa"),
        ({"type": "string", "minLength": 7}, "Parisxx"),
        ({"type": "string", "format": "date"}, "2026-11-22"),
        ({"type": "integer", "minimum": 10}, 10),
        ({"type": "integer", "maximum": 2}, 2),
        ({"type": "number", "multipleOf": 5}, 5),
        ({"type": ["null", "boolean"]}, True),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 3),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, [None, None]),
        ({"$defs": {"a": {"const": 1}}, "$ref": "#/$defs/a"}, 1),
        (
            {
                "allOf": [
                    {"properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}},
                ],
                "type": "object",
            },
            {"a": 1, "b": 2},
        ),
        ({}, "Paris"),
        (True, "Paris"),
    ],
)
def test_a_value_satisfies_its_schema(schema, value):
    assert make_example(schema, HINTS) == value


def test_an_optional_recursion_ends_by_itself():
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    assert make_example(node, HINTS) == {"next": {"next": {}}}


@pytest.mark.timing
def test_a_required_recursion_is_refused_quickly_however_wide():
    node = {
        "type": "object",
        "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}},
        "required": ["a", "b"],
    }
    began = time.monotonic()
    with pytest.raises(SchemaTooDeep):
        make_example(node, HINTS)
    many = {"type": "array", "minItems": 64, "items": {"type": "string"}}
    for _ in range(5):
        many = {"type": "array", "minItems": 64, "items": many}
    with pytest.raises(SchemaTooDeep):
        make_example(many, HINTS)
    assert time.monotonic() - began < 1


def test_hints_come_from_the_question():
    assert SchemaHints.from_question("Weather in Oslo for 4 days") == SchemaHints("Oslo", 4)
    assert SchemaHints.from_question("hello") == SchemaHints("example", 1)

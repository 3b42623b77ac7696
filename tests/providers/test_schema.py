"""Schemas and their strict form."""

from __future__ import annotations

import pytest

from vai.providers.translate.schema import InliningBudget, NotStrict, to_strict_schema

STRING = {"type": "string"}


def obj(properties, required=None, **more):
    found = {"type": "object", "properties": properties, **more}
    if required is not None:
        found["required"] = required
    return found


def closed(properties):
    return obj(properties, list(properties), additionalProperties=False)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (obj({"a": STRING}, ["a"]), closed({"a": STRING})),
        (obj({"a": STRING}), closed({"a": {"type": ["string", "null"]}})),
        (obj({"a": {"type": ["string", "null"]}}), closed({"a": {"type": ["string", "null"]}})),
        (
            obj({"a": {"enum": ["x"]}}),
            closed({"a": {"anyOf": [{"enum": ["x"]}, {"type": "null"}]}}),
        ),
        (
            obj({"a": obj({"b": STRING}, ["b"])}, ["a"]),
            closed({"a": closed({"b": STRING})}),
        ),
        (
            obj({"a": {"type": "array", "items": obj({"b": STRING}, ["b"])}}, ["a"]),
            closed({"a": {"type": "array", "items": closed({"b": STRING})}}),
        ),
        (
            obj({"a": {"oneOf": [STRING, {"type": "null"}]}}),
            closed({"a": {"anyOf": [STRING, {"type": "null"}]}}),
        ),
        (
            obj({"a": {"allOf": [STRING], "title": "t"}}, ["a"]),
            closed({"a": {**STRING, "title": "t"}}),
        ),
        (
            {
                **obj({"a": {"$ref": "#/$defs/b", "description": "d"}}, ["a"]),
                "$defs": {"b": STRING},
            },
            {**closed({"a": {**STRING, "description": "d"}}), "$defs": {"b": STRING}},
        ),
        (
            obj(
                {"default": {"type": "string", "default": "x"}, "$schema": STRING},
                ["default", "$schema"],
            ),
            closed({"default": STRING, "$schema": STRING}),
        ),
        (
            {"$schema": "s", "$id": "i", **obj({"a": {"type": "string", "format": "uri"}}, ["a"])},
            closed({"a": STRING}),
        ),
        (
            {
                **obj({"a": {"$ref": "#/$defs/n"}}, ["a"]),
                "$defs": {"n": obj({"n": {"$ref": "#/$defs/n"}})},
            },
            {
                **closed({"a": {"$ref": "#/$defs/n"}}),
                "$defs": {"n": closed({"n": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}})},
            },
        ),
    ],
)
def test_the_strict_form(schema, expected):
    assert to_strict_schema(schema, InliningBudget()) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": STRING},
        {"anyOf": [obj({})], "type": "object"},
        obj({}),
        {"type": "object"},
        obj({"a": STRING}, additionalProperties=True),
        obj({"a": STRING}, additionalProperties=STRING),
        obj({"a": {"type": "object", "additionalProperties": STRING}}),
        obj({"a": {}}),
        obj({"a": True}),
        obj({"a": {"type": "array"}}),
        obj({"a": {"allOf": [STRING, STRING]}}),
        obj({"a": {"not": STRING}}),
        obj({"a": {"$ref": "#/$defs/none", "title": "x"}}),
        obj({"a": {"$ref": "https://e.org/s", "title": "x"}}),
        {
            **obj({"a": {"$ref": "#/$defs/b", "title": "x"}}),
            "$defs": {"b": {"$ref": "#/$defs/b", "title": "y"}},
        },
        # What is no schema is the upstream's to refuse, and must not be a defect here.
        obj({"a": {"anyOf": 1}}),
        obj({"a": {"oneOf": None}}),
        obj({"a": {"allOf": True}}),
        obj({"a": STRING}, required=5),
        obj({"a": STRING}, required="a"),
    ],
)
def test_no_strict_form(schema):
    with pytest.raises(NotStrict):
        to_strict_schema(schema, InliningBudget())


def test_a_schema_that_unfolds_without_end_is_given_up():
    defs = {
        f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}", "title": "x"}] * 8} for i in range(12)
    }
    defs["d12"] = STRING
    with pytest.raises(NotStrict):
        to_strict_schema(
            {**obj({"a": {"$ref": "#/$defs/d0", "title": "x"}}), "$defs": defs}, InliningBudget()
        )


def test_a_format_that_is_no_name_is_left_out():
    assert (
        "format"
        not in to_strict_schema(obj({"a": {**STRING, "format": {}}}), InliningBudget())[
            "properties"
        ]["a"]
    )

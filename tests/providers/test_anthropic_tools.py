"""Anthropic's own tools, by the generation of the model, and schemas it can enforce."""

from __future__ import annotations

import orjson
import pytest
from anthropic.lib._parse._transform import transform_schema

from tests.providers.oracle import check_anthropic
from vai.errors import InvalidRequest
from vai.providers.anthropic.schema import to_enforceable_schema
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate.diagnostics import Diagnostics
from vai.types import parse

USER = {"role": "user", "content": "go"}
OLD, MIDDLE, NEW = "claude-sonnet-4-5", "claude-opus-4-8", "claude-opus-5-5"


def sent(model=OLD, headers=None, **fields):
    adapter = make_adapter(PROVIDER_SPECS["anthropic"], "01TEST", headers=headers or {})
    fields = {"max_tokens": 5000, "messages": [USER], **fields}
    wire = adapter.build_request(parse.parse_request({"model": model, **fields}))
    body = orjson.loads(wire.body)
    check_anthropic(body)
    return body, dict(wire.headers), adapter.dropped


def tool(kind, model, **fields):
    body, headers, dropped = sent(model, tools=[{"type": kind, **fields}])
    return body["tools"][0], headers.get("anthropic-beta"), dropped


@pytest.mark.parametrize(
    ("kind", "model", "version"),
    [
        ("web_search", OLD, "web_search_20250305"),
        ("web_search", MIDDLE, "web_search_20260209"),
        ("web_search", NEW, "web_search_20260318"),
        ("web_search", "some-alias", "web_search_20250305"),
        ("web_search_20250305", NEW, "web_search_20250305"),
        ("web_fetch", NEW, "web_fetch_20260318"),
        ("code_interpreter", MIDDLE, "code_execution_20260120"),
        ("memory", OLD, "memory_20250818"),
        ("text_editor", NEW, "text_editor_20250728"),
    ],
)
def test_the_newest_version_that_the_model_takes(kind, model, version):
    assert tool(kind, model)[0]["type"] == version


def test_a_screen_has_a_size_where_the_tool_asks_for_one():
    adapter = make_adapter(PROVIDER_SPECS["anthropic"], "01TEST")
    fields = {"type": "computer_use", "config": {"display_width": 800}}
    body = {"model": MIDDLE, "max_tokens": 9, "messages": [USER], "tools": [fields]}
    wire = adapter.build_request(parse.parse_request(body))
    found = orjson.loads(wire.body)["tools"][0]
    assert (found["type"], found["display_width_px"]) == ("computer_20251124", 800)
    assert found["display_height_px"] == 768
    assert dict(wire.headers)["anthropic-beta"] == "computer-use-2025-11-24"
    found, beta, dropped = tool("computer_use", NEW, config={"display_width": 800})
    assert found == {"type": "computer_toolset_20260801"}
    assert beta is None
    assert dropped == ["tools[0].config.display_width"]


def test_settings_reach_the_tool_or_are_named():
    found, _, dropped = tool(
        "web_search", OLD, config={"max_uses": 2, "user_location": {"city": "x"}, "max_results": 3}
    )
    assert found["max_uses"] == 2
    assert found["user_location"] == {"type": "approximate", "city": "x"}
    assert dropped == ["tools[0].config.max_results"]
    found, _, _ = tool("web_search_20260209", MIDDLE, config={"max_uses": 2})
    assert found["max_uses"] == 2


def schema(value):
    diagnostics = Diagnostics("Anthropic")
    return to_enforceable_schema(value, "s", diagnostics), diagnostics.dropped_paths


def test_what_cannot_be_enforced_is_said_in_words():
    found, dropped = schema(
        {
            "$schema": "x",
            "type": "object",
            "properties": {
                "minimum": {"type": "integer", "minimum": 1, "description": "Count."},
                "when": {"type": "string", "format": "date"},
                "code": {"type": "string", "format": "zip", "pattern": "^a"},
                "some": {"type": "array", "minItems": 1, "items": {"oneOf": [{"type": "null"}]}},
                "many": {"type": "array", "minItems": 5, "items": {"enum": [1, None]}},
            },
            "required": ["when"],
        }
    )
    assert dropped == []
    assert found == {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "description": "Count.\nminimum: 1"},
            "when": {"type": "string", "format": "date"},
            "code": {"type": "string", "description": 'format: "zip"\npattern: "^a"'},
            "some": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "null"}]}},
            "many": {"type": "array", "items": {"enum": [1, None]}, "description": "minItems: 5"},
        },
        "required": ["when"],
        "additionalProperties": False,
    }


def test_the_same_keywords_survive_as_in_the_official_transformer():
    given = {
        "$defs": {"A": {"type": "string", "maxLength": 3}},
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/A"},
            "b": {"anyOf": [{"type": "integer", "maximum": 3}, {"type": "null"}]},
            "c": {"type": "array", "items": {"type": "number"}, "maxItems": 3},
        },
        "required": ["a", "b", "c"],
    }
    ours, theirs = schema(given)[0], transform_schema(given)

    def bare(value):
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items() if k not in ("description", "title")}
        return [bare(item) for item in value] if isinstance(value, list) else value

    assert bare(ours) == bare(theirs)


def test_an_open_map_is_closed_and_named():
    found, dropped = schema({"type": "object", "additionalProperties": {"type": "string"}})
    assert found == {"type": "object", "additionalProperties": False}
    assert dropped == ["s[additionalProperties]"]


def test_a_schema_without_end_is_refused():
    deep = {"type": "string"}
    for _ in range(80):
        deep = {"type": "array", "items": deep}
    diagnostics = Diagnostics("Anthropic")
    to_enforceable_schema(deep, "s", diagnostics)
    with pytest.raises(InvalidRequest, match="levels"):
        diagnostics.raise_if_refused()


def test_a_strict_tool_gets_the_same_subset_and_any_other_its_own_schema():
    given = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    body, _, _ = sent(
        tools=[
            {"name": "a", "input_schema": given, "strict": True},
            {"name": "b", "input_schema": given},
        ]
    )
    assert body["tools"][0]["input_schema"]["properties"]["n"]["description"] == "minimum: 1"
    assert body["tools"][1]["input_schema"] == given


def test_adaptive_thinking_becomes_a_budget_where_the_model_needs_one():
    adaptive = {"type": "adaptive", "display": "omitted"}
    body, _, dropped = sent(OLD, thinking=adaptive, output_config={"effort": "low"})
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2047, "display": "omitted"}
    assert "output_config" not in body
    assert dropped == ["output_config.effort", "thinking.type"]
    body, _, dropped = sent(OLD, thinking=adaptive, max_tokens=500)
    assert "thinking" not in body
    assert dropped == ["thinking"]
    body, _, dropped = sent(MIDDLE, thinking=adaptive, output_config={"effort": "low"})
    assert (body["thinking"], body["output_config"]) == (adaptive, {"effort": "low"})
    assert dropped == []


def test_a_budget_becomes_an_effort_where_the_model_decides_itself():
    thinking = {"type": "enabled", "budget_tokens": 3000}
    body, _, _ = sent(MIDDLE, thinking=thinking)
    assert body["thinking"] == {"type": "adaptive"}
    assert body["output_config"] == {"effort": "medium"}


def test_sampling_needs_the_older_version_of_the_api():
    headers = {"anthropic-version": "2026-10-21"}
    assert sent(OLD, headers)[1]["anthropic-version"] == "2026-10-21"
    assert sent(OLD, headers, temperature=0.5)[1]["anthropic-version"] == "2023-06-01"
    _, sent_headers, dropped = sent(NEW, headers, temperature=0.5)
    assert sent_headers["anthropic-version"] == "2026-10-21"
    assert dropped == ["temperature"]


def test_a_tier_of_another_provider_is_named():
    body, _, dropped = sent(service_tier="flex")
    assert "service_tier" not in body
    assert dropped == ["service_tier"]


def history(*content):
    turns = [USER, {"role": "assistant", "content": list(content)}, USER]
    body, _, dropped = sent(messages=turns)
    return body["messages"][1]["content"] if len(body["messages"]) == 3 else [], dropped


def test_runs_of_another_providers_tools_are_left_out_in_pairs():
    run = [
        {"type": "server_tool_use", "id": "ws_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "ws_1", "content": []},
    ]
    said = {"type": "text", "text": "x"}
    content, dropped = history(*run, said)
    assert content == [said]
    assert dropped == [
        "messages[*].content[*].server_tool_use",
        "messages[*].content[*].web_search_tool_result",
    ]
    own = [{**run[0], "id": "srvtoolu_1"}, {**run[1], "tool_use_id": "srvtoolu_1"}]
    content, dropped = history(*own, said)
    assert content == [*own, said]
    assert dropped == []


def test_sources_that_anthropic_has_not_sealed_are_left_out():
    cited = {
        "type": "web_search_result_location",
        "url": "u",
        "title": "t",
        "cited_text": "x",
        "encrypted_index": "",
    }
    own = {**cited, "encrypted_index": "E"}
    content, dropped = history({"type": "text", "text": "x", "citations": [cited, own]})
    assert content == [{"type": "text", "text": "x", "citations": [own]}]
    assert dropped == ["messages[*].content[*].citations"]
    content, _ = history({"type": "text", "text": "x", "citations": [cited]})
    assert content == [{"type": "text", "text": "x"}]


def test_of_what_was_spoken_the_words_are_sent():
    source = {"type": "base64", "media_type": "audio/wav", "data": "aGk="}
    content, dropped = history({"type": "audio", "source": source, "transcript": "hi"})
    assert content == [{"type": "text", "text": "hi"}]
    assert dropped == ["messages[*].content[*].audio"]


@pytest.mark.parametrize(
    ("block", "place"),
    [
        ({"type": "audio", "source": {"type": "base64", "data": "aGk="}}, "audio"),
        ({"type": "image", "source": {"type": "base64", "data": "aGk="}}, "image"),
        ({"type": "video", "source": {"type": "base64", "data": "aGk="}}, "video"),
    ],
)
def test_media_that_cannot_be_sent_are_refused_by_their_place(block, place):
    with pytest.raises(InvalidRequest, match=place) as caught:
        history(block)
    assert caught.value.param == "messages[1].content[0]"


def test_forms_of_answer_that_cannot_be_had_are_refused():
    with pytest.raises(InvalidRequest) as caught:
        sent(output={"modalities": ["text", "audio"]})
    assert caught.value.param == "output.modalities"
    sent(output={"modalities": ["text", "audio"]}, voice={"output": {"voice": "x"}})
    assert sent(output={"image": {"size": "1x1"}})[2] == ["output.image"]

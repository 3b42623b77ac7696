"""What a server cannot take that its operator says can do less."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from vai.errors import InvalidRequest
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.provider import Capabilities

USER = {"role": "user", "content": "go"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
SCHEMA = {"type": "object", "properties": {"x": {"type": "null"}}, "required": ["x"]}
FORM = {"format": {"type": "json_schema", "schema": SCHEMA}}
NOTHING = {name: False for name in Capabilities.__struct_fields__ if name != "server_tools"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
LINK = {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}
PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
}
NOTE = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}


def sent(kind, can, **fields):
    flags = NOTHING | dict.fromkeys(can, True)
    row = msgspec.structs.replace(
        PROVIDER_SPECS[kind],
        id="mine",
        capabilities=msgspec.convert(flags, Capabilities),
        has_capability_override=True,
    )
    adapter = make_adapter(row, "01TEST")
    ask = parse.parse_request({"model": "m", "max_tokens": 99, "messages": [USER], **fields})
    return orjson.loads(adapter.build_request(ask).body), adapter.dropped


def holding(*blocks):
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, *blocks]}]}


def answered(block):
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [block]}
    turns = [USER, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return {"messages": turns}


REFUSED = [
    (holding(IMAGE), [], "messages[0].content[1]", ["images"]),
    (holding(LINK), ["images"], "messages[0].content[1]", ["images", "image_urls"]),
    (holding(PDF), [], "messages[0].content[1]", ["documents"]),
    ({"tools": [TOOL]}, [], "tools", ["tools"]),
    (
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        ["tools"],
        "tool_choice",
        ["tools", "forced_tool"],
    ),
    ({"output_config": FORM}, [], "output_config.format", ["structured_output"]),
    (
        {"output_config": FORM, "tools": [TOOL]},
        ["tools", "structured_output"],
        "output_config.format",
        ["tools", "structured_output", "structured_output_with_tools"],
    ),
]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(("fields", "can", "path", "needed"), REFUSED)
def test_what_changes_the_meaning_is_refused(kind, fields, can, path, needed):
    with pytest.raises(InvalidRequest) as caught:
        sent(kind, can, **fields)
    assert caught.value.param == path
    assert sent(kind, needed, **fields)[1] == []


def test_an_image_in_a_result_becomes_words_where_it_cannot_be_set_beside_it():
    wire, dropped = sent("anthropic", ["tools", "images"], **answered(IMAGE))
    assert dropped == ["messages[*].content[*].content[*].image"]
    assert "[image left out: " in str(wire)
    assert sent("anthropic", ["tools", "images", "tool_result_images"], **answered(IMAGE))
    assert sent("openai", ["tools", "images"], **answered(IMAGE))


def test_an_answer_is_begun_only_for_who_goes_on_with_it():
    turns = {"messages": [USER, {"role": "assistant", "content": "It"}]}
    with pytest.raises(InvalidRequest) as caught:
        sent("anthropic", [], **turns)
    assert (caught.value.param, caught.value.code) == ("messages[1]", "unsupported_prefill")
    assert sent("anthropic", ["prefill"], **turns)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_hints_are_left_out_and_named(kind):
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    body, dropped = sent(
        kind,
        ["tools"],
        top_k=3,
        thinking={"type": "enabled", "budget_tokens": 1024},
        tools=[TOOL],
        tool_choice=choice,
    )
    assert not {"top_k", "thinking", "parallel_tool_calls"} & body.keys()
    assert "disable_parallel_tool_use" not in orjson.dumps(body).decode()
    assert dropped == ["thinking", "top_k", "tool_choice.disable_parallel_tool_use"]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_text_is_no_document(kind):
    assert sent(kind, [], **holding(NOTE))[1] == []

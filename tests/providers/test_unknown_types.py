"""An unknown role or type is refused with the known ones, at every provider that is translated for.

Invariants: what the caller wrote in place of a known word is never repeated.
"""

from __future__ import annotations

import pytest

from tests.providers.cases import MODELS
from vai.errors import InvalidRequest
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

USER = {"role": "user", "content": "go"}
ODD = "sk-ant-odd"
BLOCKS = "text, image, document, audio, video, tool_use, tool_result, thinking"
TRANSLATED = [(row, MODELS[row][-1]) for row in PROVIDER_SPECS if row != "anthropic"]
EVERYWHERE = [(row, MODELS[row][-1]) for row in PROVIDER_SPECS]


def refusal(provider: str, model: str, **fields) -> InvalidRequest:
    asked = {"model": model, "max_tokens": 9, "messages": [USER], **fields}
    with pytest.raises(InvalidRequest) as caught:
        make_adapter(PROVIDER_SPECS[provider], "01").build_request(parse.parse_request(asked))
    assert ODD not in caught.value.message
    assert caught.value.status == 400
    return caught.value


def turn(*blocks, role="user"):
    return {"messages": [USER, {"role": role, "content": list(blocks)}, USER]}


def mark(**more):
    return {"type": "text", "text": "x", "cache_control": {"type": ODD, **more}}


AS_READ = [
    ({"messages": [{"role": ODD, "content": "x"}]}, "messages[0].role", "user, assistant, system"),
    ({"messages": [{"role": 7, "content": "x"}]}, "messages[0].role", "user, assistant, system"),
    ({"messages": [USER, {"content": "x"}]}, "messages[1].role", "user, assistant, system"),
    (turn({"text": "x"}), "messages[1].content[0].type", BLOCKS),
    (turn({"type": 7}), "messages[1].content[0].type", BLOCKS),
    (turn({"type": "image", "source": {}}), "messages[1].content[0].source.type",
     "base64, url, file, text, content"),
    ({"tool_choice": {"type": ODD}}, "tool_choice.type", "auto, any, none, tool"),
    ({"tool_choice": {}}, "tool_choice.type", "auto, any, none, tool"),
    ({"thinking": {"type": ODD}}, "thinking.type", "enabled, disabled, adaptive, between_tools"),
    ({"thinking": {}}, "thinking.type", "enabled, disabled, adaptive, between_tools"),
    ({"output_format": {"type": ODD, "schema": {}}}, "output_format.type", "json_schema"),
    ({"output_config": {"format": {"type": ODD, "schema": {}}}}, "output_config.format.type",
     "json_schema"),
    ({"cache_control": {"type": ODD}}, "cache_control.type", "ephemeral"),
    ({"system": [mark()]}, "system[0].cache_control.type", "ephemeral"),
    (turn(mark(ttl="5m")), "messages[1].content[0].cache_control.type", "ephemeral"),
    ({"tools": [{"name": "f", "cache_control": {"type": ODD}}]}, "tools[0].cache_control.type",
     "ephemeral"),
    (turn({"type": "tool_result", "tool_use_id": "x", "content": [mark()]}),
     "messages[1].content[0].content[0].cache_control.type", "ephemeral"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model"), EVERYWHERE)
@pytest.mark.parametrize(("fields", "param", "known"), AS_READ, ids=range(len(AS_READ)))
def test_an_unknown_word_lists_the_known_ones(provider, model, fields, param, known):
    error = refusal(provider, model, **fields)
    assert error.param == param
    assert error.message.startswith(f"{param}: ")
    assert "expected " in error.message
    assert known in error.message


@pytest.mark.parametrize(("provider", "model"), TRANSLATED)
@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize("kind", [ODD, "image_url", "input_text", "function_call", ""])
def test_an_unknown_block_lists_the_known_ones(provider, model, role, kind):
    error = refusal(provider, model, **turn({"type": kind, "x": ODD}, role=role))
    where = "messages[1].content[0].type"
    assert (error.param, error.code) == (where, "unsupported_content_block")
    assert f"{where}: unknown block type; expected one of {BLOCKS}" in error.message


@pytest.mark.parametrize(("provider", "model"), TRANSLATED)
@pytest.mark.parametrize("kind", ["container_upload", "document"])
def test_a_known_block_that_cannot_be_sent_is_named(provider, model, kind):
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    error = refusal(provider, model, **turn({"type": kind, "source": source}, role="assistant"))
    assert error.param == "messages[1].content[0]"
    assert f"a {kind} block cannot be" in error.message


@pytest.mark.parametrize(("provider", "model"), TRANSLATED)
@pytest.mark.parametrize("kind", ["image", "document"])
def test_an_unknown_source_lists_the_known_ones(provider, model, kind):
    error = refusal(provider, model, **turn({"type": kind, "source": {"type": ODD, "url": ODD}}))
    if kind == "document" and not PROVIDER_SPECS[provider].capabilities.documents:
        assert "documents other than text cannot be sent" in error.message
        return
    assert error.param == "messages[1].content[0].source.type"
    assert "unknown source type; expected one of base64, url, file" in error.message
    assert ("content" in error.message.rpartition("expected")[2]) is (kind == "document")


@pytest.mark.parametrize(("provider", "model"), TRANSLATED)
def test_an_unknown_tool_lists_those_there_are(provider, model):
    error = refusal(provider, model, tools=[{"type": ODD, "name": "x"}])
    assert (error.param, error.code) == ("tools[0]", "unsupported_tool_type")
    assert "has no tool of this type; expected one of custom, bash, text_edit" in error.message
    if provider in ("gemini", "gemini-oauth", "oai-resp"):
        for kind in PROVIDER_SPECS[provider].capabilities.server_tools - {"image_generation"}:
            assert kind in error.message


def test_a_tool_that_only_others_run_lists_anthropics():
    error = refusal("anthropic", "claude-opus-4-8", tools=[{"type": "file_search"}])
    assert "Anthropic has no tool of this type; expected one of custom, bash" in error.message
    assert "web_search" in error.message


def test_a_type_anthropic_may_know_is_anthropics_to_judge():
    for fields in (turn({"type": ODD}), {"tools": [{"type": ODD, "name": "x"}]}):
        asked = {"model": "claude-opus-4-8", "max_tokens": 9, "messages": [USER], **fields}
        wire = make_adapter(PROVIDER_SPECS["anthropic"], "01").build_request(
            parse.parse_request(asked)
        )
        assert ODD.encode() in wire.body


def test_a_cache_breakpoint_without_a_type_is_read_as_the_only_one():
    for fields in (
        {"cache_control": {}},
        {"system": [{"type": "text", "text": "x", "cache_control": None}]},
    ):
        parse.parse_request({"model": "m", "messages": [USER], **fields})  # fmt: skip


CALL = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
CALLED = {"role": "assistant", "content": [CALL]}


def result(id="a"):
    return {"type": "tool_result", "tool_use_id": id, "content": "x"}


@pytest.mark.parametrize(("provider", "model"), TRANSLATED)
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tool_choice": {"type": "any"}}, "tools beside it, or auto or none"),
        ({"max_tokens": 0}, "at least 1 for"),
        ({"messages": [USER, CALLED, USER]}, "a tool_result for this call in the turn after it"),
        ({"messages": [USER, CALLED, {"role": "user", "content": [result("b"), result()]}]},
         "the id of a tool_use of the turn before"),
        ({"messages": [USER, CALLED, {"role": "user", "content": [result(), result()]}]},
         "one tool_result for each tool_use"),
        ({"messages": [USER, {"role": "assistant", "content": [CALL, CALL]},
                       {"role": "user", "content": [result()]}]},
         "an id that no other tool_use of this turn has"),
        ({"system": [{"type": "image", "source": {"type": "url", "url": "https://a.it/b.png"}}]},
         "a text block: instructions must be text"),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_refusal_says_what_was_expected(provider, model, fields, expected):
    if provider == "oai-resp" and fields.get("max_tokens") == 0:
        model = "gpt-4.1"  # the newer ones are warmed up by it
    assert f"expected {expected}" in refusal(provider, model, **fields).message

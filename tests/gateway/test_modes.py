"""Which mode a request takes, and what goes up with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from vai.codec import routing_fields as envelopes
from vai.codec.head import HeaderFields
from vai.config import Settings
from vai.errors import InvalidRequest
from vai.exchange.mode import ExchangeMode
from vai.gateway.request.modes import choose_mode, prepare_target
from vai.policy.route import resolve_route
from vai.providers.registry import PROVIDER_SPECS

SCHEMA = {"type": "object", "properties": {}}


def mode(
    model: str, *headers: tuple[str, str], strict: bool = False, **members: Any
) -> ExchangeMode[bytes]:
    """The mode of a request with these members and header fields."""
    said = {"model": model, "messages": [{"role": "user", "content": "hi"}], **members}
    request: Any = SimpleNamespace(body=orjson.dumps(said), header_fields=HeaderFields([*headers]))
    envelope = envelopes.read_routing_fields(request.body)
    route = resolve_route(model, PROVIDER_SPECS, {})
    target = prepare_target(envelope, route, "x1", Settings(strict=strict))
    return choose_mode(envelope, request, target)


def test_strictly_nothing_is_left_out_and_all_of_it_is_named() -> None:
    said = {"top_k": 3, "max_tokens": 9, "metadata": {"user_id": "u", "team": "t"}}
    dropped = mode("openai/gpt-4o", **said).dropped_fields
    assert "top_k" in dropped
    with pytest.raises(InvalidRequest) as caught:
        mode("openai/gpt-4o", strict=True, **said)
    assert caught.value.code == "unsupported_fields"
    assert all(name in caught.value.message for name in dropped)
    assert mode("openai/gpt-4o", strict=True, max_tokens=9).dropped_fields == []
    assert mode("anthropic/claude-x", strict=True, **said).is_verbatim


def test_every_beta_of_a_repeated_header_counts_in_both_modes() -> None:
    betas = (("anthropic-beta", "one"), ("anthropic-beta", "two"))
    for made in (mode("anthropic/claude-x", *betas), mode("claude-x", *betas)):
        sent = [value for name, value in made.upstream_request.headers if name == "anthropic-beta"]
        assert [beta.strip() for value in sent for beta in value.split(",")] == ["one", "two"]


def test_anthropics_own_output_format_stays_in_the_pure_dialect() -> None:
    theirs = {"type": "json_schema", "schema": SCHEMA}
    ours = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    assert mode("claude-x", output_format=theirs, max_tokens=9).is_verbatim
    assert not mode("claude-x", output_format=ours, max_tokens=9).is_verbatim
    assert not mode("anthropic/claude-x", output_format=theirs, max_tokens=9).is_verbatim
    assert not mode("claude-x", output_format=theirs, voice={}, max_tokens=9).is_verbatim


def test_a_request_that_needs_openais_other_endpoint_goes_there() -> None:
    tool = {"name": "t", "input_schema": SCHEMA}
    chat = mode("openai/gpt-4o", max_tokens=9, tools=[tool]).upstream_request
    assert chat.target == "/chat/completions"
    other = mode("openai/gpt-5.6", max_tokens=9, tools=[tool]).upstream_request
    assert other.target == "/responses"


NEW = ("anthropic-version", "2026-10-21")
OLD = ("anthropic-version", "2023-06-01")


@pytest.mark.parametrize(
    ("headers", "members", "verbatim"),
    [
        ([], {}, True),
        ([NEW], {}, True),
        ([OLD], {"temperature": 0.5}, True),
        ([], {"top_k": 5}, True),
        ([NEW], {"temperature": 0.5}, False),
        ([NEW], {"top_p": 0.5}, False),
        ([], {"max_tokens": None}, False),
        ([], {"output_format": {"type": "json_schema", "schema": {}}}, False),
    ],
)
def test_what_the_upstream_would_refuse_is_said_otherwise(headers, members, verbatim) -> None:
    found = mode("anthropic/claude-sonnet-4-5", *headers, **{"max_tokens": 9, **members})
    assert found.is_verbatim is verbatim
    if not verbatim and "temperature" in members:
        assert OLD in found.upstream_request.headers


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "x", "signature": "vai1.groq.chat."},
        {"type": "redacted_thinking", "data": "vai1.gemini.part.abc"},
        {"type": "server_tool_use", "id": "srvtoolu_gemini_1_1", "name": "web_search", "input": {}},
        {"type": "server_tool_use", "id": "ws_68ab", "name": "web_search", "input": {}},
        {
            "type": "text",
            "text": "x",
            "citations": [
                {
                    "type": "web_search_result_location",
                    "url": "https://a.example",
                    "title": "t",
                    "cited_text": "x",
                    "encrypted_index": "",
                }
            ],
        },
        {
            "type": "text",
            "text": "cited without the member that would be empty",
            "citations": [{"type": "web_search_result_location", "url": "u", "cited_text": "x"}],
        },
        {"type": "web_search_tool_result", "tool_use_id": "ws_68ab", "content": []},
    ],
)
def test_what_others_left_in_a_history_does_not_reach_anthropic(block) -> None:
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [block, {"type": "text", "text": "kept"}]},
        {"role": "user", "content": "go on"},
    ]
    for model in ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"):
        found = mode(model, max_tokens=9, messages=turns)
        body = found.upstream_request.body
        assert b"kept" in body
        for mark in (b"vai1.", b"srvtoolu_gemini", b"ws_68ab", b"encrypted_index", b"cited_text"):
            assert mark not in body
        assert found.dropped_fields


STRINGS = (
    "vai1.gemini.part.abc",
    "srvtoolu_gemini_1_1",
    "ws_68ab",
    "ci_deploy",
    "ci_d",
    "run_0",
    "encrypted_index",
    "server_tool_use",
    "web_search_tool_result",
    "web_search_result_location",
)


@pytest.mark.parametrize("value", STRINGS)
def test_words_that_look_like_traces_of_others_are_words(value) -> None:
    """Whatever a tool, a text, an input or a result says, the request keeps its bytes."""
    said = {value: value, "encrypted_index": "", "encrypted_content": "", "type": "server_tool_use"}
    quoted = orjson.dumps({"citations": [said]}).decode()
    turns = [
        {"role": "user", "content": value},
        {"role": "system", "content": "be brief"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": value},
                {"type": "thinking", "thinking": value, "signature": "EqQBCg" + value},
                {"type": "tool_use", "id": "toolu_1", "name": value, "input": said},
                {
                    "type": "server_tool_use",
                    "id": "srvtoolu_search_call_1",
                    "name": "web_search",
                    "input": said,
                },
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "srvtoolu_search_call_1",
                    "content": [
                        {"type": "web_search_result", "url": "u", "encrypted_content": "E"}
                    ],
                },
                {"type": "mcp_tool_use", "id": value, "name": value, "input": said},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": quoted},
                {"type": "text", "text": quoted},
            ],
        },
    ]
    tools = [{"name": value, "description": value, "input_schema": {"type": "object"}}]
    asked = {"messages": turns, "tools": tools, "temperature": 0.5, "max_tokens": 9}
    found = mode("claude-sonnet-4-5", **asked)
    assert found.is_verbatim
    body = orjson.loads(found.upstream_request.body)
    assert {name: body[name] for name in asked} == asked
    assert not found.dropped_fields


@pytest.mark.parametrize(
    "id", ["srvtoolu_my_row_0123456789abcdef0123_1", "srvtoolu_gemini_oauth_1_1", "run_0", "fs_1"]
)
def test_runs_of_others_are_told_by_their_ids(id) -> None:
    use = {"type": "server_tool_use", "id": id, "name": "code_execution", "input": {}}
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [use, {"type": "text", "text": "kept"}]},
        {"role": "user", "content": "go on"},
    ]
    found = mode("claude-sonnet-4-5", max_tokens=9, messages=turns)
    assert not found.is_verbatim
    assert id.encode() not in found.upstream_request.body


def test_blocks_are_found_however_their_types_are_written() -> None:
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "TYPE", "id": "ID", "name": "n", "input": {}}]},
    ]
    said = {"model": "claude-sonnet-4-5", "messages": turns, "max_tokens": 9}
    for kind, call_id in (("server_tool_use", "ws_68ab"), ("tool_use", "a.b")):
        for written in (kind, kind.replace("_", "\\u005f")):
            body = (
                orjson.dumps(said)
                .replace(b"TYPE", written.encode())
                .replace(b"ID", call_id.encode())
            )
            request: Any = SimpleNamespace(body=body, header_fields=HeaderFields([]))
            envelope = envelopes.read_routing_fields(body)
            route = resolve_route(envelope.model, PROVIDER_SPECS, {})
            made = choose_mode(envelope, request, prepare_target(envelope, route, "x1", Settings()))
            assert not made.is_verbatim
            assert call_id.encode() not in made.upstream_request.body

"""Tools that are loaded later: sent once something has loaded them, on every provider."""

from __future__ import annotations

import msgspec
import pytest

from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

MODELS = {
    "openai": "gpt-4.1",
    "oai-resp": "gpt-4.1",
    "groq": "openai/gpt-oss-120b",
    "cerebras": "gpt-oss-120b",
    "gemini": "gemini-3.5-flash",
    "gemini-oauth": "gemini-3.5-flash",
}
USER = {"role": "user", "content": "go"}
SEARCH = {"name": "ToolSearch", "input_schema": {"type": "object", "properties": {}}}
SERVER_SEARCH = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
LATER = [
    {"name": name, "input_schema": {"type": "object", "properties": {}}, "defer_loading": True}
    for name in ("mcp__calendar__list", "weather", "never")
]


def found(*names: str) -> list[dict]:
    """Turns in which the client's own search finds `names`."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "ToolSearch", "input": {}}
    references = [{"type": "tool_reference", "tool_name": name} for name in names]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": references}
    return [
        USER,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]


def found_there(name: str) -> list[dict]:
    """Turns in which Anthropic's search found `name`."""
    run = {"type": "server_tool_use", "id": "srvtoolu_1", "name": SERVER_SEARCH["name"]}
    result = {
        "type": "tool_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {
            "type": "tool_search_tool_search_result",
            "tool_references": [{"type": "tool_reference", "tool_name": name}],
        },
    }
    said = [run | {"input": {}}, result, {"type": "text", "text": "found"}]
    return [USER, {"role": "assistant", "content": said}, USER]


def sent(provider: str, messages: list[dict], tools: list[dict], **more: object):
    body = {"model": MODELS[provider], "max_tokens": 99, "messages": messages, "tools": tools}
    request = parse.parse_request(body | more)
    adapter = make_adapter(PROVIDER_SPECS[provider], "x", request=request)
    wire = msgspec.json.decode(adapter.build_request(request).body)
    return wire.get("request", wire), adapter.dropped


def functions(body: dict) -> list[dict]:
    tools = body.get("tools", [])
    if any("functionDeclarations" in tool for tool in tools):
        tools = tools[0]["functionDeclarations"]
    return [tool.get("function", tool) for tool in tools if tool.get("type") != "tool_search"]


@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize(
    ("messages", "loaded"),
    [
        ([USER], []),
        (found("weather"), ["weather"]),
        (found("mcp__calendar__list", "weather"), ["mcp__calendar__list", "weather"]),
        (found("unheard_of"), []),
        (found_there("weather"), ["weather"]),
    ],
)
def test_what_was_referenced_is_sent_and_the_rest_left_out(provider, messages, loaded):
    body, dropped = sent(provider, messages, [SEARCH, *LATER])
    assert {tool["name"] for tool in functions(body)} == {"ToolSearch", *loaded}
    assert all("defer_loading" not in tool for tool in functions(body))
    assert {"type": "tool_search"} not in body["tools"]
    assert "tools[*].defer_loading" in dropped


@pytest.mark.parametrize("provider", MODELS)
def test_a_reference_becomes_words_in_the_result(provider):
    body, _ = sent(provider, found("weather"), [SEARCH, *LATER])
    told = msgspec.json.encode(body.get("input") or body.get("messages") or body["contents"])
    assert b"The tool weather is loaded" in told
    assert b"tool_reference" not in told


@pytest.mark.parametrize("provider", MODELS)
def test_nothing_but_tools_to_be_found_are_no_tools(provider):
    body, dropped = sent(provider, [USER], LATER)
    assert "tools" not in body
    assert dropped == ["tools[*].defer_loading"]


@pytest.mark.parametrize("provider", MODELS)
def test_a_tool_that_was_called_or_is_demanded_is_loaded(provider):
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}
    turns = [USER, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    body, _ = sent(provider, turns, [SEARCH, *LATER])
    assert {tool["name"] for tool in functions(body)} == {"ToolSearch", "weather"}
    choice = {"type": "tool", "name": "weather"}
    body, _ = sent(provider, [USER], [SEARCH, *LATER], tool_choice=choice)
    assert {tool["name"] for tool in functions(body)} == {"ToolSearch", "weather"}


@pytest.mark.parametrize("provider", ["groq", "cerebras", "gemini", "gemini-oauth"])
def test_where_no_search_is_run_all_tools_are_sent_and_the_search_is_named(provider):
    body, dropped = sent(provider, [USER], [SERVER_SEARCH, *LATER])
    assert len(functions(body)) == 3
    assert set(dropped) == {"tools[0]", "tools[*].defer_loading"}


@pytest.mark.parametrize("provider", ["openai", "oai-resp"])
def test_openais_own_search_finds_what_is_not_loaded_yet(provider):
    body, dropped = sent(provider, found_there("weather"), [SERVER_SEARCH, *LATER])
    assert "input" in body
    assert {"type": "tool_search"} in body["tools"]
    later = {tool["name"]: tool.get("defer_loading", False) for tool in functions(body)}
    assert later == {"mcp__calendar__list": True, "weather": False, "never": True}
    assert "tools[*].defer_loading" in dropped


def test_anthropic_is_sent_references_as_they_are():
    turns = found("weather")
    body = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": turns}
    request = parse.parse_request(body | {"tools": [SEARCH, *LATER]})
    adapter = make_adapter(PROVIDER_SPECS["anthropic"], "x", request=request)
    wire = msgspec.json.decode(adapter.build_request(request).body)
    assert wire["messages"][2]["content"][0]["content"] == turns[2]["content"][0]["content"]
    assert [tool.get("defer_loading") for tool in wire["tools"]] == [None, True, True, True]
    assert adapter.dropped == []

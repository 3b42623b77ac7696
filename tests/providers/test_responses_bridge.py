"""Which requests to OpenAI go to its other endpoint, and that the caller sees no difference."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from tests.providers.oracle import check_responses
from vai.providers.factory import make_adapter
from vai.providers.openai.adapter import ChatAdapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.responses.adapter import ResponsesAdapter, needs_responses
from vai.types import parse

TOOL = {"name": "f", "input_schema": {"type": "object"}}
OFF = {"thinking": {"type": "disabled"}}


def ask(model, **fields):
    message = {"role": "user", "content": "go"}
    return parse.parse_request({"model": model, "messages": [message], "tools": [TOOL], **fields})


@pytest.mark.parametrize(
    ("model", "fields", "needed"),
    [
        ("gpt-5.5", {}, True),
        ("gpt-5.5", {"tools": []}, False),
        ("gpt-5.5", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, True),
        ("gpt-5.5", OFF, False),
        ("gpt-6-astra", OFF, True),
        ("gpt-6.1-sol", {}, True),
        ("gpt-5.4", {}, False),
        ("gpt-5.4", {"thinking": {"type": "adaptive"}}, True),
        ("gpt-5.4", {"output_config": {"effort": "low"}}, True),
        ("gpt-5.4", {"extensions": {"openai": {"reasoning_effort": "high"}}}, True),
        ("gpt-5.5", {"extensions": {"openai": {"reasoning": {"effort": "none"}}}}, False),
        ("gpt-5.2", {"thinking": {"type": "adaptive"}}, False),
        ("gpt-4o", {}, False),
        ("o3", {}, False),
        ("something-new", {}, False),
        ("gpt-4.1", {"tools": [{"type": "code_execution_20250825", "name": "c"}]}, True),
        ("gpt-4.1", {"tools": [TOOL, {"type": "web_search_20250305"}]}, True),
        ("gpt-4.1", {"tools": [{"type": "file_search", "config": {}}]}, True),
        ("gpt-4.1", {"tools": [{"type": "image_generation"}]}, True),
        ("gpt-4.1", {"tools": [{"type": "computer_20250124", "name": "computer"}]}, True),
        ("gpt-4.1", {"tools": [{"type": "tool_search_tool_bm25_20251119"}]}, True),
        ("gpt-4.1", {"tools": [], "mcp_servers": [{"name": "m", "url": "https://m"}]}, True),
        ("gpt-4.1", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, False),
        ("gpt-4.1", {"tools": [{"type": "web_fetch_20250910"}]}, False),
        ("gpt-4.1", {"tools": [TOOL | {"type": "custom"}], "mcp_servers": []}, False),
        ("gpt-4o-search-preview", {"tools": [{"type": "web_search_20250305"}]}, False),
        ("gpt-audio-1.5", {"tools": [{"type": "code_execution"}]}, False),
    ],
)
def test_tools_that_chat_completions_cannot_take_need_responses(model, fields, needed):
    """Known bug 38, where the other endpoint can be asked."""
    request = ask(model, **fields)
    assert needs_responses(request, model) is needed
    adapter = make_adapter(PROVIDER_SPECS["openai"], "x1", request=request)
    assert isinstance(adapter, ResponsesAdapter if needed else ChatAdapter)


def test_without_a_request_nothing_is_sent_elsewhere():
    assert isinstance(make_adapter(PROVIDER_SPECS["openai"], "x1"), ChatAdapter)


@pytest.mark.parametrize(
    ("changes", "bridged"),
    [
        ({}, True),
        ({"base_url": "https://eu.api.openai.com/v1"}, True),
        ({"base_url": "https://api.openai.com.evil.example/v1"}, False),
        ({"base_url": "https://proxy.internal/v1"}, False),
        ({"id": "mine"}, False),
    ],
)
def test_only_openais_own_server_has_the_other_endpoint(changes, bridged):
    row = msgspec.structs.replace(PROVIDER_SPECS["openai"], **changes)
    adapter = make_adapter(row, "x1", request=ask("gpt-5.5"))
    assert isinstance(adapter, ResponsesAdapter) is bridged


def test_the_answer_is_the_providers_that_was_asked():
    request = ask("gpt-5.5")
    adapter = make_adapter(PROVIDER_SPECS["openai"], "x1", request=request)
    wire = adapter.build_request(request)
    assert wire.target == "/responses"
    check_responses(orjson.loads(wire.body))
    item = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "g"}
    answer = {"model": "gpt-5.5", "status": "completed", "output": [item]}
    message = adapter.parse_message(orjson.dumps(answer))
    assert message.model == "openai/gpt-5.5"
    assert message.content[0].data.startswith("vai1.openai.item.")

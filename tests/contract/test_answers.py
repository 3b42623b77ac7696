"""One answer in neutral words, told by every provider in its own: the caller reads the same.

The simulator speaks each provider's wire format (its own tests hold it against the official
SDKs' types); the exchange is the real one, over a real socket. Each answer is asked for as JSON
and as a stream; the stream passes the strict validator, and both give the same message.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.contract.table import MODELS, USER
from tests.providers.validator import check_events, check_message
from vai.direct import DirectClient
from vai.errors import VaiError
from vai.providers.decode.accumulate import message_from_events
from vai.providers.registry import PROVIDER_SPECS, simulated_path
from vai.simulator.process import start_simulator
from vai.types.message import Message
from vai.types.render import message_to_wire

FACES = {
    name: simulated_path(spec)
    for name, spec in PROVIDER_SPECS.items()
    # Code Assist wraps what Gemini says, and needs a login: its own tests hold it to this.
    if spec.kind != "code-assist"
}
ALL = tuple(FACES)
TEXTLESS_REASONING = ("openai",)
"""Providers that count their reasoning and show none of it."""

TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
SOURCE = {"url": "https://a.example/page", "title": "A page"}


class Said(msgspec.Struct, frozen=True):
    """An answer, and what of it the caller must read.

    `blocks` are members of the canonical blocks, in their order.
    """

    name: str
    parts: list[dict[str, Any]]
    blocks: list[dict[str, Any]]
    stop_reason: str = "end_turn"
    providers: tuple[str, ...] = ALL
    stop: str | None = None
    asks: dict[str, Any] = {}


THINKS = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000}
ANSWERS = [
    Said("text", [{"type": "text", "text": "Hello, wörld"}], [{"text": "Hello, wörld"}]),
    Said(
        "reasoning and text",
        [{"type": "thinking", "text": "Hm, so."}, {"type": "text", "text": "Yes."}],
        [{"thinking": "Hm, so."}, {"text": "Yes."}],
        providers=tuple(name for name in ALL if name not in TEXTLESS_REASONING),
        asks=THINKS,
    ),
    Said(
        "reasoning that is not shown",
        [{"type": "thinking", "text": "Hm.", "hidden": True}, {"type": "text", "text": "Yes."}],
        [{"type": "redacted_thinking"}, {"text": "Yes."}],
        providers=("oai-resp",),
        asks=THINKS,
    ),
    Said(
        "reasoning without its words",
        [{"type": "thinking", "text": "Hm.", "hidden": True}, {"type": "text", "text": "Yes."}],
        [{"type": "redacted_thinking"}, {"text": "Yes."}],
        providers=("anthropic",),
        asks=THINKS,
    ),
    Said(
        "a call",
        [{"type": "tool", "name": "look", "input": {"x": [1, "ü"], "y": {}}}],
        [{"type": "tool_use", "name": "look", "input": {"x": [1, "ü"], "y": {}}}],
        "tool_use",
        asks={"tools": [TOOL]},
    ),
    Said(
        "a call without arguments",
        [{"type": "tool", "name": "look"}],
        [{"type": "tool_use", "input": {}}],
        "tool_use",
        asks={"tools": [TOOL]},
    ),
    Said(
        "text, then calls of one name at once",
        [
            {"type": "text", "text": "Looking twice."},
            {"type": "tool", "name": "look", "input": {"n": 1}},
            {"type": "tool", "name": "look", "input": {"n": 2}},
        ],
        [{"text": "Looking twice."}, {"input": {"n": 1}}, {"input": {"n": 2}}],
        "tool_use",
        asks={"tools": [TOOL]},
    ),
    Said(
        "reasoning, text and a call",
        [
            {"type": "thinking", "text": "I must look."},
            {"type": "text", "text": "Looking."},
            {"type": "tool", "name": "look", "input": {"n": 1}},
        ],
        [{"thinking": "I must look."}, {"text": "Looking."}, {"type": "tool_use"}],
        "tool_use",
        providers=tuple(name for name in ALL if name not in TEXTLESS_REASONING),
        asks={**THINKS, "tools": [TOOL]},
    ),
    Said(
        "out of tokens",
        [{"type": "text", "text": "Once upon a"}],
        [{"text": "Once upon a"}],
        "max_tokens",
        stop="length",
    ),
    Said("nothing but the end", [{"type": "text", "text": ""}], []),
    Said(
        "a refusal",
        [{"type": "refusal", "text": "I will not."}],
        [],
        "refusal",
        # Groq and Cerebras have no way of saying that a text is a refusal.
        providers=("anthropic", "openai", "oai-resp", "gemini"),
    ),
    Said(
        "a search and what it found",
        [
            {"type": "search", "query": "rain", "sources": [SOURCE]},
            {"type": "text", "text": "It rains.", "sources": [SOURCE]},
        ],
        [
            {"type": "server_tool_use", "name": "web_search"},
            {"type": "web_search_tool_result"},
            {"text": "It rains."},
        ],
        providers=("anthropic", "oai-resp", "gemini"),
        asks={"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    ),
    Said(
        "code that was run",
        [
            {"type": "code", "code": "print(1)", "output": "1\n"},
            {"type": "text", "text": "One."},
        ],
        [{"type": "server_tool_use"}, {"type": "code_execution_tool_result"}, {"text": "One."}],
        providers=("oai-resp", "gemini"),
        asks={"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
    ),
    Said(
        "a picture",
        [{"type": "image"}, {"type": "text", "text": "A dot."}],
        [{"type": "image"}, {"text": "A dot."}],
        providers=("gemini",),
    ),
]
CELLS = [
    pytest.param(said, provider, id=f"{said.name}-{provider}".replace(" ", "-"))
    for said in ANSWERS
    for provider in said.providers
]


@pytest.fixture(scope="module")
def simulator():
    with start_simulator() as process:
        yield process.url


@pytest.fixture
def told(simulator):
    """Dictate an answer to a model of one provider; returns the request that asks for it."""

    def told(provider: str, answer: dict[str, Any], **asks: Any) -> dict[str, Any]:
        model = MODELS[provider]
        request = urllib.request.Request(
            f"{simulator}/_sim/scripts/{quote(model, safe='')}",
            json.dumps({"answer": answer}).encode(),
            method="PUT",
        )
        with urllib.request.urlopen(request) as done:
            assert done.status == 200
        return {"model": f"{provider}/{model}", "messages": [USER], "max_tokens": 500, **asks}

    return told


def asked(simulator: str, request: dict[str, Any]) -> tuple[Message, Message]:
    """The answer as JSON, and as the sum of its events."""

    async def both() -> tuple[Message, Message]:
        keys = dict.fromkeys(FACES, "sk-test")
        urls = {name: simulator + path for name, path in FACES.items()}
        async with DirectClient(keys, base_urls=urls) as direct:
            whole = await direct.create(request)
            events = [event async for event in direct.stream(request)]
        check_events(events)
        return whole, message_from_events(events)

    return asyncio.run(both())


@pytest.mark.parametrize(("said", "provider"), CELLS)
def test_every_provider_says_it(simulator, told, said, provider):
    answer = {"parts": said.parts} | ({"stop": said.stop} if said.stop else {})
    whole, streamed = asked(simulator, told(provider, answer, **said.asks))
    for message in (whole, streamed):
        wire = check_message(message_to_wire(message))
        assert wire["stop_reason"] == said.stop_reason
        blocks = [block for block in wire["content"] if not _is_seal(block)]
        if said.stop_reason == "refusal":  # some say why, some say nothing
            assert all(block["type"] == "text" for block in blocks)
            continue
        assert len(blocks) == len(said.blocks), blocks
        for block, expected in zip(blocks, said.blocks, strict=True):
            assert {name: block.get(name) for name in expected} == expected
    assert _without_ids(whole) == _without_ids(streamed)


def _is_seal(block: dict[str, Any]) -> bool:
    """What Gemini signs its texts and calls with; it stands beside what was said."""
    return str(block.get("data", "")).startswith("vai1.gemini.")


def _without_ids(message: Message) -> Any:
    """A message as far as two answers to one question agree."""
    wire = message_to_wire(message)
    wire.pop("id")
    for block in wire["content"]:
        block.pop("id", None)
        block.pop("tool_use_id", None)
    return wire


@pytest.mark.parametrize("provider", ALL)
def test_usage_is_told_in_disjoint_counters(simulator, told, provider):
    usage = {"input": 1000, "output": 50, "cache_read": 800}
    answer = {"parts": [{"type": "text", "text": "x"}], "usage": usage}
    whole, streamed = asked(simulator, told(provider, answer))
    for message in (whole, streamed):
        assert message.usage.input_tokens == 200
        assert message.usage.cache_read_input_tokens == 800
        assert message.usage.output_tokens == 50


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("provider", ALL)
def test_every_status_has_one_meaning(simulator, provider, status):
    expected = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }
    request = {
        "model": f"{provider}/{MODELS[provider]};status={status}",
        "messages": [USER],
        "max_tokens": 50,
    }
    with pytest.raises(VaiError) as caught:
        asked(simulator, request)
    assert caught.value.type == expected.get(status, caught.value.type)
    assert caught.value.status == status or caught.value.status >= 500
    assert caught.value.provider == provider


def test_no_provider_is_left_out():
    assert {*FACES, "gemini-oauth"} == set(PROVIDER_SPECS)

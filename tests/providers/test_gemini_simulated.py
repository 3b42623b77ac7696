"""Gemini's adapter and the simulator, over a real socket: two readings of one wire format."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.providers.validator import check_events
from vai.errors import UpstreamFault
from vai.providers.decode.accumulate import message_from_events
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.simulator import Simulator
from vai.types import parse
from vai.types.render import message_to_wire

BASES = {"gemini": "/gemini/v1beta", "gemini-oauth": "/gemini-oauth"}
TOOLS = [
    {"name": "look", "input_schema": {"type": "object", "properties": {"x": {"type": "string"}}}},
    {"name": "stop"},
]
SEARCH = [{"type": "web_search_20250305", "name": "web_search"}]
CALLS = {"tools": TOOLS, "messages": [{"role": "user", "content": "Call look and stop"}]}
ANSWERS = [
    ("", {}, ["text"], "end_turn"),
    ("", {**CALLS}, ["redacted_thinking", "tool_use", "tool_use"], "tool_use"),
    (
        "",
        {**CALLS, "thinking": {"type": "adaptive"}},
        ["thinking", "tool_use", "tool_use"],
        "tool_use",
    ),
    (
        "search=2",
        {"tools": SEARCH},
        ["server_tool_use", "web_search_tool_result", "text"],
        "end_turn",
    ),
    (
        "run=1",
        {"tools": [{"type": "code_execution"}]},
        ["server_tool_use", "code_execution_tool_result", "text"],
        "end_turn",
    ),
    ("image=1", {}, ["text", "image"], "end_turn"),
    ("block=SAFETY", {}, [], "refusal"),
    ("stop=MAX_TOKENS", {}, ["text"], "max_tokens"),
]


async def exchange(http, provider, fields):
    """Lead one exchange to its end: the message in wire form, or the fault."""
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    said = {"messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 900, **fields}
    ask = parse.parse_request(said)
    wire = adapter.build_request(ask)
    key = "authorization" if provider == "gemini-oauth" else "x-goog-api-key"
    value = "Bearer ya29.k" if provider == "gemini-oauth" else "k"
    events, message = [], None
    while wire is not None:
        given = dict(wire.headers) | {key: value}
        reply = await http.post(BASES[provider] + wire.target, content=wire.body, headers=given)
        if reply.status_code != 200:
            return adapter.parse_error(reply.status_code, reply.headers, reply.content)
        if ask.stream:
            body = reply.content
            for at in range(0, len(body), 97):
                events += adapter.feed_bytes(body[at : at + 97])
            events += adapter.end_stream()
        else:
            try:
                message = adapter.parse_message(reply.content)
            except UpstreamFault as fault:
                return fault
        wire = adapter.next_request
    if ask.stream:
        check_events(events, complete=adapter.is_complete)
        message = message_from_events(events) if adapter.is_complete else None
    return adapter.fault or message_to_wire(message)


def both(provider, model, **fields):
    """The same exchange as a stream and in one piece."""

    async def run():
        async with Simulator() as sim, httpx.AsyncClient(base_url=sim.url, trust_env=False) as http:
            return [
                await exchange(http, provider, {"model": model, "stream": stream, **fields})
                for stream in (True, False)
            ]

    return asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize(("knob", "fields", "kinds", "reason"), ANSWERS)
@pytest.mark.parametrize("provider", list(BASES))
def test_what_the_simulator_says_is_understood(provider, knob, fields, kinds, reason):
    model = f"gemini-3.6-flash;{knob}" if knob else "gemini-3.6-flash"
    streamed, whole = both(provider, model, **fields)
    assert streamed == whole
    assert [block["type"] for block in whole["content"]] == kinds
    assert whole["stop_reason"] == reason
    assert whole["usage"]["input_tokens"] > 0


def test_an_answer_in_three_bodies_is_the_same_answer():
    plain, _ = both("gemini", "gemini-3.6-flash")
    streamed, whole = both("gemini", "gemini-3.6-flash;hops=2")
    assert streamed == whole
    assert whole["content"] == plain["content"]
    assert whole["usage"]["output_tokens"] == plain["usage"]["output_tokens"]
    assert whole["usage"]["input_tokens"] == 3 * plain["usage"]["input_tokens"]


@pytest.mark.parametrize(
    ("knob", "expected"),
    [
        ("stop=MALFORMED_FUNCTION_CALL", ("api_error", 502)),
        ("status=429", ("rate_limit_error", 429)),
        ("status=503", ("overloaded_error", 503)),
        ("status=400", ("invalid_request_error", 400)),
    ],
)
@pytest.mark.parametrize("provider", list(BASES))
def test_what_the_simulator_refuses_is_a_fault(provider, knob, expected):
    for found in both(provider, f"gemini-3.6-flash;{knob}"):
        assert isinstance(found, UpstreamFault)
        assert (found.type, found.status) == expected


@pytest.mark.parametrize("provider", list(BASES))
def test_an_error_in_the_middle_of_a_stream(provider):
    streamed, _ = both(provider, "gemini-3.6-flash;error_at=2")
    assert (streamed.type, streamed.status) == ("overloaded_error", 503)

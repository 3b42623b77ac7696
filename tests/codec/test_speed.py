"""What the door costs. Ceilings are several times the measured figure: they catch a
change of order, not a busy machine."""

from __future__ import annotations

import json as stdlib
import timeit
from collections.abc import Callable
from typing import Any

import pytest

from tests.codec.hostile_heads import GOOD, head_of
from vai.codec import head, json
from vai.codec import routing_fields as envelope
from vai.codec.sse import FrameSplitter, SseDecoder, split_frames

CODE = 'def f(x):\n    return {"path": "C:\\\\dir", "list": [x, {1: 2}]}\n'


def agent_body() -> bytes:
    """107 KB as a coding agent sends it: tools with schemas, many turns, code in strings."""
    tools = [
        {
            "name": f"tool_{i}",
            "description": "Reads a file and returns its lines. " * 8,
            "input_schema": {
                "type": "object",
                "properties": {f"p{j}": {"type": "string", "description": CODE} for j in range(6)},
            },
        }
        for i in range(20)
    ]
    turns = [
        {"role": ("user", "assistant")[i % 2], "content": [{"type": "text", "text": CODE * 17}]}
        for i in range(56)
    ]
    return stdlib.dumps(
        {"model": "anthropic/m", "max_tokens": 9, "stream": True, "tools": tools, "messages": turns}
    ).encode()


def plain_body(size: int) -> bytes:
    """One long message, compact."""
    text = "lorem ipsum " * (size // 12)
    body = {
        "model": "anthropic/m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": text}],
    }
    return json.dumps(body)


def micros(function: Callable[[Any], object], argument: Any, number: int) -> float:
    """Microseconds of one call: the best of seven rounds."""
    return min(timeit.repeat(lambda: function(argument), number=number, repeat=7)) / number * 1e6


SDK = head_of(next(good.raw for good in GOOD if good.name == "anthropic-sdk"))
OPENAI = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n'
MESSAGES = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0}\n\n'


@pytest.mark.alone
@pytest.mark.parametrize(
    ("name", "function", "argument", "number", "per", "ceiling"),
    [
        ("head", head.parse_head, SDK, 3000, 1, 20),
        ("envelope, small", envelope.read_routing_fields, plain_body(100), 1000, 1, 40),
        ("envelope, 2 KB", envelope.read_routing_fields, plain_body(2000), 1000, 1, 50),
        ("envelope, 107 KB plain", envelope.read_routing_fields, plain_body(107_000), 100, 1, 400),
        ("envelope, 107 KB agent", envelope.read_routing_fields, agent_body(), 50, 1, 1000),
        ("loads, 107 KB agent", json.loads, agent_body(), 50, 1, 1000),
        ("sse, openai x 1", SseDecoder().feed, OPENAI, 3000, 1, 8),
        ("sse, openai x 20", SseDecoder().feed, OPENAI * 20, 500, 20, 4),
        ("sse, messages x 1", SseDecoder().feed, MESSAGES, 3000, 1, 8),
        ("sse, messages x 20", SseDecoder().feed, MESSAGES * 20, 500, 20, 5),
        ("splitter", FrameSplitter().feed, MESSAGES, 3000, 1, 2),
        ("frames", lambda data: list(split_frames(data)), MESSAGES * 20, 500, 20, 3),
    ],
)
def test_cost(
    name: str,
    function: Callable[[Any], object],
    argument: Any,
    number: int,
    per: int,
    ceiling: float,
) -> None:
    cost = micros(function, argument, number) / per
    print(f"{name}: {cost:.2f} us")
    assert cost < ceiling


def test_another_model_costs_a_copy() -> None:
    body = agent_body()
    found = envelope.read_routing_fields(body)
    assert micros(lambda data: envelope.rewrite_body(data, found, model="m"), body, 200) < 50

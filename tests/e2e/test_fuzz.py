"""Thousands of bent requests to a real gateway: each is answered, none of them by a fault of ours.

A request begins as a whole conversation and is then bent in a few places: members removed,
repeated, replaced by something of another type, blocks of unknown kinds, odd names. The same
seed gives the same requests.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from typing import Any

import pytest

from tests.e2e.rig import Gateway, Http
from tests.e2e.test_conversation import MODELS
from tests.e2e.test_sdk import picture

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

COUNT = 10_000
TURNS: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Call look", "cache_control": {"type": "ephemeral"}},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": picture(1, 1)},
            },
            {
                "type": "document",
                "title": "n",
                "source": {"type": "text", "media_type": "text/plain", "data": "d"},
            },
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "vai1.groq.chat."},
            {"type": "redacted_thinking", "data": "vai1.gemini.call.AbC_-"},
            {"type": "text", "text": "Looking.", "citations": []},
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"x": 1}},
            {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "toolu_1",
                "content": [{"type": "text", "text": "r"}],
            },
            {"type": "text", "text": "go on"},
        ],
    },
]
WHOLE: dict[str, Any] = {
    "max_tokens": 50,
    "system": [{"type": "text", "text": "s"}],
    "messages": TURNS,
    "tools": [
        {
            "name": "look",
            "input_schema": {"type": "object", "properties": {"x": {"type": "integer"}}},
        },
        {"type": "web_search_20250305", "name": "web_search"},
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {
        "effort": "high",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
    },
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "temperature": 0.5,
    "top_k": 3,
    "stream": False,
    "extensions": {"groq": {"seed": 1}},
    "service_tier": "auto",
}
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 2**63, 10**25, "", " ", "x", "\u2028", "é" * 40, "type"),
    *([], {}, [[]], [None], {"": None}, {"type": "?"}, {"type": "text"}, {"type": "image"}),
    {"type": "tool_use", "id": "", "name": "", "input": {}},
    {"type": "thinking"},
    {"type": "json_schema", "schema": {"$ref": "#"}},
    [{"role": "assistant", "content": []}],
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values below `value`."""
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for step, below in steps:
        found.append((*path, step))
        if isinstance(below, dict | list):
            found += _places(below, (*path, step))
    return found


def bent(rng: random.Random) -> dict[str, Any]:
    """A conversation with a few members that are not as they should be."""
    request = copy.deepcopy(WHOLE)
    for name in rng.sample([n for n in request if n != "messages"], rng.randrange(14)):
        del request[name]
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        places = _places(request)
        if not places:
            break
        path = rng.choice(places)
        parent: Any = request
        for step in path[:-1]:
            parent = parent[step]
        kind = rng.randrange(4)
        if kind == 0:
            del parent[path[-1]]
        elif kind == 1:
            parent[path[-1]] = copy.deepcopy(rng.choice(ODD))
        elif kind == 2 and isinstance(parent, list):
            parent.insert(path[-1], copy.deepcopy(rng.choice([*ODD, parent[path[-1]]])))
        elif isinstance(parent, dict):
            name = rng.choice(["surprise", "type", "name", "x" * 200])
            parent[name] = copy.deepcopy(rng.choice(ODD))
    provider = rng.choice(list(MODELS))
    request["model"] = rng.choice([f"{provider}/{MODELS[provider]}", f"{provider}/sim-fuzz"])
    request["stream"] = rng.random() < 0.5
    return request


def test_no_request_is_our_fault(gateway: Gateway):
    rng = random.Random(20261122)
    seen: Counter[int] = Counter()
    headers = {"content-type": "application/json", **gateway.auth()}
    with Http(gateway.port) as client:
        for number in range(COUNT):
            request = bent(rng)
            body = json.dumps(request).encode()  # orjson knows no integers beyond 64 bits
            answer = client.ask("POST", "/v1/messages", headers, body)
            seen[answer.status] += 1
            assert answer.status < 500, (number, answer.status, answer.body, request)
            if answer.status >= 400:
                assert answer.json["error"]["message"], (number, answer.body)
            elif request["stream"]:
                assert answer.body.rstrip().endswith(b'{"type":"message_stop"}'), (
                    number,
                    answer.body,
                )
    # Both kinds of answer were met, or the requests were bent too much or too little.
    assert seen[200] > COUNT // 20, seen
    assert seen[400] > COUNT // 20, seen

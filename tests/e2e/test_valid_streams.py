"""Every kind of answer, streamed by every provider, before the strict validator.

The official client builds its objects without checking them, so that it could read a stream
proves little; here the bytes of the socket are judged.
"""

from __future__ import annotations

import pytest

from tests.e2e.rig import ask, events
from tests.e2e.test_sdk import CLOCK, PREFIXES, WEATHER, picture
from tests.providers.validator import check_stream

pytestmark = pytest.mark.e2e

IMAGE = [
    {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": picture(2, 2)},
    },
    {"type": "text", "text": "What is it?"},
]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
RESULT = [
    {"role": "user", "content": "Call get_clock"},
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_clock", "input": {}}],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "noon"}],
    },
]
KINDS = {
    "text": {},
    "one tool": {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "get_weather"}},
    "two tools": {"tools": [WEATHER, CLOCK], "text": "Call get_weather and get_clock"},
    "tool result": {"tools": [CLOCK], "messages": RESULT},
    "image": {"messages": [{"role": "user", "content": IMAGE}]},
    "thinking": {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    "schema": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "out of tokens": {"max_tokens": 3},
    "stop sequence": {"stop_sequences": ["simulated"]},
    "system": {"system": [{"type": "text", "text": "Be brief."}]},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_it_is_valid(gateway, prefix, kind):
    more = dict(KINDS[kind])
    question = ask(f"{prefix}sim-valid", more.pop("text", "Hello"), stream=True)
    answer = gateway.post(question | more)
    assert answer.status == 200, answer.body
    told = check_stream(events(answer.body))
    assert told is not None

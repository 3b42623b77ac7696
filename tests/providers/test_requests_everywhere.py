"""Combinations of members, judged by the simulator, which refuses what it is not told."""

from __future__ import annotations

from itertools import product

import orjson
import pytest

from tests.providers.oracle import check_responses
from vai.errors import InvalidRequest
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate.reasoning import wrap_signature
from vai.simulator import chat_check, messages_check, responses_check
from vai.simulator.knobs import Knobs
from vai.types import parse

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
USER = {"role": "user", "content": "go"}
CALL = {"type": "tool_use", "id": "a.1", "name": "look", "input": {"x": 1}}
MODELS = [
    *(("openai", name) for name in ("gpt-4o", "gpt-5.2", "gpt-5.5", "gpt-6-luna", "o3")),
    *(("oai-resp", name) for name in ("gpt-4o", "gpt-5.2", "gpt-5.5", "gpt-6-astra", "o3")),
    *(("groq", name) for name in ("openai/gpt-oss-120b", "qwen/qwen3.8-27b", "llama-3.3-70b")),
    *(("cerebras", name) for name in ("gpt-oss-120b", "zai-glm-4.7")),
    *(("anthropic", name) for name in ("claude-sonnet-4-5", "claude-opus-4-8", "claude-opus-5-5")),
]
TOOL = {
    "name": "look",
    "strict": True,
    "input_schema": {"type": "object", "properties": {"x": {"type": "integer"}}},
}
MEMBERS = [
    {},
    {
        "stream": True,
        "thinking": {"type": "enabled", "budget_tokens": 5000},
        "metadata": {"user_id": "a@b"},
    },
    {"thinking": {"type": "disabled"}, "service_tier": "standard_only", "top_k": 3},
    {
        "output_format": {
            "type": "json_schema",
            "schema": {"type": "array", "items": TOOL["input_schema"]},
        }
    },
    {
        "stop_sequences": ["a"],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "cache_control": {"type": "ephemeral"},
        "temperature": 1.0,
    },
]


def histories(provider):
    def answered(*blocks):
        answer = {"type": "tool_result", "tool_use_id": CALL["id"]}
        return [USER, {"role": "assistant", "content": [*blocks, CALL]}], answer

    yield [USER]
    start, answer = answered()
    yield [*start, {"role": "user", "content": [{"type": "text", "text": "t"}, answer]}]
    start, answer = answered({"type": "text", "text": "z"})
    yield [*start, {"role": "user", "content": [{**answer, "content": [IMAGE], "is_error": True}]}]
    sealed = wrap_signature("groq" if provider == "anthropic" else provider, "chat")
    start, answer = answered({"type": "thinking", "thinking": "h", "signature": sealed})
    yield [*start, {"role": "user", "content": [answer]}]


def judge(provider, wire):
    body = orjson.loads(wire.body)
    if provider == "anthropic":
        messages_check.parse_request(
            body, dict(wire.headers), Knobs(), messages_check.PromptCache()
        )
    elif provider == "oai-resp":
        check_responses(body)
        responses_check.parse_request(body, provider, Knobs())
    else:
        chat_check.parse_request(body, provider, Knobs())


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_what_is_sent_is_accepted(provider, model):
    accepted = 0
    refused = set()
    for messages, tools, members in product(histories(provider), ([], [TOOL]), MEMBERS):
        fields = {"model": model, "max_tokens": 9999, "messages": messages, **members}
        adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
        try:
            wire = adapter.build_request(
                parse.parse_request({**fields, "tools": tools, "system": "s"})
            )
        except InvalidRequest as refusal:
            refused.add(refusal.param)
            continue
        judge(provider, wire)
        accepted += 1
    assert accepted >= 20
    assert refused <= {"output_config.format", "thinking", "tool_choice"}

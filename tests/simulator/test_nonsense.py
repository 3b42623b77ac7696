"""Whatever is sent, the answer is an answer: no crash, no silence."""

from __future__ import annotations

import random

import orjson
import pytest

from vai.simulator.parts import make_signature

NONSENSE = [None, 0, -1, 1.5, True, "", "x", [], [1], [[]], {}, {"type": 3}, {"type": "x"}, [None]]
TOOL = {"name": "t", "input_schema": {"type": "object", "properties": {"a": {"minItems": "x"}}}}
MESSAGES = {
    "model": "sim-1",
    "max_tokens": 50,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "t"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "i", "name": "t", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "i",
                    "content": [{"type": "text", "text": "r"}],
                },
                {"type": "image", "source": {"type": "url", "url": "https://example.com"}},
            ],
        },
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "tool", "name": "t"},
    "thinking": {"type": "disabled"},
    "stop_sequences": ["z"],
    "metadata": {"user_id": "u"},
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    "stream": False,
}
CALL = {"id": "i", "type": "function", "function": {"name": "t", "arguments": "{}"}}
CHAT = {
    "model": "sim-1",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "t"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "i", "content": "r"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e"}}]},
    ],
    "tools": [{"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "t"}},
    "stop": ["z"],
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "stream": True,
    "stream_options": {"include_usage": True},
}
RESPONSES = {
    "model": "sim-1",
    "instructions": "s",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "t"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": make_signature("x")},
        {"type": "function_call", "call_id": "i", "name": "t", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "i", "output": "r"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://e"}]},
    ],
    "tools": [{"type": "function", "name": "t", "parameters": {"type": "object"}, "strict": False}],
    "tool_choice": {"type": "function", "name": "t"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    "include": ["reasoning.encrypted_content"],
    "metadata": {"a": "b"},
    "max_output_tokens": 50,
    "stream": True,
}
GENERATE = {
    "systemInstruction": {"parts": [{"text": "s"}]},
    "contents": [
        {"role": "user", "parts": [{"text": "t"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "t", "args": {}}, "thoughtSignature": make_signature("x")}
            ],
        },
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "t", "response": {"output": "r"}}}],
        },
    ],
    "tools": [
        {"functionDeclarations": [{"name": "t", "parameters": {"type": "OBJECT"}}]},
        {"codeExecution": {}},
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["t"]},
        "includeServerSideToolInvocations": True,
    },
    "generationConfig": {
        "maxOutputTokens": 50,
        "stopSequences": ["z"],
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"a": {"minItems": "1"}}},
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"},
    },
}
SANE = {"anthropic": MESSAGES, "oai-resp": RESPONSES, "gemini": GENERATE, "gemini-oauth": GENERATE}


def places(value: object, path: tuple = ()) -> list[tuple]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, member in value.items():
            found += places(member, (*path, key))
    elif isinstance(value, list):
        for at, member in enumerate(value):
            found += places(member, (*path, at))
    return found


def spoiled(value: dict, path: tuple, nonsense: object) -> dict:
    copy = orjson.loads(orjson.dumps(value))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = nonsense
    return copy


async def sent(world, provider: str, body: dict):
    match provider:
        case "anthropic":
            return await world.messages(body)
        case "oai-resp":
            return await world.respond(body)
        case "gemini":
            return await world.generate(body)
        case "gemini-oauth":
            return await world.assist("generateContent", {"model": "sim-1", "request": body})
    return await world.complete(provider, body)


@pytest.mark.parametrize(
    "provider", ["anthropic", "openai", "groq", "cerebras", "oai-resp", "gemini", "gemini-oauth"]
)
def test_a_nonsensical_member_is_answered(using, provider):
    async def check(world):
        sane = SANE.get(provider, CHAT)
        if provider == "groq":
            sane = {k: v for k, v in sane.items() if k != "response_format"}
        whole = await sent(world, provider, sane)
        assert whole.status_code == 200, whole.text
        dice = random.Random(7)
        refused = 0
        for path in places(sane):
            for nonsense in dice.sample(NONSENSE, 5):
                body = spoiled(sane, path, nonsense)
                answer = await sent(world, provider, body)
                assert answer.status_code in (200, 400), (path, nonsense, answer.text)
                refused += answer.status_code == 400
        assert refused > 100

    using(check)

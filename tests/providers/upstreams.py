"""Answers of every wire format, whole and as streams, of whatever a test wants said.

Invariants: it writes what servers write, right or wrong. A value is put where the
format has it, and is never checked.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from tests.providers.validator import check_events
from vai.providers.decode.accumulate import message_from_events
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.provider import ProviderSpec
from vai.types.render import message_to_wire

COMPATIBLE = frozenset({"max_tokens", "no_nulls", "plain_system", "user"})
CUSTOM = msgspec.structs.replace(
    PROVIDER_SPECS["openai"],
    id="own",
    name="Own",
    base_url="http://127.0.0.1:1/v1",
    env=(),
    quirks=COMPATIBLE,
)
OWN_ROWS: dict[str, ProviderSpec] = {
    **PROVIDER_SPECS,
    "own": CUSTOM,
    "own-mistral": msgspec.structs.replace(
        CUSTOM, id="own-mistral", base_url="https://api.mistral.ai/v1"
    ),
    "own-messages": msgspec.structs.replace(
        PROVIDER_SPECS["anthropic"], id="own-messages", name="Own", env=(), bare_prefixes=()
    ),
}
"""The built-in rows, and servers of an operator's own."""
MODELS = {name: spec.example_model for name, spec in PROVIDER_SPECS.items()} | {
    "anthropic": "claude-opus-4-8",
    "openai": "gpt-4o",
    "oai-resp": "gpt-5.5",
    "gemini": "gemini-2.5-flash",
    "gemini-oauth": "gemini-2.5-flash",
    "own": "local",
    "own-mistral": "magistral-medium",
    "own-messages": "local",
}

Call = tuple[Any, Any, Any]
"""The server's id of a call, its name and its arguments."""


def body_of(kind: str, calls: list[Call], text: str = "") -> bytes:
    """A whole answer with these calls."""
    return orjson.dumps(_BODIES[kind](calls, text))


def stream_of(kind: str, calls: list[Call], text: str = "") -> bytes:
    """The same as a stream, each call in one piece."""
    return b"".join(
        b"event: %b\ndata: %b\n\n"
        % (str(event.get("type", "message")).encode(), orjson.dumps(event))
        for event in _STREAMS[kind](calls, text)
    ) + (b"data: [DONE]\n\n" if kind == "openai" else b"")


def ask(provider: str, turns: list[dict[str, Any]] | None = None, **fields: Any) -> Any:
    """An adapter that has been asked, and the body that it sends."""
    row = OWN_ROWS[provider]
    adapter = make_adapter(row, "01TEST", input_estimate=3)
    request = parse.parse_request(
        {
            "model": MODELS[provider],
            "max_tokens": 99,
            "messages": turns or [{"role": "user", "content": "go"}],
            **fields,
        }
    )
    sent = orjson.loads(adapter.build_request(request).body)
    return adapter, sent.get("request", sent) if row.kind == "code-assist" else sent


def told(adapter: Any, data: bytes, *, stream: bool) -> dict[str, Any]:
    """The message that a client is given."""
    if not stream:
        message = adapter.parse_message(data)
    else:
        events = adapter.feed_bytes(data) + adapter.end_stream()
        assert adapter.fault is None, adapter.fault
        check_events(events)
        message = message_from_events(events)
    wire: dict[str, Any] = message_to_wire(message)
    return wire


def _chat_calls(calls: list[Call]) -> list[dict[str, Any]]:
    return [
        {
            "index": at,
            "id": given,
            "type": "function",
            "function": {"name": name, "arguments": said},
        }
        for at, (given, name, said) in enumerate(calls)
    ]


def _chat(calls: list[Call], text: str) -> dict[str, Any]:
    said = {"role": "assistant", "content": text or None, "tool_calls": _chat_calls(calls)}
    choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
    return {"id": "c", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 1}}


def _chat_stream(calls: list[Call], text: str) -> list[dict[str, Any]]:
    deltas = [{"content": text}] if text else []
    deltas += [{"tool_calls": [call]} for call in _chat_calls(calls)]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    return [{"id": "c", "model": "m", **chunk} for chunk in [*chunks, end]]


def _responses_items(calls: list[Call], text: str) -> list[dict[str, Any]]:
    said = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    return ([said] if text else []) + [
        {"type": "function_call", "call_id": given, "name": name, "arguments": said}
        for given, name, said in calls
    ]


def _responses(calls: list[Call], text: str) -> dict[str, Any]:
    return {
        "id": "r",
        "model": "m",
        "status": "completed",
        "output": _responses_items(calls, text),
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _responses_stream(calls: list[Call], text: str) -> list[dict[str, Any]]:
    whole = _responses(calls, text)
    begun = {**whole, "status": "in_progress", "output": []}
    items = [
        {"type": "response.output_item.done", "output_index": at, "item": item}
        for at, item in enumerate(whole["output"])
    ]
    return [
        {"type": "response.created", "response": begun},
        *items,
        {"type": "response.completed", "response": whole},
    ]


def _gemini(calls: list[Call], text: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": text}] if text else []
    parts += [
        {"functionCall": {"id": given, "name": name, "args": said}} for given, name, said in calls
    ]
    content = {"role": "model", "parts": parts}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "modelVersion": "m",
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
    }


def _assist(calls: list[Call], text: str) -> dict[str, Any]:
    return {"response": _gemini(calls, text)}


def _messages(calls: list[Call], text: str) -> dict[str, Any]:
    before: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": before
        + [
            {"type": "tool_use", "id": given, "name": name, "input": said}
            for given, name, said in calls
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _messages_stream(calls: list[Call], text: str) -> list[dict[str, Any]]:
    whole = _messages(calls, text)
    shell = {**whole, "content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": shell}]
    for index, block in enumerate(whole["content"]):
        kind = block["type"]
        begun = {**block, "text": ""} if kind == "text" else {**block, "input": {}}
        delta = (
            {"type": "text_delta", "text": block["text"]}
            if kind == "text"
            else {
                "type": "input_json_delta",
                "partial_json": orjson.dumps(block["input"]).decode(),
            }
        )
        events += [
            {"type": "content_block_start", "index": index, "content_block": begun},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    return [
        *events,
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]


_BODIES = {
    "openai": _chat,
    "responses": _responses,
    "gemini": _gemini,
    "code-assist": _assist,
    "anthropic": _messages,
}
_STREAMS: dict[str, Any] = {
    "openai": _chat_stream,
    "responses": _responses_stream,
    "gemini": lambda calls, text: [_gemini(calls, text)],
    "code-assist": lambda calls, text: [_assist(calls, text)],
    "anthropic": _messages_stream,
}

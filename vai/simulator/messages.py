"""Answers in the Messages dialect: one JSON body, or its event stream.

The law of this module: both forms say the same; the stream's usage is cumulative and
its last figures are those of the JSON body.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.answer import signature_of
from vai.simulator.ask import Ask
from vai.simulator.parts import Answer, Call, Text, Thought
from vai.simulator.reply import Piece

__all__ = ["body", "events"]

_STOPS: Final = {"end": "end_turn", "length": "max_tokens", "stop": "stop_sequence"} | {
    "tool": "tool_use"
}
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'


def body(ask: Ask, answer: Answer, _: str = "") -> bytes:
    """The answer to a request without `stream`."""
    parts = [_shown(ask, part) for part in answer.parts]
    content = [_block(ask, part, index) for index, part in enumerate(parts)]
    message = _message(ask, content, _usage(ask, answer, answer.tokens))
    message |= _stopped(ask, answer)
    return orjson.dumps(message)


def events(ask: Ask, answer: Answer, _: str = "") -> Iterator[Piece]:
    """The answer to a request with `stream`, paced by the knobs."""
    knobs = ask.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    at, count = knobs.ttft, 0
    start = _message(ask, [], _usage(ask, answer, min(1, answer.tokens)))
    opening = knobs.ttft if knobs.head is None else min(knobs.head, knobs.ttft)
    yield Piece(opening, _event({"type": "message_start", "message": start}))
    for index, part in enumerate(answer.parts):
        block = _opened(ask, part, index)
        first = _event({"type": "content_block_start", "index": index, "content_block": block})
        if index == 0:
            first += _PING
        yield Piece(at, first)
        shown = _shown(ask, part)
        for data, size in _deltas(shown, index, knobs.chunk):
            if count == knobs.error_at:
                yield Piece(at, _failure())
                return
            at += step if count else 0.0
            count += 1
            if knobs.ping and count % knobs.ping == 0:
                data += _PING
            yield Piece(at, data, size)
        yield Piece(at, _closing(shown, index))
    if knobs.error_at is not None:
        yield Piece(at, _failure())
        return
    yield Piece(at, _ending(ask, answer))


def _ending(ask: Ask, answer: Answer) -> bytes:
    usage = _usage(ask, answer, answer.tokens)
    for static in ("cache_creation", "service_tier", "inference_geo"):
        del usage[static]
    usage["output_tokens"] = answer.tokens
    if ask.knobs.nousage:
        usage = {"output_tokens": 0}
    delta = {"type": "message_delta", "delta": _stopped(ask, answer), "usage": usage}
    return _event(delta) + _event({"type": "message_stop"})


def _failure() -> bytes:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    return _event({"type": "error", "error": error})


def _event(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), orjson.dumps(value))


def _message(ask: Ask, content: list[Any], usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": ask.model,
        "id": f"msg_01Sim{ask.seed:020d}",
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _stopped(ask: Ask, answer: Answer) -> dict[str, Any]:
    reason = ask.knobs.stop or _STOPS[answer.stop]
    stopped: dict[str, Any] = {"stop_reason": reason, "stop_sequence": answer.stop_sequence}
    if reason == "refusal":
        stopped["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
    return stopped


def _usage(ask: Ask, answer: Answer, output: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": ask.tokens - ask.cache_read - ask.cache_write - ask.cache_write_1h,
        "cache_creation_input_tokens": ask.cache_write + ask.cache_write_1h,
        "cache_read_input_tokens": ask.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": ask.cache_write,
            "ephemeral_1h_input_tokens": ask.cache_write_1h,
        },
        "output_tokens": output,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    if answer.thought_tokens and output == answer.tokens:
        usage["output_tokens_details"] = {"thinking_tokens": answer.thought_tokens}
    return usage


def _block(ask: Ask, part: Thought | Text | Call, index: int) -> dict[str, Any]:
    match part:
        case Thought(text):
            return {"type": "thinking", "thinking": text, "signature": signature_of(text)}
        case Text(text):
            return {"type": "text", "text": text}
        case Call():
            return _opened(ask, part, index) | {"input": part.input}


def _shown(ask: Ask, part: Thought | Text | Call) -> Thought | Text | Call:
    """The part as the client sees it: hidden reasoning keeps its seal alone."""
    return Thought("") if isinstance(part, Thought) and not ask.shows_thought else part


def _opened(ask: Ask, part: Thought | Text | Call, index: int) -> dict[str, Any]:
    match part:
        case Thought():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case Text():
            return {"type": "text", "text": ""}
        case Call():
            call_id = f"toolu_01Sim{index:02d}{ask.seed:016d}"
            return {"type": "tool_use", "id": call_id, "name": part.name, "input": {}}


def _deltas(part: Thought | Text | Call, index: int, chunk: int) -> Iterator[tuple[bytes, int]]:
    match part:
        case Thought(text):
            kind, member = "thinking_delta", "thinking"
        case Text(text):
            kind, member = "text_delta", "text"
        case Call(_, text):
            kind, member = "input_json_delta", "partial_json"
    head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,' % index
    head += b'"delta":{"type":"%b","%b":' % (kind.encode(), member.encode())
    found = tokens.split(text)
    for start in range(0, len(found), chunk):
        run = found[start : start + chunk]
        yield head + orjson.dumps("".join(run)) + b"}}\n\n", len(run)


def _closing(part: Thought | Text | Call, index: int) -> bytes:
    stop = _event({"type": "content_block_stop", "index": index})
    if not isinstance(part, Thought):
        return stop
    delta = {"type": "signature_delta", "signature": signature_of(part.text)}
    return _event({"type": "content_block_delta", "index": index, "delta": delta}) + stop

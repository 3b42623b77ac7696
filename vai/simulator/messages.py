"""Answers in the Messages dialect: one JSON body, or its event stream.

Invariants: both forms say the same; the stream's usage is cumulative and
its last figures are those of the JSON body.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.ask import Ask
from vai.simulator.blocks import Block, blocks_of
from vai.simulator.parts import Answer, Search
from vai.simulator.reply import Piece

__all__ = ["body", "events", "kept"]

_STOPS: Final = {"length": "max_tokens", "stop": "stop_sequence", "tool": "tool_use"} | {
    "refusal": "refusal",
    "pause": "pause_turn",
}
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'


def body(ask: Ask, answer: Answer, request_id: str = "") -> bytes:
    """The answer to a request without `stream`."""
    content = [block.whole for block in blocks_of(ask, answer)]
    message = _message(ask, content, _usage(ask, answer, answer.tokens))
    message |= _stopped(ask, answer)
    return orjson.dumps(message)


def kept(ask: Ask, answer: Answer) -> tuple[str, list[Any]]:
    """The id of the answer's message, and its blocks: what a thread keeps of it."""
    return _id(ask), [block.whole for block in blocks_of(ask, answer)]


def events(ask: Ask, answer: Answer, request_id: str = "") -> Iterator[Piece]:
    """The answer to a request with `stream`, paced by the knobs."""
    knobs = ask.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    at, count = knobs.ttft, 0
    start = _message(ask, [], _usage(ask, answer, min(1, answer.tokens)))
    opening = knobs.ttft if knobs.head is None else min(knobs.head, knobs.ttft)
    yield Piece(opening, _event({"type": "message_start", "message": start}))
    for index, block in enumerate(blocks_of(ask, answer)):
        opened = {"type": "content_block_start", "index": index, "content_block": block.opened}
        yield Piece(at, _event(opened) + (b"" if index else _PING))
        for data, size in _deltas(block, index, knobs.chunk):
            if count == knobs.error_at:
                yield Piece(at, _failure())
                return
            at += step if count else 0.0
            count += 1
            if knobs.ping and count % knobs.ping == 0:
                data += _PING
            yield Piece(at, data, size)
        yield Piece(at, _closing(block, index))
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
        "id": _id(ask),
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _id(ask: Ask) -> str:
    return f"msg_01Sim{ask.seed:020d}"


def _stopped(ask: Ask, answer: Answer) -> dict[str, Any]:
    reason = ask.knobs.stop or _STOPS.get(answer.stop, "end_turn")
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
    searches = sum(1 for part in answer.parts if isinstance(part, Search))
    if searches and output == answer.tokens:
        usage["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": 0}
    if answer.thought_tokens and output == answer.tokens:
        usage["output_tokens_details"] = {"thinking_tokens": answer.thought_tokens}
    return usage


def _deltas(block: Block, index: int, chunk: int) -> Iterator[tuple[bytes, int]]:
    kind = f"{'input_json' if block.member == 'partial_json' else block.member}_delta"
    head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,' % index
    head += b'"delta":{"type":"%b","%b":' % (kind.encode(), block.member.encode())
    found = tokens.split(block.text)
    for start in range(0, len(found), chunk):
        run = found[start : start + chunk]
        yield head + orjson.dumps("".join(run)) + b"}}\n\n", len(run) if block.counted else 0


def _closing(block: Block, index: int) -> bytes:
    told = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in block.tail]
    told.append({"type": "content_block_stop", "index": index})
    return b"".join(map(_event, told))

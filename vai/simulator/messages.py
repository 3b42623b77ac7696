"""Responses in the Messages wire format: one JSON body, or its event stream.

Invariants: both forms have the same content; the stream's usage is cumulative and
its last figures are those of the JSON body. A block is rendered once, complete; its stream opens
the same block empty and fills it. Results of server tools come in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import orjson

from vai.simulator import tokens
from vai.simulator.composer import signature_of
from vai.simulator.parsed_request import ParsedRequest
from vai.simulator.parts import (
    CallPart,
    CodeRunPart,
    Part,
    RefusalPart,
    SearchPart,
    SimulatedResponse,
    TextPart,
    ThoughtPart,
    make_signature,
)
from vai.simulator.timed_response import TimedPiece

__all__ = ["render_body", "render_events", "thread_entry"]

_STOPS: Final = {"length": "max_tokens", "stop": "stop_sequence", "tool": "tool_use"} | {
    "refusal": "refusal",
    "pause": "pause_turn",
}
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'


class MessagesBlock(msgspec.Struct, kw_only=True):
    """One content block."""

    complete: dict[str, Any]
    opened: dict[str, Any]
    member: str = "text"
    """The member of the deltas that carries `text`."""
    text: str = ""
    counted: bool = True
    """Whether `text` counts as output tokens of the model."""
    tail: list[dict[str, Any]] = []
    """Deltas after those of the text."""


def blocks_of(request: ParsedRequest, answer: SimulatedResponse) -> Iterator[MessagesBlock]:
    """The blocks of `answer`, in order. A picture has no block."""
    index = 0
    for part in answer.parts:
        for block in _render_part(request, part, index):
            yield block
            index += 1


def _render_part(request: ParsedRequest, part: Part, index: int) -> list[MessagesBlock]:
    match part:
        case ThoughtPart(text, hidden):
            return [_thinking_block(text if request.shows_thought else "", text, hidden)]
        case TextPart() | RefusalPart():
            return [_text_block(part)]
        case CallPart(name, arguments):
            call_id = f"toolu_01Sim{index:02d}{request.seed:016d}"
            called = {"type": "tool_use", "id": call_id, "name": name}
            return [_tool_use_block(called, part.input, arguments)]
        case SearchPart(query, sources):
            results = [
                {
                    "type": "web_search_result",
                    "url": source.url,
                    "title": source.title,
                    "encrypted_content": make_signature(source.url),
                    "page_age": None,
                }
                for source in sources
            ]
            return _server_tool_blocks(request, index, "web_search", {"query": query}, results)
        case CodeRunPart(code, output, failed):
            ran = {
                "type": "code_execution_result",
                "stdout": "" if failed else output,
                "stderr": output if failed else "",
                "return_code": int(failed),
                "content": [],
            }
            return _server_tool_blocks(request, index, "code_execution", {"code": code}, ran)
    return []


def _thinking_block(shown: str, text: str, hidden: bool) -> MessagesBlock:
    """Reasoning with its signature; redacted if `hidden`, empty if the client may not read it."""
    if hidden:
        redacted = {"type": "redacted_thinking", "data": make_signature(text)}
        return MessagesBlock(complete=redacted, opened=redacted)
    signature = signature_of(shown)
    return MessagesBlock(
        complete={"type": "thinking", "thinking": shown, "signature": signature},
        opened={"type": "thinking", "thinking": "", "signature": ""},
        member="thinking",
        text=shown,
        tail=[{"type": "signature_delta", "signature": signature}],
    )


def _text_block(part: TextPart | RefusalPart) -> MessagesBlock:
    opened: dict[str, Any] = {"type": "text", "text": ""}
    cited = [
        {
            "type": "web_search_result_location",
            "url": source.url,
            "title": source.title,
            "cited_text": part.text[:150],
            "encrypted_index": make_signature(source.url),
        }
        for source in (part.sources if isinstance(part, TextPart) else [])
    ]
    complete = opened | {"text": part.text}
    if cited:
        opened, complete = opened | {"citations": []}, complete | {"citations": cited}
    tail = [{"type": "citations_delta", "citation": one} for one in cited]
    return MessagesBlock(complete=complete, opened=opened, text=part.text, tail=tail)


def _tool_use_block(called: dict[str, Any], tool_input: Any, arguments: str) -> MessagesBlock:
    return MessagesBlock(
        complete=called | {"input": tool_input},
        opened=called | {"input": {}},
        member="partial_json",
        text=arguments,
    )


def _server_tool_blocks(
    request: ParsedRequest, index: int, name: str, tool_input: dict[str, Any], result: Any
) -> list[MessagesBlock]:
    """A call of a server tool and, right after it, its result."""
    call_id = f"srvtoolu_01Sim{index:02d}{request.seed:016d}"
    called = {"type": "server_tool_use", "id": call_id, "name": name}
    call = _tool_use_block(called, tool_input, orjson.dumps(tool_input).decode())
    call.counted = False
    result = {"type": f"{name}_tool_result", "tool_use_id": call_id, "content": result}
    return [call, MessagesBlock(complete=result, opened=result)]


def render_body(request: ParsedRequest, answer: SimulatedResponse, request_id: str = "") -> bytes:
    """The response to a request without `stream`."""
    content = [block.complete for block in blocks_of(request, answer)]
    message = _render_message(request, content, _render_usage(request, answer, answer.tokens))
    message |= _stop_members(request, answer)
    return orjson.dumps(message)


def thread_entry(request: ParsedRequest, answer: SimulatedResponse) -> tuple[str, list[Any]]:
    """The id of the response's message, and its blocks, as a thread keeps them."""
    return _message_id(request), [block.complete for block in blocks_of(request, answer)]


def render_events(
    request: ParsedRequest, answer: SimulatedResponse, request_id: str = ""
) -> Iterator[TimedPiece]:
    """The response to a request with `stream`, paced by the knobs."""
    knobs = request.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    at, count = knobs.ttft, 0
    start = _render_message(request, [], _render_usage(request, answer, min(1, answer.tokens)))
    opening = knobs.ttft if knobs.head is None else min(knobs.head, knobs.ttft)
    yield TimedPiece(opening, _encode_event({"type": "message_start", "message": start}))
    for index, block in enumerate(blocks_of(request, answer)):
        opened = {"type": "content_block_start", "index": index, "content_block": block.opened}
        yield TimedPiece(at, _encode_event(opened) + (b"" if index else _PING))
        for data, size in _block_deltas(block, index, knobs.chunk):
            if count == knobs.error_at:
                yield TimedPiece(at, _error_event())
                return
            at += step if count else 0.0
            count += 1
            if knobs.ping and count % knobs.ping == 0:
                data += _PING
            yield TimedPiece(at, data, size)
        yield TimedPiece(at, _block_stop(block, index))
    if knobs.error_at is not None:
        yield TimedPiece(at, _error_event())
        return
    yield TimedPiece(at, _end_events(request, answer))


def _end_events(request: ParsedRequest, answer: SimulatedResponse) -> bytes:
    usage = _render_usage(request, answer, answer.tokens)
    for static in ("cache_creation", "service_tier", "inference_geo"):
        del usage[static]
    usage["output_tokens"] = answer.tokens
    if request.knobs.nousage:
        usage = {"output_tokens": 0}
    delta = {"type": "message_delta", "delta": _stop_members(request, answer), "usage": usage}
    return _encode_event(delta) + _encode_event({"type": "message_stop"})


def _error_event() -> bytes:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    return _encode_event({"type": "error", "error": error})


def _encode_event(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), orjson.dumps(value))


def _render_message(
    request: ParsedRequest, content: list[Any], usage: dict[str, Any]
) -> dict[str, Any]:
    return {
        "model": request.model,
        "id": _message_id(request),
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _message_id(request: ParsedRequest) -> str:
    return f"msg_01Sim{request.seed:020d}"


def _stop_members(request: ParsedRequest, answer: SimulatedResponse) -> dict[str, Any]:
    reason = request.knobs.stop or _STOPS.get(answer.stop, "end_turn")
    stopped: dict[str, Any] = {"stop_reason": reason, "stop_sequence": answer.stop_sequence}
    if reason == "refusal":
        stopped["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
    return stopped


def _render_usage(request: ParsedRequest, answer: SimulatedResponse, output: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": request.tokens
        - request.cache_read
        - request.cache_write
        - request.cache_write_1h,
        "cache_creation_input_tokens": request.cache_write + request.cache_write_1h,
        "cache_read_input_tokens": request.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": request.cache_write,
            "ephemeral_1h_input_tokens": request.cache_write_1h,
        },
        "output_tokens": output,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    searches = sum(1 for part in answer.parts if isinstance(part, SearchPart))
    if searches and output == answer.tokens:
        usage["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": 0}
    if answer.thought_tokens and output == answer.tokens:
        usage["output_tokens_details"] = {"thinking_tokens": answer.thought_tokens}
    return usage


def _block_deltas(block: MessagesBlock, index: int, chunk: int) -> Iterator[tuple[bytes, int]]:
    kind = f"{'input_json' if block.member == 'partial_json' else block.member}_delta"
    head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,' % index
    head += b'"delta":{"type":"%b","%b":' % (kind.encode(), block.member.encode())
    pieces = tokens.split_tokens(block.text)
    for start in range(0, len(pieces), chunk):
        run = pieces[start : start + chunk]
        yield head + orjson.dumps("".join(run)) + b"}}\n\n", len(run) if block.counted else 0


def _block_stop(block: MessagesBlock, index: int) -> bytes:
    deltas = [
        {"type": "content_block_delta", "index": index, "delta": delta} for delta in block.tail
    ]
    deltas.append({"type": "content_block_stop", "index": index})
    return b"".join(map(_encode_event, deltas))

"""Responses in the Chat Completions wire format, as openai, groq and cerebras each write it.

Invariants: both forms have the same content; only this module adds the members of single
providers (`x_groq`, `time_info`, `reasoning`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.parsed_request import ParsedRequest
from vai.simulator.parts import CallPart, RefusalPart, SimulatedResponse, TextPart, ThoughtPart
from vai.simulator.timed_response import TimedPiece

__all__ = ["render_body", "render_events"]

_STOPS: Final = {"length": "length", "tool": "tool_calls"}
_EPOCH: Final = 1_790_000_000
_DONE: Final = b"data: [DONE]\n\n"


def render_body(request: ParsedRequest, answer: SimulatedResponse, request_id: str) -> bytes:
    """The response to a request without `stream`."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    refusal: str | None = None
    for part in answer.parts:
        match part:
            case ThoughtPart(text):
                if request.provider != "openai" and request.shows_thought:
                    message["reasoning"] = text
            case RefusalPart(text) if request.provider == "openai":
                refusal = text
            case TextPart(text) | RefusalPart(text):
                message["content"] = (message["content"] or "") + text
                annotations += _cite_sources(part)
            case CallPart():
                calls.append(_tool_call(request, part, len(calls)))
    if calls:
        message["tool_calls"] = calls
    elif message["content"] is None and refusal is None:
        message["content"] = ""
    if request.provider == "openai":
        message |= {"refusal": refusal, "annotations": annotations}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _finish_reason(request, answer),
    }
    if request.provider == "cerebras":
        del choice["logprobs"]
    completion = _chunk_frame(request, "chat.completion") | {
        "choices": [choice],
        "usage": _render_usage(request, answer),
    }
    if request.provider == "groq":
        completion["x_groq"] = {"id": request_id, "seed": request.seed}
    return orjson.dumps(completion)


def render_events(
    request: ParsedRequest, answer: SimulatedResponse, request_id: str
) -> Iterator[TimedPiece]:
    """The response to a request with `stream`, paced by the knobs."""
    knobs = request.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    opening = knobs.ttft if knobs.head is None else min(knobs.head, knobs.ttft)
    at = knobs.ttft
    yield TimedPiece(opening, _first_chunk(request, request_id))
    for count, (data, size) in enumerate(_render_deltas(request, answer)):
        if count == knobs.error_at:
            yield TimedPiece(at, _error_chunk(request, request_id))
            return
        at += step if count else 0.0
        if knobs.ping and (count + 1) % knobs.ping == 0:
            data += b": ping\n\n"
        yield TimedPiece(at, data, size)
    if knobs.error_at is not None:
        yield TimedPiece(at, _error_chunk(request, request_id))
        return
    yield TimedPiece(at, _last_chunk(request, answer, request_id) + _DONE)


def _first_chunk(request: ParsedRequest, request_id: str) -> bytes:
    delta: dict[str, Any] = {"role": "assistant"}
    if request.provider != "cerebras":
        delta["content"] = ""
    if request.provider == "openai":
        delta["refusal"] = None
    chunk = _make_chunk(request, delta)
    if request.provider == "groq":
        chunk["x_groq"] = {"id": request_id, "seed": request.seed}
    return _data_line(chunk)


def _last_chunk(request: ParsedRequest, answer: SimulatedResponse, request_id: str) -> bytes:
    usage = _render_usage(request, answer)
    chunk = _make_chunk(request, {}, _finish_reason(request, answer))
    wants_usage = request.usage_chunk and not request.knobs.nousage
    if request.provider == "cerebras":
        # Cerebras ends with one chunk that has usage and times, requested or not.
        if not request.knobs.nousage:
            chunk["usage"] = usage
        return _data_line(chunk | {"time_info": _groq_times()})
    if request.provider == "groq":
        chunk["x_groq"] = {"id": request_id}
        if not request.knobs.nousage:
            chunk["x_groq"]["usage"] = usage
    data = _data_line(chunk)
    if not wants_usage:
        return data
    closing = _chunk_frame(request, "chat.completion.chunk") | {"choices": [], "usage": usage}
    return data + _data_line(closing)


def _render_deltas(
    request: ParsedRequest, answer: SimulatedResponse
) -> Iterator[tuple[bytes, int]]:
    index = 0
    for part in answer.parts:
        match part:
            case ThoughtPart(text):
                if request.provider == "openai" or not request.shows_thought:
                    continue
                extra = {"channel": "analysis"} if request.provider == "groq" else {}
                yield from _text_deltas(request, text, lambda s, e=extra: {"reasoning": s} | e)
            case RefusalPart(text) if request.provider == "openai":
                yield from _text_deltas(request, text, lambda s: {"refusal": s})
            case TextPart(text) | RefusalPart(text):
                yield from _text_deltas(request, text, lambda s: {"content": s})
                cited = _cite_sources(part)
                if cited and request.provider == "openai":
                    yield _data_line(_make_chunk(request, {"annotations": cited})), 0
            case CallPart():
                yield from _call_deltas(request, part, index)
                index += 1


def _text_deltas(request: ParsedRequest, text: str, delta: Any) -> Iterator[tuple[bytes, int]]:
    """`text` in runs of tokens, each in a copy of one prepared chunk."""
    mark = "\0"
    before, _, after = _data_line(_make_chunk(request, delta(mark))).partition(orjson.dumps(mark))
    pieces = tokens.split_tokens(text)
    for start in range(0, len(pieces), request.knobs.chunk):
        run = pieces[start : start + request.knobs.chunk]
        yield before + orjson.dumps("".join(run)) + after, len(run)


def _call_deltas(request: ParsedRequest, part: CallPart, index: int) -> Iterator[tuple[bytes, int]]:
    call = _tool_call(request, part, index)
    if request.provider != "openai":
        # Groq and Cerebras send a call whole, in one chunk.
        yield (
            _data_line(_make_chunk(request, {"tool_calls": [{"index": index} | call]})),
            len(tokens.split_tokens(part.arguments)),
        )
        return
    opened = {"index": index} | call | {"function": {"name": part.name, "arguments": ""}}
    yield _data_line(_make_chunk(request, {"tool_calls": [opened]})), 0
    yield from _text_deltas(
        request,
        part.arguments,
        lambda s: {"tool_calls": [{"index": index, "function": {"arguments": s}}]},
    )


def _cite_sources(part: TextPart | RefusalPart) -> list[dict[str, Any]]:
    """A URL citation over the whole text for each of its sources."""
    sources = part.sources if isinstance(part, TextPart) else []
    span = {"start_index": 0, "end_index": len(part.text)}
    return [
        {"type": "url_citation", "url_citation": {"url": s.url, "title": s.title} | span}
        for s in sources
    ]


def _make_chunk(
    request: ParsedRequest, delta: dict[str, Any], finish: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    if request.provider == "cerebras":
        del choice["logprobs"]
        if finish is None:
            del choice["finish_reason"]
    chunk = _chunk_frame(request, "chat.completion.chunk") | {"choices": [choice]}
    if request.provider == "openai" and request.usage_chunk:
        chunk["usage"] = None
    return chunk


def _chunk_frame(request: ParsedRequest, kind: str) -> dict[str, Any]:
    frame: dict[str, Any] = {
        "id": f"chatcmpl-Sim{request.seed:020d}",
        "object": kind,
        "created": _EPOCH + request.seed % 1_000_000,
        "model": request.model,
        "system_fingerprint": "fp_simulated",
    }
    if request.provider == "openai":
        frame["service_tier"] = "default"
    elif request.provider == "groq":
        frame["service_tier"] = "on_demand"
    elif kind == "chat.completion":
        frame["time_info"] = _groq_times()
    return frame


def _tool_call(request: ParsedRequest, part: CallPart, index: int) -> dict[str, Any]:
    function = {"name": part.name, "arguments": part.arguments}
    call_id = f"call_Sim{index:02d}{request.seed:019d}"
    return {"id": call_id, "type": "function", "function": function}


def _finish_reason(request: ParsedRequest, answer: SimulatedResponse) -> str:
    return request.knobs.stop or _STOPS.get(answer.stop, "stop")


def _render_usage(request: ParsedRequest, answer: SimulatedResponse) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": request.tokens,
        "completion_tokens": answer.tokens,
        "total_tokens": request.tokens + answer.tokens,
        "prompt_tokens_details": {"cached_tokens": request.cache_read},
        "completion_tokens_details": {"reasoning_tokens": answer.thought_tokens},
    }
    if request.provider == "openai":
        usage["prompt_tokens_details"] |= {
            "audio_tokens": 0,
            "cache_write_tokens": request.cache_write,
        }
        usage["completion_tokens_details"] |= {
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    elif request.provider == "groq":
        usage |= {
            "queue_time": 0.001,
            "prompt_time": 0.002,
            "completion_time": 0.01,
            "total_time": 0.012,
        }
    else:
        usage["image_tokens"] = 0
    return usage


def _groq_times() -> dict[str, float]:
    return {
        "queue_time": 0.001,
        "prompt_time": 0.002,
        "completion_time": 0.01,
        "total_time": 0.013,
        "created": float(_EPOCH),
    }


def _error_chunk(request: ParsedRequest, request_id: str) -> bytes:
    words = "The server had an error while processing your request."
    if request.provider == "cerebras":
        error = {"id": request_id, "code": "server_error", "message": words, "param": None}
        return _data_line({"error": error | {"type": "server_error"}, "status_code": 500})
    if request.provider == "groq":
        chunk = _make_chunk(request, {}) | {"x_groq": {"id": request_id, "error": "over_capacity"}}
        return _data_line(chunk)
    error = {"message": words, "type": "server_error", "param": None, "code": None}
    return _data_line({"error": error})


def _data_line(value: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(value)

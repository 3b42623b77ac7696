"""Answers in the Chat Completions dialect, as openai, groq and cerebras each write it.

Invariants: both forms say the same; what only one provider adds
(`x_groq`, `time_info`, `reasoning`) is added here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.ask import Ask
from vai.simulator.parts import Answer, Call, Refusal, Text, Thought
from vai.simulator.reply import Piece

__all__ = ["body", "events"]

_STOPS: Final = {"length": "length", "tool": "tool_calls"}
_EPOCH: Final = 1_790_000_000
_DONE: Final = b"data: [DONE]\n\n"


def body(ask: Ask, answer: Answer, request_id: str) -> bytes:
    """The answer to a request without `stream`."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    refusal: str | None = None
    for part in answer.parts:
        match part:
            case Thought(text):
                if ask.provider != "openai" and ask.shows_thought:
                    message["reasoning"] = text
            case Refusal(text) if ask.provider == "openai":
                refusal = text
            case Text(text) | Refusal(text):
                message["content"] = (message["content"] or "") + text
                annotations += _annotations(part)
            case Call():
                calls.append(_call(ask, part, len(calls)))
    if calls:
        message["tool_calls"] = calls
    elif message["content"] is None and refusal is None:
        message["content"] = ""
    if ask.provider == "openai":
        message |= {"refusal": refusal, "annotations": annotations}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _stop(ask, answer)}
    if ask.provider == "cerebras":
        del choice["logprobs"]
    whole = _frame(ask, "chat.completion") | {"choices": [choice], "usage": _usage(ask, answer)}
    if ask.provider == "groq":
        whole["x_groq"] = {"id": request_id, "seed": ask.seed}
    return orjson.dumps(whole)


def events(ask: Ask, answer: Answer, request_id: str) -> Iterator[Piece]:
    """The answer to a request with `stream`, paced by the knobs."""
    knobs = ask.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    opening = knobs.ttft if knobs.head is None else min(knobs.head, knobs.ttft)
    at = knobs.ttft
    yield Piece(opening, _first(ask, request_id))
    for count, (data, size) in enumerate(_deltas(ask, answer)):
        if count == knobs.error_at:
            yield Piece(at, _failure(ask, request_id))
            return
        at += step if count else 0.0
        if knobs.ping and (count + 1) % knobs.ping == 0:
            data += b": ping\n\n"
        yield Piece(at, data, size)
    if knobs.error_at is not None:
        yield Piece(at, _failure(ask, request_id))
        return
    yield Piece(at, _last(ask, answer, request_id) + _DONE)


def _first(ask: Ask, request_id: str) -> bytes:
    delta: dict[str, Any] = {"role": "assistant"}
    if ask.provider != "cerebras":
        delta["content"] = ""
    if ask.provider == "openai":
        delta["refusal"] = None
    chunk = _chunk(ask, delta)
    if ask.provider == "groq":
        chunk["x_groq"] = {"id": request_id, "seed": ask.seed}
    return _data(chunk)


def _last(ask: Ask, answer: Answer, request_id: str) -> bytes:
    usage = _usage(ask, answer)
    chunk = _chunk(ask, {}, _stop(ask, answer))
    asked = ask.usage_chunk and not ask.knobs.nousage
    if ask.provider == "cerebras":
        # Cerebras closes with one chunk that carries usage and times, asked for or not.
        if not ask.knobs.nousage:
            chunk["usage"] = usage
        return _data(chunk | {"time_info": _times()})
    if ask.provider == "groq":
        chunk["x_groq"] = {"id": request_id}
        if not ask.knobs.nousage:
            chunk["x_groq"]["usage"] = usage
    data = _data(chunk)
    if not asked:
        return data
    closing = _frame(ask, "chat.completion.chunk") | {"choices": [], "usage": usage}
    return data + _data(closing)


def _deltas(ask: Ask, answer: Answer) -> Iterator[tuple[bytes, int]]:
    index = 0
    for part in answer.parts:
        match part:
            case Thought(text):
                if ask.provider == "openai" or not ask.shows_thought:
                    continue
                extra = {"channel": "analysis"} if ask.provider == "groq" else {}
                yield from _runs(ask, text, lambda s, e=extra: {"reasoning": s} | e)
            case Refusal(text) if ask.provider == "openai":
                yield from _runs(ask, text, lambda s: {"refusal": s})
            case Text(text) | Refusal(text):
                yield from _runs(ask, text, lambda s: {"content": s})
                cited = _annotations(part)
                if cited and ask.provider == "openai":
                    yield _data(_chunk(ask, {"annotations": cited})), 0
            case Call():
                yield from _call_deltas(ask, part, index)
                index += 1


def _runs(ask: Ask, text: str, delta: Any) -> Iterator[tuple[bytes, int]]:
    """`text` in runs of tokens, each in a copy of one prepared chunk."""
    mark = "\0"
    before, _, after = _data(_chunk(ask, delta(mark))).partition(orjson.dumps(mark))
    found = tokens.split(text)
    for start in range(0, len(found), ask.knobs.chunk):
        run = found[start : start + ask.knobs.chunk]
        yield before + orjson.dumps("".join(run)) + after, len(run)


def _call_deltas(ask: Ask, part: Call, index: int) -> Iterator[tuple[bytes, int]]:
    call = _call(ask, part, index)
    if ask.provider != "openai":
        # Groq and Cerebras send a call whole, in one chunk.
        yield (
            _data(_chunk(ask, {"tool_calls": [{"index": index} | call]})),
            len(tokens.split(part.arguments)),
        )
        return
    opened = {"index": index} | call | {"function": {"name": part.name, "arguments": ""}}
    yield _data(_chunk(ask, {"tool_calls": [opened]})), 0
    yield from _runs(
        ask,
        part.arguments,
        lambda s: {"tool_calls": [{"index": index, "function": {"arguments": s}}]},
    )


def _annotations(part: Text | Refusal) -> list[dict[str, Any]]:
    """A URL citation over the whole text for each of its sources."""
    sources = part.sources if isinstance(part, Text) else []
    place = {"start_index": 0, "end_index": len(part.text)}
    return [
        {"type": "url_citation", "url_citation": {"url": s.url, "title": s.title} | place}
        for s in sources
    ]


def _chunk(ask: Ask, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    if ask.provider == "cerebras":
        del choice["logprobs"]
        if finish is None:
            del choice["finish_reason"]
    chunk = _frame(ask, "chat.completion.chunk") | {"choices": [choice]}
    if ask.provider == "openai" and ask.usage_chunk:
        chunk["usage"] = None
    return chunk


def _frame(ask: Ask, kind: str) -> dict[str, Any]:
    frame: dict[str, Any] = {
        "id": f"chatcmpl-Sim{ask.seed:020d}",
        "object": kind,
        "created": _EPOCH + ask.seed % 1_000_000,
        "model": ask.model,
        "system_fingerprint": "fp_simulated",
    }
    if ask.provider == "openai":
        frame["service_tier"] = "default"
    elif ask.provider == "groq":
        frame["service_tier"] = "on_demand"
    elif kind == "chat.completion":
        frame["time_info"] = _times()
    return frame


def _call(ask: Ask, part: Call, index: int) -> dict[str, Any]:
    function = {"name": part.name, "arguments": part.arguments}
    call_id = f"call_Sim{index:02d}{ask.seed:019d}"
    return {"id": call_id, "type": "function", "function": function}


def _stop(ask: Ask, answer: Answer) -> str:
    return ask.knobs.stop or _STOPS.get(answer.stop, "stop")


def _usage(ask: Ask, answer: Answer) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": ask.tokens,
        "completion_tokens": answer.tokens,
        "total_tokens": ask.tokens + answer.tokens,
        "prompt_tokens_details": {"cached_tokens": ask.cache_read},
        "completion_tokens_details": {"reasoning_tokens": answer.thought_tokens},
    }
    if ask.provider == "openai":
        usage["prompt_tokens_details"] |= {
            "audio_tokens": 0,
            "cache_write_tokens": ask.cache_write,
        }
        usage["completion_tokens_details"] |= {
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    elif ask.provider == "groq":
        usage |= {
            "queue_time": 0.001,
            "prompt_time": 0.002,
            "completion_time": 0.01,
            "total_time": 0.012,
        }
    else:
        usage["image_tokens"] = 0
    return usage


def _times() -> dict[str, float]:
    return {
        "queue_time": 0.001,
        "prompt_time": 0.002,
        "completion_time": 0.01,
        "total_time": 0.013,
        "created": float(_EPOCH),
    }


def _failure(ask: Ask, request_id: str) -> bytes:
    words = "The server had an error while processing your request."
    if ask.provider == "cerebras":
        error = {"id": request_id, "code": "server_error", "message": words, "param": None}
        return _data({"error": error | {"type": "server_error"}, "status_code": 500})
    if ask.provider == "groq":
        chunk = _chunk(ask, {}) | {"x_groq": {"id": request_id, "error": "over_capacity"}}
        return _data(chunk)
    error = {"message": words, "type": "server_error", "param": None, "code": None}
    return _data({"error": error})


def _data(value: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(value)

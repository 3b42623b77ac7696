"""Responses of generateContent, bare or wrapped as Code Assist wraps them.

Invariants: every chunk is a whole response with the usage so far; the stream has no end marker.
A function call is never cut in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.google_check import token_of
from vai.simulator.parsed_request import ParsedRequest
from vai.simulator.parts import (
    CallPart,
    CodeRunPart,
    ImagePart,
    Part,
    SearchPart,
    SimulatedResponse,
    TextPart,
    ThoughtPart,
    make_signature,
)
from vai.simulator.timed_response import TimedPiece

__all__ = ["render_body", "render_events"]

_STOPS: Final = {"length": "MAX_TOKENS", "refusal": "SAFETY", "pause": "TOO_MANY_TOOL_CALLS"} | {
    "continue": "CONTINUATION",
    "failed": "OTHER",
}
_CALL_LOST: Final = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"})
_SAFE: Final = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_FAILURE: Final = {
    "error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
}

_TextRun = tuple[dict[str, Any], int, bool]
"""A wire part, empty when it is not shown; its output tokens; whether they are reasoning."""


def render_body(request: ParsedRequest, answer: SimulatedResponse, request_id: str = "") -> bytes:
    """The response to a request without a stream."""
    if request.knobs.block:
        return orjson.dumps(_wrap_chunk(request, _blocked_chunk(request)))
    parts = [part for runs in _render_parts(request, answer) for part in _join_runs(runs)]
    if parts and "text" in parts[-1]:
        parts[-1] |= _closing_signature(request, answer)
    return orjson.dumps(_wrap_chunk(request, _last_chunk(request, answer, parts)))


def render_events(
    request: ParsedRequest, answer: SimulatedResponse, request_id: str = ""
) -> Iterator[TimedPiece]:
    """The response as a stream of events, or as one JSON array, paced by the knobs."""
    at, ping = request.knobs.ttft, request.knobs.ping
    for count, (at, chunk, size) in enumerate(_render_chunks(request, answer), 1):
        if not request.framed:
            yield TimedPiece(at, (b"[" if count == 1 else b",\r\n") + orjson.dumps(chunk), size)
        elif "error" in chunk:
            # An error after the head is not an event.
            yield TimedPiece(at, orjson.dumps(chunk, option=orjson.OPT_INDENT_2) + b"\n")
        else:
            data = b"data: %b\r\n\r\n" % orjson.dumps(_wrap_chunk(request, chunk))
            yield TimedPiece(
                at, data + (b": ping\r\n\r\n" if ping and count % ping == 0 else b""), size
            )
    if not request.framed:
        yield TimedPiece(at, b"]")


def _render_chunks(
    request: ParsedRequest, answer: SimulatedResponse
) -> Iterator[tuple[float, dict[str, Any], int]]:
    """Each chunk with its moment and the output tokens in it."""
    knobs = request.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    at, output, thought = knobs.ttft, 0, 0
    if knobs.block:
        yield at, _blocked_chunk(request), 0
        return
    runs = chain.from_iterable(_render_parts(request, answer))
    held = next(runs, None) if knobs.together else None  # the last part goes out with the end
    for count, (part, size, hidden) in enumerate(runs):
        if count == knobs.error_at:
            break
        if held is not None:
            (part, size, hidden), held = held, (part, size, hidden)
        at += step if count else 0.0
        output, thought = output + (0 if hidden else size), thought + (size if hidden else 0)
        if part:
            yield at, _make_chunk(request, [part], output, thought), size
    if knobs.error_at is not None:
        yield at, _FAILURE, 0
        return
    last, size, _ = held or ({"text": ""}, 0, False)
    if "text" in last:
        last |= _closing_signature(request, answer)
    yield at, _last_chunk(request, answer, [last] if last else []), size


def _closing_signature(request: ParsedRequest, answer: SimulatedResponse) -> dict[str, str]:
    """The signature that ends a text after reasoning; in a stream it comes with an empty text."""
    if answer.thought_tokens and answer.parts and isinstance(answer.parts[-1], TextPart):
        return {"thoughtSignature": make_signature(f"end of {request.seed}")}
    return {}


def _render_parts(
    request: ParsedRequest, answer: SimulatedResponse
) -> Iterator[Iterator[_TextRun]]:
    """Each part of the response as the wire parts of its runs, rendered lazily."""
    if _finish_reason(request, answer) in _CALL_LOST:
        return
    calls = 0
    for index, part in enumerate(answer.parts):
        match part:
            case CallPart():
                wire_part = _function_call(request, part, calls)
                yield iter([(wire_part, len(tokens.split_tokens(part.arguments)), False)])
                calls += 1
            case ThoughtPart(text, hidden):
                yield _text_runs(
                    request, text, {"thought": True}, request.shows_thought and not hidden
                )
            case TextPart(text):
                yield _text_runs(request, text, {}, True)
            case CodeRunPart(code, output, failed):
                outcome = "OUTCOME_FAILED" if failed else "OUTCOME_OK"
                name = {"id": f"run{index}"} if request.knobs.ids else {}
                ran = {"executableCode": {"language": "PYTHON", "code": code} | name}
                gave = {"codeExecutionResult": {"outcome": outcome, "output": output} | name}
                yield iter([(ran, 0, False), (gave, 0, False)])
            case ImagePart(data, media):
                yield iter([({"inlineData": {"mimeType": media, "data": data}}, 0, False)])


def _text_runs(
    request: ParsedRequest, text: str, mark: dict[str, bool], shown: bool
) -> Iterator[_TextRun]:
    pieces = tokens.split_tokens(text)
    for at in range(0, len(pieces), request.knobs.chunk):
        run = pieces[at : at + request.knobs.chunk]
        yield {"text": "".join(run)} | mark if shown else {}, len(run), bool(mark)


def _join_runs(runs: Iterator[_TextRun]) -> list[dict[str, Any]]:
    """The runs of one text as one part again."""
    parts = [part for part, _, _ in runs if part]
    if not parts or "text" not in parts[0]:
        return parts
    return [parts[0] | {"text": "".join(part["text"] for part in parts)}]


def _function_call(request: ParsedRequest, part: CallPart, index: int) -> dict[str, Any]:
    call: dict[str, Any] = {"name": part.name, "args": part.input}
    if request.knobs.ids:
        call = {"id": f"sim{index:02d}{request.seed:016d}"} | call
    wire_part: dict[str, Any] = {"functionCall": call}
    if index == 0:
        wire_part["thoughtSignature"] = make_signature(f"{request.seed}{part.name}")
    return wire_part


def _finish_reason(request: ParsedRequest, answer: SimulatedResponse) -> str:
    return request.knobs.stop or _STOPS.get(answer.stop, "STOP")


def _make_chunk(
    request: ParsedRequest, parts: list[dict[str, Any]], output: int, thought: int
) -> dict[str, Any]:
    content = {"parts": parts, "role": "model"} if parts else {}
    chunk: dict[str, Any] = {"candidates": [{"content": content, "index": 0}]}
    if not request.knobs.nousage:
        chunk["usageMetadata"] = _usage_metadata(request, output, thought)
    return chunk | _response_names(request)


def _last_chunk(
    request: ParsedRequest, answer: SimulatedResponse, parts: list[dict[str, Any]]
) -> dict[str, Any]:
    """The last chunk, or the only one."""
    thought = answer.thought_tokens
    chunk = _make_chunk(request, parts, answer.tokens - thought, thought)
    chunk["candidates"][0] |= _candidate_end(request, answer)
    return chunk


def _candidate_end(request: ParsedRequest, answer: SimulatedResponse) -> dict[str, Any]:
    finish = _finish_reason(request, answer)
    ending: dict[str, Any] = {"finishReason": finish}
    if finish in _CALL_LOST:
        ending |= {"content": {}, "finishMessage": "Malformed function call: print(call("}
    elif finish == "SAFETY":
        ending["safetyRatings"] = [
            {"category": f"HARM_CATEGORY_{name}", "probability": "HIGH" if first else "NEGLIGIBLE"}
            | ({"blocked": True} if first else {})
            for name, first in ((name, name == _SAFE[-1]) for name in _SAFE)
        ]
    elif finish == "CONTINUATION":
        ending["continuationToken"] = token_of(request.hop + 1)
    searches = [part for part in answer.parts if isinstance(part, SearchPart)]
    if searches:
        ending["groundingMetadata"] = _grounding_metadata(searches, answer.parts)
    return ending


def _grounding_metadata(searches: list[SearchPart], parts: list[Part]) -> dict[str, Any]:
    sources = [source for search in searches for source in search.sources]
    indexes = {source.url: at for at, source in enumerate(sources)}
    supports = [
        {
            "segment": {"endIndex": len(part.text.encode()), "text": part.text},
            "groundingChunkIndices": [indexes[s.url] for s in part.sources if s.url in indexes],
        }
        for part in parts
        if isinstance(part, TextPart) and part.sources
    ]
    return {
        "webSearchQueries": [search.query for search in searches],
        "searchEntryPoint": {"renderedContent": "<div>simulated</div>"},
        "groundingChunks": [{"web": {"uri": s.url, "title": s.title}} for s in sources],
        "groundingSupports": supports,
    }


def _blocked_chunk(request: ParsedRequest) -> dict[str, Any]:
    feedback = {"promptFeedback": {"blockReason": request.knobs.block}}
    return feedback | {"usageMetadata": _usage_metadata(request, 0, 0)} | _response_names(request)


def _usage_metadata(request: ParsedRequest, output: int, thought: int) -> dict[str, Any]:
    """Running totals: the prompt with its cached tokens, the response without reasoning."""
    usage: dict[str, Any] = {"promptTokenCount": request.tokens}
    if output:
        usage["candidatesTokenCount"] = output
    usage["totalTokenCount"] = request.tokens + output + thought
    usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": request.tokens}]
    if request.cache_read:
        usage["cachedContentTokenCount"] = request.cache_read
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": request.cache_read}]
    if thought:
        usage["thoughtsTokenCount"] = thought
    return usage


def _response_names(request: ParsedRequest) -> dict[str, str]:
    return {"modelVersion": request.model, "responseId": f"Sim{request.seed:019d}"}


def _wrap_chunk(request: ParsedRequest, chunk: dict[str, Any]) -> dict[str, Any]:
    if request.provider != "gemini-oauth":
        return chunk
    return {"response": chunk, "traceId": f"sim{request.seed:016x}"}

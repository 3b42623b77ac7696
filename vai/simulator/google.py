"""Answers of generateContent, bare or wrapped as Code Assist wraps them.

Invariants: every chunk is a whole response with the usage so far; nothing marks
the end but the end. A function call is never cut in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.ask import Ask
from vai.simulator.google_check import token_of
from vai.simulator.parts import (
    Answer,
    Call,
    Drawing,
    Part,
    Run,
    Search,
    Text,
    Thought,
    seal,
)
from vai.simulator.reply import Piece

__all__ = ["body", "events"]

_STOPS: Final = {"length": "MAX_TOKENS", "refusal": "SAFETY", "pause": "TOO_MANY_TOOL_CALLS"} | {
    "continue": "CONTINUATION",
    "failed": "OTHER",
}
_CALL_LOST: Final = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"})
_SAFE: Final = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_FAILURE: Final = {
    "error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
}

_Told = tuple[dict[str, Any], int, bool]
"""A wire part, empty when nothing shows; its output tokens; whether they are reasoning."""


def body(ask: Ask, answer: Answer, request_id: str = "") -> bytes:
    """The answer to a request without a stream."""
    if ask.knobs.block:
        return orjson.dumps(_wrapped(ask, _blocked(ask)))
    parts = [part for runs in _parts(ask, answer) for part in _whole(runs)]
    if parts and "text" in parts[-1]:
        parts[-1] |= _closing_signature(ask, answer)
    return orjson.dumps(_wrapped(ask, _ended(ask, answer, parts)))


def events(ask: Ask, answer: Answer, request_id: str = "") -> Iterator[Piece]:
    """The answer as a stream of events, or as one JSON array, paced by the knobs."""
    at, ping = ask.knobs.ttft, ask.knobs.ping
    for count, (at, chunk, size) in enumerate(_chunks(ask, answer), 1):
        if not ask.framed:
            yield Piece(at, (b"[" if count == 1 else b",\r\n") + orjson.dumps(chunk), size)
        elif "error" in chunk:
            # What goes wrong after the head is no event.
            yield Piece(at, orjson.dumps(chunk, option=orjson.OPT_INDENT_2) + b"\n")
        else:
            data = b"data: %b\r\n\r\n" % orjson.dumps(_wrapped(ask, chunk))
            yield Piece(at, data + (b": ping\r\n\r\n" if ping and count % ping == 0 else b""), size)
    if not ask.framed:
        yield Piece(at, b"]")


def _chunks(ask: Ask, answer: Answer) -> Iterator[tuple[float, dict[str, Any], int]]:
    """Each chunk with its moment and the output tokens in it."""
    knobs = ask.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    at, spent, thought = knobs.ttft, 0, 0
    if knobs.block:
        yield at, _blocked(ask), 0
        return
    told = chain.from_iterable(_parts(ask, answer))
    held = next(told, None) if knobs.together else None  # the last part goes out with the end
    for count, (part, size, hidden) in enumerate(told):
        if count == knobs.error_at:
            break
        if held is not None:
            (part, size, hidden), held = held, (part, size, hidden)
        at += step if count else 0.0
        spent, thought = spent + (0 if hidden else size), thought + (size if hidden else 0)
        if part:
            yield at, _chunk(ask, [part], spent, thought), size
    if knobs.error_at is not None:
        yield at, _FAILURE, 0
        return
    last, size, _ = held or ({"text": ""}, 0, False)
    if "text" in last:
        last |= _closing_signature(ask, answer)
    yield at, _ended(ask, answer, [last] if last else []), size


def _closing_signature(ask: Ask, answer: Answer) -> dict[str, str]:
    """After thought, a text ends with a signature; in a stream it comes with empty words."""
    if answer.thought_tokens and answer.parts and isinstance(answer.parts[-1], Text):
        return {"thoughtSignature": seal(f"end of {ask.seed}")}
    return {}


def _parts(ask: Ask, answer: Answer) -> Iterator[Iterator[_Told]]:
    """Each part of the answer as the wire parts of its runs, drawn as they are needed."""
    if _finish(ask, answer) in _CALL_LOST:
        return
    calls = 0
    for index, part in enumerate(answer.parts):
        match part:
            case Call():
                told = _call(ask, part, calls)
                yield iter([(told, len(tokens.split(part.arguments)), False)])
                calls += 1
            case Thought(text, hidden):
                yield _runs(ask, text, {"thought": True}, ask.shows_thought and not hidden)
            case Text(text):
                yield _runs(ask, text, {}, True)
            case Run(code, output, failed):
                outcome = "OUTCOME_FAILED" if failed else "OUTCOME_OK"
                name = {"id": f"run{index}"} if ask.knobs.ids else {}
                ran = {"executableCode": {"language": "PYTHON", "code": code} | name}
                gave = {"codeExecutionResult": {"outcome": outcome, "output": output} | name}
                yield iter([(ran, 0, False), (gave, 0, False)])
            case Drawing(data, media):
                yield iter([({"inlineData": {"mimeType": media, "data": data}}, 0, False)])


def _runs(ask: Ask, text: str, mark: dict[str, bool], shown: bool) -> Iterator[_Told]:
    found = tokens.split(text)
    for at in range(0, len(found), ask.knobs.chunk):
        run = found[at : at + ask.knobs.chunk]
        yield {"text": "".join(run)} | mark if shown else {}, len(run), bool(mark)


def _whole(runs: Iterator[_Told]) -> list[dict[str, Any]]:
    """The runs of one text as one part again."""
    parts = [part for part, _, _ in runs if part]
    if not parts or "text" not in parts[0]:
        return parts
    return [parts[0] | {"text": "".join(part["text"] for part in parts)}]


def _call(ask: Ask, part: Call, index: int) -> dict[str, Any]:
    call: dict[str, Any] = {"name": part.name, "args": part.input}
    if ask.knobs.ids:
        call = {"id": f"sim{index:02d}{ask.seed:016d}"} | call
    told: dict[str, Any] = {"functionCall": call}
    if index == 0:
        told["thoughtSignature"] = seal(f"{ask.seed}{part.name}")
    return told


def _finish(ask: Ask, answer: Answer) -> str:
    return ask.knobs.stop or _STOPS.get(answer.stop, "STOP")


def _chunk(ask: Ask, parts: list[dict[str, Any]], spent: int, thought: int) -> dict[str, Any]:
    content = {"parts": parts, "role": "model"} if parts else {}
    chunk: dict[str, Any] = {"candidates": [{"content": content, "index": 0}]}
    if not ask.knobs.nousage:
        chunk["usageMetadata"] = _usage(ask, spent, thought)
    return chunk | _names(ask)


def _ended(ask: Ask, answer: Answer, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The last chunk, or the only one."""
    thought = answer.thought_tokens
    chunk = _chunk(ask, parts, answer.tokens - thought, thought)
    chunk["candidates"][0] |= _ending(ask, answer)
    return chunk


def _ending(ask: Ask, answer: Answer) -> dict[str, Any]:
    finish = _finish(ask, answer)
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
        ending["continuationToken"] = token_of(ask.hop + 1)
    searches = [part for part in answer.parts if isinstance(part, Search)]
    if searches:
        ending["groundingMetadata"] = _grounding(searches, answer.parts)
    return ending


def _grounding(searches: list[Search], parts: list[Part]) -> dict[str, Any]:
    sources = [source for search in searches for source in search.sources]
    places = {source.url: at for at, source in enumerate(sources)}
    supports = [
        {
            "segment": {"endIndex": len(part.text.encode()), "text": part.text},
            "groundingChunkIndices": [places[s.url] for s in part.sources if s.url in places],
        }
        for part in parts
        if isinstance(part, Text) and part.sources
    ]
    return {
        "webSearchQueries": [search.query for search in searches],
        "searchEntryPoint": {"renderedContent": "<div>simulated</div>"},
        "groundingChunks": [{"web": {"uri": s.url, "title": s.title}} for s in sources],
        "groundingSupports": supports,
    }


def _blocked(ask: Ask) -> dict[str, Any]:
    feedback = {"promptFeedback": {"blockReason": ask.knobs.block}}
    return feedback | {"usageMetadata": _usage(ask, 0, 0)} | _names(ask)


def _usage(ask: Ask, spent: int, thought: int) -> dict[str, Any]:
    """Running totals: the prompt with what was cached, the answer without its thoughts."""
    usage: dict[str, Any] = {"promptTokenCount": ask.tokens}
    if spent:
        usage["candidatesTokenCount"] = spent
    usage["totalTokenCount"] = ask.tokens + spent + thought
    usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": ask.tokens}]
    if ask.cache_read:
        usage["cachedContentTokenCount"] = ask.cache_read
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": ask.cache_read}]
    if thought:
        usage["thoughtsTokenCount"] = thought
    return usage


def _names(ask: Ask) -> dict[str, str]:
    return {"modelVersion": ask.model, "responseId": f"Sim{ask.seed:019d}"}


def _wrapped(ask: Ask, chunk: dict[str, Any]) -> dict[str, Any]:
    if ask.provider != "gemini-oauth":
        return chunk
    return {"response": chunk, "traceId": f"sim{ask.seed:016x}"}

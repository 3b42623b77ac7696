"""Answers of generateContent, bare or wrapped as Code Assist wraps them.

The law of this module: every chunk is a whole response with the usage so far; nothing marks
the end but the end. A function call is never cut in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
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
        return orjson.dumps(_blocked(ask))
    parts = [part for told in _parts(ask, answer) for part, _, _ in _whole(told)]
    if parts and "text" in parts[-1]:
        parts[-1] |= _closing_signature(ask, answer)
    spent = answer.tokens - answer.thought_tokens
    chunk = _chunk(ask, parts, spent, answer.thought_tokens, answer)
    return orjson.dumps(_wrapped(ask, chunk))


def events(ask: Ask, answer: Answer, request_id: str = "") -> Iterator[Piece]:
    """The answer as a stream, paced by the knobs."""
    before, after = (b"data: ", b"\r\n\r\n") if ask.framed else (b"[", b"")
    for piece in _pieces(ask, answer):
        if not piece.data.startswith(b"{\n"):  # an error of the midst, which stands bare
            piece.data = before + piece.data + after
            before = before if ask.framed else b",\r\n"
        yield piece
    if not ask.framed:
        yield Piece(piece.at, b"]")


def _pieces(ask: Ask, answer: Answer) -> Iterator[Piece]:
    knobs = ask.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    if knobs.block:
        yield Piece(knobs.ttft, orjson.dumps(_blocked(ask)))
        return
    at, spent, thought = knobs.ttft, 0, 0
    told = [run for part in _parts(ask, answer) for run in part]
    for count, (part, size, hidden) in enumerate(told):
        if count == knobs.error_at:
            break
        at += step if count else 0.0
        spent, thought = spent + (0 if hidden else size), thought + (size if hidden else 0)
        ends = answer if knobs.together and count == len(told) - 1 else None
        if part or ends:
            chunk = _chunk(ask, [part] if part else [], spent, thought, ends)
            data = orjson.dumps(_wrapped(ask, chunk))
            if knobs.ping and (count + 1) % knobs.ping == 0:
                data += b"\r\n\r\n: ping"
            yield Piece(at, data, size)
    if knobs.error_at is not None:
        yield Piece(at, orjson.dumps(_FAILURE, option=orjson.OPT_INDENT_2) + b"\n")
    elif not (knobs.together and told):
        last: dict[str, Any] = {"text": ""} | _closing_signature(ask, answer)
        spent, thought = answer.tokens - answer.thought_tokens, answer.thought_tokens
        chunk = _chunk(ask, [last], spent, thought, answer)
        yield Piece(at, orjson.dumps(_wrapped(ask, chunk)))


def _closing_signature(ask: Ask, answer: Answer) -> dict[str, str]:
    """After thought, a text ends with a signature; in a stream it comes with empty words."""
    if answer.thought_tokens and answer.parts and isinstance(answer.parts[-1], Text):
        return {"thoughtSignature": seal(f"end of {ask.seed}")}
    return {}


def _parts(ask: Ask, answer: Answer) -> Iterator[list[_Told]]:
    """Each part of the answer as the wire parts of its runs."""
    if _finish(ask, answer) in _CALL_LOST:
        return
    calls = 0
    for index, part in enumerate(answer.parts):
        match part:
            case Call():
                yield [(_call(ask, part, calls), len(tokens.split(part.arguments)), False)]
                calls += 1
            case Thought(text, hidden):
                shown = ask.shows_thought and not hidden
                runs = _runs(ask, text)
                yield [({"text": r, "thought": True} if shown else {}, n, True) for r, n in runs]
            case Text(text):
                yield [({"text": run}, size, False) for run, size in _runs(ask, text)]
            case Run(code, output, failed):
                outcome = "OUTCOME_FAILED" if failed else "OUTCOME_OK"
                name = {"id": f"run{index}"} if ask.knobs.ids else {}
                ran = {"executableCode": {"language": "PYTHON", "code": code} | name}
                gave = {"codeExecutionResult": {"outcome": outcome, "output": output} | name}
                yield [(ran, 0, False), (gave, 0, False)]
            case Drawing(data, media):
                yield [({"inlineData": {"mimeType": media, "data": data}}, 0, False)]


def _runs(ask: Ask, text: str) -> list[tuple[str, int]]:
    found = tokens.split(text)
    runs = [found[at : at + ask.knobs.chunk] for at in range(0, len(found), ask.knobs.chunk)]
    return [("".join(run), len(run)) for run in runs]


def _whole(told: list[_Told]) -> list[_Told]:
    """The runs of one text as one part again."""
    first = told[0][0] if told else {}
    if "text" not in first:
        return [run for run in told if run[0]]
    text = "".join(part["text"] for part, _, _ in told)
    return [(first | {"text": text}, 0, False)]


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


def _chunk(
    ask: Ask, parts: list[dict[str, Any]], spent: int, thought: int, ends: Answer | None
) -> dict[str, Any]:
    content = {"parts": parts, "role": "model"} if parts else {}
    candidate: dict[str, Any] = {"content": content, "index": 0}
    if ends is not None:
        candidate |= _ending(ask, ends)
    chunk = {"candidates": [candidate], "usageMetadata": _usage(ask, spent, thought)}
    if ask.knobs.nousage:
        del chunk["usageMetadata"]
    return chunk | _names(ask)


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
    return _wrapped(ask, feedback | {"usageMetadata": _usage(ask, 0, 0)} | _names(ask))


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

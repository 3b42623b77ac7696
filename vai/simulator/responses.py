"""Answers in the Responses dialect: one JSON body, or its named events.

Invariants: the body is drawn first and the events only tell it in pieces, so
both forms say the same. An `encrypted_content` is whole in `output_item.done` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.ask import Ask
from vai.simulator.parts import (
    Answer,
    Call,
    Drawing,
    Part,
    Refusal,
    Run,
    Search,
    Source,
    Text,
    Thought,
    seal,
)
from vai.simulator.reply import Piece

__all__ = ["body", "events"]

_EPOCH: Final = 1_790_000_000
_REASONS: Final = {"length": "max_output_tokens", "pause": "max_messages"}
_WIRE_REASONS: Final = frozenset({"max_output_tokens", "content_filter", "max_messages", "steered"})
_FAILURE: Final = "The server had an error while processing your request."
_NO_DETAILS: Final = {"image_tokens": 0, "text_tokens": 0}
_NO_PICTURES: Final = {
    "input_tokens": 0,
    "input_tokens_details": _NO_DETAILS,
    "output_tokens": 0,
    "output_tokens_details": _NO_DETAILS,
    "total_tokens": 0,
}
_PING: Final = b": keep-alive\n\n"

Told = Iterator[tuple[dict[str, Any], int]]
"""Events without their number, each with the output tokens in it."""


def body(ask: Ask, answer: Answer, request_id: str = "") -> bytes:
    """The answer to a request without `stream`."""
    return orjson.dumps(_response(ask, answer, _items(ask, answer)))


def events(ask: Ask, answer: Answer, request_id: str = "") -> Iterator[Piece]:
    """The answer to a request with `stream`, paced by the knobs."""
    knobs = ask.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    opening = knobs.ttft if knobs.head is None else min(knobs.head, knobs.ttft)
    items = _items(ask, answer)
    begun = _response(ask, answer, []) | {"status": "in_progress", "usage": None, "error": None}
    begun |= {"incomplete_details": None, "completed_at": None}
    number, at, count = 2, knobs.ttft, 0
    yield Piece(opening, _event(0, {"type": "response.created", "response": begun}))
    yield Piece(opening, _event(1, {"type": "response.in_progress", "response": begun}))
    for index, item in enumerate(items):
        for told, size in _told(item, index, knobs.chunk):
            content = told["type"].endswith(".delta")
            if content and count == knobs.error_at:
                yield Piece(at, _event(number, _error()))
                return
            data = _event(number, told)
            number += 1
            if content:
                at += step if count else 0.0
                count += 1
                if knobs.ping and count % knobs.ping == 0:
                    data += _PING
            yield Piece(at, data, size)
    if knobs.error_at is not None:
        yield Piece(at, _event(number, _error()))
        return
    whole = _response(ask, answer, items)
    yield Piece(at, _event(number, {"type": f"response.{whole['status']}", "response": whole}))


def _response(ask: Ask, answer: Answer, items: list[dict[str, Any]]) -> dict[str, Any]:
    status, reason = _ending(ask, answer)
    searches = sum(1 for item in items if item["type"] == "web_search_call")
    return {
        "id": f"resp_Sim{ask.seed:032d}",
        "object": "response",
        "created_at": _EPOCH + ask.seed % 1_000_000,
        "status": status,
        "background": False,
        "completed_at": _EPOCH + ask.seed % 1_000_000 if status == "completed" else None,
        "error": {"code": "server_error", "message": _FAILURE} if status == "failed" else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": ask.model,
        "output": items,
        "service_tier": "default",
        "tool_usage": {"web_search": {"num_requests": searches}, "image_gen": _NO_PICTURES},
        "usage": None if ask.knobs.nousage or status == "failed" else _usage(ask, answer),
    } | ask.echo


def _ending(ask: Ask, answer: Answer) -> tuple[str, str | None]:
    """The status, and why it is incomplete."""
    forced = ask.knobs.stop
    if forced in _WIRE_REASONS:
        return "incomplete", forced
    if forced in ("incomplete", "failed"):
        return forced, None
    if answer.stop == "failed":
        return "failed", None
    reason = _REASONS.get(answer.stop)
    return ("incomplete" if reason else "completed"), reason


def _usage(ask: Ask, answer: Answer) -> dict[str, Any]:
    written = ask.cache_write + ask.cache_write_1h
    return {
        "input_tokens": ask.tokens,
        "input_tokens_details": {"cached_tokens": ask.cache_read, "cache_write_tokens": written},
        "output_tokens": answer.tokens,
        "output_tokens_details": {"reasoning_tokens": answer.thought_tokens},
        "total_tokens": ask.tokens + answer.tokens,
    }


def _items(ask: Ask, answer: Answer) -> list[dict[str, Any]]:
    called = any(isinstance(part, Call) for part in answer.parts)
    items = [_item(ask, part, index, called) for index, part in enumerate(answer.parts)]
    if items and _ending(ask, answer)[0] != "completed" and "status" in items[-1]:
        items[-1]["status"] = "incomplete"
    return items


def _item(ask: Ask, part: Part, index: int, called: bool) -> dict[str, Any]:
    name, done = f"{index:02d}{ask.seed:030d}", {"status": "completed"}
    item: dict[str, Any]
    said: dict[str, Any]
    match part:
        case Thought(text, hidden):
            shown = [] if hidden or not ask.shows_thought else text.split("\n\n")
            summary = [{"type": "summary_text", "text": said} for said in shown]
            item = {"id": f"rs_Sim{name}", "type": "reasoning", "summary": summary}
            return item | {"encrypted_content": seal(f"{name}{text}")}
        case Text(text, sources):
            said = {"type": "output_text", "text": text, "logprobs": []}
            said["annotations"] = [_cited(source, text) for source in sources]
            return _message(name, said, "commentary" if called else "final_answer")
        case Refusal(text):
            return _message(name, {"type": "refusal", "refusal": text}, "final_answer")
        case Call(tool, arguments):
            said = {"call_id": f"call_Sim{index:02d}{ask.seed:018d}", "name": tool}
            said |= {"arguments": arguments}
            return {"id": f"fc_Sim{name}", "type": "function_call"} | done | said
        case Search(query, sources):
            action: dict[str, Any] = {"type": "search", "query": query, "queries": [query]}
            if "web_search_call.action.sources" in ask.include:
                action["sources"] = [{"type": "url", "url": source.url} for source in sources]
            return {"id": f"ws_Sim{name}", "type": "web_search_call", "action": action} | done
        case Run(code, output):
            logs = [{"type": "logs", "logs": output}]
            shown_logs = logs if "code_interpreter_call.outputs" in ask.include else None
            item = {"id": f"ci_Sim{name}", "type": "code_interpreter_call", "code": code} | done
            return item | {"container_id": f"cntr_Sim{ask.seed:032d}", "outputs": shown_logs}
        case Drawing(data, media):
            item = {"id": f"ig_Sim{name}", "type": "image_generation_call", "result": data} | done
            return item | {"output_format": media.removeprefix("image/")}


def _message(name: str, said: dict[str, Any], phase: str) -> dict[str, Any]:
    item = {"id": f"msg_Sim{name}", "type": "message", "status": "completed", "role": "assistant"}
    return item | {"phase": phase, "content": [said]}


def _cited(source: Source, text: str) -> dict[str, Any]:
    place = {"start_index": 0, "end_index": len(text)}
    return {"type": "url_citation", "url": source.url, "title": source.title} | place


def _told(item: dict[str, Any], index: int, chunk: int) -> Told:
    """All events of one item, from `added` to `done`."""
    where = {"item_id": item["id"], "output_index": index}
    opened = item | ({"status": "in_progress"} if "status" in item else {})
    match item["type"]:
        case "message":
            opened["content"] = []
            inner = _message_told(item["content"][0], where | {"content_index": 0}, chunk)
        case "reasoning":
            # The encrypted content that comes first is not yet the whole one.
            half = item["encrypted_content"][: len(item["encrypted_content"]) // 2]
            opened |= {"summary": [], "encrypted_content": half}
            inner = _reasoning_told(item, where, chunk)
        case "function_call":
            opened["arguments"] = ""
            kind = "response.function_call_arguments"
            inner = _run_of(kind, where, "arguments", item["arguments"], chunk)
        case "code_interpreter_call":
            opened |= {"code": "", "outputs": None}
            inner = _code_told(item, where, chunk)
        case kind:
            words = ("generating",) if kind == "image_generation_call" else ("searching",)
            opened.pop("result", None)
            if kind == "image_generation_call":
                opened["result"] = None
            inner = _steps(kind, where, ("in_progress", *words, "completed"))
    yield {"type": "response.output_item.added", "output_index": index, "item": opened}, 0
    yield from inner
    yield {"type": "response.output_item.done", "output_index": index, "item": item}, 0


def _message_told(part: dict[str, Any], where: dict[str, Any], chunk: int) -> Told:
    kind = part["type"]
    member = "text" if kind == "output_text" else "refusal"
    opened = part | {member: ""} | ({"annotations": []} if kind == "output_text" else {})
    more: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
    yield {"type": "response.content_part.added", "part": opened} | where, 0
    yield from _deltas(f"response.{kind}", where | more, part[member], chunk)
    for number, cited in enumerate(part.get("annotations", [])):
        event = {"type": "response.output_text.annotation.added", "annotation": cited}
        yield event | {"annotation_index": number} | where, 0
    yield {"type": f"response.{kind}.done", member: part[member]} | where | more, 0
    yield {"type": "response.content_part.done", "part": part} | where, 0


def _reasoning_told(item: dict[str, Any], where: dict[str, Any], chunk: int) -> Told:
    kind = "response.reasoning_summary"
    for number, part in enumerate(item["summary"]):
        place = where | {"summary_index": number}
        yield {"type": f"{kind}_part.added", "part": part | {"text": ""}} | place, 0
        yield from _run_of(f"{kind}_text", place, "text", part["text"], chunk)
        yield {"type": f"{kind}_part.done", "part": part} | place, 0


def _code_told(item: dict[str, Any], where: dict[str, Any], chunk: int) -> Told:
    kind = "code_interpreter_call"
    yield from _steps(kind, where, ("in_progress",))
    for told, _ in _run_of(f"response.{kind}_code", where, "code", item["code"], chunk):
        yield told, 0
    yield from _steps(kind, where, ("interpreting", "completed"))


def _steps(kind: str, where: dict[str, Any], words: tuple[str, ...]) -> Told:
    for word in words:
        yield {"type": f"response.{kind}.{word}"} | where, 0


def _run_of(kind: str, where: dict[str, Any], member: str, text: str, chunk: int) -> Told:
    """`text` in deltas, and once more whole."""
    yield from _deltas(kind, where, text, chunk)
    yield {"type": f"{kind}.done", member: text} | where, 0


def _deltas(kind: str, where: dict[str, Any], text: str, chunk: int) -> Told:
    found = tokens.split(text)
    for start in range(0, len(found), chunk):
        run = found[start : start + chunk]
        yield {"type": f"{kind}.delta", "delta": "".join(run)} | where, len(run)


def _error() -> dict[str, Any]:
    return {"type": "error", "code": "server_error", "message": _FAILURE, "param": None}


def _event(number: int, value: dict[str, Any]) -> bytes:
    data = orjson.dumps(value | {"sequence_number": number})
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), data)

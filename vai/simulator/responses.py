"""Output in the Responses wire format: one JSON body, or its named events.

Invariants: the body is made first and the events only send it in pieces, so both forms have the
same content. Before `output_item.done`, events have only half of an `encrypted_content`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.parsed_request import ParsedRequest
from vai.simulator.parts import (
    CallPart,
    CitedPage,
    CodeRunPart,
    ImagePart,
    Part,
    RefusalPart,
    SearchPart,
    SimulatedResponse,
    TextPart,
    ThoughtPart,
    make_signature,
)
from vai.simulator.timed_response import TimedPiece

__all__ = ["render_body", "render_events"]

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

EventRuns = Iterator[tuple[dict[str, Any], int]]
"""Events without their number, each with the output tokens in it."""


def render_body(request: ParsedRequest, answer: SimulatedResponse, request_id: str = "") -> bytes:
    """The response to a request without `stream`."""
    return orjson.dumps(_render_response(request, answer, _render_items(request, answer)))


def render_events(
    request: ParsedRequest, answer: SimulatedResponse, request_id: str = ""
) -> Iterator[TimedPiece]:
    """The response to a request with `stream`, paced by the knobs."""
    knobs = request.knobs
    step = knobs.chunk / knobs.tps if knobs.tps else 0.0
    opening = knobs.ttft if knobs.head is None else min(knobs.head, knobs.ttft)
    items = _render_items(request, answer)
    begun = _render_response(request, answer, []) | {
        "status": "in_progress",
        "usage": None,
        "error": None,
    }
    begun |= {"incomplete_details": None, "completed_at": None}
    number, at, count = 2, knobs.ttft, 0
    yield TimedPiece(opening, _encode_event(0, {"type": "response.created", "response": begun}))
    yield TimedPiece(opening, _encode_event(1, {"type": "response.in_progress", "response": begun}))
    for index, item in enumerate(items):
        for event, size in _item_events(item, index, knobs.chunk):
            content = event["type"].endswith(".delta")
            if content and count == knobs.error_at:
                yield TimedPiece(at, _encode_event(number, _error_object()))
                return
            data = _encode_event(number, event)
            number += 1
            if content:
                at += step if count else 0.0
                count += 1
                if knobs.ping and count % knobs.ping == 0:
                    data += _PING
            yield TimedPiece(at, data, size)
    if knobs.error_at is not None:
        yield TimedPiece(at, _encode_event(number, _error_object()))
        return
    complete = _render_response(request, answer, items)
    yield TimedPiece(
        at, _encode_event(number, {"type": f"response.{complete['status']}", "response": complete})
    )


def _render_response(
    request: ParsedRequest, answer: SimulatedResponse, items: list[dict[str, Any]]
) -> dict[str, Any]:
    status, reason = _end_status(request, answer)
    searches = sum(1 for item in items if item["type"] == "web_search_call")
    return {
        "id": f"resp_Sim{request.seed:032d}",
        "object": "response",
        "created_at": _EPOCH + request.seed % 1_000_000,
        "status": status,
        "background": False,
        "completed_at": _EPOCH + request.seed % 1_000_000 if status == "completed" else None,
        "error": {"code": "server_error", "message": _FAILURE} if status == "failed" else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": request.model,
        "output": items,
        "service_tier": "default",
        "tool_usage": {"web_search": {"num_requests": searches}, "image_gen": _NO_PICTURES},
        "usage": None
        if request.knobs.nousage or status == "failed"
        else _render_usage(request, answer),
    } | request.echo


def _end_status(request: ParsedRequest, answer: SimulatedResponse) -> tuple[str, str | None]:
    """The status, and the reason if it is incomplete."""
    forced = request.knobs.stop
    if forced in _WIRE_REASONS:
        return "incomplete", forced
    if forced in ("incomplete", "failed"):
        return forced, None
    if answer.stop == "failed":
        return "failed", None
    reason = _REASONS.get(answer.stop)
    return ("incomplete" if reason else "completed"), reason


def _render_usage(request: ParsedRequest, answer: SimulatedResponse) -> dict[str, Any]:
    written = request.cache_write + request.cache_write_1h
    return {
        "input_tokens": request.tokens,
        "input_tokens_details": {
            "cached_tokens": request.cache_read,
            "cache_write_tokens": written,
        },
        "output_tokens": answer.tokens,
        "output_tokens_details": {"reasoning_tokens": answer.thought_tokens},
        "total_tokens": request.tokens + answer.tokens,
    }


def _render_items(request: ParsedRequest, answer: SimulatedResponse) -> list[dict[str, Any]]:
    called = any(isinstance(part, CallPart) for part in answer.parts)
    items = [_render_item(request, part, index, called) for index, part in enumerate(answer.parts)]
    if items and _end_status(request, answer)[0] != "completed" and "status" in items[-1]:
        items[-1]["status"] = "incomplete"
    return items


def _render_item(request: ParsedRequest, part: Part, index: int, called: bool) -> dict[str, Any]:
    name, done = f"{index:02d}{request.seed:030d}", {"status": "completed"}
    item: dict[str, Any]
    rendered: dict[str, Any]
    match part:
        case ThoughtPart(text, hidden):
            shown = [] if hidden or not request.shows_thought else text.split("\n\n")
            summary = [{"type": "summary_text", "text": line} for line in shown]
            item = {"id": f"rs_Sim{name}", "type": "reasoning", "summary": summary}
            return item | {"encrypted_content": make_signature(f"{name}{text}")}
        case TextPart(text, sources):
            rendered = {"type": "output_text", "text": text, "logprobs": []}
            rendered["annotations"] = [_url_citation(source, text) for source in sources]
            return _message_item(name, rendered, "commentary" if called else "final_answer")
        case RefusalPart(text):
            return _message_item(name, {"type": "refusal", "refusal": text}, "final_answer")
        case CallPart(tool, arguments):
            rendered = {"call_id": f"call_Sim{index:02d}{request.seed:018d}", "name": tool}
            rendered |= {"arguments": arguments}
            return {"id": f"fc_Sim{name}", "type": "function_call"} | done | rendered
        case SearchPart(query, sources):
            action: dict[str, Any] = {"type": "search", "query": query, "queries": [query]}
            if "web_search_call.action.sources" in request.include:
                action["sources"] = [{"type": "url", "url": source.url} for source in sources]
            return {"id": f"ws_Sim{name}", "type": "web_search_call", "action": action} | done
        case CodeRunPart(code, output):
            logs = [{"type": "logs", "logs": output}]
            shown_logs = logs if "code_interpreter_call.outputs" in request.include else None
            item = {"id": f"ci_Sim{name}", "type": "code_interpreter_call", "code": code} | done
            return item | {"container_id": f"cntr_Sim{request.seed:032d}", "outputs": shown_logs}
        case ImagePart(data, media):
            item = {"id": f"ig_Sim{name}", "type": "image_generation_call", "result": data} | done
            return item | {"output_format": media.removeprefix("image/")}


def _message_item(name: str, content: dict[str, Any], phase: str) -> dict[str, Any]:
    item = {"id": f"msg_Sim{name}", "type": "message", "status": "completed", "role": "assistant"}
    return item | {"phase": phase, "content": [content]}


def _url_citation(source: CitedPage, text: str) -> dict[str, Any]:
    span = {"start_index": 0, "end_index": len(text)}
    return {"type": "url_citation", "url": source.url, "title": source.title} | span


def _item_events(item: dict[str, Any], index: int, chunk: int) -> EventRuns:
    """All events of one item, from `added` to `done`."""
    where = {"item_id": item["id"], "output_index": index}
    opened = item | ({"status": "in_progress"} if "status" in item else {})
    match item["type"]:
        case "message":
            opened["content"] = []
            inner = _message_events(item["content"][0], where | {"content_index": 0}, chunk)
        case "reasoning":
            # The first event has only half of the encrypted content.
            half = item["encrypted_content"][: len(item["encrypted_content"]) // 2]
            opened |= {"summary": [], "encrypted_content": half}
            inner = _reasoning_events(item, where, chunk)
        case "function_call":
            opened["arguments"] = ""
            kind = "response.function_call_arguments"
            inner = _text_events(kind, where, "arguments", item["arguments"], chunk)
        case "code_interpreter_call":
            opened |= {"code": "", "outputs": None}
            inner = _code_events(item, where, chunk)
        case kind:
            words = ("generating",) if kind == "image_generation_call" else ("searching",)
            opened.pop("result", None)
            if kind == "image_generation_call":
                opened["result"] = None
            inner = _step_events(kind, where, ("in_progress", *words, "completed"))
    yield {"type": "response.output_item.added", "output_index": index, "item": opened}, 0
    yield from inner
    yield {"type": "response.output_item.done", "output_index": index, "item": item}, 0


def _message_events(part: dict[str, Any], where: dict[str, Any], chunk: int) -> EventRuns:
    kind = part["type"]
    member = "text" if kind == "output_text" else "refusal"
    opened = part | {member: ""} | ({"annotations": []} if kind == "output_text" else {})
    more: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
    yield {"type": "response.content_part.added", "part": opened} | where, 0
    yield from _delta_events(f"response.{kind}", where | more, part[member], chunk)
    for number, cited in enumerate(part.get("annotations", [])):
        event = {"type": "response.output_text.annotation.added", "annotation": cited}
        yield event | {"annotation_index": number} | where, 0
    yield {"type": f"response.{kind}.done", member: part[member]} | where | more, 0
    yield {"type": "response.content_part.done", "part": part} | where, 0


def _reasoning_events(item: dict[str, Any], where: dict[str, Any], chunk: int) -> EventRuns:
    kind = "response.reasoning_summary"
    for number, part in enumerate(item["summary"]):
        location = where | {"summary_index": number}
        yield {"type": f"{kind}_part.added", "part": part | {"text": ""}} | location, 0
        yield from _text_events(f"{kind}_text", location, "text", part["text"], chunk)
        yield {"type": f"{kind}_part.done", "part": part} | location, 0


def _code_events(item: dict[str, Any], where: dict[str, Any], chunk: int) -> EventRuns:
    kind = "code_interpreter_call"
    yield from _step_events(kind, where, ("in_progress",))
    for event, _ in _text_events(f"response.{kind}_code", where, "code", item["code"], chunk):
        yield event, 0
    yield from _step_events(kind, where, ("interpreting", "completed"))


def _step_events(kind: str, where: dict[str, Any], words: tuple[str, ...]) -> EventRuns:
    for word in words:
        yield {"type": f"response.{kind}.{word}"} | where, 0


def _text_events(kind: str, where: dict[str, Any], member: str, text: str, chunk: int) -> EventRuns:
    """`text` in deltas, then whole."""
    yield from _delta_events(kind, where, text, chunk)
    yield {"type": f"{kind}.done", member: text} | where, 0


def _delta_events(kind: str, where: dict[str, Any], text: str, chunk: int) -> EventRuns:
    pieces = tokens.split_tokens(text)
    for start in range(0, len(pieces), chunk):
        run = pieces[start : start + chunk]
        yield {"type": f"{kind}.delta", "delta": "".join(run)} | where, len(run)


def _error_object() -> dict[str, Any]:
    return {"type": "error", "code": "server_error", "message": _FAILURE, "param": None}


def _encode_event(number: int, value: dict[str, Any]) -> bytes:
    data = orjson.dumps(value | {"sequence_number": number})
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), data)

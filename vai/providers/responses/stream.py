"""Responses output -> canonical events.

One decoder for events and for whole responses: a whole response is its items, each complete at
once. The text of an item comes from its deltas, and from the item itself where a server sends no
deltas. The decoder distinguishes items by their index in the output, never by their ids: proxies
change those in between.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.emitter import Emitter
from vai.providers.decode.lenient import LenientDecoder, is_error
from vai.providers.decode.stream_decoder import StreamDecoder
from vai.providers.decode.text_filter import TextFilter
from vai.providers.responses import wrapped_items
from vai.providers.responses.events import (
    ResponseObject,
    ResponsesUsage,
    StreamEvent,
    decode_body,
    decode_event,
    decode_output,
)
from vai.providers.responses.output_items import CALL_TYPES, OutputText, ReasoningItems, ToolCalls
from vai.providers.responses.server_tools import blocks_from_item
from vai.types.blocks import ServerToolUseBlock
from vai.types.message import Usage, parse_counter

__all__ = ["ResponsesStreamDecoder"]

_REFUSAL: Final[dict[str, Any]] = {"type": "refusal", "category": None, "explanation": None}
_CUT: Final = {
    "max_output_tokens": "max_tokens",
    "max_messages": "pause_turn",
    "content_filter": "refusal",
    "steered": "end_turn",
}
_LISTED: Final = (None, "auto", "default")
"""Tiers at the list price; VAI reports any other, as it changes the price of the response."""
_TEXTS: Final = ("output_text", "text")
"""OpenAI's type of a part that is text, and that of servers which imitate Responses."""
_ENDS: Final = ("completed", "incomplete", "failed", "cancelled")


class ResponsesStreamDecoder(StreamDecoder):
    """Reads one response into an emitter.

    Args:
        names: alias -> the client's name of a tool or an MCP server, where they differ.
        text: the filter between the upstream's text and the client's, if any.
    """

    def __init__(
        self,
        emitter: Emitter,
        provider: str,
        title: str,
        *,
        names: dict[str, str],
        text: TextFilter | None = None,
    ) -> None:
        super().__init__(provider, title)
        self.sink = self._emitter = emitter
        self._names = names
        self._output_text = OutputText(emitter, text)
        self._reasoning_items = ReasoningItems(emitter, provider)
        self._tool_calls = ToolCalls(emitter)
        self._has_refused = False
        self._server_tool_uses: dict[str, int] = {}
        self._is_commentary = False
        self._latest = -1
        self._lenient = LenientDecoder()
        self._seen: Counter[str] = Counter()
        """Kind of item -> how many of them have begun."""
        self._handlers = {
            "response.created": self._read_created,
            "response.output_item.added": self._read_item_added,
            "response.output_item.done": self._read_item_done,
            "response.content_part.done": self._read_part_done,
            "response.output_text.delta": self._text_delta,
            "response.output_text.done": self._text_done,
            "response.output_text.annotation.added": self._read_annotation,
            "response.refusal.delta": self._refusal_delta,
            "response.refusal.done": self._refusal_done,
            "response.reasoning_summary_text.delta": self._summary_delta,
            "response.reasoning_text.delta": self._reasoning_delta,
            "response.function_call_arguments.delta": self._arguments_delta,
            "response.function_call_arguments.done": self._arguments_done,
            "response.completed": self._read_end,
            "response.incomplete": self._read_end,
            "response.failed": self._read_end,
            "response.cancelled": self._read_end,
        }

    @property
    def met_stop_sequence(self) -> bool:
        """Whether the client's stop sequence ended the response, and not the upstream."""
        return self._output_text.met_stop_sequence

    def read_event(self, data: bytes) -> None:
        """The data of one server-sent event."""
        if self._lenient.waits:
            self._read_leniently(data)
            return
        try:
            event = decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._read_leniently(data)
        else:
            self._dispatch_event(event, data)

    def _read_leniently(self, data: bytes) -> None:
        events = self._lenient.read_objects(data, StreamEvent)
        if events is None and data.strip():
            self._emitter.fail_unusable(
                "a part of it is not the JSON that was expected", "malformed"
            )
        for event in events or ():
            self._dispatch_event(event, data)

    def _dispatch_event(self, event: StreamEvent, data: bytes) -> None:
        handler = self._handlers.get(event.type)
        if handler is not None:
            handler(event)
        elif event.type == "error" or is_error(event.error):
            self._report_failure(data)
        elif not event.type.startswith("response."):
            self._report_error(data)

    def read_body(self, data: bytes) -> None:
        """A whole response, read to its end."""
        try:
            answer = decode_body(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            objects = self._lenient.read_objects(data, ResponseObject)
            if not objects:
                self._emitter.fail_unusable("it is not the JSON that was expected", "malformed")
                return
            answer = objects[0]
        if answer.output is not None or isinstance(answer.output_text, str):
            self._start_message(answer)
            self._supply_missing(answer)
            self._finish_response(answer, answer.status or "completed")
        else:
            self._report_error(data)
        self.end_stream()

    def read_done_marker(self) -> None:
        """The server marks the end of the stream, possibly without a status before."""
        self._output_text.close_part()
        if (
            self._emitter.has_content
            and not self._emitter.has_stop_reason
            and not self.met_stop_sequence
        ):
            self._finish_response(ResponseObject(), "completed")
        self.end_stream()

    def end_stream(self) -> None:
        """The response has ended."""
        self._emitter.end_message()

    def _read_created(self, event: StreamEvent) -> None:
        if event.response is not None:
            self._start_message(event.response)

    def _start_message(self, answer: ResponseObject) -> None:
        metadata = {"oai_resp": {"response_id": answer.id}} if answer.id else None
        self._emitter.start_message(answer.model, metadata)

    def _read_item_added(self, event: StreamEvent) -> None:
        if isinstance(event.item, dict):
            self._open_item(event.output_index, event.item)

    def _open_item(self, index: int, item: dict[str, Any]) -> None:
        kind = str(item.get("type"))
        self._output_text.close_part()
        self._note_item(index, kind)
        if kind in CALL_TYPES:
            self._tool_calls.open_call(index, item)
        elif kind == "reasoning":
            self._reasoning_items.start_item()
        elif kind == "message" and self._is_commentary:
            self._emitter.add_redacted_thinking(
                wrapped_items.wrap_phase(self._provider, "commentary")
            )
        self._is_commentary = kind == "message" and item.get("phase") == "commentary"

    def _note_item(self, index: int, kind: str) -> None:
        """An item has begun."""
        self._latest = max(self._latest, index)
        self._seen[kind] += 1

    def _read_item_done(self, event: StreamEvent) -> None:
        self._close_item(event.output_index, event.item)

    def _close_item(self, index: int, item: Any) -> None:
        if not isinstance(item, dict):
            return
        if index > self._latest and not self._output_text.is_writing(index):
            self._open_item(index, item)
        kind = str(item.get("type"))
        if kind == "message":
            self._close_message(index, item)
        elif kind == "reasoning":
            self._output_text.close_part()
            self._reasoning_items.finish_item(item)
        elif kind in CALL_TYPES:
            self._output_text.close_part()
            self._tool_calls.close_call(index, item)
        else:
            self._add_server_tool(item)

    def _close_message(self, index: int, item: dict[str, Any]) -> None:
        content = item.get("content")
        if isinstance(content, str):
            content = [{"type": "output_text", "text": content}]
        for number, part in enumerate(content if isinstance(content, list) else ()):
            self._complete_part((index, number), part)
        self._output_text.close_part()

    def _read_part_done(self, event: StreamEvent) -> None:
        self._complete_part((event.output_index, event.content_index), event.part)

    def _complete_part(self, index: tuple[int, int], part: Any) -> None:
        """A part of a message, complete."""
        if not isinstance(part, dict):
            return
        if isinstance(part.get("refusal"), str):
            self._has_refused = True
            self._output_text.complete_part(index, part["refusal"], [])
        elif part.get("type") in _TEXTS and isinstance(part.get("text"), str):
            sources = part.get("annotations")
            self._output_text.complete_part(
                index, part["text"], sources if isinstance(sources, list) else []
            )

    def _add_server_tool(self, item: dict[str, Any]) -> None:
        """Emit the blocks of a tool of the server's own."""
        self._output_text.close_part()
        envelope = wrapped_items.wrap_item(self._provider, item)
        for block in blocks_from_item(item, self._names, envelope):
            self._emitter.add_block(block)
            if isinstance(block, ServerToolUseBlock):
                self._server_tool_uses[block.name] = self._server_tool_uses.get(block.name, 0) + 1

    def _text_delta(self, event: StreamEvent) -> None:
        if type(event.delta) is str and event.delta:
            if event.output_index > self._latest:
                self._note_item(event.output_index, "message")
            self._output_text.add_piece((event.output_index, event.content_index), event.delta)

    def _text_done(self, event: StreamEvent) -> None:
        if isinstance(event.text, str):
            self._output_text.complete_part((event.output_index, event.content_index), event.text)

    def _read_annotation(self, event: StreamEvent) -> None:
        self._output_text.add_source((event.output_index, event.content_index), event.annotation)

    def _refusal_delta(self, event: StreamEvent) -> None:
        self._has_refused = True
        self._text_delta(event)

    def _refusal_done(self, event: StreamEvent) -> None:
        if isinstance(event.refusal, str):
            self._has_refused = True
            self._output_text.complete_part(
                (event.output_index, event.content_index), event.refusal
            )

    def _summary_delta(self, event: StreamEvent) -> None:
        self._add_reasoning(event, "summary", event.summary_index)

    def _reasoning_delta(self, event: StreamEvent) -> None:
        self._add_reasoning(event, "content", event.content_index)

    def _add_reasoning(self, event: StreamEvent, kind: str, paragraph: int) -> None:
        if isinstance(event.delta, str):
            self._output_text.close_part()
            if event.output_index > self._latest:
                self._note_item(event.output_index, "reasoning")
            self._reasoning_items.add_piece((kind, paragraph), event.delta)

    def _arguments_delta(self, event: StreamEvent) -> None:
        if isinstance(event.delta, str):
            self._output_text.close_part()
            if event.output_index > self._latest:
                self._note_item(event.output_index, "function_call")
            self._tool_calls.add_arguments(event.output_index, event.delta)

    def _arguments_done(self, event: StreamEvent) -> None:
        self._tool_calls.complete_arguments(event.output_index, event.arguments)

    def _read_end(self, event: StreamEvent) -> None:
        answer = event.response or ResponseObject()
        # Some servers state the end in the event's name, some in the response's status.
        named = event.type.removeprefix("response.")
        status = answer.status if answer.status in _ENDS else named
        if status not in ("failed", "cancelled"):
            self._start_message(answer)
            self._supply_missing(answer)
        self._finish_response(answer, status)

    def _supply_missing(self, answer: ResponseObject) -> None:
        """Read from the whole response what no earlier event contained.

        An item's kind and its number among those of this kind identify it: proxies change ids,
        and leave out or repeat the indexes of items.
        """
        output = decode_output(answer.output) if answer.output is not None else None
        passed: Counter[str] = Counter()
        calls = 0
        for item in output if isinstance(output, list) else ():
            if not isinstance(item, dict) or self.met_stop_sequence:
                continue
            kind = str(item.get("type"))
            passed[kind] += 1
            if passed[kind] > self._seen[kind]:
                self._close_item(self._latest + 1, item)
            elif kind == "message" and passed[kind] == self._seen[kind]:
                self._complete_message(item)
            elif kind in CALL_TYPES:
                self._tool_calls.complete_call(calls, item)
            calls += kind in CALL_TYPES
        text = answer.output_text
        if isinstance(text, str) and text and not self._emitter.has_content:
            self._output_text.add_piece((self._latest + 1, 0), text)

    def _complete_message(self, item: dict[str, Any]) -> None:
        """The rest of the open message."""
        if self._output_text.item_index is not None:
            self._close_message(self._output_text.item_index, item)

    def _finish_response(self, answer: ResponseObject, status: str) -> None:
        if status not in _ENDS:
            return
        self._report_usage(answer)
        if status in ("failed", "cancelled"):
            event = {"error": answer.error}
            self._emitter.fail(failure.fault_from_event(self._provider, self._title, event))
            return
        self._output_text.close_part()
        if self.met_stop_sequence:
            return
        stop_reason = "refusal" if self._has_refused else "end_turn"
        if status == "incomplete":
            details = answer.incomplete_details
            stop_reason = _CUT.get((details and details.reason) or "", "max_tokens")
        if self._emitter.has_tool_calls and (status == "completed" or stop_reason == "end_turn"):
            stop_reason = "tool_use"
        self._emitter.set_stop_reason(
            stop_reason, dict(_REFUSAL) if stop_reason == "refusal" else None
        )
        self._emitter.end_message()

    def _report_usage(self, answer: ResponseObject) -> None:
        extra: dict[str, Any] = {}
        searches = _count_searches(answer.tool_usage, self._server_tool_uses.get("web_search", 0))
        fetches = self._server_tool_uses.get("web_fetch", 0)
        if searches or fetches:
            counted = {"web_search_requests": searches, "web_fetch_requests": fetches}
            extra["server_tool_use"] = counted
        if answer.service_tier not in _LISTED:
            extra["service_tier"] = answer.service_tier
        self._emitter.report_usage(_usage_from_wire(answer.usage or ResponsesUsage(), extra))

    def _report_error(self, data: bytes) -> None:
        """An object that is no part of a response may report an error, in any form."""
        error = failure.fault_from_object(self._provider, self._title, data)
        if error is not None:
            self._emitter.fail(error)

    def _report_failure(self, data: bytes) -> None:
        try:
            event = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._emitter.fail_unusable(
                "a part of it is not the JSON that was expected", "malformed"
            )
        else:
            self._emitter.fail(failure.fault_from_event(self._provider, self._title, event))


def _count_searches(tool_usage: Any, seen: int) -> int:
    """The searches to pay for: as the server counts them, else those in the output."""
    searches = tool_usage.get("web_search") if isinstance(tool_usage, dict) else None
    reported = parse_counter(searches.get("num_requests")) if isinstance(searches, dict) else None
    return seen if reported is None else reported


def _usage_from_wire(wire: ResponsesUsage, extra: dict[str, Any]) -> Usage:
    """Disjoint counters: the client's `input_tokens` excludes what the cache served."""
    details = wire.input_tokens_details
    cached = parse_counter(details.cached_tokens) if details is not None else None
    written = parse_counter(details.cache_write_tokens) if details is not None else None
    fresh = parse_counter(wire.input_tokens)
    if fresh is not None:
        fresh = max(fresh - (cached or 0) - (written or 0), 0)
    output_details = wire.output_tokens_details
    return Usage(
        input_tokens=fresh,
        output_tokens=parse_counter(wire.output_tokens),
        cache_read_input_tokens=cached,
        cache_creation_input_tokens=written,
        thinking_tokens=parse_counter(output_details.reasoning_tokens)
        if output_details is not None
        else None,
        extra=extra,
    )

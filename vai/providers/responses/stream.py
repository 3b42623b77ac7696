"""Responses answers -> canonical events.

One reader for events and for whole answers: a whole answer is its items, each complete at
once. What an item says is taken from its deltas, and from the item itself where a server
sends no deltas. Items are distinguished by their place in the output, never by their ids:
proxies change those on the way.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from vai.errors import UpstreamBroken
from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.emitter import Emitter
from vai.providers.decode.lenient import Lenient, is_error
from vai.providers.decode.text_filter import TextFilter
from vai.providers.responses import kept
from vai.providers.responses.events import (
    End,
    ResponsesUsage,
    StreamEvent,
    decode_event,
    decode_output,
    decode_whole,
)
from vai.providers.responses.said import OutputText
from vai.providers.responses.thoughts import ReasoningItems
from vai.providers.responses.toolcalls import CALLS, ToolCalls
from vai.providers.responses.traces import traces
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
"""Tiers at the list price; another is told, as it makes the answer cost something else."""
_TEXTS: Final = ("output_text", "text")
"""OpenAI's type of a part that is text, and that of servers which imitate Responses."""
_ENDS: Final = ("completed", "incomplete", "failed", "cancelled")


class ResponsesStreamDecoder:
    """Reads one answer into an emitter.

    Args:
        names: alias -> the caller's name of a tool or an MCP server, where they differ.
        text: what stands between the upstream's text and the caller's, if anything.
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
        self._emitter = emitter
        self._provider = provider
        self._title = title
        self._names = names
        self._said = OutputText(emitter, text)
        self._thoughts = ReasoningItems(emitter, provider)
        self._calls = ToolCalls(emitter)
        self._refused = False
        self._runs: dict[str, int] = {}
        self._comment = False
        self._latest = -1
        self._lenient = Lenient()
        self._seen: Counter[str] = Counter()
        """Kind of item -> how many of them have begun."""
        self._handlers = {
            "response.created": self._created,
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.content_part.done": self._part_done,
            "response.output_text.delta": self._text_delta,
            "response.output_text.done": self._text_done,
            "response.output_text.annotation.added": self._annotation,
            "response.refusal.delta": self._refusal_delta,
            "response.refusal.done": self._refusal_done,
            "response.reasoning_summary_text.delta": self._summary_delta,
            "response.reasoning_text.delta": self._reasoning_delta,
            "response.function_call_arguments.delta": self._arguments_delta,
            "response.function_call_arguments.done": self._arguments_done,
            "response.completed": self._ended,
            "response.incomplete": self._ended,
            "response.failed": self._ended,
            "response.cancelled": self._ended,
        }

    @property
    def met_stop_sequence(self) -> bool:
        """Whether the caller's stop sequence ended the answer, and not the upstream."""
        return self._said.stopped

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
            self._event(event, data)

    def _read_leniently(self, data: bytes) -> None:
        events = self._lenient.read(data, StreamEvent)
        if events is None and data.strip():
            self._fail_unusable("a part of it is not the JSON that was expected", "malformed")
        for event in events or ():
            self._event(event, data)

    def _event(self, event: StreamEvent, data: bytes) -> None:
        handler = self._handlers.get(event.type)
        if handler is not None:
            handler(event)
        elif event.type == "error" or is_error(event.error):
            self._failed(data)
        elif not event.type.startswith("response."):
            self._report(data)

    def read_body(self, data: bytes) -> None:
        """A whole answer, read to its end."""
        try:
            answer = decode_whole(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = self._lenient.read(data, End)
            if not found:
                self._fail_unusable("it is not the JSON that was expected", "malformed")
                return
            answer = found[0]
        if answer.output is not None or isinstance(answer.output_text, str):
            self._begin(answer)
            self._supply(answer)
            self._end(answer, answer.status or "completed")
        else:
            self._report(data)
        self.end_stream()

    def read_done_marker(self) -> None:
        """The server says that nothing follows, also where it did not say how it ended."""
        self._said.close()
        if (
            self._emitter.has_content
            and not self._emitter.has_stop_reason
            and not self.met_stop_sequence
        ):
            self._end(End(), "completed")
        self.end_stream()

    def end_stream(self) -> None:
        """The answer is over."""
        self._emitter.end_message()

    def _created(self, event: StreamEvent) -> None:
        if event.response is not None:
            self._begin(event.response)

    def _begin(self, answer: End) -> None:
        known = {"oai_resp": {"response_id": answer.id}} if answer.id else None
        self._emitter.start_message(answer.model, known)

    def _item_added(self, event: StreamEvent) -> None:
        if isinstance(event.item, dict):
            self._added(event.output_index, event.item)

    def _added(self, index: int, item: dict[str, Any]) -> None:
        kind = str(item.get("type"))
        self._said.close()
        self._note(index, kind)
        if kind in CALLS:
            self._calls.added(index, item)
        elif kind == "reasoning":
            self._thoughts.start()
        elif kind == "message" and self._comment:
            self._emitter.add_redacted_thinking(kept.phase_mark(self._provider, "commentary"))
        self._comment = kind == "message" and item.get("phase") == "commentary"

    def _note(self, index: int, kind: str) -> None:
        """An item has begun."""
        self._latest = max(self._latest, index)
        self._seen[kind] += 1

    def _item_done(self, event: StreamEvent) -> None:
        self._done(event.output_index, event.item)

    def _done(self, index: int, item: Any) -> None:
        if not isinstance(item, dict):
            return
        if index > self._latest and not self._said.writes(index):
            self._added(index, item)
        kind = str(item.get("type"))
        if kind == "message":
            self._message(index, item)
        elif kind == "reasoning":
            self._said.close()
            self._thoughts.done(item)
        elif kind in CALLS:
            self._said.close()
            self._calls.done(index, item)
        else:
            self._trace(item)

    def _message(self, index: int, item: dict[str, Any]) -> None:
        content = item.get("content")
        if isinstance(content, str):
            content = [{"type": "output_text", "text": content}]
        for place, part in enumerate(content if isinstance(content, list) else ()):
            self._part((index, place), part)
        self._said.close()

    def _part_done(self, event: StreamEvent) -> None:
        self._part((event.output_index, event.content_index), event.part)

    def _part(self, place: tuple[int, int], part: Any) -> None:
        """A part of a message, complete."""
        if not isinstance(part, dict):
            return
        if isinstance(part.get("refusal"), str):
            self._refused = True
            self._said.whole(place, part["refusal"], [])
        elif part.get("type") in _TEXTS and isinstance(part.get("text"), str):
            sources = part.get("annotations")
            self._said.whole(place, part["text"], sources if isinstance(sources, list) else [])

    def _trace(self, item: dict[str, Any]) -> None:
        """What a tool of the server's own did."""
        self._said.close()
        envelope = kept.sealed(self._provider, item)
        for block in traces(item, self._names, envelope):
            self._emitter.add_block(block)
            if isinstance(block, ServerToolUseBlock):
                self._runs[block.name] = self._runs.get(block.name, 0) + 1

    def _text_delta(self, event: StreamEvent) -> None:
        if type(event.delta) is str and event.delta:
            if event.output_index > self._latest:
                self._note(event.output_index, "message")
            self._said.piece((event.output_index, event.content_index), event.delta)

    def _text_done(self, event: StreamEvent) -> None:
        if isinstance(event.text, str):
            self._said.whole((event.output_index, event.content_index), event.text)

    def _annotation(self, event: StreamEvent) -> None:
        self._said.source((event.output_index, event.content_index), event.annotation)

    def _refusal_delta(self, event: StreamEvent) -> None:
        self._refused = True
        self._text_delta(event)

    def _refusal_done(self, event: StreamEvent) -> None:
        if isinstance(event.refusal, str):
            self._refused = True
            self._said.whole((event.output_index, event.content_index), event.refusal)

    def _summary_delta(self, event: StreamEvent) -> None:
        self._thought(event, "summary", event.summary_index)

    def _reasoning_delta(self, event: StreamEvent) -> None:
        self._thought(event, "content", event.content_index)

    def _thought(self, event: StreamEvent, kind: str, paragraph: int) -> None:
        if isinstance(event.delta, str):
            self._said.close()
            if event.output_index > self._latest:
                self._note(event.output_index, "reasoning")
            self._thoughts.piece((kind, paragraph), event.delta)

    def _arguments_delta(self, event: StreamEvent) -> None:
        if isinstance(event.delta, str):
            self._said.close()
            if event.output_index > self._latest:
                self._note(event.output_index, "function_call")
            self._calls.piece(event.output_index, event.delta)

    def _arguments_done(self, event: StreamEvent) -> None:
        self._calls.arguments(event.output_index, event.arguments)

    def _ended(self, event: StreamEvent) -> None:
        answer = event.response or End()
        # Some servers say how it ended in the event's name, some in the answer's status.
        named = event.type.removeprefix("response.")
        status = answer.status if answer.status in _ENDS else named
        if status not in ("failed", "cancelled"):
            self._begin(answer)
            self._supply(answer)
        self._end(answer, status)

    def _supply(self, answer: End) -> None:
        """Read from the whole answer what no event before it has said.

        An item's kind and its number among those of this kind identify it: proxies change
        ids, and leave out or repeat the places of items.
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
                self._done(self._latest + 1, item)
            elif kind == "message" and passed[kind] == self._seen[kind]:
                self._complete_message(item)
            elif kind in CALLS:
                self._calls.complete(calls, item)
            calls += kind in CALLS
        text = answer.output_text
        if isinstance(text, str) and text and not self._emitter.has_content:
            self._said.piece((self._latest + 1, 0), text)

    def _complete_message(self, item: dict[str, Any]) -> None:
        """The rest of the message that is being written."""
        if self._said.index is not None:
            self._message(self._said.index, item)

    def _end(self, answer: End, status: str) -> None:
        if status not in _ENDS:
            return
        self._count(answer)
        if status in ("failed", "cancelled"):
            whole = {"error": answer.error}
            self._emitter.fail(failure.from_event(self._provider, self._title, whole))
            return
        self._said.close()
        if self.met_stop_sequence:
            return
        meant = "refusal" if self._refused else "end_turn"
        if status == "incomplete":
            details = answer.incomplete_details
            meant = _CUT.get((details and details.reason) or "", "max_tokens")
        if self._emitter.has_tool_calls and (status == "completed" or meant == "end_turn"):
            meant = "tool_use"
        self._emitter.set_stop_reason(meant, dict(_REFUSAL) if meant == "refusal" else None)
        self._emitter.end_message()

    def _count(self, answer: End) -> None:
        extra: dict[str, Any] = {}
        searches = _searches(answer.tool_usage, self._runs.get("web_search", 0))
        fetches = self._runs.get("web_fetch", 0)
        if searches or fetches:
            counted = {"web_search_requests": searches, "web_fetch_requests": fetches}
            extra["server_tool_use"] = counted
        if answer.service_tier not in _LISTED:
            extra["service_tier"] = answer.service_tier
        self._emitter.report_usage(_usage(answer.usage or ResponsesUsage(), extra))

    def _report(self, data: bytes) -> None:
        """An object that is no part of an answer may report an error, in whatever form."""
        told = failure.from_object(self._provider, self._title, data)
        if told is not None:
            self._emitter.fail(told)

    def _failed(self, data: bytes) -> None:
        try:
            whole = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._fail_unusable("a part of it is not the JSON that was expected", "malformed")
        else:
            self._emitter.fail(failure.from_event(self._provider, self._title, whole))

    def _fail_unusable(self, what: str, code: str) -> None:
        self._emitter.fail(
            UpstreamBroken.from_code(f"upstream_{code}", what, provider=self._provider)
        )


def _searches(tool_usage: Any, seen: int) -> int:
    """Searches that are paid for: as the server counts them, else those that were seen."""
    searches = tool_usage.get("web_search") if isinstance(tool_usage, dict) else None
    told = parse_counter(searches.get("num_requests")) if isinstance(searches, dict) else None
    return seen if told is None else told


def _usage(wire: ResponsesUsage, extra: dict[str, Any]) -> Usage:
    """Disjoint counters: the caller's `input_tokens` excludes what the cache served."""
    details = wire.input_tokens_details
    cached = parse_counter(details.cached_tokens) if details is not None else None
    written = parse_counter(details.cache_write_tokens) if details is not None else None
    fresh = parse_counter(wire.input_tokens)
    if fresh is not None:
        fresh = max(fresh - (cached or 0) - (written or 0), 0)
    spent = wire.output_tokens_details
    return Usage(
        input_tokens=fresh,
        output_tokens=parse_counter(wire.output_tokens),
        cache_read_input_tokens=cached,
        cache_creation_input_tokens=written,
        thinking_tokens=parse_counter(spent.reasoning_tokens) if spent is not None else None,
        extra=extra,
    )

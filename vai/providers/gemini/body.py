"""The body of a response: its JSON texts, the objects in them, and its usage.

A body is an event stream, plain JSON, or the one and then the other: an event stream can break off
into an error object in plain JSON lines, without `data:`, and a server can respond to a streaming
request with one JSON object or array. All of them are the same here: JSON texts, in the order of
their arrival.

Chunks and complete responses are the same object. The decoder skips members without a name here;
the type of a member that only some code reads is `Any`.

Google's `promptTokenCount` includes what the cache served, `candidatesTokenCount` excludes
thinking, and each is the running total of one HTTP request.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from vai.codec.sse import MAX_FRAME, SseDecoder
from vai.errors import UpstreamBroken
from vai.providers.decode.stream_body import no_response_fault
from vai.types.message import Usage, parse_counter

__all__ = [
    "MAX_PLAIN",
    "Blob",
    "BodyParser",
    "Candidate",
    "FunctionCall",
    "GeminiChunk",
    "GeminiUsage",
    "Part",
    "UsageTotals",
    "decode_chunks",
]

MAX_PLAIN: Final = MAX_FRAME
"""Bytes of plain JSON."""

# No field of an event stream begins with a brace or a bracket.
_AT_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t]*(?=[{\[])")
_INSIDE: Final = re.compile(rb"[\r\n][ \t]*(?=[{\[])")
_NOTHING: Final = b" \t\xef\xbb\xbf"
_BLANKS: Final = _NOTHING + b"\r\n"
_LF: Final = 0x0A
_CR: Final = 0x0D
"""Line ends as numbers: to look for a number in bytes costs a ninth of looking for bytes."""


class BodyParser:
    """Decodes one body, however it is cut into chunks."""

    __slots__ = ("_at_start", "_broken", "_has_begun", "_plain", "_sse")

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._at_start = True
        self._has_begun = False
        self._plain: bytearray | None = None
        self._broken: UpstreamBroken | None = None

    @property
    def fault(self) -> UpstreamBroken | None:
        """Set when the body is a page, or a part of it grows beyond the limit."""
        return self._sse.fault or self._broken

    def feed_bytes(self, data: bytes) -> list[tuple[str, bytes]]:
        """The JSON texts that `data` completes. Plain JSON is complete at the end only."""
        if not self._has_begun and (head := data.lstrip(_BLANKS)):
            self._has_begun = True
            if head[:1] == b"<":
                self._broken = no_response_fault()
        if self._plain is None:
            begins = self._find_plain(data)
            if begins is None:
                self._note_line(data)
                return self._sse.feed(data)
            self._plain = bytearray()
            # The blank line that the plain text replaced ends the event before it.
            events = self._sse.feed(data[: begins.end()]) + self._sse.feed(b"\n\n")
            self._hold_plain(data[begins.end() :])
            return events
        self._hold_plain(data)
        return []

    def end_body(self) -> tuple[list[tuple[str, bytes]], None]:
        """The last JSON texts; plain JSON is one too."""
        if self._plain is not None:
            return [("message", bytes(self._plain))], None
        return self._sse.flush(), None

    def _find_plain(self, data: bytes) -> re.Match[bytes] | None:
        """The beginning of plain JSON, which is at the beginning of a line."""
        begins = _AT_START.match(data) if self._at_start else None
        line = data.rstrip(b"\r\n")
        # Nearly all reads are one line: only line ends follow it. The search is slow.
        if begins is not None or not (_LF in line or _CR in line):
            return begins
        return _INSIDE.search(data)

    def _note_line(self, data: bytes) -> None:
        """Note whether the line that `data` ends in has any content yet."""
        if data[-1:] == b"\n":
            self._at_start = True  # nearly every read
            return
        line_end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        if line_end >= 0 or self._at_start:
            self._at_start = not data[line_end + 1 :].strip(_NOTHING)

    def _hold_plain(self, data: bytes) -> None:
        if self._plain is None or self._broken is not None:
            return
        self._plain += data
        if len(self._plain) > MAX_PLAIN:
            self._plain.clear()
            self._broken = UpstreamBroken(
                f"The provider sent a response of more than {MAX_PLAIN} bytes"
            )


class Wire(msgspec.Struct, rename="camel", gc=False):
    """An object with names in camelCase."""


class FunctionCall(Wire, gc=False):
    """A call; it always arrives complete."""

    id: Any = None
    name: str | None = None
    args: Any = None


class Blob(Wire, gc=False):
    """A medium, in base64."""

    mime_type: str = ""
    data: str = ""


class Part(Wire, gc=False):
    """A piece of the response. `thought` marks reasoning; any part may be signed."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: Blob | None = None
    executable_code: dict[str, Any] | None = None
    code_execution_result: dict[str, Any] | None = None
    tool_call: dict[str, Any] | None = None
    tool_response: dict[str, Any] | None = None


class Content(Wire, gc=False):
    """The parts of one candidate."""

    parts: list[Part] | None = None


class Candidate(Wire, gc=False):
    """One of the responses; VAI requests one and reads number 0."""

    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    continuation_token: str | None = None
    citation_metadata: dict[str, Any] | None = None
    grounding_metadata: dict[str, Any] | None = None
    url_context_metadata: dict[str, Any] | None = None


class PromptFeedback(Wire, gc=False):
    """Why there are no candidates."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class GeminiUsage(Wire, gc=False):
    """Running totals of one HTTP request. The server leaves out counters of zero."""

    prompt_token_count: Any = None
    cached_content_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    total_token_count: Any = None


class GeminiChunk(Wire, gc=False):
    """One object of the stream, or the complete response.

    `response` is Code Assist's wrapper, which holds only the object itself.
    """

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: GeminiUsage | None = None
    model_version: str | None = None
    response: GeminiChunk | None = None
    error: Any = None


# Not strict: proto JSON writes 64-bit numbers as strings.
_decode_chunk = msgspec.json.Decoder(GeminiChunk, strict=False).decode
_decode_chunks = msgspec.json.Decoder(list[GeminiChunk], strict=False).decode


def decode_chunks(text: bytes) -> list[GeminiChunk]:
    """The chunks in a JSON text: an object, or an array of them.

    Raises:
        msgspec.DecodeError: it is neither (also as its subclass ValidationError).
        UnicodeDecodeError: a string is no UTF-8.
    """
    if text[:1] != b"{" and text.lstrip()[:1] == b"[":
        return _decode_chunks(text)
    return [_decode_chunk(text)]


class UsageTotals:
    """Adds up the bodies of one response."""

    def __init__(self) -> None:
        self._before = Usage()
        self._now = Usage()
        # Every chunk repeats the counters, and VAI reads few of them: conversion can wait.
        self._newest: GeminiUsage | None = None

    @property
    def output_tokens(self) -> int:
        """Tokens generated so far, as far as they are known."""
        return self.total.output_tokens or 0

    @property
    def total(self) -> Usage:
        """The usage so far."""
        if self._newest is not None:
            newest = _usage_from_wire(self._newest)
            input_tokens = (
                newest.input_tokens if newest.input_tokens is not None else self._now.input_tokens
            )
            # Running totals do not fall, even if a late chunk has lower ones; but the total of the
            # input does when the cache's share of it becomes known.
            totals = _join_usage(self._now, newest, max)
            self._now = msgspec.structs.replace(totals, input_tokens=input_tokens)
            self._newest = None
        return _join_usage(self._before, self._now, operator.add)

    def read_usage(self, wire: GeminiUsage) -> None:
        """The body's newest usage."""
        self._newest = wire

    def close_body(self) -> None:
        """The body has ended; a further one counts from zero."""
        self._before, self._now = self.total, Usage()


def _usage_from_wire(wire: GeminiUsage) -> Usage:
    """Disjoint counters of one body."""
    cached = parse_counter(wire.cached_content_token_count)
    fresh = _join_counts(
        parse_counter(wire.prompt_token_count),
        parse_counter(wire.tool_use_prompt_token_count),
        operator.add,
    )
    thought, spoken = (
        parse_counter(wire.thoughts_token_count),
        parse_counter(wire.candidates_token_count),
    )
    total = parse_counter(wire.total_token_count)
    if spoken is None and total is not None and fresh is not None:
        # The server leaves out zeros, and sometimes other counters too.
        spoken = max(total - fresh - (thought or 0), 0)
    return Usage(
        input_tokens=None if fresh is None else max(fresh - (cached or 0), 0),
        output_tokens=_join_counts(spoken, thought, operator.add),
        cache_read_input_tokens=cached,
        thinking_tokens=thought,
    )


def _join_usage(one: Usage, other: Usage, join: Callable[[int, int], int]) -> Usage:
    """The counters of both; a counter that only one of them has stays unchanged."""
    return Usage(
        input_tokens=_join_counts(one.input_tokens, other.input_tokens, join),
        output_tokens=_join_counts(one.output_tokens, other.output_tokens, join),
        cache_read_input_tokens=_join_counts(
            one.cache_read_input_tokens, other.cache_read_input_tokens, join
        ),
        thinking_tokens=_join_counts(one.thinking_tokens, other.thinking_tokens, join),
    )


def _join_counts(one: int | None, other: int | None, join: Callable[[int, int], int]) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return join(one, other)

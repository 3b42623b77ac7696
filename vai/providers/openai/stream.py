"""Chat Completions responses -> canonical events.

One decoder for chunks and for whole responses, so that both result in the same message. Chunks
may hold text, calls and the end at once, and usage may follow the end; the decoder does not
depend on one of them coming alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import msgspec

from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.emitter import Emitter
from vai.providers.decode.lenient import LenientDecoder, is_error
from vai.providers.decode.stream_decoder import StreamDecoder
from vai.providers.decode.text_filter import QuotableText, RepeatedText, TextFilter
from vai.providers.openai.chunk import (
    FAILED,
    CallDelta,
    ChatChoice,
    ChatChunk,
    ChatUsage,
    Delta,
    decode_chunk,
    image_from_part,
    iterate_spans,
    plain_text,
    stop_reason_from_finish,
)
from vai.providers.openai.reasoning import (
    BOTH,
    CONTENT,
    DETAILS,
    PARTS,
    REASONING,
    ReasoningDetails,
    text_of_details,
)
from vai.providers.openai.tool_calls import (
    ChatCalls,
    GroqServerTools,
    citation_from_annotation,
    has_call_content,
)
from vai.types.message import Usage, parse_counter

__all__ = ["SOUNDS", "ChatStreamDecoder"]

_REFUSAL: Final[dict[str, Any]] = {"type": "refusal", "category": None, "explanation": None}
SOUNDS: Final = {"mp3": "audio/mpeg", "pcm16": "audio/pcm;rate=24000"}
"""OpenAI's names of sound formats -> media types, where they differ."""


class ChatStreamDecoder(StreamDecoder):
    """Reads one response into an emitter.

    Args:
        text: the filter between the upstream's text and the client's, if any.
        signatures: the signatures of reasoning by the form it comes in; none where it cannot be
            replayed.
        sound: the format of a spoken response that is not streamed; a streamed one is PCM.
    """

    def __init__(
        self,
        emitter: Emitter,
        provider: str,
        title: str,
        *,
        text: TextFilter | None = None,
        signatures: Mapping[str, str] = MappingProxyType({}),
        sound: str = "wav",
    ) -> None:
        super().__init__(provider, title, text)
        self.sink = self._emitter = emitter
        self._lenient: LenientDecoder | None = None
        self._signatures = signatures
        self._sound = sound
        self._text_seen = RepeatedText()
        self._reasoning_seen = RepeatedText()
        self._form = REASONING
        self._details = ReasoningDetails()
        self._is_reasoning = False
        self._runs_server_tool = False
        self._has_refused = False
        self._in_pieces = False
        """Whether any `delta` has arrived."""
        self._extras: set[str] = set()
        """The members beside text and calls that have arrived."""
        self._images_seen: set[int] = set()
        self._number: int | None = None
        self._has_final_usage = False
        self._reason: str | None = None

    # Most responses have neither calls nor server tools.

    @cached_property
    def _calls(self) -> ChatCalls:
        return ChatCalls(self._emitter)

    @cached_property
    def _server_tools(self) -> GroqServerTools:
        return GroqServerTools(self._emitter)

    def read_event(self, data: bytes) -> None:
        """The data of one server-sent event."""
        if self._lenient is not None and self._lenient.waits:
            self._read_leniently(data)
            return
        try:
            chunk = decode_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._read_leniently(data)
        else:
            self.read_chunk(chunk, data)

    def _read_leniently(self, data: bytes) -> None:
        self._lenient = self._lenient or LenientDecoder()
        chunks = self._lenient.read_objects(data, ChatChunk)
        if chunks is None and data.strip():
            self._emitter.fail_unusable(
                "a part of it is not the JSON that was expected", "malformed"
            )
        for chunk in chunks or ():
            self.read_chunk(chunk, data)

    def read_chunk(self, chunk: ChatChunk, data: bytes) -> None:
        """One chunk, or a whole response; `data` is its JSON."""
        if chunk.usage is not None:
            self._emitter.report_usage(_usage_from_wire(chunk.usage, chunk.service_tier))
            self._has_final_usage = not chunk.choices
        groq = chunk.x_groq
        if groq is not None and groq.usage is not None:
            self._emitter.report_usage(_usage_from_wire(groq.usage))
        error = chunk.error or (groq.error if groq is not None else None)
        choices = chunk.choices
        if choices:
            choice = choices[0] if len(choices) == 1 else self._pick_choice(choices)
            number = choice.index or 0
            if self._number is None:
                self._number = number
            if number == self._number:
                self._emitter.start_message(chunk.model)
                self._read_choice(choice)
            error = error or choice.error
        if error or choices is None:
            self._report_failure(chunk, error, data)

    def read_body(self, data: bytes) -> None:
        """A whole response, read to its end."""
        self.read_event(data)
        if self._emitter.has_started and self._reason is None:
            # A closed object lacks nothing: it only does not state its reason.
            self._reason = "stop"
        self.end_stream()

    def read_done_marker(self) -> None:
        """The server marks the end of the stream, possibly without a reason before."""
        if self._reason is None and self._emitter.has_content:
            self._reason = "stop"
        self.end_stream()

    def end_stream(self) -> None:
        """The response has ended."""
        if self._reason is None and self._has_final_usage and self._emitter.has_content:
            self._reason = "stop"  # usage without a choice comes behind the last of it
        if self._reason is not None and not self._emitter.has_stop_reason:
            self._flush_filter()
            self._sign_reasoning()
            if self._runs_server_tool:
                self._server_tools.emit_pending()
            self._finish_message(self._reason)
        self._emitter.end_message()

    def _pick_choice(self, choices: list[ChatChoice]) -> ChatChoice:
        """The choice that is read: the first one of the response."""
        for choice in choices:
            if (choice.index or 0) == (self._number or 0):
                return choice
        return choices[0]

    def _read_choice(self, choice: ChatChoice) -> None:
        delta, message = choice.delta, choice.message
        if message is not None:
            self._read_message(message, delta, ends=bool(choice.finish_reason))
        elif delta is not None:
            content = delta.content
            if (
                self._is_reasoning
                or self._runs_server_tool
                or delta.reasoning
                or delta.reasoning_content
                or delta.reasoning_details
                or delta.executed_tools
            ):
                self._in_pieces = True
                self._read_before_text(delta)
            elif content:
                self._in_pieces = True
                if type(content) is str:
                    self._add_text(content)
                else:
                    self._read_before_text(delta)
            self._read_beside_text(delta, is_complete=False)
        elif type(choice.text) is str and choice.text:
            self._add_text(choice.text)
        if choice.finish_reason:
            self._reason = choice.finish_reason

    def _read_message(self, message: Delta, delta: Delta | None, *, ends: bool) -> None:
        """A `message`, which is the whole response, or a piece of it at servers without deltas.

        A server that sends both sends one text in two members.
        """
        if delta is not None and _has_members(delta):
            self._in_pieces = True
            if not self._emitter.has_content:
                self._read_part(_merge_deltas(message, delta))
                return
            self._read_part(delta)
        if not self._emitter.has_content:
            self._read_part(message)
        elif self._in_pieces or (ends and self._repeats_text(message)):
            self._complete_message(message)
        else:
            self._read_part(message)

    def _repeats_text(self, message: Delta) -> bool:
        """Whether `message` begins with all the text so far, where messages sent that text."""
        text = "".join(value for kind, value in iterate_spans(message.content) if kind == "text")
        return self._text_seen.length > 0 and self._text_seen.is_continued_by(text)

    def _read_part(self, message: Delta) -> None:
        self._read_before_text(message)
        self._read_beside_text(message, is_complete=True)

    def _complete_message(self, message: Delta) -> None:
        """The whole response, behind pieces of it: read what they left out."""
        values: dict[str, list[Any]] = {}
        for kind, value in iterate_spans(message.content):
            values.setdefault(kind, []).append(value)
        reasoning = _reasoning_text(message) or "".join(values.get("thinking", ()))
        rest = self._reasoning_seen.missing_text(reasoning)
        if rest:
            self._add_reasoning(
                rest, _reasoning_form(message) if _reasoning_text(message) else PARTS
            )
        rest = self._text_seen.missing_text("".join(values.get("text", ())))
        if rest:
            self._sign_reasoning()
            self._add_text(rest)
        for item in values.get("image", ()):
            self._add_image(item)
        function = message.function_call
        if function is not None and has_call_content(function) and not message.tool_calls:
            self._calls.complete_calls([CallDelta(function=function)])
        if message.executed_tools and "executed_tools" not in self._extras:
            self._read_executed_tools(message.executed_tools)
        if message.tool_calls:
            self._end_text()
            self._calls.complete_calls(
                [call for call in message.tool_calls if has_call_content(call)]
            )
        seen: dict[str, Any] = dict.fromkeys(("tool_calls", "function_call", *self._extras))
        self._read_beside_text(msgspec.structs.replace(message, **seen), is_complete=True)

    def _read_before_text(self, delta: Delta) -> None:
        """Reasoning and the server tools that ran, and the text that may follow."""
        reasoning = _reasoning_text(delta)
        if reasoning:
            self._add_reasoning(reasoning, _reasoning_form(delta))
        if delta.reasoning_details:
            self._is_reasoning, self._form = True, DETAILS
            self._details.add_entries(delta.reasoning_details)
        if delta.executed_tools:
            self._read_executed_tools(delta.executed_tools)
        for kind, value in iterate_spans(delta.content):
            if kind == "thinking":
                self._add_reasoning(value, PARTS)
            elif kind == "text":
                self._sign_reasoning()
                # A tool's blocks precede the text they were for, even if no result arrived.
                if self._runs_server_tool:
                    self._server_tools.emit_pending()
                    self._runs_server_tool = False
                self._add_text(value)
            elif kind == "image":
                self._add_image(value)
            else:
                self._add_refusal(value)

    def _read_beside_text(self, delta: Delta, *, is_complete: bool) -> None:
        """All members except the text and those that precede it."""
        if delta.refusal and delta.refusal != delta.content:
            self._add_refusal(delta.refusal)
        if delta.audio:
            self._extras.add("audio")
            self._add_audio(delta.audio, is_complete=is_complete)
        if delta.images:
            for item in delta.images:
                self._add_image(item)
        if delta.annotations:
            self._extras.add("annotations")
            self._add_citations(delta.annotations)
        if delta.tool_calls:
            calls = [call for call in delta.tool_calls if has_call_content(call)]
            if calls:
                self._in_pieces = self._in_pieces or not is_complete
                self._end_text()
                self._calls.add_pieces(calls)
        elif delta.function_call is not None and has_call_content(delta.function_call):
            self._in_pieces = self._in_pieces or not is_complete
            self._end_text()
            self._calls.add_legacy_call(delta.function_call)

    def _end_text(self) -> None:
        self._flush_filter()
        self._sign_reasoning()

    def _read_executed_tools(self, tools: list[Any]) -> None:
        self._extras.add("executed_tools")
        self._end_text()
        self._server_tools.add_pieces(tools)
        self._runs_server_tool = True

    def _add_reasoning(self, text: str, form: str) -> None:
        self._is_reasoning, self._form = True, form
        self._reasoning_seen.add_piece(text)
        self._emitter.add_thinking(text)

    def _add_refusal(self, text: str) -> None:
        self._has_refused = True
        self._extras.add("refusal")
        self._emitter.add_text(text)

    def _add_image(self, item: Any) -> None:
        """A picture, which may come in a chunk and again in the whole response."""
        block = image_from_part(item)
        if block is None:
            return
        digest = hash(block.source.data or block.source.url)
        if digest not in self._images_seen:
            self._images_seen.add(digest)
            self._end_text()
            self._emitter.add_block(block)

    def _add_text(self, text: str) -> None:
        self._text_seen.add_piece(text)
        if self._filter is None:
            self._emitter.add_text(text)
            return
        self._show_text(self._filter.filter_text(text), self._filter)

    def _flush_filter(self) -> None:
        if self._filter is not None:
            self._show_text(self._filter.flush_text(), self._filter)

    def _show_text(self, text: str, passed: TextFilter) -> None:
        if text:
            self._emitter.add_text(text)
        if passed.stop_sequence is not None:
            self._emitter.set_stop_reason("stop_sequence", sequence=passed.stop_sequence)
            self._emitter.end_message()

    def _sign_reasoning(self) -> None:
        """The reasoning before this point is complete: sign it with its provider."""
        if self._is_reasoning:
            self._is_reasoning = False
            signature = self._signatures.get(self._form, "")
            if self._form == DETAILS:
                self._form = REASONING
                details = self._details.take_payload()
                signature = signature and details and signature + details
            if signature:
                self._emitter.add_signature(signature)

    def _add_citations(self, annotations: list[Any]) -> None:
        text = self._filter.text if isinstance(self._filter, QuotableText) else ""
        for item in annotations:
            citation = citation_from_annotation(item, text)
            if citation is not None:
                self._emitter.add_citation(citation)

    def _add_audio(self, audio: Any, *, is_complete: bool) -> None:
        if not isinstance(audio, dict):
            return
        form = self._sound if is_complete else "pcm16"
        data, words = audio.get("data"), audio.get("transcript")
        self._emitter.add_audio(
            SOUNDS.get(form, f"audio/{form}"),
            data if isinstance(data, str) else "",
            words if isinstance(words, str) else "",
        )

    def _finish_message(self, reason: str) -> None:
        stop_reason = stop_reason_from_finish(reason)
        if reason == "error":
            self._emitter.fail_unusable("the provider ended it with an error", "failed")
        elif stop_reason == FAILED:
            error = {"code": reason, "message": f"The provider ended its response with: {reason}"}
            self._emitter.fail(
                failure.fault_from_event(self._provider, self._title, {"error": error})
            )
        elif self._has_refused or stop_reason == "refusal":
            self._emitter.set_stop_reason("refusal", dict(_REFUSAL))
        elif stop_reason == "end_turn" and self._emitter.has_tool_calls:
            # Only what was emitted decides: servers send "stop" after calls, and "tool_calls"
            # without any.
            self._emitter.set_stop_reason("tool_use")
        else:
            self._emitter.set_stop_reason(stop_reason)

    def _report_failure(self, chunk: ChatChunk, error: Any, data: bytes) -> None:
        if is_error(error) and isinstance(error, dict):
            event = {"error": error, "status_code": chunk.status_code}
            self._emitter.fail(failure.fault_from_event(self._provider, self._title, event))
            return
        is_bare = chunk.choices is None and chunk.usage is None and chunk.x_groq is None
        if is_bare or is_error(error):
            # No choices at all: an error in another form, or an object of another kind.
            error_seen = failure.fault_from_object(self._provider, self._title, data)
            if error_seen is None and isinstance(error, str):  # Groq puts a code beside its own id
                error_seen = failure.fault_from_event(self._provider, self._title, {"error": error})
            if error_seen is not None:
                self._emitter.fail(error_seen)
            elif is_error(error):
                self._emitter.fail_unusable(
                    "the provider reports an error without a message", "failed"
                )


def _has_members(delta: Delta) -> bool:
    return any(getattr(delta, name) for name in delta.__struct_fields__)


def _merge_deltas(message: Delta, delta: Delta) -> Delta:
    """The members of a message, and those of a delta that it lacks."""
    return Delta(
        **{
            name: getattr(message, name) or getattr(delta, name)
            for name in message.__struct_fields__
        }
    )


def _reasoning_text(delta: Delta) -> str:
    if not (delta.reasoning or delta.reasoning_content or delta.reasoning_details):
        return ""  # nearly every delta
    text = plain_text(delta.reasoning) or plain_text(delta.reasoning_content)
    return text or text_of_details(delta.reasoning_details)


def _reasoning_form(delta: Delta) -> str:
    """The form of a delta's reasoning: the names of its members."""
    if delta.reasoning_details:
        return DETAILS
    if plain_text(delta.reasoning) and plain_text(delta.reasoning_content):
        return BOTH
    return REASONING if plain_text(delta.reasoning) else CONTENT


_LISTED: Final = (None, "auto", "default", "on_demand")
"""Tiers at the list price."""


def _usage_from_wire(wire: ChatUsage, tier: str | None = None) -> Usage:
    """Disjoint counters: the client's `input_tokens` excludes what the cache served.

    A tier and audio are included where they change the price of the response.
    """
    details = wire.prompt_tokens_details
    cached = parse_counter(details.cached_tokens) if details is not None else None
    written = parse_counter(details.cache_write_tokens) if details is not None else None
    fresh = parse_counter(wire.prompt_tokens)
    if fresh is not None:
        fresh = max(fresh - (cached or 0) - (written or 0), 0)
    output_details = wire.completion_tokens_details
    extra: dict[str, Any] = {} if tier in _LISTED else {"service_tier": tier}
    input_audio = parse_counter(details.audio_tokens) if details is not None else None
    output_audio = (
        parse_counter(output_details.audio_tokens) if output_details is not None else None
    )
    if input_audio or output_audio:
        extra["audio_tokens"] = (input_audio or 0) + (output_audio or 0)
    return Usage(
        input_tokens=fresh,
        output_tokens=parse_counter(wire.completion_tokens),
        cache_read_input_tokens=cached,
        cache_creation_input_tokens=written,
        thinking_tokens=parse_counter(output_details.reasoning_tokens)
        if output_details is not None
        else None,
        extra=extra,
    )

"""Chat Completions answers -> canonical events.

One reader for chunks and for whole answers, so that both give the same message. Chunks
may hold text, calls and the end at once, and the end may be followed by usage; nothing
here depends on one of them coming alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from vai.errors import UpstreamBroken
from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.emitter import Emitter
from vai.providers.decode.lenient import Lenient, is_error
from vai.providers.decode.repeated_text import RepeatedText
from vai.providers.decode.text_filter import QuotableText, TextFilter
from vai.providers.openai.calls import ChatCalls, says_something
from vai.providers.openai.chunk import CallDelta, ChatChoice, ChatChunk, ChatUsage, Delta, decode
from vai.providers.openai.content import image, plain, spans
from vai.providers.openai.details import ReasoningDetails, text_of
from vai.providers.openai.endings import FAILED, meaning
from vai.providers.openai.reasoning import BOTH, CONTENT, DETAILS, PARTS, REASONING
from vai.providers.openai.runs import GroqToolRuns, citation
from vai.types.message import Usage, parse_counter

__all__ = ["SOUNDS", "ChatStreamDecoder"]

_REFUSAL: Final[dict[str, Any]] = {"type": "refusal", "category": None, "explanation": None}
SOUNDS: Final = {"mp3": "audio/mpeg", "pcm16": "audio/pcm;rate=24000"}
"""OpenAI's names of sound formats -> media types, where they differ."""


class ChatStreamDecoder:
    """Reads one answer into an emitter.

    Args:
        text: what stands between the upstream's text and the caller's, if anything.
        marks: the envelopes of reasoning by the form it comes in; none where it cannot be
            replayed.
        sound: the format of a spoken answer that comes whole; a streamed one is PCM.
    """

    def __init__(
        self,
        emitter: Emitter,
        provider: str,
        title: str,
        *,
        text: TextFilter | None = None,
        marks: Mapping[str, str] = MappingProxyType({}),
        sound: str = "wav",
    ) -> None:
        self._emitter = emitter
        self._provider = provider
        self._title = title
        self._lenient = Lenient()
        self._calls = ChatCalls(emitter)
        self._filter = text
        self._marks = marks
        self._sound = sound
        self._runs = GroqToolRuns(emitter)
        self._said = RepeatedText()
        self._thought = RepeatedText()
        self._form = REASONING
        self._details = ReasoningDetails()
        self._thinking = False
        self._running = False
        self._refused = False
        self._in_pieces = False
        """Whether anything has come as a `delta`."""
        self._extras: set[str] = set()
        """The members beside text and calls that have come."""
        self._drawn: set[int] = set()
        self._number: int | None = None
        self._counted = False
        self._reason: str | None = None

    @property
    def met_stop_sequence(self) -> bool:
        """Whether the caller's stop sequence ended the answer, and not the upstream."""
        return self._filter is not None and self._filter.stop_sequence is not None

    def read_event(self, data: bytes) -> None:
        """The data of one server-sent event."""
        if self._lenient.waits:
            self._read_leniently(data)
            return
        try:
            chunk = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._read_leniently(data)
        else:
            self.read_chunk(chunk, data)

    def _read_leniently(self, data: bytes) -> None:
        chunks = self._lenient.read(data, ChatChunk)
        if chunks is None and data.strip():
            self._fail_unusable("a part of it is not the JSON that was expected", "malformed")
        for chunk in chunks or ():
            self.read_chunk(chunk, data)

    def read_chunk(self, chunk: ChatChunk, data: bytes) -> None:
        """One chunk, or a whole answer; `data` is its JSON."""
        if chunk.usage is not None:
            self._emitter.report_usage(_usage(chunk.usage, chunk.service_tier))
            self._counted = not chunk.choices
        groq = chunk.x_groq
        if groq is not None and groq.usage is not None:
            self._emitter.report_usage(_usage(groq.usage))
        error = chunk.error or (groq.error if groq is not None else None)
        if chunk.choices:
            choice = chunk.choices[0] if len(chunk.choices) == 1 else self._chosen(chunk.choices)
            number = choice.index or 0
            if self._number is None:
                self._number = number
            if number == self._number:
                self._emitter.start_message(chunk.model)
                self._choice(choice)
            error = error or choice.error
        if error or chunk.choices is None:
            self._failed(chunk, error, data)

    def read_body(self, data: bytes) -> None:
        """A whole answer, read to its end."""
        self.read_event(data)
        if self._emitter.has_started and self._reason is None:
            # Nothing is missing from an object that is closed: it just does not say.
            self._reason = "stop"
        self.end_stream()

    def read_done_marker(self) -> None:
        """The server says that nothing follows, also where it did not say why."""
        if self._reason is None and self._emitter.has_content:
            self._reason = "stop"
        self.end_stream()

    def end_stream(self) -> None:
        """The answer is over."""
        if self._reason is None and self._counted and self._emitter.has_content:
            self._reason = "stop"  # usage without a choice comes behind the last of it
        if self._reason is not None and not self._emitter.has_stop_reason:
            self._flush()
            self._sign()
            self._runs.flush()
            self._finish(self._reason)
        self._emitter.end_message()

    def _chosen(self, choices: list[ChatChoice]) -> ChatChoice:
        """The choice that is read: the first one of the answer."""
        for choice in choices:
            if (choice.index or 0) == (self._number or 0):
                return choice
        return choices[0]

    def _choice(self, choice: ChatChoice) -> None:
        delta, message = choice.delta, choice.message
        if message is not None:
            self._message(message, delta, ends=bool(choice.finish_reason))
        elif delta is not None:
            content = delta.content
            if (
                self._thinking
                or self._running
                or delta.reasoning
                or delta.reasoning_content
                or delta.reasoning_details
                or delta.executed_tools
            ):
                self._in_pieces = True
                self._before_text(delta)
            elif content:
                self._in_pieces = True
                if type(content) is str:
                    self._text(content)
                else:
                    self._before_text(delta)
            self._beside_text(delta, whole=False)
        elif type(choice.text) is str and choice.text:
            self._text(choice.text)
        if choice.finish_reason:
            self._reason = choice.finish_reason

    def _message(self, message: Delta, delta: Delta | None, *, ends: bool) -> None:
        """A `message`, which is the whole answer, or a piece of it at servers without deltas.

        A server that sends both says one thing in two places.
        """
        if delta is not None and _says_something(delta):
            self._in_pieces = True
            if not self._emitter.has_content:
                self._part(_merged(message, delta))
                return
            self._part(delta)
        if not self._emitter.has_content:
            self._part(message)
        elif self._in_pieces or (ends and self._is_whole(message)):
            self._complete(message)
        else:
            self._part(message)

    def _is_whole(self, message: Delta) -> bool:
        """Whether `message` begins with all that was said, where it was said in messages."""
        text = "".join(said for kind, said in spans(message.content) if kind == "text")
        return self._said.length > 0 and self._said.is_continued_by(text)

    def _part(self, message: Delta) -> None:
        self._before_text(message)
        self._beside_text(message, whole=True)

    def _complete(self, message: Delta) -> None:
        """The whole answer, behind pieces of it: what they left out follows."""
        said: dict[str, list[Any]] = {}
        for kind, value in spans(message.content):
            said.setdefault(kind, []).append(value)
        reasoning = _reasoning(message) or "".join(said.get("thinking", ()))
        rest = self._thought.missing_text(reasoning)
        if rest:
            self._think(rest, _form(message) if _reasoning(message) else PARTS)
        rest = self._said.missing_text("".join(said.get("text", ())))
        if rest:
            self._sign()
            self._text(rest)
        for item in said.get("image", ()):
            self._image(item)
        function = message.function_call
        if function is not None and says_something(function) and not message.tool_calls:
            self._calls.whole([CallDelta(function=function)])
        if message.executed_tools and "executed_tools" not in self._extras:
            self._executed(message.executed_tools)
        if message.tool_calls:
            self._before_calls()
            self._calls.whole([call for call in message.tool_calls if says_something(call)])
        told: dict[str, Any] = dict.fromkeys(("tool_calls", "function_call", *self._extras))
        self._beside_text(msgspec.structs.replace(message, **told), whole=True)

    def _before_text(self, delta: Delta) -> None:
        """Reasoning and what the server ran, and the text that may follow."""
        reasoning = _reasoning(delta)
        if reasoning:
            self._think(reasoning, _form(delta))
        if delta.reasoning_details:
            self._thinking, self._form = True, DETAILS
            self._details.add(delta.reasoning_details)
        if delta.executed_tools:
            self._executed(delta.executed_tools)
        for kind, said in spans(delta.content):
            if kind == "thinking":
                self._think(said, PARTS)
            elif kind == "text":
                self._sign()
                # A run stands before the text it was for, also one whose result never came.
                self._runs.flush()
                self._running = False
                self._text(said)
            elif kind == "image":
                self._image(said)
            else:
                self._refuse(said)

    def _beside_text(self, delta: Delta, *, whole: bool) -> None:
        """All but the text, and what stands before it."""
        if delta.refusal and delta.refusal != delta.content:
            self._refuse(delta.refusal)
        if delta.audio:
            self._extras.add("audio")
            self._spoken(delta.audio, whole=whole)
        if delta.images:
            for item in delta.images:
                self._image(item)
        if delta.annotations:
            self._extras.add("annotations")
            self._annotations(delta.annotations)
        if delta.tool_calls:
            calls = [call for call in delta.tool_calls if says_something(call)]
            if calls:
                self._in_pieces = self._in_pieces or not whole
                self._before_calls()
                self._calls.pieces(calls)
        elif delta.function_call is not None and says_something(delta.function_call):
            self._in_pieces = self._in_pieces or not whole
            self._before_calls()
            self._calls.legacy(delta.function_call)

    def _before_calls(self) -> None:
        self._flush()
        self._sign()

    def _executed(self, tools: list[Any]) -> None:
        self._extras.add("executed_tools")
        self._before_calls()
        self._runs.pieces(tools)
        self._running = True

    def _think(self, text: str, form: str) -> None:
        self._thinking, self._form = True, form
        self._thought.add_piece(text)
        self._emitter.add_thinking(text)

    def _refuse(self, text: str) -> None:
        self._refused = True
        self._extras.add("refusal")
        self._emitter.add_text(text)

    def _image(self, item: Any) -> None:
        """A picture, which may come in a chunk and again in the whole answer."""
        block = image(item)
        if block is None:
            return
        known = hash(block.source.data or block.source.url)
        if known not in self._drawn:
            self._drawn.add(known)
            self._before_calls()
            self._emitter.add_block(block)

    def _text(self, text: str) -> None:
        self._said.add_piece(text)
        if self._filter is None:
            self._emitter.add_text(text)
            return
        self._show_text(self._filter.filter_text(text), self._filter)

    def _flush(self) -> None:
        if self._filter is not None:
            self._show_text(self._filter.flush_text(), self._filter)

    def _show_text(self, text: str, passed: TextFilter) -> None:
        if text:
            self._emitter.add_text(text)
        if passed.stop_sequence is not None:
            self._emitter.set_stop_reason("stop_sequence", sequence=passed.stop_sequence)
            self._emitter.end_message()

    def _sign(self) -> None:
        """The reasoning before this point is complete: mark whose it is."""
        if self._thinking:
            self._thinking = False
            mark = self._marks.get(self._form, "")
            if self._form == DETAILS:
                self._form = REASONING
                details = self._details.take()
                mark = mark and details and mark + details
            if mark:
                self._emitter.add_signature(mark)

    def _annotations(self, annotations: list[Any]) -> None:
        text = self._filter.text if isinstance(self._filter, QuotableText) else ""
        for item in annotations:
            found = citation(item, text)
            if found is not None:
                self._emitter.add_citation(found)

    def _spoken(self, audio: Any, *, whole: bool) -> None:
        if not isinstance(audio, dict):
            return
        form = self._sound if whole else "pcm16"
        data, words = audio.get("data"), audio.get("transcript")
        self._emitter.add_audio(
            SOUNDS.get(form, f"audio/{form}"),
            data if isinstance(data, str) else "",
            words if isinstance(words, str) else "",
        )

    def _finish(self, reason: str) -> None:
        meant = meaning(reason)
        if reason == "error":
            self._fail_unusable("the provider ended it with an error", "failed")
        elif meant == FAILED:
            told = {"code": reason, "message": f"The provider ended its answer with: {reason}"}
            self._emitter.fail(failure.from_event(self._provider, self._title, {"error": told}))
        elif self._refused or meant == "refusal":
            self._emitter.set_stop_reason("refusal", dict(_REFUSAL))
        elif meant == "end_turn" and self._emitter.has_tool_calls:
            # Only what was emitted tells: servers say "stop" after calls, and "tool_calls"
            # without any.
            self._emitter.set_stop_reason("tool_use")
        else:
            self._emitter.set_stop_reason(meant)

    def _failed(self, chunk: ChatChunk, error: Any, data: bytes) -> None:
        if is_error(error) and isinstance(error, dict):
            whole = {"error": error, "status_code": chunk.status_code}
            self._emitter.fail(failure.from_event(self._provider, self._title, whole))
            return
        is_bare = chunk.choices is None and chunk.usage is None and chunk.x_groq is None
        if is_bare or is_error(error):
            # No choices at all: an error in another form, or an object of another kind.
            told = failure.from_object(self._provider, self._title, data)
            if told is None and isinstance(error, str):  # Groq puts a code beside its own id
                told = failure.from_event(self._provider, self._title, {"error": error})
            if told is not None:
                self._emitter.fail(told)
            elif is_error(error):
                self._fail_unusable("the provider reports an error without a message", "failed")

    def _fail_unusable(self, what: str, code: str) -> None:
        self._emitter.fail(
            UpstreamBroken.from_code(f"upstream_{code}", what, provider=self._provider)
        )


def _says_something(delta: Delta) -> bool:
    return any(getattr(delta, name) for name in delta.__struct_fields__)


def _merged(message: Delta, delta: Delta) -> Delta:
    """The members of a message, and those of a delta that it lacks."""
    return Delta(
        **{
            name: getattr(message, name) or getattr(delta, name)
            for name in message.__struct_fields__
        }
    )


def _reasoning(delta: Delta) -> str:
    said = plain(delta.reasoning) or plain(delta.reasoning_content)
    return said or text_of(delta.reasoning_details)


def _form(delta: Delta) -> str:
    """Under which names a delta has its reasoning."""
    if delta.reasoning_details:
        return DETAILS
    if plain(delta.reasoning) and plain(delta.reasoning_content):
        return BOTH
    return REASONING if plain(delta.reasoning) else CONTENT


_LISTED: Final = (None, "auto", "default", "on_demand")
"""Tiers at the list price."""


def _usage(wire: ChatUsage, tier: str | None = None) -> Usage:
    """Disjoint counters: the caller's `input_tokens` excludes what the cache served.

    A tier and audio are told where they make the answer cost something else.
    """
    details = wire.prompt_tokens_details
    cached = parse_counter(details.cached_tokens) if details is not None else None
    written = parse_counter(details.cache_write_tokens) if details is not None else None
    fresh = parse_counter(wire.prompt_tokens)
    if fresh is not None:
        fresh = max(fresh - (cached or 0) - (written or 0), 0)
    spent = wire.completion_tokens_details
    extra: dict[str, Any] = {} if tier in _LISTED else {"service_tier": tier}
    heard = parse_counter(details.audio_tokens) if details is not None else None
    spoken = parse_counter(spent.audio_tokens) if spent is not None else None
    if heard or spoken:
        extra["audio_tokens"] = (heard or 0) + (spoken or 0)
    return Usage(
        input_tokens=fresh,
        output_tokens=parse_counter(wire.completion_tokens),
        cache_read_input_tokens=cached,
        cache_creation_input_tokens=written,
        thinking_tokens=parse_counter(spent.reasoning_tokens) if spent is not None else None,
        extra=extra,
    )

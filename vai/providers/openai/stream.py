"""Chat Completions answers -> canonical events.

One reader for chunks and for whole answers, so that both give the same message. Chunks
may hold text, calls and the end at once, and the end may be followed by usage; nothing
here depends on one of them coming alone.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.errors import UpstreamBroken
from vai.providers import failure
from vai.providers.emitter import Emitter
from vai.providers.openai.calls import Calls
from vai.providers.openai.chunk import Choice, Chunk, Delta, WireUsage, decode
from vai.providers.openai.runs import Runs, citation
from vai.providers.textfilter import Quotable, TextFilter
from vai.types.message import Usage, counted

__all__ = ["SOUNDS", "Reader"]

_REFUSAL: Final[dict[str, Any]] = {"type": "refusal", "category": None, "explanation": None}
SOUNDS: Final = {"mp3": "audio/mpeg", "pcm16": "audio/pcm;rate=24000"}
"""OpenAI's names of sound formats -> media types, where they differ."""
_REASONS: Final = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}


class Reader:
    """Reads one answer into an emitter.

    Args:
        text: what stands between the upstream's text and the caller's, if anything.
        signature: marks reasoning as this provider's own; "" where it cannot be replayed.
        sound: the format of a spoken answer that comes whole; a streamed one is PCM.
    """

    def __init__(
        self,
        emitter: Emitter,
        provider: str,
        title: str,
        *,
        text: TextFilter | None = None,
        signature: str = "",
        sound: str = "wav",
    ) -> None:
        self._emitter = emitter
        self._provider = provider
        self._title = title
        self._calls = Calls(emitter)
        self._filter = text
        self._signature = signature
        self._sound = sound
        self._runs = Runs(emitter)
        self._thinking = False
        self._running = False
        self._refused = False
        self._reason: str | None = None

    @property
    def stopped(self) -> bool:
        """Whether the caller's stop sequence ended the answer, and not the upstream."""
        return self._filter is not None and self._filter.stopped is not None

    def data(self, data: str | bytes) -> None:
        """The data of one server-sent event."""
        try:
            chunk = decode(data)
            self.chunk(chunk, data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # A part that no chunk has is decoded only when it is looked at.
            self._undecodable(data)

    def chunk(self, chunk: Chunk, data: str | bytes) -> None:
        """One chunk, or a whole answer; `data` is its JSON."""
        if chunk.usage is not None:
            self._emitter.report(_usage(chunk.usage, chunk.service_tier))
        groq = chunk.x_groq
        if groq is not None and groq.usage is not None:
            self._emitter.report(_usage(groq.usage))
        if chunk.choices:
            choice = chunk.choices[0]
            if not choice.index:
                self._emitter.begin(chunk.model)
                self._choice(choice)
        error = chunk.error or (groq.error if groq is not None else None)
        if error or chunk.choices is None:
            self._failed(chunk, error, data)

    def whole(self, data: bytes) -> None:
        """A whole answer, read to its end."""
        self.data(data)
        if self._emitter.started and self._reason is None:
            # Nothing is missing from an object that is closed: it just does not say.
            self._reason = "stop"
        self.eof()

    def eof(self) -> None:
        """The answer is over."""
        if self._reason is not None and not self._emitter.finished:
            self._flush()
            self._sign()
            self._runs.flush()
            self._finish(self._reason)
        self._emitter.eof()

    def _choice(self, choice: Choice) -> None:
        delta = choice.delta or choice.message
        if delta is not None:
            content = delta.content
            if (
                self._thinking
                or self._running
                or delta.reasoning
                or delta.reasoning_content
                or delta.executed_tools
            ):
                self._before_text(delta)
            elif content:
                self._text(content if type(content) is str else _plain(content))
            if delta.refusal:
                self._refused = True
                self._emitter.text(delta.refusal)
            if delta.audio:
                self._spoken(delta.audio, whole=choice.delta is None)
            if delta.annotations:
                self._annotations(delta.annotations)
            if delta.tool_calls:
                self._flush()
                self._sign()
                self._calls.pieces(delta.tool_calls)
            elif delta.function_call is not None:
                self._flush()
                self._sign()
                self._calls.legacy(delta.function_call)
        if choice.finish_reason:
            self._reason = choice.finish_reason

    def _before_text(self, delta: Delta) -> None:
        """Reasoning and what the server ran, and the text that may follow."""
        reasoning = _plain(delta.reasoning) or _plain(delta.reasoning_content)
        if reasoning:
            self._thinking = True
            self._emitter.thinking(reasoning)
        if delta.executed_tools:
            self._flush()
            self._sign()
            self._runs.pieces(delta.executed_tools)
            self._running = True
        text = _plain(delta.content)
        if text:
            self._sign()
            # A run stands before the text it was for, also one whose result never came.
            self._runs.flush()
            self._running = False
            self._text(text)

    def _text(self, text: str) -> None:
        if self._filter is None:
            self._emitter.text(text)
            return
        self._show(self._filter.feed(text), self._filter)

    def _flush(self) -> None:
        if self._filter is not None:
            self._show(self._filter.end(), self._filter)

    def _show(self, text: str, passed: TextFilter) -> None:
        if text:
            self._emitter.text(text)
        if passed.stopped is not None:
            self._emitter.finish("stop_sequence", sequence=passed.stopped)
            self._emitter.eof()

    def _sign(self) -> None:
        """The reasoning before this point is complete: mark whose it is."""
        if self._thinking:
            self._thinking = False
            if self._signature:
                self._emitter.thinking_sig(self._signature)

    def _annotations(self, annotations: list[Any]) -> None:
        text = self._filter.text if isinstance(self._filter, Quotable) else ""
        for item in annotations:
            found = citation(item, text)
            if found is not None:
                self._emitter.citation(found)

    def _spoken(self, audio: Any, *, whole: bool) -> None:
        if not isinstance(audio, dict):
            return
        form = self._sound if whole else "pcm16"
        data, words = audio.get("data"), audio.get("transcript")
        self._emitter.audio(
            SOUNDS.get(form, f"audio/{form}"),
            data if isinstance(data, str) else "",
            words if isinstance(words, str) else "",
        )

    def _finish(self, reason: str) -> None:
        if reason == "error":
            self._break("the provider ended it with an error", "failed")
        elif self._refused or reason == "content_filter":
            self._emitter.finish("refusal", dict(_REFUSAL))
        else:
            meant = _REASONS.get(reason, "end_turn")
            if meant in ("end_turn", "tool_use"):
                # Only what was emitted tells: servers say "stop" after calls, and
                # "tool_calls" without any.
                meant = "tool_use" if self._emitter.saw_call else "end_turn"
            self._emitter.finish(meant)

    def _failed(self, chunk: Chunk, error: Any, data: str | bytes) -> None:
        if error:
            whole = {"error": error, "status_code": chunk.status_code}
            self._emitter.fail(failure.from_event(self._provider, self._title, whole))
        elif chunk.usage is None and chunk.x_groq is None:
            # No choices at all: an error in the flat form, or an object of another kind.
            whole = msgspec.json.decode(data)
            if isinstance(whole.get("message"), str):
                self._emitter.fail(failure.from_event(self._provider, self._title, whole))

    def _undecodable(self, data: str | bytes) -> None:
        if data.strip():
            self._break("a part of it is not the JSON that was expected", "malformed")

    def _break(self, what: str, code: str) -> None:
        self._emitter.fail(
            UpstreamBroken(
                f"The answer is unusable: {what}",
                provider=self._provider,
                code=f"upstream_{code}",
            )
        )


def _plain(value: Any) -> str:
    """The text of a string, a ``{"text": ...}`` or a list of such parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _plain(value.get("text"))
    if isinstance(value, list):
        return "".join(_plain(part) for part in value)
    return ""


_LISTED: Final = (None, "auto", "default", "on_demand")
"""Tiers at the list price."""


def _usage(wire: WireUsage, tier: str | None = None) -> Usage:
    """Disjoint counters: the caller's `input_tokens` excludes what the cache served.

    A tier and audio are told where they make the answer cost something else.
    """
    details = wire.prompt_tokens_details
    cached = counted(details.cached_tokens) if details is not None else None
    written = counted(details.cache_write_tokens) if details is not None else None
    fresh = counted(wire.prompt_tokens)
    if fresh is not None:
        fresh = max(fresh - (cached or 0) - (written or 0), 0)
    spent = wire.completion_tokens_details
    extra: dict[str, Any] = {} if tier in _LISTED else {"service_tier": tier}
    heard = counted(details.audio_tokens) if details is not None else None
    spoken = counted(spent.audio_tokens) if spent is not None else None
    if heard or spoken:
        extra["audio_tokens"] = (heard or 0) + (spoken or 0)
    return Usage(
        input_tokens=fresh,
        output_tokens=counted(wire.completion_tokens),
        cache_read_input_tokens=cached,
        cache_creation_input_tokens=written,
        thinking_tokens=counted(spent.reasoning_tokens) if spent is not None else None,
        extra=extra,
    )

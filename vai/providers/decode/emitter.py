"""The framing of a streamed message, in one place for every wire format.

Invariants: readers say what the upstream said (text, thinking, a tool call,
an end) and never see an index; the emitter alone decides when a block opens and closes.
Whatever a reader says, the events it returns are a well-formed stream: contiguous
indexes, one block open at a time, every block stopped, one `message_delta`, one
`message_stop`, nothing after. A stream that cannot be completed has a `fault` instead
of an end.

A tool call owns its block until its arguments are a whole JSON object. What arrives in
between is kept in order and follows it: many clients append to "the last block" and
would mix interleaved calls.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from vai.providers.decode.block_writer import TEXT, THINKING, TOOL, BlockWriter, size_of
from vai.providers.decode.call_ids import CallIds
from vai.providers.decode.tool_call import ToolCall, decode_object
from vai.providers.decode.tool_names import ToolNames
from vai.types.blocks import (
    Block,
    RedactedThinkingBlock,
    ToolUseBlock,
)
from vai.types.events import (
    ContentBlockDelta,
    InputJsonDelta,
    MessageDelta,
    MessageDeltaBody,
    MessageStart,
    MessageStop,
    TextDelta,
)
from vai.types.message import Message, Usage

__all__ = ["MAX_CALLS", "MAX_KEPT_CHARACTERS", "Emitter"]

MAX_CALLS: Final = 1024
"""Tool calls in one answer."""
MAX_KEPT_CHARACTERS: Final = 16 << 20
"""Tool arguments, and what waits behind an incomplete call, of one answer."""
_SPOKEN_ENDS: Final = ("end_turn", "stop_sequence")


class Emitter(BlockWriter):
    """Neutral operations in, canonical events out.

    Args:
        message_id: the id of the answer; ids of calls without one derive from it.
        model: the full name to report until the upstream names one.
        provider: the provider's id: prefix of the model, and named by faults.
        input_estimate: input tokens to show in `message_start` while the upstream has
            not counted them. It never enters `usage`.
        ids: gives calls the ids that the client sees.
        names: gives calls the names that the client declared.
    """

    def __init__(
        self,
        message_id: str,
        model: str,
        provider: str,
        input_estimate: int | None = None,
        *,
        ids: CallIds | None = None,
        names: ToolNames | None = None,
    ) -> None:
        super().__init__(provider)
        self.usage = Usage()
        self._id = message_id
        self._ids = ids or CallIds(provider, message_id.removeprefix("msg_"))
        self._names = names or ToolNames()
        self._model = model
        self._estimate = input_estimate
        self._started = False
        self._call: ToolCall | None = None
        self._calls: dict[int, ToolCall] = {}
        self._waiting: deque[ToolCall | tuple[str, Any]] = deque()
        self._kept = 0
        self._finish: MessageDeltaBody | None = None

    @property
    def started(self) -> bool:
        """Whether the answer has begun."""
        return self._started

    @property
    def finished(self) -> bool:
        """Whether the upstream has said why the answer ended."""
        return self._finish is not None

    @property
    def saw_call(self) -> bool:
        """Whether there is a call that the client has to run."""
        return bool(self._calls)

    @property
    def said_something(self) -> bool:
        """Whether any content has come."""
        return self._index >= 0 or bool(self._blanks) or self.saw_call

    def begin(self, model: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        """The answer has begun; `model` is what the upstream calls it."""
        if self._started or self.done or self.fault:
            return
        self._started = True
        if model:
            self._model = f"{self._provider}/{model}"
        known = Usage(input_tokens=self._estimate, output_tokens=0).merged_with(self.usage)
        shell = Message(
            id=self._id,
            role="assistant",
            model=self._model,
            content=[],
            stop_reason=None,
            usage=known,
            metadata=metadata,
        )
        self._out.append(MessageStart(message=shell))

    def text(self, text: str) -> None:
        """More of the answer's text."""
        if self._open == TEXT and text:
            self._out.append(ContentBlockDelta(index=self._index, delta=TextDelta(text=text)))
        elif text and not self._deferred("text", text):
            self._put_text(text)

    def end_text(self) -> None:
        """The text so far is complete; more text is a block of its own."""
        self._say("end", "")

    def thinking(self, text: str) -> None:
        """More of the reasoning."""
        if text and (self._open == THINKING or not self._deferred("thinking", text)):
            self._put_thinking(text)

    def thinking_sig(self, signature: str) -> None:
        """The signature of the open reasoning; without open reasoning, a redacted block."""
        if signature and (self._open == THINKING or not self._deferred("signature", signature)):
            self._put_signature(signature)

    def audio(self, media_type: str, data: str = "", words: str = "") -> None:
        """More of what is spoken: sound as base64, and the words of it."""
        if data or words:
            self._say("audio", (media_type, data, words))

    def redacted(self, data: str) -> None:
        """Reasoning that only its maker can read."""
        self.block(RedactedThinkingBlock(data=data))

    def block(self, block: Block) -> None:
        """A block that came whole."""
        self._say("block", block)

    def citation(self, citation: dict[str, Any]) -> None:
        """A source of the text just before it; without such text it is left out."""
        self._say("citation", citation)

    def tool_open(self, key: int, id: Any, name: str | None) -> None:
        """A new call, or the name or the id of one whose announcement was incomplete.

        Args:
            id: the server's, whatever it is.
            name: the server's name of the tool.
        """
        if self.done or self.fault:
            return
        self.begin()
        call = self._calls.get(key)
        if call is None:
            if len(self._calls) >= MAX_CALLS:
                self._break("more tool calls than can be held", "too_large")
                return
            call = self._calls[key] = ToolCall()
            self._go_on()
            self._waiting.append(call)
        call.given = call.given or id
        call.name = call.name or name
        self._advance()

    def tool_args(self, key: int, piece: str) -> None:
        """More of a call's arguments, as JSON text."""
        if not piece or self.done or self.fault:
            return
        call = self._calls[key]
        if call.closed:
            if piece.strip() and not call.repeats(piece):
                self._break("a tool call went on after its end", "invalid_tool_input")
            return
        self._keep(len(piece))
        piece = call.add(piece)
        if call is not self._call:
            self._advance()
        elif not self.fault:
            self._put_arguments(piece)

    def tool_whole(self, key: int, arguments: str) -> None:
        """All of a call's arguments, behind pieces of them: what those left out follows."""
        if not (self.done or self.fault or self._calls[key].closed):
            self.tool_args(key, self._calls[key].missing(arguments))

    def tool_is_complete(self, key: int) -> bool:
        """Whether the arguments of a call are a whole object already."""
        call = self._calls.get(key)  # not there once the answer is over
        return call is not None and call.complete()

    def tool_is_other(self, key: int, arguments: str) -> bool:
        """Whether `arguments` are a whole object beside the one that the call has already."""
        call = self._calls.get(key)
        if call is None or not call.complete() or decode_object(arguments) is None:
            return False
        return not call.repeats(arguments)

    def report(self, usage: Usage) -> None:
        """Running totals, as far as the upstream names them."""
        self.usage = self.usage.merged_with(usage)

    def finish(
        self,
        reason: str,
        details: dict[str, Any] | None = None,
        sequence: str | None = None,
    ) -> None:
        """Why the answer ended. Sent at `eof`: usage usually comes later."""
        self._finish = MessageDeltaBody(
            stop_reason=reason, stop_sequence=sequence, stop_details=details
        )

    def eof(self) -> None:
        """The upstream has nothing more to say: the closing events, or a fault."""
        if self.done or self.fault:
            return
        if self._finish is None:
            self._break("", "truncated")
            return
        self.begin()
        # Only a model that ended by itself has completed its calls.
        self._drain(cut=self._finish.stop_reason not in ("end_turn", "tool_use"))
        if self.fault:
            return
        self._end_content(self._finish.stop_reason in _SPOKEN_ENDS)
        self._close()
        self._out.append(MessageDelta(delta=self._finish, usage=self.usage))
        self._out.append(MessageStop())
        self.done = True

    def _say(self, kind: str, value: Any) -> None:
        if not self._deferred(kind, value):
            self._put(kind, value)

    def _deferred(self, kind: str, value: Any) -> bool:
        """Whether `value` has to wait behind a call (or the stream is over)."""
        if self.done or self.fault:
            return True
        self.begin()
        if self._call is None and not self._waiting:
            return False
        self._waiting.append((kind, value))
        self._keep(size_of(value))
        self._advance()
        return True

    def _advance(self) -> None:
        """Close the open call if it is complete, and let follow what waited for it."""
        while self._waiting and not self.fault:
            if self._call is not None:
                if not self._call.complete():
                    return
                self._end_call(self._call)
            first = self._waiting[0]
            if isinstance(first, ToolCall) and not first.can_open:
                return
            self._release_first()

    def _drain(self, *, cut: bool) -> None:
        """At the end of the answer: close the open call and send all that waited.

        `cut` says that the answer was cut off: then its calls may be incomplete.
        """
        while not self.fault:
            call = self._call
            if call is not None:
                if not (cut or call.valid()):
                    self._break("a tool call's input is no object", "invalid_tool_input")
                    return
                self._end_call(call)
            elif not self._waiting:
                return
            else:
                self._drain_first(cut=cut)

    def _drain_first(self, *, cut: bool) -> None:
        first = self._waiting[0]
        if isinstance(first, ToolCall) and not first.name:
            if cut:
                self._waiting.popleft()
                return
            # With one tool there is no doubt which one is meant.
            first.name = self._names.only
        if isinstance(first, ToolCall) and not first.name:
            self._break("a tool call has no name", "invalid_tool_call")
        else:
            self._release_first()

    def _release_first(self) -> None:
        first = self._waiting.popleft()
        if isinstance(first, ToolCall):
            self._open_call(first)
        else:
            self._put(*first)

    def _open_call(self, call: ToolCall) -> None:
        shown, name = self._ids.show(call.given), self._names.caller(call.name or "")
        self._start(TOOL, ToolUseBlock(id=shown, name=name, input={}))
        self._has_content = False
        self._call = call
        self._put_arguments(call.shown())

    def _put_arguments(self, text: str) -> None:
        if text:
            delta = InputJsonDelta(partial_json=text)
            self._out.append(ContentBlockDelta(index=self._index, delta=delta))

    def _end_call(self, call: ToolCall) -> None:
        self._put_arguments(call.rest())
        call.close()
        self._call = None
        self._close()

    def _keep(self, count: int) -> None:
        self._kept += count
        if self._kept > MAX_KEPT_CHARACTERS:
            self._break("its tool calls are larger than can be held", "too_large")

"""The framing of a streamed message, in one place for every wire format.

Invariants: stream decoders report what the upstream sends (text, thinking, a tool call,
an end) and never handle an index; only the emitter decides when a block opens and closes.
Whatever a decoder reports, the emitted events are a well-formed stream: contiguous
indexes, one block open at a time, every block stopped, one `message_delta`, one
`message_stop`, nothing after. A stream that cannot be completed has a `fault` instead
of an end.

A tool call owns its block until its arguments are a whole JSON object. The emitter keeps what
arrives in between and sends it afterwards, in order: many clients append to "the last block" and
would mix interleaved calls.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from vai.providers.decode.block_writer import TEXT, THINKING, TOOL, BlockWriter, buffered_size
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

__all__ = ["MAX_CALLS", "MAX_HELD_CHARACTERS", "Emitter"]

MAX_CALLS: Final = 1024
"""Tool calls in one response."""
MAX_HELD_CHARACTERS: Final = 16 << 20
"""Characters of tool arguments, and of pieces behind an incomplete call, per response."""
_NATURAL_ENDS: Final = ("end_turn", "stop_sequence")


class Emitter(BlockWriter):
    """Turns operations of the stream decoders into canonical events.

    Args:
        message_id: the id of the response; ids of calls without one derive from it.
        model: the full name to report until the upstream names one.
        provider: the provider's id, for the prefix of the model and for faults.
        input_estimate: input tokens to show in `message_start` while the upstream has
            not counted them. It never enters `usage`.
        ids: maps the ids of calls to the client's.
        names: maps the names of tools to those that the client declared.
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
        self._id = message_id
        self._ids = ids or CallIds(provider, message_id.removeprefix("msg_"))
        self.tool_names = names or ToolNames()
        self._model = model
        self._estimate = input_estimate
        self._started = False
        self._call: ToolCall | None = None
        self._calls: dict[int, ToolCall] = {}
        self._waiting: deque[ToolCall | tuple[str, Any]] = deque()
        self._buffered = 0
        self._end_delta: MessageDeltaBody | None = None

    @property
    def has_started(self) -> bool:
        """Whether the response has begun."""
        return self._started

    @property
    def has_stop_reason(self) -> bool:
        """Whether a stop reason is set."""
        return self._end_delta is not None

    @property
    def has_tool_calls(self) -> bool:
        """Whether the response has a call that the client has to run."""
        return bool(self._calls)

    @property
    def has_content(self) -> bool:
        """Whether any content has arrived."""
        return self._index >= 0 or bool(self._blanks) or self.has_tool_calls

    def start_message(
        self, model: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Begin the response; `model` is the upstream's name of the model."""
        if self._started or self.is_complete or self.fault:
            return
        self._started = True
        if model:
            self._model = f"{self._provider}/{model}"
        usage = Usage(input_tokens=self._estimate, output_tokens=0).merged_with(self.usage)
        shell = Message(
            id=self._id,
            role="assistant",
            model=self._model,
            content=[],
            stop_reason=None,
            usage=usage,
            metadata=metadata,
        )
        self._out.append(MessageStart(message=shell))

    def add_text(self, text: str) -> None:
        """Add text of the response."""
        if self._open == TEXT and text:
            self._out.append(ContentBlockDelta(index=self._index, delta=TextDelta(text=text)))
        elif text and not self._defer_if_blocked("text", text):
            self._write_text(text)

    def end_text(self) -> None:
        """End the text so far; further text starts a new block."""
        self._add_piece("end", "")

    def add_thinking(self, text: str) -> None:
        """Add text of the reasoning."""
        if text and (self._open == THINKING or not self._defer_if_blocked("thinking", text)):
            self._write_thinking(text)

    def add_signature(self, signature: str) -> None:
        """Add the signature of the open reasoning; without open reasoning, a redacted block."""
        if signature and (
            self._open == THINKING or not self._defer_if_blocked("signature", signature)
        ):
            self._write_signature(signature)

    def add_audio(self, media_type: str, data: str = "", words: str = "") -> None:
        """Add speech: sound as base64, and its transcript."""
        if data or words:
            self._add_piece("audio", (media_type, data, words))

    def add_redacted_thinking(self, data: str) -> None:
        """Add reasoning that only its provider can read."""
        self.add_block(RedactedThinkingBlock(data=data))

    def add_block(self, block: Block) -> None:
        """Add a whole block."""
        self._add_piece("block", block)

    def add_citation(self, citation: dict[str, Any]) -> None:
        """Add a citation to the text just before it; without such text, drop it."""
        self._add_piece("citation", citation)

    def open_tool_call(self, key: int, id: Any, name: str | None) -> None:
        """Open a call, or add the name or the id that its first event lacked.

        Args:
            id: the server's id, of any type.
            name: the server's name of the tool.
        """
        if self.is_complete or self.fault:
            return
        self.start_message()
        call = self._calls.get(key)
        if call is None:
            if len(self._calls) >= MAX_CALLS:
                self.fail_unusable("more tool calls than can be held", "too_large")
                return
            call = self._calls[key] = ToolCall()
            self._note_call()
            self._waiting.append(call)
        call.upstream_id = call.upstream_id or id
        call.name = call.name or name
        self._release_ready()

    def add_arguments(self, key: int, piece: str) -> None:
        """Add a piece of a call's arguments, as JSON text."""
        if not piece or self.is_complete or self.fault:
            return
        call = self._calls[key]
        if call.is_closed:
            if piece.strip() and not call.is_repetition(piece):
                self.fail_unusable("a tool call went on after its end", "invalid_tool_input")
            return
        self._count_buffered(len(piece))
        piece = call.add_piece(piece)
        if call is not self._call:
            self._release_ready()
        elif not self.fault:
            self._write_arguments(piece)

    def complete_arguments(self, key: int, arguments: str) -> None:
        """Add what the pieces so far lack of a call's whole `arguments`."""
        if not (self.is_complete or self.fault or self._calls[key].is_closed):
            self.add_arguments(key, self._calls[key].missing_arguments(arguments))

    def has_complete_arguments(self, key: int) -> bool:
        """Whether the arguments of a call are already a whole object."""
        call = self._calls.get(key)  # None for a call that opens after the end
        return call is not None and call.has_complete_arguments()

    def is_another_call(self, key: int, arguments: str) -> bool:
        """Whether `arguments` are a whole object other than the one that the call already has."""
        call = self._calls.get(key)
        if call is None or not call.has_complete_arguments() or decode_object(arguments) is None:
            return False
        return not call.is_repetition(arguments)

    def report_usage(self, usage: Usage) -> None:
        """Merge running totals that the upstream reports into the usage."""
        self.usage = self.usage.merged_with(usage)

    def set_stop_reason(
        self,
        reason: str,
        details: dict[str, Any] | None = None,
        sequence: str | None = None,
    ) -> None:
        """Set why the response ended. `end_message` sends it: usage usually arrives later."""
        self._end_delta = MessageDeltaBody(
            stop_reason=reason, stop_sequence=sequence, stop_details=details
        )

    def end_message(self) -> None:
        """End the response: emit the closing events, or fail."""
        if self.is_complete or self.fault:
            return
        if self._end_delta is None:
            self.fail_unusable("", "truncated")
            return
        self.start_message()
        # Calls are complete only where the model ended by itself.
        self._release_all(cut=self._end_delta.stop_reason not in ("end_turn", "tool_use"))
        if self.fault:
            return
        self._end_content(self._end_delta.stop_reason in _NATURAL_ENDS)
        self._close_block()
        self._out.append(MessageDelta(delta=self._end_delta, usage=self.usage))
        self._out.append(MessageStop())
        self.is_complete = True

    def _add_piece(self, kind: str, value: Any) -> None:
        if not self._defer_if_blocked(kind, value):
            self._write_piece(kind, value)

    def _defer_if_blocked(self, kind: str, value: Any) -> bool:
        """Defer `value` if it must wait behind a call; return True also if the stream is over."""
        if self.is_complete or self.fault:
            return True
        self.start_message()
        if self._call is None and not self._waiting:
            return False
        self._waiting.append((kind, value))
        self._count_buffered(buffered_size(value))
        self._release_ready()
        return True

    def _release_ready(self) -> None:
        """Close the open call if it is complete, and write what waited for it."""
        while self._waiting and not self.fault:
            if self._call is not None:
                if not self._call.has_complete_arguments():
                    return
                self._end_call(self._call)
            first = self._waiting[0]
            if isinstance(first, ToolCall) and not first.can_open:
                return
            self._release_first()

    def _release_all(self, *, cut: bool) -> None:
        """At the end of the response: close the open call and write all that waited.

        `cut` means that the response was cut off: then its calls may be incomplete.
        """
        while not self.fault:
            call = self._call
            if call is not None:
                if not (cut or call.is_valid()):
                    self.fail_unusable("a tool call's input is no object", "invalid_tool_input")
                    return
                self._end_call(call)
            elif not self._waiting:
                return
            else:
                self._release_first_at_end(cut=cut)

    def _release_first_at_end(self, *, cut: bool) -> None:
        first = self._waiting[0]
        if isinstance(first, ToolCall) and not first.name:
            if cut:
                self._waiting.popleft()
                return
            # With one declared tool, the call can only be for that tool.
            first.name = self.tool_names.only_name
        if isinstance(first, ToolCall) and not first.name:
            self.fail_unusable("a tool call has no name", "invalid_tool_call")
        else:
            self._release_first()

    def _release_first(self) -> None:
        first = self._waiting.popleft()
        if isinstance(first, ToolCall):
            self._start_call(first)
        else:
            self._write_piece(*first)

    def _start_call(self, call: ToolCall) -> None:
        shown, name = (
            self._ids.to_client_id(call.upstream_id),
            self.tool_names.to_client_name(call.name or ""),
        )
        self._open_block(TOOL, ToolUseBlock(id=shown, name=name, input={}))
        self._has_final_content = False
        self._call = call
        self._write_arguments(call.arguments_so_far())

    def _write_arguments(self, text: str) -> None:
        if text:
            delta = InputJsonDelta(partial_json=text)
            self._out.append(ContentBlockDelta(index=self._index, delta=delta))

    def _end_call(self, call: ToolCall) -> None:
        self._write_arguments(call.unsent_arguments())
        call.close()
        self._call = None
        self._close_block()

    def _count_buffered(self, count: int) -> None:
        self._buffered += count
        if self._buffered > MAX_HELD_CHARACTERS:
            self.fail_unusable("its tool calls are larger than can be held", "too_large")

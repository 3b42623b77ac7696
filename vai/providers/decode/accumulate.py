"""Stream events -> the message they describe, and back.

Invariants: a stream, read to its end, results in the message that the upstream would send
without streaming.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import msgspec

from vai.errors import UpstreamBroken
from vai.providers.decode.tool_call import decode_object
from vai.types.blocks import (
    AudioBlock,
    Block,
    ServerToolUseBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from vai.types.events import (
    AudioDelta,
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageDeltaBody,
    MessageStart,
    MessageStop,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    TranscriptDelta,
)
from vai.types.message import Message, Usage

__all__ = ["Accumulator", "events_from_message", "message_from_events"]


class _BlockBuilder:
    """A block whose deltas are still arriving."""

    __slots__ = ("audio", "block", "citations", "json", "signature", "text")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.text: list[str] = []
        self.json: list[str] = []
        self.audio: list[str] = []
        self.citations: list[dict[str, Any]] = []
        self.signature: str | None = None

    def add_delta(self, delta: Delta) -> None:
        if type(delta) is TextDelta:
            self.text.append(delta.text)
        elif type(delta) is ThinkingDelta:
            self.text.append(delta.thinking)
        elif type(delta) is InputJsonDelta:
            self.json.append(delta.partial_json)
        elif type(delta) is SignatureDelta:
            self.signature = delta.signature
        elif type(delta) is CitationsDelta:
            self.citations.append(delta.citation)
        elif type(delta) is AudioDelta:
            self.audio.append(delta.data)
        elif type(delta) is TranscriptDelta:
            self.text.append(delta.text)

    def build_block(self, *, cut: bool) -> Block:
        """The whole block. A call that was cut off has the input ``{}``."""
        block = self.block
        if type(block) is TextBlock:
            citations = (block.citations or []) + self.citations
            text = block.text + "".join(self.text)
            return msgspec.structs.replace(block, text=text, citations=citations or None)
        if isinstance(block, ThinkingBlock):
            thinking = block.thinking + "".join(self.text)
            signature = block.signature if self.signature is None else self.signature
            return msgspec.structs.replace(block, thinking=thinking, signature=signature)
        if isinstance(block, ToolUseBlock | ServerToolUseBlock) and self.json:
            input_object = decode_object("".join(self.json))
            if input_object is None and not cut:
                raise _unusable_fault("a tool call's input is no object", "invalid_tool_input")
            return msgspec.structs.replace(block, input=input_object or {})
        if isinstance(block, AudioBlock) and (self.audio or self.text):
            data = _join_base64([block.source.data or "", *self.audio])
            source = msgspec.structs.replace(block.source, data=data)
            words = (block.transcript or "") + "".join(self.text)
            return msgspec.structs.replace(block, source=source, transcript=words or None)
        return block


class Accumulator:
    """Collects one stream."""

    def __init__(self) -> None:
        self._shell: Message | None = None
        self._usage = Usage()
        self._blocks: dict[int, _BlockBuilder] = {}
        self._end: MessageDeltaBody | None = None
        self._stopped = False

    def add_event(self, event: Event) -> None:
        """Add the next event. Pings and unknown events do not change the message.

        Raises:
            UpstreamBroken: the event contradicts those before it.
        """
        if type(event) is ContentBlockDelta:
            building = self._blocks.get(event.index)
            if building is None:
                raise _unusable_fault("a delta belongs to no block", "malformed")
            building.add_delta(event.delta)
        elif type(event) is ContentBlockStart:
            self._blocks[event.index] = _BlockBuilder(event.content_block)
        elif type(event) is MessageStart:
            self._shell = event.message
            self._usage = event.message.usage
        elif type(event) is MessageDelta:
            self._end = event.delta
            if event.usage is not None:
                self._usage = self._usage.merged_with(event.usage)
        elif type(event) is MessageStop:
            self._stopped = True

    def build_message(self, usage: Usage | None = None) -> Message:
        """The message. `usage` replaces what the events report.

        Raises:
            UpstreamBroken: the stream has not reached its end, or a tool's input is not
                a JSON object although the response was not cut off.
        """
        if self._shell is None or self._end is None or not self._stopped:
            raise _unusable_fault("", "truncated")
        cut = self._end.stop_reason not in ("end_turn", "tool_use")
        blocks = [self._blocks[index].build_block(cut=cut) for index in sorted(self._blocks)]
        return msgspec.structs.replace(
            self._shell,
            content=blocks,
            stop_reason=self._end.stop_reason,
            stop_sequence=self._end.stop_sequence,
            stop_details=self._end.stop_details,
            usage=self._usage if usage is None else usage,
        )


def message_from_events(events: Iterable[Event], usage: Usage | None = None) -> Message:
    """The message that `events` describe.

    `usage` is what the upstream has reported; `message_start` also has estimates, which
    a whole response does not need. Without `usage` the message has the usage of the events.

    Raises:
        UpstreamBroken: see `Accumulator.build_message`.
    """
    accumulator = Accumulator()
    for event in events:
        accumulator.add_event(event)
    return accumulator.build_message(usage)


def events_from_message(message: Message) -> list[Event]:
    """A stream of events that describes `message`."""
    shell = msgspec.structs.replace(
        message, content=[], stop_reason=None, stop_sequence=None, stop_details=None
    )
    events: list[Event] = [MessageStart(message=shell)]
    for index, block in enumerate(message.content):
        opened, deltas = _opening_and_deltas(block)
        events.append(ContentBlockStart(index=index, content_block=opened))
        events.extend(ContentBlockDelta(index=index, delta=delta) for delta in deltas)
        events.append(ContentBlockStop(index=index))
    end = MessageDeltaBody(
        stop_reason=message.stop_reason,
        stop_sequence=message.stop_sequence,
        stop_details=message.stop_details,
    )
    events.append(MessageDelta(delta=end, usage=message.usage))
    events.append(MessageStop())
    return events


def _opening_and_deltas(block: Block) -> tuple[Block, list[Delta]]:
    """A block as it opens, and the deltas that complete it."""
    replace = msgspec.structs.replace
    deltas: list[Delta] = []
    if isinstance(block, TextBlock):
        deltas.extend(CitationsDelta(citation=citation) for citation in block.citations or ())
        if block.text:
            deltas.append(TextDelta(text=block.text))
        return replace(block, text="", citations=None), deltas
    if isinstance(block, ThinkingBlock):
        if block.thinking:
            deltas.append(ThinkingDelta(thinking=block.thinking))
        if block.signature:
            deltas.append(SignatureDelta(signature=block.signature))
        return replace(block, thinking="", signature=""), deltas
    if isinstance(block, ToolUseBlock | ServerToolUseBlock):
        if block.input:
            deltas.append(InputJsonDelta(partial_json=_to_json(block.input)))
        return replace(block, input={}), deltas
    if isinstance(block, AudioBlock) and block.source.data:
        if block.transcript:
            deltas.append(TranscriptDelta(text=block.transcript))
        deltas.append(AudioDelta(data=block.source.data))
        source = replace(block.source, data="")
        return replace(block, source=source, transcript=""), deltas
    return block, deltas


def _join_base64(pieces: list[str]) -> str:
    """Join base64 texts, each of which may end in padding.

    Raises:
        UpstreamBroken: one of the pieces is not base64.
    """
    try:
        return base64.b64encode(b"".join(map(base64.b64decode, pieces))).decode()
    except ValueError:
        raise _unusable_fault("its sound is not base64", "malformed") from None


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _unusable_fault(what: str, code: str) -> UpstreamBroken:
    return UpstreamBroken.from_code(f"upstream_{code}", what)

"""An assistant's turns -> the items of Responses that they were made of.

Invariants: what the server said comes back to it in the order it was said in.
Reasoning is sent only before what it led to: the server refuses a reasoning item whose
successor is missing.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from vai.providers.decode.call_ids import sent
from vai.providers.responses import kept
from vai.providers.responses.tools import RequestTools
from vai.providers.responses.traces import envelope_of
from vai.providers.translate.diagnostics import refuse_block
from vai.providers.translate.names import legal_tool_name
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.texts import is_server_tool_block, kind_of
from vai.providers.translate.tool_results import BlockAtPath, PendingCall, add_pending_call
from vai.types.blocks import (
    Block,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
)

__all__ = ["CACHED", "AssistantItems"]

Wire = dict[str, Any]

CACHED: Final = "messages[*].content[*].cache_control"
"""The path under which breakpoints that cannot be set are named."""
_CALLS: Final = ("function_call", "custom_tool_call", "computer_call")


class AssistantItems:
    """The items of a run of assistant turns."""

    def __init__(self, target: OpenaiTarget, tooling: RequestTools) -> None:
        self.calls: dict[str, PendingCall] = {}
        """By id, each with the type of its item."""
        self._target = target
        self._tooling = tooling
        self._found: list[Wire] = []
        self._texts: list[tuple[Wire, list[str]]] = []
        """The items that are text, each with its pieces: joined once, as each time copies all."""
        self._kept: dict[str, Wire] = {}
        self._joins = False
        self._drew = False

    def turn(self, placed: list[BlockAtPath]) -> None:
        """The next turn of the run."""
        self._joins = False
        for _, block in placed:
            call, envelope = envelope_of(block)
            item = kept.opened(envelope, self._target.spec.id)
            if item is not None:
                self._kept[call] = item
        for at, block in placed:
            if getattr(block, "cache_control", None):
                self._target.diagnostics.note_dropped(CACHED)
            if isinstance(block, TextBlock):
                self._drew = False
                if block.citations:
                    self._target.diagnostics.note_dropped("messages[*].content[*].citations")
                self._text(block.text)
                continue
            self._joins = False
            if self._drew and isinstance(block, ImageBlock):
                continue  # it is part of the code's trace
            self._drew = False
            if isinstance(block, ToolUseBlock):
                self._call(block, at)
            elif isinstance(block, ThinkingBlock | RedactedThinkingBlock):
                self._reasoning(block)
            elif isinstance(block, ImageBlock):
                self._image(block, at)
            elif is_server_tool_block(block):
                self._foreign(block)
            else:
                what = "cannot be sent to {} as the assistant's"
                refuse_block(block, at, self._target.diagnostics, what=what)

    def finished(self) -> list[Wire]:
        """All items of the run."""
        self._release()
        for item, pieces in self._texts:
            item["content"] = "".join(pieces)
        if self._target.traits.labels_commentary:
            phase = "final_answer"
            for item in reversed(self._found):
                if item.get("role") == "assistant":
                    item.setdefault("phase", phase)
                if "role" in item or item.get("type") in _CALLS:
                    phase = "commentary"
        else:
            for item in self._found:
                item.pop("phase", None)
        return self._found

    def _text(self, text: str) -> None:
        if not text:
            return
        if self._joins:  # neighbours are one text, cut by citations
            self._texts[-1][1].append(text)
            return
        self._joins = True
        item: Wire = {"role": "assistant", "content": text}
        self._texts.append((item, [text]))
        self._found.append(item)

    def _call(self, block: ToolUseBlock, at: str) -> None:
        kind = self._tooling.kind(block)
        item: Wire = {"type": kind, "call_id": sent(block.id, self._target.spec.id)}
        if kind == "computer_call":
            item |= {"id": f"cu_{_digest(block.id)}", "status": "completed"}
            item["pending_safety_checks"] = block.input.get("pending_safety_checks") or []
            item["actions"] = block.input["actions"]
        elif kind == "custom_tool_call":
            item |= {"name": legal_tool_name(block.name), "input": block.input["input"]}
        else:
            arguments = msgspec.json.encode(block.input).decode()
            item |= {"name": legal_tool_name(block.name), "arguments": arguments}
        add_pending_call(self.calls, block, at, self._target.diagnostics, kind)
        self._found.append(item)

    def _reasoning(self, block: ThinkingBlock | RedactedThinkingBlock) -> None:
        envelope = block.data if isinstance(block, RedactedThinkingBlock) else block.signature
        item = kept.opened(envelope or "", self._target.spec.id)
        if item is None:
            self._target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
        elif item["type"] != "message":
            self._found.append(item)
        elif self._found and self._found[-1].get("role") == "assistant":
            self._found[-1]["phase"] = "commentary"

    def _image(self, block: ImageBlock, at: str) -> None:
        """An image the model made: in this format a call of its own tool."""
        data = block.source.data
        if block.source.type != "base64" or not data:
            what = "expected an image of the assistant as base64"
            self._target.diagnostics.note_refused(at, what, "unsupported_content_block")
            return
        call = {"type": "image_generation_call", "id": f"ig_{_digest(data)}"}
        self._found.append({**call, "status": "completed", "result": data})

    def _foreign(self, block: Block) -> None:
        """A trace of a tool that a server ran: its own comes back in one piece."""
        call, envelope = envelope_of(block)
        if envelope and call in self._kept:
            item = self._kept.pop(call)
            self._drew = item["type"] == "code_interpreter_call"
            self._found.append(item)
        elif _id(block) not in self._kept:
            self._target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
            self._release()

    def _release(self) -> None:
        """Drop reasoning at the end: what it led to is not there."""
        while self._found and self._found[-1].get("type") == "reasoning":
            self._found.pop()


def _id(block: Block) -> str:
    found = block.raw.get("id") if isinstance(block, UnknownBlock) else getattr(block, "id", None)
    return str(found)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

"""The items of a response that grow while it streams: text, reasoning and client tool calls.

A part of a message is a text block. Its sources arrive while the server writes it, with offsets
into the complete part, so they wait until it is complete. Reasoning has a summary as text, and a
signature. Arguments of calls come in pieces, complete at the end, or both; the emitter gets the
rest that the pieces left out. A free-form input and the actions of the computer tool become JSON
objects: a canonical call has no other input.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final

from vai.providers.decode.emitter import Emitter
from vai.providers.decode.text_filter import TextFilter
from vai.providers.decode.tool_call import as_json
from vai.providers.responses import wrapped_items
from vai.providers.responses.server_tools import citation_from_annotation

__all__ = ["CALL_TYPES", "MAX_QUOTABLE", "MAX_SOURCES", "OutputText", "ReasoningItems", "ToolCalls"]

Paragraph = tuple[str, int]
"""The list that it is part of (``summary`` or ``content``), and its index there."""


class ReasoningItems:
    """Passes reasoning items to the emitter, one at a time."""

    def __init__(self, emitter: Emitter, provider: str) -> None:
        self._emitter = emitter
        self._provider = provider
        self._paragraph: Paragraph | None = None

    def start_item(self) -> None:
        """A reasoning item begins."""
        self._paragraph = None

    def add_piece(self, paragraph: Paragraph, text: str) -> None:
        """More of a paragraph."""
        if not text:
            return
        if self._paragraph not in (None, paragraph):
            self._emitter.add_thinking("\n\n")
        self._paragraph = paragraph
        self._emitter.add_thinking(text)

    def finish_item(self, item: dict[str, Any]) -> None:
        """The item is complete: its encrypted content is complete only now."""
        if self._paragraph is None:
            for kind in ("summary", "content"):
                parts = item.get(kind)
                for index, part in enumerate(parts if isinstance(parts, list) else ()):
                    text = part.get("text") if isinstance(part, dict) else None
                    self.add_piece((kind, index), text if isinstance(text, str) else "")
        signature = wrapped_items.wrap_item(self._provider, item)
        if signature is not None and self._paragraph is not None:
            self._emitter.add_signature(signature)
        elif signature is not None:
            self._emitter.add_redacted_thinking(signature)
        self._paragraph = None


Item = dict[str, Any]

CALL_TYPES: Final = frozenset({"computer_call", "custom_tool_call", "function_call"})
"""Types of the items that are such calls."""


class ToolCalls:
    """Passes calls to the emitter, each under a key of its own."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._count = 0
        self._open: dict[int, int] = {}
        """Index in the output -> key."""

    def open_call(self, index: int, item: Item) -> None:
        """A call begins; its name may be missing."""
        self._open[index] = self._count
        self._count += 1
        self._announce_call(index, item)

    def add_arguments(self, index: int, text: str) -> None:
        """More of a function's arguments."""
        if index not in self._open:
            self.open_call(index, {})
        self._emitter.add_arguments(self._open[index], text)

    def complete_arguments(self, index: int, arguments: Any) -> None:
        """All of a function's arguments."""
        if index in self._open:
            self._emitter.complete_arguments(self._open[index], as_json(arguments))

    def complete_call(self, number: int, item: Item) -> None:
        """Complete a call by its number among all calls, unless it is complete already."""
        for index, key in self._open.items():
            if key == number:
                self.close_call(index, item)
                return

    def close_call(self, index: int, item: Item) -> None:
        """A call is complete."""
        if index not in self._open:
            self.open_call(index, item)
        else:
            self._announce_call(index, item)
        kind = item.get("type")
        if kind == "function_call":
            self.complete_arguments(index, item.get("arguments"))
        elif kind == "custom_tool_call":
            self.complete_arguments(index, {"input": str(item.get("input") or "")})
        else:
            self.complete_arguments(index, _input_from_actions(item))
        del self._open[index]

    def _announce_call(self, index: int, item: Item) -> None:
        name = "computer" if item.get("type") == "computer_call" else item.get("name")
        self._emitter.open_tool_call(
            self._open[index],
            item.get("call_id") or item.get("id"),
            name if isinstance(name, str) and name else None,
        )


def _input_from_actions(item: Item) -> Item:
    """The actions on the screen, as the input of a call."""
    actions = item.get("actions")
    if not isinstance(actions, list):
        actions = [item["action"]] if item.get("action") else []
    checks = item.get("pending_safety_checks")
    return {"actions": actions} | ({"pending_safety_checks": checks} if checks else {})


MAX_QUOTABLE: Final = 4 << 20
"""Characters of a part that its sources can quote; sources beyond them have no quoted text."""
MAX_SOURCES: Final = 1024
"""Sources of one part; VAI leaves out those beyond."""

PartIndex = tuple[int, int]
"""Output index and content index."""


class OutputText:
    """Passes the text of messages to the emitter, part by part.

    Args:
        text: the filter between the upstream's text and the client's, if any; every
            part gets its own.
    """

    def __init__(self, emitter: Emitter, text: TextFilter | None) -> None:
        self._emitter = emitter
        self._fresh = text
        self._filter = copy(text)
        self._open: PartIndex | None = None
        self._last: PartIndex = (-1, -1)
        self._pieces: list[str] = []
        self._length = 0
        self._sources: list[Any] = []

    @property
    def met_stop_sequence(self) -> bool:
        """Whether the text contained the client's stop sequence."""
        return self._filter is not None and self._filter.stop_sequence is not None

    @property
    def item_index(self) -> int | None:
        """The index of the open item, if there is one."""
        return None if self._open is None else self._open[0]

    def is_writing(self, index: int) -> bool:
        """Whether a part of this item is open."""
        return self._open is not None and self._open[0] == index

    def add_piece(self, part: PartIndex, text: str) -> None:
        """More text of a part."""
        if part != self._open:
            self._start_part(part)
        if self._length < MAX_QUOTABLE:
            self._pieces.append(text)
        self._length += len(text)
        if self._filter is None:
            self._emitter.add_text(text)
            return
        self._show_text(self._filter.filter_text(text), self._filter)

    def add_source(self, part: PartIndex, annotation: Any) -> None:
        """A source of an open part."""
        if part == self._open and len(self._sources) < MAX_SOURCES:
            self._sources.append(annotation)

    def complete_part(
        self, part: PartIndex, text: str, annotations: list[Any] | None = None
    ) -> None:
        """All of a part's text, and its sources if the event has them: emit the missing rest."""
        if part != self._open and part <= self._last:
            return  # it is complete
        length = self._length if part == self._open else 0
        if text[length:]:
            self.add_piece(part, text[length:])
        if annotations is not None and part == self._open:
            self._sources = annotations[:MAX_SOURCES] or self._sources
            self.close_part()

    def close_part(self) -> None:
        """The open part is complete."""
        if self._open is None:
            return
        self._flush_filter()
        text = "".join(self._pieces)
        for annotation in self._sources:
            citation = citation_from_annotation(annotation, text)
            if citation is not None:
                self._emitter.add_citation(citation)
        self._emitter.end_text()
        self._open, self._pieces, self._sources, self._length = None, [], [], 0

    def _flush_filter(self) -> None:
        """No more text follows for now: show the held text."""
        if self._filter is not None:
            self._show_text(self._filter.flush_text(), self._filter)

    def _show_text(self, text: str, passed: TextFilter) -> None:
        if text:
            self._emitter.add_text(text)
        if passed.stop_sequence is not None:
            self._emitter.set_stop_reason("stop_sequence", sequence=passed.stop_sequence)
            self._emitter.end_message()

    def _start_part(self, part: PartIndex) -> None:
        self.close_part()
        if not self.met_stop_sequence:
            self._filter = copy(self._fresh)
        self._open = part
        self._last = max(self._last, part)

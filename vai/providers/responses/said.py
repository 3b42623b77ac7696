"""The text of an answer: which part a piece belongs to, and what is known of it.

A part of a message is a text block. Its sources are told while it is written, with offsets
into the whole of it, so they are held until it is complete.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final

from vai.providers.decode.emitter import Emitter
from vai.providers.decode.text_filter import TextFilter
from vai.providers.responses.traces import cited

__all__ = ["MAX_KEPT", "MAX_SOURCES", "OutputText"]

MAX_KEPT: Final = 4 << 20
"""Characters of a part that its sources can quote; those beyond are cited without words."""
MAX_SOURCES: Final = 1024
"""Sources of one part; those beyond are left out."""

Place = tuple[int, int]
"""Output index and content index."""


class OutputText:
    """Gives the text of messages to the emitter, part by part.

    Args:
        text: what stands between the upstream's text and the caller's, if anything; every
            part gets its own.
    """

    def __init__(self, emitter: Emitter, text: TextFilter | None) -> None:
        self._emitter = emitter
        self._fresh = text
        self._filter = copy(text)
        self._open: Place | None = None
        self._last: Place = (-1, -1)
        self._pieces: list[str] = []
        self._length = 0
        self._sources: list[Any] = []

    @property
    def stopped(self) -> bool:
        """Whether the caller's stop sequence has been met."""
        return self._filter is not None and self._filter.stop_sequence is not None

    @property
    def index(self) -> int | None:
        """The place of the item that is being written, if one is."""
        return None if self._open is None else self._open[0]

    def writes(self, index: int) -> bool:
        """Whether a part of this item is being written."""
        return self._open is not None and self._open[0] == index

    def piece(self, place: Place, text: str) -> None:
        """More text of a part."""
        if place != self._open:
            self._start(place)
        if self._length < MAX_KEPT:
            self._pieces.append(text)
        self._length += len(text)
        if self._filter is None:
            self._emitter.add_text(text)
            return
        self._show(self._filter.filter_text(text), self._filter)

    def source(self, place: Place, annotation: Any) -> None:
        """A source of a part that is being written."""
        if place == self._open and len(self._sources) < MAX_SOURCES:
            self._sources.append(annotation)

    def whole(self, place: Place, text: str, annotations: list[Any] | None = None) -> None:
        """All of a part's text, and its sources if they are told: what was missing follows."""
        if place != self._open and place <= self._last:
            return  # it is complete
        known = self._length if place == self._open else 0
        if text[known:]:
            self.piece(place, text[known:])
        if annotations is not None and place == self._open:
            self._sources = annotations[:MAX_SOURCES] or self._sources
            self.close()

    def close(self) -> None:
        """The open part is complete."""
        if self._open is None:
            return
        self.flush()
        text = "".join(self._pieces)
        for annotation in self._sources:
            citation = cited(annotation, text)
            if citation is not None:
                self._emitter.add_citation(citation)
        self._emitter.end_text()
        self._open, self._pieces, self._sources, self._length = None, [], [], 0

    def flush(self) -> None:
        """No more text follows for now: show what was held back."""
        if self._filter is not None:
            self._show(self._filter.flush_text(), self._filter)

    def _show(self, text: str, passed: TextFilter) -> None:
        if text:
            self._emitter.add_text(text)
        if passed.stop_sequence is not None:
            self._emitter.set_stop_reason("stop_sequence", sequence=passed.stop_sequence)
            self._emitter.end_message()

    def _start(self, place: Place) -> None:
        self.close()
        if not self.stopped:
            self._filter = copy(self._fresh)
        self._open = place
        self._last = max(self._last, place)

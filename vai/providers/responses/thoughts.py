"""The reasoning of an answer: its summary as text, and the envelope it travels in."""

from __future__ import annotations

from typing import Any

from vai.providers.decode.emitter import Emitter
from vai.providers.responses import kept

__all__ = ["ReasoningItems"]

Paragraph = tuple[str, int]
"""What it is part of (``summary`` or ``content``), and its place there."""


class ReasoningItems:
    """Gives reasoning items to the emitter, one at a time."""

    def __init__(self, emitter: Emitter, provider: str) -> None:
        self._emitter = emitter
        self._provider = provider
        self._paragraph: Paragraph | None = None

    def start(self) -> None:
        """A reasoning item begins."""
        self._paragraph = None

    def piece(self, paragraph: Paragraph, text: str) -> None:
        """More of a paragraph."""
        if not text:
            return
        if self._paragraph not in (None, paragraph):
            self._emitter.add_thinking("\n\n")
        self._paragraph = paragraph
        self._emitter.add_thinking(text)

    def done(self, item: dict[str, Any]) -> None:
        """The item is complete: only now its encrypted content is."""
        if self._paragraph is None:
            for kind in ("summary", "content"):
                parts = item.get(kind)
                for index, part in enumerate(parts if isinstance(parts, list) else ()):
                    text = part.get("text") if isinstance(part, dict) else None
                    self.piece((kind, index), text if isinstance(text, str) else "")
        sealed = kept.sealed(self._provider, item)
        if sealed is not None and self._paragraph is not None:
            self._emitter.add_signature(sealed)
        elif sealed is not None:
            self._emitter.add_redacted_thinking(sealed)
        self._paragraph = None

"""What has been said of a text that a server may say again as a whole."""

from __future__ import annotations

__all__ = ["RepeatedText"]


class RepeatedText:
    """The pieces of one text: how long they are, and how the last one reads."""

    __slots__ = ("_last", "length")

    def __init__(self) -> None:
        self.length = 0
        self._last = ""

    def add_piece(self, piece: str) -> None:
        """One more piece."""
        self.length += len(piece)
        self._last = piece

    def missing_text(self, text: str) -> str:
        """What the pieces left out of the whole text; nothing if they are of another text."""
        before = text[: self.length]
        return text[self.length :] if before.endswith(self._last) else ""

    def is_continued_by(self, text: str) -> bool:
        """Whether `whole` begins with all pieces."""
        return len(text) >= self.length and text[: self.length].endswith(self._last)

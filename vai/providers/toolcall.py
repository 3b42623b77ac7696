"""One tool call while it is being streamed: its name and the pieces of its arguments."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["ToolCall", "decode_object"]

_MAX_TRIALS: Final = 64

_decode = msgspec.json.Decoder().decode


def decode_object(text: str) -> dict[str, Any] | None:
    """The JSON object `text` is, or None. Blank text is the empty object."""
    if not text.strip():
        return {}
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class ToolCall:
    """A call whose arguments may still be incomplete."""

    __slots__ = ("_complete", "_pieces", "_trials", "closed", "id", "name")

    def __init__(self, id: str) -> None:
        self.id = id
        self.name: str | None = None
        self.closed = False
        self._pieces: list[str] = []
        self._complete: bool | None = None
        self._trials = 0

    def add(self, piece: str) -> str:
        """More arguments; gives what counts of them: blanks alone are not JSON."""
        if not self._pieces:
            piece = piece.lstrip()
        if piece:
            self._pieces.append(piece)
            self._complete = None
        return piece

    def text(self) -> str:
        """The arguments so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def valid(self) -> bool:
        """Whether the arguments are a whole JSON object, or none at all."""
        return decode_object(self.text()) is not None

    def complete(self) -> bool:
        """Whether the arguments can be taken as complete while more may come.

        False is no proof: none at all may be followed by some, and the number of trials
        is bounded, because two calls that alternate piece by piece would make it quadratic.
        """
        if self._complete is None:
            self._complete = self._try()
        return self._complete

    def close(self) -> None:
        """The call is over; its arguments are forgotten."""
        self.closed = True
        self._pieces = []

    def _try(self) -> bool:
        if not self._pieces or not self._pieces[-1].rstrip().endswith("}"):
            return False
        self._trials += 1
        return self._trials <= _MAX_TRIALS and self.valid()

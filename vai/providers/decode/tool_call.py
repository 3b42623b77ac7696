"""One tool call while it streams: its name and the pieces of its arguments."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from vai.codec.halves import repair_escapes

__all__ = ["ToolCall", "as_json", "decode_object", "parse_arguments"]

_MAX_TRIALS: Final = 64
_MAX_WRAPS: Final = 3
_FENCED: Final = re.compile(r"```[a-zA-Z]*\s*(.*?)\s*```", re.DOTALL)

_decode = msgspec.json.Decoder().decode


def decode_object(text: str) -> dict[str, Any] | None:
    """The JSON object in `text`, or None. Blank text is the empty object."""
    if not text.strip():
        return {}
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def as_json(arguments: Any) -> str:
    """A call's arguments as JSON text, from the text or from the value itself."""
    if not arguments:
        # An empty object needs no piece: a call without arguments has the input {}.
        return ""
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()


def parse_arguments(value: Any) -> dict[str, Any] | None:
    """The object in a call's arguments: plain, as JSON text, fenced, or alone in a list.

    An empty text or list, or null, means no arguments. None means that there is no object.
    """
    fenced = _FENCED.fullmatch(value.strip()) if isinstance(value, str) else None
    value = fenced[1] if fenced is not None else value
    for _ in range(_MAX_WRAPS):
        if isinstance(value, str):
            if not value.strip():
                return {}
            try:
                value = _decode(value)
            except (msgspec.DecodeError, RecursionError):
                return None
        elif isinstance(value, list) and len(value) == 1:
            value = value[0]
        else:
            break
    if value is None or value in ([], ""):
        return {}
    return value if isinstance(value, dict) else None


class ToolCall:
    """A call whose arguments may still be incomplete.

    Attributes:
        upstream_id: the server's id, unchanged.
        name: the server's name of the tool.
    """

    __slots__ = (
        "_complete",
        "_cut",
        "_is_wrapped",
        "_pieces",
        "_text_hash",
        "_trials",
        "is_closed",
        "name",
        "upstream_id",
    )

    def __init__(self) -> None:
        self.upstream_id: Any = None
        self.name: str | None = None
        self.is_closed = False
        self._pieces: list[str] = []
        self._cut = ""
        self._is_wrapped = False
        self._complete: bool | None = None
        self._trials = 0
        self._text_hash = 0

    @property
    def can_open(self) -> bool:
        """Whether the call has all that its block starts with. The id may follow the name."""
        return bool(self.name) and (bool(self.upstream_id) or bool(self._pieces))

    def add_piece(self, piece: str) -> str:
        """Add a piece of the arguments; return what can be sent of it now."""
        if not self._pieces:
            # Blanks alone are not JSON.
            piece = piece.lstrip(" \t\r\n\ufeff")
            self._is_wrapped = piece[:1] != "{"
        elif piece[:1] == "{" and self.has_complete_arguments() and self.is_repetition(piece):
            return ""
        if self._cut or "\\" in piece:
            piece, self._cut = repair_escapes(self._cut + piece)
        if not piece:
            return ""
        self._pieces.append(piece)
        self._complete = None
        return "" if self._is_wrapped else piece

    def missing_arguments(self, arguments: str) -> str:
        """What the pieces lack of the whole `arguments`; empty if they do not begin them."""
        sent_text, arguments = self._joined_text(), arguments.strip()
        return arguments[len(sent_text) :] if arguments.startswith(sent_text) else ""

    def arguments_so_far(self) -> str:
        """The arguments so far that can be sent."""
        return "" if self._is_wrapped else self._joined_text()

    def unsent_arguments(self) -> str:
        """The arguments of a finished call that are still to be sent."""
        input_object = self._decode_arguments() if self._is_wrapped else None
        return msgspec.json.encode(input_object).decode() if input_object else ""

    def is_valid(self) -> bool:
        """Whether the arguments are a whole JSON object, or empty."""
        return self._decode_arguments() is not None

    def has_complete_arguments(self) -> bool:
        """Whether the arguments are complete, although more may arrive.

        False proves nothing: more may follow empty arguments, and the number of trials
        is bounded, because two calls that alternate piece by piece would make it quadratic.
        """
        if self._complete is None:
            self._complete = self._try_decode()
        return self._complete

    def is_repetition(self, arguments: str) -> bool:
        """Whether `arguments` repeat those of the complete call."""
        if self.is_closed:
            return hash(arguments) == self._text_hash
        return decode_object(arguments) == self._decode_arguments()

    def close(self) -> None:
        """Close the call and free its arguments."""
        self.is_closed = self._complete = True
        self._text_hash = hash(self._joined_text())
        self._pieces = []

    def _joined_text(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def _decode_arguments(self) -> dict[str, Any] | None:
        text = self._joined_text()
        return parse_arguments(text) if self._is_wrapped else decode_object(text)

    def _try_decode(self) -> bool:
        if self._is_wrapped or not self._pieces or not self._pieces[-1].rstrip().endswith("}"):
            return False
        self._trials += 1
        return self._trials <= _MAX_TRIALS and self.is_valid()

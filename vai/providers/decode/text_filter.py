"""Filters that change or read a text between the upstream and the client, piece by piece.

They do two things that some providers cannot: end a text at a stop sequence, and
remove the object around a value that the provider can send only inside
one. Each filter holds back no more text than it needs to decide.
"""

from __future__ import annotations

import re
from copy import copy
from typing import Final, Protocol, Self

__all__ = [
    "MAX_QUOTABLE",
    "WRAPPER",
    "QuotableText",
    "RepeatedText",
    "StopAt",
    "TextFilter",
    "Unwrap",
    "UnwrapAndStop",
    "make_text_filter",
]


MAX_QUOTABLE: Final = 4 << 20
"""Characters of a response that citations can refer to."""
WRAPPER: Final = "value"
"""The member that holds a root value that is not an object."""
_MAX_TAIL: Final = 1024


class TextFilter(Protocol):
    """Filters one text."""

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that was found; the filter returns no text after it."""
        ...

    def filter_text(self, text: str, /) -> str:
        """The text that can be sent now."""
        ...

    def flush_text(self) -> str:
        """End the text: return the held text that can be sent."""
        ...


class StopAt:
    """Ends the text before the one of `sequences` (non-empty strings) that completes first."""

    def __init__(self, sequences: list[str]) -> None:
        self.stop_sequence: str | None = None
        self._sequences = sequences
        self._longest = max(map(len, sequences))
        self._held = ""

    def filter_text(self, text: str) -> str:
        """The text up to where a sequence may have begun."""
        if self.stop_sequence is not None:
            return ""
        text = self._held + text
        met = [
            (at + len(sequence), at, sequence)
            for sequence in self._sequences
            if (at := text.find(sequence)) >= 0
        ]
        if met:
            _, start, self.stop_sequence = min(met)
            self._held = ""
            return text[:start]
        cut = self._safe_length(text)
        self._held = text[cut:]
        return text[:cut]

    def flush_text(self) -> str:
        """The held text, which did not become a sequence."""
        held, self._held = self._held, ""
        return held

    def _safe_length(self, text: str) -> int:
        for start in range(max(0, len(text) - self._longest + 1), len(text)):
            if any(sequence.startswith(text[start:]) for sequence in self._sequences):
                return start
        return len(text)


class QuotableText:
    """Keeps the text that passes, for citations that refer to a part of it by position.

    Args:
        inner: another filter that the text passes through, if any.
    """

    def __init__(self, inner: TextFilter | None = None) -> None:
        self._inner = inner
        self._pieces: list[str] = []
        self._length = 0

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that the inner filter found, if any."""
        return self._inner.stop_sequence if self._inner is not None else None

    @property
    def text(self) -> str:
        """The upstream's unfiltered text, to which its positions refer; see `MAX_QUOTABLE`."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def filter_text(self, text: str) -> str:
        """The text that the inner filter returns."""
        if self._length < MAX_QUOTABLE:
            self._length += len(text)
            self._pieces.append(text)
        return text if self._inner is None else self._inner.filter_text(text)

    def flush_text(self) -> str:
        """The text that the inner filter held back."""
        return "" if self._inner is None else self._inner.flush_text()


class Unwrap:
    """Removes ``{"value":`` and the closing brace from a JSON text.

    Text with another beginning (a refusal, a model that ignores the schema) passes unchanged.
    """

    _BEGINNING = f'{{"{WRAPPER}":'
    _OPENING = re.compile(rf'\s*\{{\s*"{WRAPPER}"\s*:')
    _TAIL = re.compile(r"[\s}]*\Z")

    def __init__(self) -> None:
        self.stop_sequence: str | None = None
        self._held = ""
        self._wrapped: bool | None = None
        self._shown = False

    def filter_text(self, text: str) -> str:
        """The value's text, without what may be the closing brace."""
        if self._wrapped is False:
            return text
        text, self._held = self._held + text, ""
        if self._wrapped is None:
            opening = self._OPENING.match(text)
            if opening is None:
                return self._hold_undecided(text)
            self._wrapped = True
            text = text[opening.end() :]
        if not self._shown:
            text = text.lstrip()
            self._shown = bool(text)
        tail = self._TAIL.search(text)
        cut = max(tail.start() if tail else 0, len(text) - _MAX_TAIL)
        self._held = text[cut:]
        return text[:cut]

    def flush_text(self) -> str:
        """The end of the value, without the closing brace of the object around it."""
        held, self._held = self._held, ""
        return held.rstrip().removesuffix("}").rstrip() if self._wrapped else held

    def _hold_undecided(self, text: str) -> str:
        begun = "".join(text.split())
        if self._BEGINNING.startswith(begun) and len(text) <= _MAX_TAIL:
            self._held = text
            return ""
        self._wrapped = False
        return text


class UnwrapAndStop:
    """Removes the object, then searches for the client's stop sequences.

    Before the removal, the wrapper itself (``"``, ``:``) could match a sequence.
    """

    def __init__(self, sequences: list[str]) -> None:
        self._unwrap = Unwrap()
        self._stop = StopAt(sequences)

    def __copy__(self) -> Self:
        # Each part of a response has its own copy, because filters hold text.
        other = object.__new__(type(self))
        other._unwrap, other._stop = copy(self._unwrap), copy(self._stop)
        return other

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that was found."""
        return self._stop.stop_sequence

    def filter_text(self, text: str) -> str:
        """The value's text up to where a sequence may have begun."""
        return self._stop.filter_text(self._unwrap.filter_text(text))

    def flush_text(self) -> str:
        """The end of the value; it may still contain a sequence."""
        return self._stop.filter_text(self._unwrap.flush_text()) + self._stop.flush_text()


def make_text_filter(sequences: list[str], *, wrapped: bool) -> TextFilter | None:
    """The filter for the text of a response; None if it needs none.

    Args:
        sequences: the non-empty stop sequences that the server does not check itself.
        wrapped: the response is inside an object that the client did not request.
    """
    if sequences:
        return UnwrapAndStop(sequences) if wrapped else StopAt(sequences)
    return Unwrap() if wrapped else None


class RepeatedText:
    """The pieces of one text, for a server that repeats it as a whole.

    It keeps only their length and the last piece.
    """

    __slots__ = ("_last", "length")

    def __init__(self) -> None:
        self.length = 0
        self._last = ""

    def add_piece(self, piece: str) -> None:
        """Add one more piece."""
        self.length += len(piece)
        self._last = piece

    def missing_text(self, text: str) -> str:
        """What the pieces lack of the whole `text`; empty if they belong to another text."""
        before = text[: self.length]
        return text[self.length :] if before.endswith(self._last) else ""

    def is_continued_by(self, text: str) -> bool:
        """Whether `text` begins with all pieces."""
        return len(text) >= self.length and text[: self.length].endswith(self._last)

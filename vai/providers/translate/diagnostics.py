"""What a translation could not carry over.

Invariants: nothing is lost in silence. What changes the meaning of a request
refuses it, and all such problems are named at once; what is only a hint is left out and
listed. A caller chooses the names of members and their number, so each note takes the same
time however many there are, and what is reported stays short: the first names, each of a
bounded length, and the number of the others.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from vai.errors import InvalidRequest

__all__ = ["MAX_DROPPED", "Diagnostics"]

MAX_DROPPED: Final = 32
"""Dropped members that are named at most; the others are counted."""
_MAX_TOLD: Final = 900
"""Characters of these names together: they travel in one header field."""
_MAX_COUNTED: Final = 10_000
"""Distinct dropped members that are counted exactly."""
_MAX_SHOWN: Final = 20
"""Problems that are named; the others are counted."""
_MAX_NAME: Final = 128
"""Characters of a path."""
_MAX_SENTENCE: Final = 512
"""Characters of what was expected at a path."""


class Diagnostics:
    """Collects the problems and the dropped hints of one request.

    Args:
        target: what the request is translated for, as a human would name it.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self._dropped: dict[str, None] = {}
        self._problems: list[tuple[str, str, str | None]] = []
        self._refused = 0

    @property
    def refused(self) -> bool:
        """Whether there are problems."""
        return self._refused > 0

    def adopt(self, other: Diagnostics) -> None:
        """Take over the hints that `other` has noted."""
        for path in other._dropped:
            self.drop(path)

    @property
    def dropped(self) -> list[str]:
        """The paths of what was left out, in the order of the notes.

        `MAX_DROPPED` are named; an entry of the form ``and 7 more`` stands for the others.
        """
        told: list[str] = []
        left = _MAX_TOLD
        for name in islice(self._dropped, MAX_DROPPED):
            shown = _short(name, _MAX_NAME)
            left -= len(shown)
            if left < 0:
                break
            told.append(shown)
        more = len(self._dropped) - len(told)
        if more:
            at_least = "+" if len(self._dropped) >= _MAX_COUNTED else ""
            told.append(f"and {more}{at_least} more")
        return told

    def drop(self, path: str) -> None:
        """The hint at `path` is left out. ``[*]`` stands for every index."""
        if len(self._dropped) < _MAX_COUNTED:
            self._dropped[path] = None

    def refuse(self, path: str, what: str, code: str | None = None) -> None:
        """What is at `path` cannot be left out. `what` says what was expected."""
        self._refused += 1
        if len(self._problems) < _MAX_SHOWN:
            problem = _short(path, _MAX_NAME), _short(what, _MAX_SENTENCE), code
            self._problems.append(problem)

    def check(self) -> None:
        """
        Raises:
            InvalidRequest: there are problems. The first ones are named; `param` and `code`
                are those of the first.
        """
        if not self._problems:
            return
        shown = [f"{path}: {what}" for path, what, _ in self._problems]
        if self._refused > len(shown):
            shown.append(f"and {self._refused - len(shown)} more")
        first, _, code = self._problems[0]
        raise InvalidRequest("; ".join(shown), param=first, code=code)


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."

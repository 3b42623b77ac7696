"""What a translation could not carry over.

The law of this module: nothing is lost in silence. What changes the meaning of a request
refuses it, and all such problems are named at once; what is only a hint is left out and
listed.
"""

from __future__ import annotations

from typing import Final

from vai.errors import InvalidRequest

__all__ = ["Findings"]

_MAX_SHOWN: Final = 20


class Findings:
    """Collects the problems and the dropped hints of one request.

    Args:
        target: what the request is translated for, as a human would name it.
    """

    def __init__(self, target: str) -> None:
        self.dropped: list[str] = []
        self.target = target
        self._problems: list[tuple[str, str, str | None]] = []

    def drop(self, path: str) -> None:
        """The hint at `path` is left out. ``[*]`` stands for every index."""
        if path not in self.dropped:
            self.dropped.append(path)

    def refuse(self, path: str, what: str, code: str | None = None) -> None:
        """What is at `path` cannot be left out. `what` says what was expected."""
        self._problems.append((path, what, code))

    def check(self) -> None:
        """
        Raises:
            InvalidRequest: there are problems. All are named; `param` and `code` are
                those of the first.
        """
        if not self._problems:
            return
        shown = [f"{path}: {what}" for path, what, _ in self._problems[:_MAX_SHOWN]]
        if len(self._problems) > _MAX_SHOWN:
            shown.append(f"and {len(self._problems) - _MAX_SHOWN} more")
        first, _, code = self._problems[0]
        raise InvalidRequest("; ".join(shown), param=first, code=code)

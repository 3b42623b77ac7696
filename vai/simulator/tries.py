"""How often each model was asked for: what ``fail=2x503`` counts by.

Invariants: one counter per provider and model name, knobs included, so that two
tests with two names never disturb each other. Bounded; the longest unused is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from vai.simulator.knobs import Knobs, failing

__all__ = ["Tries"]

_MOST: Final = 1024


class Tries:
    """Requests so far, and how many of them were made to fail, by ``provider/model``."""

    def __init__(self, most: int = _MOST) -> None:
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._most = most

    def weigh(self, name: str, knobs: Knobs) -> Knobs:
        """The knobs for the next request to `name`, which is counted when it may fail."""
        if knobs.fail is None:
            return failing(knobs, 0)
        asked, failed = self._seen.pop(name, (0, 0))
        now = failing(knobs, asked)
        self._seen[name] = (asked + 1, failed + (now != failing(knobs, 1 << 40)))
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return now

    def show(self) -> dict[str, dict[str, int]]:
        return {
            name: {"requests": asked, "failed": failed}
            for name, (asked, failed) in self._seen.items()
        }

    def clear(self) -> None:
        """Count from the start again."""
        self._seen.clear()

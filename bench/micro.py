"""The price of single steps that every exchange takes, measured in this process.

Each row is a function that sets a step up and returns it; what is reported is the best
of several repeats, because everything that disturbs such a short loop makes it slower.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

from bench.suite import Figures

__all__ = ["STEPS", "Step", "run"]

Step = Callable[[], None]

STEPS: dict[str, Callable[[], Step]] = {}
"""Name to the set-up of a step; its figure is ``micro.NAME.us``."""

_REPEATS = 7
_LOOPS = 20_000


def run(say: Callable[[str], None]) -> Figures:
    """Microseconds of every step."""
    found: Figures = {}
    for name, set_up in STEPS.items():
        step = set_up()
        best = min(timeit.repeat(step, number=_LOOPS, repeat=_REPEATS)) / _LOOPS
        found[f"micro.{name}.us"] = best * 1e6
        say(f"micro {name}: {best * 1e6:.2f} us")
    return found

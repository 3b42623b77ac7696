"""One run: the ways that stand, and measurements taken on them in turn.

Invariants: rounds are interleaved. Each round takes one measurement on every
way before the next begins, so that what else the machine does hits all of them alike;
ratios and differences are formed inside a round, and the median of the rounds is what
counts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench.job import Job, Measured
from bench.ways import LOAD_CORE, Way, pinned

__all__ = ["BUSY", "Figures", "Options", "Suite", "add_medians"]

BUSY = 0.8
"""A generator whose core is busier than this measures itself; the run is void."""

Figures = dict[str, float]
"""``scenario.way.figure`` to its value; the name of a figure ends in its unit."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How thorough the run is."""

    rounds: int = 3
    seconds: float = 4.0
    warmup: float = 1.0
    quick: bool = False
    single_process: bool = False
    log: Path | None = None
    """Where the gateway's output goes; None drops it."""


class Suite:
    """The ways of one run and what was found on them."""

    def __init__(
        self, options: Options, direct: Way, others: list[Way], say: Callable[[str], None]
    ) -> None:
        self.options = options
        self.direct = direct
        self.others = others
        self.say = say
        self.figures: Figures = {}
        self.void: set[str] = set()
        """``scenario.way`` of measurements that do not count."""

    @property
    def gateways(self) -> list[Way]:
        """The modes of the gateway; empty where it does not serve."""
        return [way for way in self.others if way.name.startswith("vai")]

    def measure(
        self, scenario: str, way: Way, *, cores: set[int] | None = None, **job: Any
    ) -> Measured:
        """Take one measurement on `way` in a process of its own."""
        cores = cores or {LOAD_CORE}
        measured = finish(self.begin(way, cores=cores, **job))
        if measured.errors:
            self.say(f"{scenario} {way.name}: {measured.errors} errors, {measured.problem}")
        # Where the load shares every core with the target there is no core to judge.
        # What goes straight to the mock is there to find the generator's own limit.
        if len(cores) == 1 and way is not self.direct and measured.core > BUSY:
            self.void.add(f"{scenario}.{way.name}")
        return measured

    def begin(
        self, way: Way, *, cores: set[int] | None = None, **job: Any
    ) -> subprocess.Popen[bytes]:
        """Start a measurement; `finish` waits for it."""
        fields = {"seconds": self.options.seconds, "warmup": self.options.warmup, **job}
        fields["model"] = way.prefix + fields["model"]
        order = Job(
            port=way.port,
            headers=way.headers,
            target=way.root if way is not self.direct else 0,
            mock=self.direct.root,
            core=LOAD_CORE,
            **fields,
        )
        with pinned(cores or {LOAD_CORE}):
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=Path(__file__).resolve().parent.parent,
            )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(order))
        process.stdin.close()
        process.stdin = None
        return process


def finish(process: subprocess.Popen[bytes]) -> Measured:
    """Wait for a measurement that was begun."""
    answer, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "bench.load")
    return msgspec.json.decode(answer, type=Measured)


def add_medians(figures: Figures, rounds: list[Figures]) -> None:
    """Add to `figures` the median of what each round found, figure by figure."""
    for name in rounds[0]:
        figures[name] = statistics.median(found[name] for found in rounds if name in found)

"""Where the time of one load goes: py-spy on the worker, and the functions that lead.

Sampled from outside, so that the profile costs the worker nothing but pauses. `self` is
the time in a function's own lines and in the C it calls, `with callees` the time while
it was on the stack.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import ways
from bench.loads import LOADS
from bench.procs import cpu_seconds, tree
from bench.suite import Options, Suite, finish
from bench.ways import GATEWAY_CORE, LOAD_CORE, Way

__all__ = ["run", "shares"]

_RATE = 400
_TOP = 30
_FRAME = 0.95
"""What is on the stack in more than this share of the samples is the frame of it all."""


def run(console: Console, options: Options, load: str, mode: str) -> None:
    """Profile one worker under `load`; the samples are written beside the results."""
    out = Path(__file__).resolve().parent / "results" / f"profile-{load}-{mode}.txt"
    with ways.mock({LOAD_CORE}) as direct:
        if mode == "floor":
            standing = ways.floor(direct.port, {GATEWAY_CORE})
        else:
            standing = ways.gateway(
                direct.port, {GATEWAY_CORE}, single_process=True, log=options.log
            )
        with standing as way:
            if mode == "translated":
                way = way.mode("vai-translated", "openai/")
            _record(Suite(options, direct, [way], console.print), way, load, out)
    for title, counts in zip(("self", "with callees"), shares(out.read_text()), strict=True):
        console.print(_table(f"{load}, {mode}: {title}", counts))
    console.print(f"written to {out}")


def shares(folded: str) -> tuple[Counter[str], Counter[str]]:
    """Samples per function, alone and with callees, of py-spy's raw format."""
    alone: Counter[str] = Counter()
    with_callees: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        alone[frames[-1]] += int(count)
        for frame in set(frames):
            with_callees[frame] += int(count)
    return alone, with_callees


def _record(suite: Suite, way: Way, load: str, out: Path) -> None:
    seconds = max(4.0, suite.options.seconds)
    process = suite.begin(way, **{**LOADS[load].job(), "seconds": seconds, "warmup": 1.0})
    time.sleep(1.0)
    worker = max(tree(way.root), key=cpu_seconds)
    argv = [
        str(Path(sys.executable).with_name("py-spy")),
        "record",
        *("--pid", str(worker), "--output", str(out), "--format", "raw"),
        # Only while it holds the GIL: a loop that waits is no work.
        *("--rate", str(_RATE), "--duration", str(int(seconds) - 1), "--function", "--gil"),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    seen = finish(process)
    units = seen.events if LOADS[load].events else seen.requests
    suite.say(
        f"{units / seen.seconds:,.0f} per s, {1e6 * seen.cpu / max(units, 1):.1f} us of CPU each, "
        f"{seen.errors} errors {seen.problem}"
    )


def _table(title: str, counts: Counter[str]) -> Table:
    table = Table(title=title)
    table.add_column("%", justify="right")
    table.add_column("function")
    alone = title.endswith("self")
    total = counts.total() if alone else max(counts.values(), default=1)
    shown = [pair for pair in counts.most_common() if alone or pair[1] <= _FRAME * total]
    for frame, count in shown[:_TOP]:
        table.add_row(f"{100 * count / total:.1f}", frame)
    return table

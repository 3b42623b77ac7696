"""Instructions per Python function, with its callees: where a request's or event's go.

A module in C, built for the run, gives each Python function a call that callgrind sees
(`bench/frames.py`). With it the interpreter takes a longer way from one Python function to the
next, so all figures are too high; the first line says by how much. Compare functions with each
other, and take totals from `bench.instructions` and `bench.ceilings`.

A function that calls itself is counted at each level. A coroutine has one call when it is made and
one each time that it continues.

    python -m bench.functions                            # verbatim-json
    python -m bench.functions translated-sse --top 40
    python -m bench.functions verbatim-json --only vai/io/limits
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from bench.callgrind import count_least, reset_count, run_command, set_counting, write_profile
from bench.frames import SIGNAL, build_frames, read_names, search_path
from bench.playing import LOADS, MODES, Load, playing

__all__ = ["Function", "count_functions", "main", "read_profile"]

_WARM_UP = 6
_COUNTED = 30
_CALL = re.compile(r"^c?fn=\((\d+)\)(?: (.*))?$")


class Function(msgspec.Struct, frozen=True):
    """A function of Python, per request or event."""

    name: str
    instructions: float
    """With its callees."""
    calls: float


def read_profile(lines: Iterator[str], names: dict[str, str], units: int) -> list[Function]:
    """The functions of a callgrind profile, dearest first.

    Args:
        lines: of the profile.
        names: of the functions, by their trampolines.
        units: requests or events that were counted.
    """
    symbols: dict[str, str] = {}
    cost: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    callee = ""
    for line in lines:
        if found := _CALL.match(line):
            # A symbol has its name where it comes for the first time, and later its number alone.
            number, symbol = found.groups()
            if symbol:
                symbols[number] = symbol.partition("'")[0]
            callee = symbols[number]
        elif line.startswith("calls=") and callee in names:
            calls[callee] += int(line[6:].split()[0])
            cost[callee] += int(next(lines).split()[1])
    return [
        Function(names[symbol], total / units, calls[symbol] / units)
        for symbol, total in cost.most_common()
    ]


def count_functions(way: str) -> tuple[float, list[Function]]:
    """By what factor the hook raises the total of `way`, and its functions.

    Raises:
        CannotBuildError: there is no C compiler, or it failed.
    """
    mode, _, load_name = way.partition("-")
    with tempfile.TemporaryDirectory(prefix="vai-bench-frames-") as name:
        folder = Path(name)
        build_frames(folder)
        with playing(mode, {"PYTHONPATH": search_path(folder)}) as player:
            load = player.open_load(load_name)
            plain = _count_plays(load)
            os.kill(load.pid, SIGNAL)
            hooked = _count_plays(load)
            with write_profile(load.pid, player.profile).open() as profile:
                names = read_names(folder)
                functions = read_profile(profile, names, _COUNTED * load.units)
    return hooked / plain, functions


def _count_plays(load: Load) -> int:
    """The least of the counts, which the work of no timer is in."""
    for _ in range(_WARM_UP):
        load.play()
    set_counting(load.pid, "on")
    load.play()
    reset_count(load.pid)
    count = count_least(load.pid, load.play, _COUNTED)
    set_counting(load.pid, "off")
    return count


def main(argv: list[str] | None = None) -> int:
    """Print a table; 2 when nothing can be counted."""
    return run_command("functions", partial(_print_table, _parser().parse_args(argv)))


def _print_table(arguments: argparse.Namespace) -> int:
    factor, functions = count_functions(arguments.way)
    unit = "event" if arguments.way.endswith("-sse") else "request"
    print(f"{arguments.way}: per {unit}, callees included; totals are {factor - 1:.0%} too high")
    print(f"{'instructions':>12} {'calls':>8}  function")
    shown = [function for function in functions if arguments.only in function.name]
    for function in shown[: arguments.top]:
        print(f"{function.instructions:12,.0f} {function.calls:8.2f}  {function.name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    ways = [f"{mode}-{load}" for mode in MODES for load in LOADS]
    parser = argparse.ArgumentParser(
        "python -m bench.functions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="ways: " + ", ".join(ways),
    )
    parser.add_argument("way", nargs="?", default=ways[0], choices=ways, metavar="WAY-LOAD")
    parser.add_argument("--top", type=int, default=60, metavar="N", help="functions to print")
    parser.add_argument("--only", default="", metavar="TEXT", help="of names that contain TEXT")
    return parser


if __name__ == "__main__":
    sys.exit(main())

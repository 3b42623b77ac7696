"""What a request and an event may cost, in instructions: count them and compare with the table.

The table `ceilings.toml` has the figures that the code has reached, by `--write`, and `ALLOWANCE`
is what a count may be above its figure. Every figure belongs to one build of Python: the count of a
fixed piece of work (`bench/yardstick.py`) is stored beside the figures, and on a build that
takes another number for it nothing is compared, because another build changes each figure by
another share.

Each way is counted request by request, or by a few events of a stream that sends the next one
when it is told to, so neither the speed of the machine nor its load changes what is counted. The
lowest of the counts is taken: what a timer does in between is left out, and so is what not every
request does.

    python -m bench.ceilings            # count and compare; exits 1 when a count is too high
    python -m bench.ceilings --write    # count and write the table anew
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from bench.callgrind import (
    HASH_SEED,
    CannotCountError,
    count_least,
    run_command,
    set_counting,
    under_callgrind,
)
from bench.playing import LOADS, MODES, Load, playing
from bench.ways import WayError
from vai.io.limits import fast_path

__all__ = [
    "ALLOWANCE",
    "TABLE",
    "Figures",
    "Judgement",
    "OtherPythonError",
    "count_all",
    "count_load",
    "count_mode",
    "count_program",
    "count_until_below",
    "judge",
    "main",
    "read_table",
    "write_table",
]

ALLOWANCE = 0.03
"""A count that is higher than its figure by more than this is a failure."""
TABLE = Path(__file__).with_name("ceilings.toml")

_SLACK = 0.05
"""A count that is lower than its ceiling by more than this hides the next increase."""
_SAME_PYTHON = 0.01

_WARM_UP = 6
_SLICES = 24

_HEAD = f"""\
# Instructions per request (json, 107k, open) and per event (sse), and the Python that they belong
# to. Written by `python -m bench.ceilings --write`; a count may be {ALLOWANCE:.0%} above a figure.
"""


class OtherPythonError(CannotCountError):
    """The figures are of another build of Python, so that there is nothing to compare."""


class Figures(msgspec.Struct, frozen=True):
    """A table: the counts, and what says for which Python they hold."""

    python: str
    """Its version, such as 3.11, and whether the limits have their fast path in C."""
    yardstick: int
    """Instructions of `bench.yardstick.work`."""
    instructions: dict[str, int]
    """By the name of the way and the load, such as ``verbatim-json``."""


class Judgement(msgspec.Struct, frozen=True):
    """A count next to its ceiling."""

    line: str
    failed: bool


def judge(reached: Figures, counted: Figures) -> list[Judgement]:
    """Compare `counted` with the figures `reached`: a line per way.

    Raises:
        OtherPythonError: the figures are of another build.
    """
    if reached.python != counted.python or _differ(reached.yardstick, counted.yardstick):
        raise OtherPythonError(
            f"the table is for Python {reached.python} with {reached.yardstick:,} instructions for "
            f"a fixed piece of work; this is {counted.python} with {counted.yardstick:,}"
        )
    names = sorted(reached.instructions.keys() | counted.instructions.keys())
    return [_judge_way(name, reached, counted) for name in names]


def _differ(one: int, other: int) -> bool:
    return abs(one - other) > _SAME_PYTHON * other


def _judge_way(name: str, reached: Figures, counted: Figures) -> Judgement:
    figure, count = reached.instructions.get(name), counted.instructions.get(name)
    if figure is None or count is None:
        lacks = "the table has no figure" if figure is None else "nothing was counted"
        return Judgement(f"{name}: FAILED, {lacks}", failed=True)
    ceiling = round(figure * (1 + ALLOWANCE))
    share = count / ceiling - 1
    failed = count > ceiling
    verdict = "FAILED" if failed else "ok, lower the ceiling" if share < -_SLACK else "ok"
    line = f"{name}: {verdict}, {count:,} instructions, ceiling {ceiling:,} ({share:+.1%})"
    return Judgement(line, failed=failed)


# -- counting --------------------------------------------------------------------------


def count_all() -> Figures:
    """Count every way and the yardstick, beside each other; takes about a minute."""
    with concurrent.futures.ThreadPoolExecutor(len(MODES) + 1) as pool:
        modes = [pool.submit(count_mode, mode) for mode in MODES]
        yardstick = pool.submit(count_program, ["-m", "bench.yardstick"])
        counts = {name: count for mode in modes for name, count in mode.result().items()}
        return Figures(version(), yardstick.result(), counts)


def count_until_below(
    reached: Figures, count: Callable[[], Figures] = count_all, starts: int = 3
) -> Figures:
    """Count every way, and again in new processes while one is above its ceiling; the least counts.

    A body of 107 KB takes up to 5 % more in one process than in the next, as its copies lie
    elsewhere in memory. What became dearer is dearer in all of them.
    """
    counted = count()
    for _ in range(starts - 1):
        if not any(judgement.failed for judgement in judge(reached, counted)):
            break
        other = count().instructions
        least = {name: min(n, other.get(name, n)) for name, n in counted.instructions.items()}
        counted = msgspec.structs.replace(counted, instructions=least)
    return counted


def version() -> str:
    """This Python's, without the last part, and whether the limits have their fast path in C."""
    python = ".".join(platform.python_version_tuple()[:2])
    return python if fast_path.module is None else f"{python} with the fast path"


def count_program(arguments: Sequence[str]) -> int:
    """Instructions that a program of Python takes for each line on stdin; it answers with one."""
    with (
        tempfile.TemporaryDirectory(prefix="vai-bench-program-") as folder,
        _piped([*under_callgrind(Path(folder, "profile")), sys.executable, *arguments]) as process,
    ):
        work = _Work(process)
        work.once()
        set_counting(process.pid, "on")
        work.once()
        return count_least(process.pid, work.once, 3)


def count_mode(mode: str) -> dict[str, int]:
    """Count the loads of one mode of the gateway, in one process."""
    with playing(mode) as player:
        return {f"{mode}-{load}": count_load(player.open_load(load)) for load in LOADS}


def count_load(load: Load) -> int:
    """The least that one request or event of `load` takes."""
    for _ in range(_WARM_UP):
        load.play()
    set_counting(load.pid, "on")
    load.play()
    count = count_least(load.pid, load.play, _SLICES) // load.units
    set_counting(load.pid, "off")
    return count


class _Work:
    """The process that works when it is told to."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders: IO[bytes] = process.stdin
        self._answers: IO[bytes] = process.stdout

    def once(self) -> None:
        """Have it work once."""
        self._orders.write(b"\n")
        self._orders.flush()
        if not self._answers.readline():
            raise WayError("the program ended")


@contextlib.contextmanager
def _piped(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=TABLE.parent.parent,
        env={**os.environ, **HASH_SEED},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


# -- the command -----------------------------------------------------------------------


def read_table(path: Path = TABLE) -> Figures:
    """The figures that were reached."""
    return msgspec.convert(tomllib.loads(path.read_text()), Figures)


def write_table(figures: Figures, path: Path = TABLE) -> None:
    """Store `figures` as those that were reached."""
    lines = [f'python = "{figures.python}"', f"yardstick = {figures.yardstick:_}"]
    lines += ["", "[instructions]"]
    lines += [f"{name} = {count:_}" for name, count in sorted(figures.instructions.items())]
    path.write_text(_HEAD + "\n".join(lines) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Count, then compare or write; 1 when a count is above its ceiling."""
    parser = argparse.ArgumentParser(
        "python -m bench.ceilings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--write", action="store_true", help="write the table anew")
    arguments = parser.parse_args(argv)
    return run_command("ceilings", _write_counts if arguments.write else _compare_counts)


def _write_counts() -> int:
    write_table(count_all())
    print(TABLE.read_text(), end="")
    return 0


def _compare_counts() -> int:
    reached = read_table()
    judgements = judge(reached, count_until_below(reached))
    print("\n".join(judgement.line for judgement in judgements))
    return 1 if any(judgement.failed for judgement in judgements) else 0


if __name__ == "__main__":
    sys.exit(main())

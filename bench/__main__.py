"""`python -m bench`: the whole comparison, a quick one, one scenario, or a profile."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from bench import micro, profile, ways
from bench.budgets import judge
from bench.loads import LOADS, run_latency, run_load
from bench.report import RESULTS, print_report, write_results
from bench.states import run_capacity, run_memory, run_scaling, run_stalled
from bench.suite import Options, Suite
from bench.ways import GATEWAY_CORE, LOAD_CORE, Way, WayError

__all__ = ["main"]

_STATES: dict[str, Callable[[Suite], None]] = {
    "latency": run_latency,
    "stalled": run_stalled,
    "memory": run_memory,
    "capacity": run_capacity,
    "scaling": run_scaling,
}
_OF_GATEWAY = {"memory", "capacity", "scaling"}
_NOT_QUICK = {"memory", "capacity", "scaling", "stalled"}


def main(argv: list[str] | None = None) -> int:
    """Run what `argv` asks for; 0, or 1 with ``--strict`` and a budget missed."""
    arguments = _parser().parse_args(argv)
    # A file or a pipe gets whole rows too.
    console = Console(width=None if sys.stdout.isatty() else 140)
    RESULTS.mkdir(exist_ok=True)
    log = RESULTS / "gateway.log"
    log.unlink(missing_ok=True)
    options = Options(
        rounds=arguments.rounds or (1 if arguments.quick else 3),
        seconds=arguments.seconds or (0.8 if arguments.quick else 2.0),
        warmup=0.4 if arguments.quick else 1.0,
        quick=arguments.quick,
        single_process=arguments.single_process,
        log=log,
    )
    if ways.all_cores() < {GATEWAY_CORE, LOAD_CORE}:
        console.print("cores 0 and 1 are both needed: one to measure on, one to load from")
        return 2
    try:
        if arguments.profile:
            profile.run(console, options, arguments.profile, arguments.mode)
            return 0
        with _standing(options, console) as suite:
            _run(suite, set(arguments.only), console)
            print_report(console, suite)
            console.print(f"written to {write_results(suite)}")
            missed = [b for b, verdict in judge(suite.figures) if verdict == "missed"]
    except WayError as failure:
        console.print(str(failure))
        return 2
    return 1 if arguments.strict and missed else 0


@contextlib.contextmanager
def _standing(options: Options, console: Console) -> Iterator[Suite]:
    """Start every way there is on this machine."""
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(ways.mock({LOAD_CORE}))
        plain = stack.enter_context(ways.nginx(direct.port, {GATEWAY_CORE}))
        others: list[Way] = [plain] if plain else []
        if plain is None:
            console.print("nginx is not installed: no ratios in this run")
        others.append(stack.enter_context(ways.floor(direct.port, {GATEWAY_CORE})))
        try:
            vai = stack.enter_context(
                ways.gateway(
                    direct.port,
                    {GATEWAY_CORE},
                    single_process=options.single_process,
                    log=options.log,
                )
            )
        except WayError as failure:
            console.print(f"the gateway is left out: {failure} (see {options.log})")
        else:
            others += [vai, vai.mode("vai-translated", "openai/")]
        yield Suite(options, direct, others, console.print)


def _run(suite: Suite, only: set[str], console: Console) -> None:
    quick = suite.options.quick and not only
    for name, load in LOADS.items():
        if name in only or not (only or (quick and not load.quick)):
            console.print(f"{name} ...")
            run_load(suite, load)
    for name, state in _STATES.items():
        if name in only or not (only or (quick and name in _NOT_QUICK)):
            if name in _OF_GATEWAY and not suite.gateways:
                continue
            console.print(f"{name} ...")
            state(suite)
    if not only or "micro" in only:
        suite.figures.update(micro.run(console.print))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    names = [*LOADS, *_STATES, "micro"]
    parser.add_argument("--only", action="append", default=[], choices=names, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="under a minute, one round")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 3)")
    parser.add_argument("--seconds", type=float, help="of each measurement (default 2)")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a budget is missed")
    parser.add_argument("--single-process", action="store_true", help="gateway without a manager")
    parser.add_argument("--profile", choices=list(LOADS), metavar="LOAD", help="py-spy one load")
    parser.add_argument("--mode", choices=["verbatim", "translated", "floor"], default="verbatim")
    parser.epilog = "names: " + ", ".join(names)
    return parser


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    sys.exit(main())

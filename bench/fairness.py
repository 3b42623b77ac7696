"""Are all clients served alike? Many connections in a closed loop, each counted by itself.

A client that has its answer asks again, so every connection should have about as many answers as
the next, and the slowest answer should not take much longer than the usual one. The goals, at 256
connections: p99 at most twice p50, and the answers of each connection within 15 % of the median.

The mock and the clients share a core. One worker has the other one; two workers share all.

    python -m bench.fairness --workers 2 --seconds 10
"""

from __future__ import annotations

import argparse
import statistics
import sys

from bench import ways
from bench.job import Measured
from bench.suite import Options, Suite
from bench.ways import GATEWAY_CORE, LOAD_CORE, WayError

__all__ = ["answers_spread", "describe", "latency_tail", "main"]

SPREAD_GOAL = 15.0
TAIL_GOAL = 2.0


def answers_spread(seen: Measured) -> float:
    """Per cent by which the connection that is farthest from the median is off it."""
    middle = statistics.median(seen.answers) if seen.answers else 0
    if not middle:
        return float("inf")
    return 100 * max(max(seen.answers) - middle, middle - min(seen.answers)) / middle


def latency_tail(seen: Measured) -> float:
    """p99 as a multiple of p50."""
    return seen.latency.p99 / seen.latency.p50 if seen.latency.p50 else float("inf")


def is_fair(seen: Measured) -> bool:
    """Whether both goals are met."""
    return latency_tail(seen) <= TAIL_GOAL and answers_spread(seen) <= SPREAD_GOAL


def describe(seen: Measured) -> str:
    """One line for a human."""
    least, most = min(seen.answers, default=0), max(seen.answers, default=0)
    middle = statistics.median(seen.answers) if seen.answers else 0
    latency = seen.latency
    return (
        f"{seen.requests / seen.seconds:,.0f} per s; answers per connection: min {least}, "
        f"median {middle:g}, max {most}, spread {answers_spread(seen):.0f} %; "
        f"p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms, p99/p50 {latency_tail(seen):.2f}, "
        f"max {latency.worst:.1f} ms; errors {seen.errors}; "
        f"goals {'met' if is_fair(seen) else 'missed'}"
    )


def main(argv: list[str] | None = None) -> int:
    """Print a line per round and way; 1 with ``--strict`` when a round of VAI misses a goal."""
    arguments = _parser().parse_args(argv)
    if ways.all_cores() < {GATEWAY_CORE, LOAD_CORE}:
        print("fairness: cores 0 and 1 are both needed")
        return 2
    alone = arguments.workers == 1
    cores = {GATEWAY_CORE} if alone else ways.all_cores()
    options = Options(rounds=arguments.rounds, seconds=arguments.seconds)
    fair = True
    try:
        with (
            ways.mock({LOAD_CORE}) as direct,
            ways.floor(direct.port, cores) as floor,
            ways.gateway(direct.port, cores, workers=arguments.workers) as vai,
        ):
            suite = Suite(options, direct, [], print)
            others = [floor] if arguments.floor else []
            for _ in range(options.rounds):
                for way in (*others, vai, vai.mode("vai-translated", "openai/")):
                    seen = suite.measure(
                        "fairness",
                        way,
                        shape="closed",
                        model="mock-json",
                        concurrency=arguments.connections,
                    )
                    print(f"{way.name}, {arguments.workers} workers: {describe(seen)}", flush=True)
                    fair = fair and (way is floor or is_fair(seen))
    except WayError as failure:
        print(f"fairness: {failure}")
        return 2
    return 1 if arguments.strict and not fair else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m bench.fairness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--connections", type=int, default=256, metavar="N")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="N", help="of each round")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument("--rounds", type=int, default=1, metavar="N")
    parser.add_argument("--floor", action="store_true", help="measure bare Sanic too")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())

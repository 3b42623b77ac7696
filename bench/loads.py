"""The loads that every way carries, and the figures that come of them.

CPU per request or event is the whole process tree's, as a multiple of nginx's in the
same round. Latency is what a way adds to ``direct`` in the same round.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from bench.job import Measured
from bench.suite import Figures, Suite, add_medians

__all__ = ["LOADS", "Load", "run_latency", "run_load"]

_CEILING = 0.7
"""Of what the generator and the mock can do alone. A fast way is held below it, in bursts
that keep its concurrency; else the generator's core would be what is measured."""

STREAMS = 200
PACED_EVENTS = 100


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the comparison."""

    name: str
    shape: Literal["closed", "streams"] = "closed"
    model: str = "mock-json"
    concurrency: int
    size: int = 0
    events: int = 0
    quick: bool = True
    """Whether a quick run has it."""

    def job(self) -> dict[str, Any]:
        """What the load generator is told."""
        return {
            "shape": self.shape,
            "model": self.model,
            "concurrency": self.concurrency,
            "size": self.size,
            "events": self.events,
        }


LOADS = {
    load.name: load
    for load in (
        Load(name="json-c1", concurrency=1),
        Load(name="json-c32", concurrency=32),
        Load(name="json-c256", concurrency=256),
        Load(name="json-107k", concurrency=32, size=107 * 1024),
        Load(
            name="sse-paced",
            shape="streams",
            model="mock-paced",
            concurrency=STREAMS,
            events=PACED_EVENTS,
        ),
        Load(name="sse-flat", shape="streams", model="mock-flat", concurrency=16, events=2000),
        Load(
            name="sse-bulk",
            shape="streams",
            model="mock-bulk",
            concurrency=8,
            events=9600,
            quick=False,
        ),
    )
}


def run_load(suite: Suite, load: Load) -> None:
    """Take `load` down every way, round by round."""
    rounds = []
    for _ in range(suite.options.rounds):
        alone = suite.measure(load.name, suite.direct, **load.job())
        # A ceiling in bursts of a millisecond would be no closed loop for one client.
        limited = load.shape == "closed" and load.concurrency > 1
        rate = _CEILING * alone.requests / alone.seconds if limited else 0.0
        round_ = {"direct": alone}
        for way in suite.others:
            round_[way.name] = suite.measure(load.name, way, **load.job(), rate=rate)
        rounds.append(_figures(load, round_))
    add_medians(suite.figures, rounds)


def run_latency(suite: Suite) -> None:
    """What the gateway adds to a request at 30 % of what it can do, in an open loop."""
    target = suite.gateways[:1] or suite.others[-1:]
    if not target:
        return
    c32 = LOADS["json-c32"].job()
    most = suite.measure("latency", target[0], **{**c32, "seconds": 1.0})
    rate = 0.3 * most.requests / most.seconds
    rounds = []
    for _ in range(suite.options.rounds):
        found: Figures = {"latency.offered.per_s": rate}
        direct: Measured | None = None
        for way in (suite.direct, *suite.others):
            seen = suite.measure(
                "latency", way, shape="open", model="mock-json", concurrency=16, rate=rate
            )
            direct = direct or seen
            found |= _delays(f"latency.{way.name}", seen, direct)
            found[f"latency.{way.name}.generator_%"] = 100 * seen.generator
        rounds.append(found)
    add_medians(suite.figures, rounds)


def _figures(load: Load, round_: dict[str, Measured]) -> Figures:
    found: Figures = {}
    direct = round_["direct"]
    nginx = round_.get("nginx")
    reference = _cost(load, nginx) if nginx else 0.0
    for name, seen in round_.items():
        key = f"{load.name}.{name}"
        found[f"{key}.per_s"] = _units(load, seen) / seen.seconds
        found[f"{key}.generator_%"] = 100 * seen.generator
        found[f"{key}.core_%"] = 100 * seen.core
        found |= _delays(key, seen, direct)
        if name == "direct":
            continue
        cost = _cost(load, seen)
        found[f"{key}.cost_us"] = cost * 1e6
        if reference:
            found[f"{key}.x"] = cost / reference
    return found


def _units(load: Load, seen: Measured) -> int:
    return seen.events if load.events else seen.requests


def _cost(load: Load, seen: Measured) -> float:
    """Seconds of CPU per request or event; endless when nothing came through."""
    units = _units(load, seen)
    return seen.cpu / units if units else float("inf")


def _delays(key: str, seen: Measured, direct: Measured) -> Figures:
    """Quantiles as seen, and what the way adds to `direct`."""
    found: Figures = {}
    for what in ("latency", "first", "jitter"):
        here, there = getattr(seen, what), getattr(direct, what)
        if not here.count:
            continue
        for quantile in ("p50", "p99"):
            value = getattr(here, quantile)
            found[f"{key}.{what}_{quantile}_ms"] = value
            found[f"{key}.added_{what}_{quantile}_ms"] = value - getattr(there, quantile)
        if what == "latency" and here.p50:
            found[f"{key}.tail"] = here.p99 / here.p50
    return found

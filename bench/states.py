"""What is not a rate: start, memory, readers that stall, how many streams flow freely.

Each of these wants gateways of its own, started for it and ended with it, because a
process that has carried load says nothing about an idle one.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator

import orjson

from bench.loads import LOADS, PACED_EVENTS
from bench.procs import pss_bytes
from bench.suite import Suite, finish
from bench.ways import Way, all_cores, gateway
from bench.wire import PERIOD_MS

__all__ = ["run_capacity", "run_memory", "run_scaling", "run_stalled"]

_MIB = 1024 * 1024
_STALLED = 200
_STALL_MS = 250.0
"""A pause between two words that a reader notices."""


def run_memory(suite: Suite) -> None:
    """Start and memory of the whole group with two workers: idle, and after load."""
    with _two_workers(suite) as way:
        time.sleep(1.0)
        figures = suite.figures
        figures["start.vai.ready_s"] = way.ready
        figures["memory.vai.idle_mib"] = pss_bytes(way.root) / _MIB
        for name in ("json-c32", "sse-paced", "json-107k"):
            suite.measure("memory", way, cores=all_cores(), **LOADS[name].job())
        once = pss_bytes(way.root) / _MIB
        for name in ("json-c32", "sse-paced", "json-107k"):
            suite.measure("memory", way, cores=all_cores(), **LOADS[name].job())
        figures["memory.vai.after_mib"] = pss_bytes(way.root) / _MIB
        # The first load warms pools and arenas; growth by the second one is a leak.
        figures["memory.vai.growth_mib"] = figures["memory.vai.after_mib"] - once


def run_stalled(suite: Suite) -> None:
    """Two hundred clients that ask for endless streams and never read."""
    for way in suite.others:
        before = pss_bytes(way.root)
        process = suite.begin(
            way,
            shape="stalled",
            model="mock-bulk",
            concurrency=_STALLED,
            events=10**9,
            seconds=2.0,
            warmup=2.0,
        )
        time.sleep(3.0)
        during, streams = pss_bytes(way.root), _mock_streams(suite.direct)
        seen = finish(process)
        time.sleep(1.0)
        key = f"stalled.{way.name}"
        suite.figures[f"{key}.opened"] = len(streams)
        suite.figures[f"{key}.held_kib"] = (during - before) / _STALLED / 1024
        suite.figures[f"{key}.upstream_kib"] = max(streams, default=0) / 1024
        suite.figures[f"{key}.left_open"] = len(_mock_streams(suite.direct))
        if seen.errors:
            suite.say(f"stalled {way.name}: {seen.errors} errors, {seen.problem}")


def run_capacity(suite: Suite) -> None:
    """The most paced streams that two workers carry without a noticeable pause.

    Load, mock and gateway share all cores: on a small machine this asks more of the
    gateway than its users will.
    """
    with _two_workers(suite) as way:
        free = 0
        for streams in (500,) if suite.options.quick else (250, 500, 750, 1000):
            seen = suite.measure(
                "capacity",
                way,
                cores=all_cores(),
                shape="streams",
                model="mock-paced",
                concurrency=streams,
                events=PACED_EVENTS,
            )
            expected = streams * 1000 / PERIOD_MS * seen.seconds
            suite.figures[f"capacity.vai.worst_gap_{streams}_ms"] = seen.gap.worst
            if seen.errors or seen.gap.worst > _STALL_MS or seen.events < 0.97 * expected:
                break
            free = streams
        suite.figures["capacity.vai.streams"] = free


def run_scaling(suite: Suite) -> None:
    """What a second worker brings, where there are cores for it and for the load."""
    cores = sorted(all_cores())
    if len(cores) < 4:
        suite.say(f"scaling: skipped, {len(cores)} cores are too few to show it")
        return
    rates = []
    for workers in (1, 2):
        with gateway(suite.direct.port, set(cores[2 : 2 + workers]), workers=workers) as way:
            seen = suite.measure("scaling", way, **LOADS["json-c32"].job())
            rates.append(seen.requests / seen.seconds)
    suite.figures["scaling.vai.x"] = rates[1] / rates[0]


@contextlib.contextmanager
def _two_workers(suite: Suite) -> Iterator[Way]:
    with gateway(suite.direct.port, all_cores(), workers=2, log=suite.options.log) as way:
        yield way


def _mock_streams(direct: Way) -> list[int]:
    """Bytes that each open endless stream of the mock has got rid of."""
    connection = http.client.HTTPConnection("127.0.0.1", direct.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/stats")
        with connection.getresponse() as response:
            taken: list[int] = orjson.loads(response.read())["bytes"]
        return taken

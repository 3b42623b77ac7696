"""The price of single steps that every exchange takes, measured in this process.

Each row is a function that sets a step up and returns it; what is reported is the best
of several repeats, because everything that disturbs such a short loop makes it slower.
"""

from __future__ import annotations

import mmap
import os
import timeit
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import uvloop

from bench import contention
from bench.suite import Figures
from bench.wire import message_request
from vai.codec import routing_fields as envelope
from vai.gateway.request.context import RequestContext
from vai.io.clock import monotonic
from vai.io.limits.layout import section_size
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.io.log import RequestLog
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal

__all__ = ["STEPS", "Step", "run"]

Step = Callable[[], object]

_REPEATS = 7
_LOOPS = 10_000


def run(say: Callable[[str], None]) -> Figures:
    """Microseconds of every step."""
    found = uvloop.run(_run()) | contention.run()
    for name, value in found.items():
        say(f"{name}: {value:.2f}")
    return found


async def _run() -> Figures:
    # In a loop, because what an exchange does may set timers.
    return {
        f"micro.{name}.us": min(timeit.repeat(set_up(), number=_LOOPS, repeat=_REPEATS))
        / _LOOPS
        * 1e6
        for name, set_up in STEPS.items()
    }


def _record() -> Step:
    """A request's line in the log, made and handed over."""
    request = SimpleNamespace(header_fields={}, method="POST", path="/v1/messages", ip="127.0.0.1")
    call = RequestContext(cast("Any", request))
    call.status = 200
    lines = RequestLog(os.open(os.devnull, os.O_WRONLY))
    return lambda: lines.write(call.make_log_line(0.012))


def _envelope() -> Step:
    """What the gateway reads of a small request before it chooses a mode."""
    body = message_request("anthropic/mock", stream=True, max_tokens=100)
    return lambda: envelope.read_routing_fields(body)


def _limits() -> tuple[SharedLimits, tuple[Principal, ...]]:
    places = _REPEATS * _LOOPS + 1
    view = memoryview(mmap.mmap(-1, section_size(leases=places)))
    limits = LimitSet(requests=1 << 30, tokens=1 << 50, concurrency=places, sessions=places)
    principals = (Principal(GATEWAY, limits), Principal("user:alice", limits))
    return SharedLimits(LimitsSection.prepare(view, leases=places), 0, 1), principals


def _admission() -> Step:
    """A place under all limits of the gateway and of a user; the clock is read for it."""
    limits, principals = _limits()
    return lambda: limits.take_lease(principals, 1000, monotonic())


def _settlement() -> Step:
    """The place given back and the tokens corrected."""
    limits, principals = _limits()
    now = monotonic()
    held = [limits.take_lease(principals, 1000, now).handle for _ in range(_REPEATS * _LOOPS)]
    return lambda: limits.settle_lease(held.pop(), 400, monotonic())


def _refusal() -> Step:
    """An attempt of a user whose minute is used up."""
    limits, (everybody, _) = _limits()
    principals = (everybody, Principal("user:bob", LimitSet(requests=1)))
    limits.take_lease(principals, 1000, monotonic())
    return lambda: limits.take_lease(principals, 1000, monotonic())


STEPS: dict[str, Callable[[], Step]] = {
    "record": _record,
    "envelope": _envelope,
    "admission": _admission,
    "settlement": _settlement,
    "refusal": _refusal,
}
"""Name to the set-up of a step; its figure is ``micro.NAME.us``."""

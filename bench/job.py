"""What the load generator is told and what it answers: one measurement of one way."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Job", "Measured", "Quantiles", "quantiles"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one port, watched for `seconds` after `warmup` seconds."""

    shape: Literal["closed", "open", "streams", "stalled"]
    """``closed``: `concurrency` requests are always under way. ``open``: `rate` requests
    a second whatever comes back. ``streams``: as closed, and events are looked at.
    ``stalled``: `concurrency` streams are opened and never read."""
    port: int
    model: str
    headers: dict[str, str]
    concurrency: int
    rate: float = 0.0
    """Requests a second: exactly in ``open``, at most in ``closed`` (0: no ceiling)."""
    size: int = 0
    """Bytes of conversation in a request."""
    events: int = 0
    """Deltas of one stream; 0 asks for JSON."""
    seconds: float = 3.0
    warmup: float = 1.0
    target: int = 0
    """Root of the process tree whose CPU is counted; 0 counts none."""
    mock: int = 0
    """Process of the mock, whose CPU counts as the generator's."""
    core: int = 0
    """The core that the generator and the mock run on."""


class Quantiles(msgspec.Struct, frozen=True):
    """Of a set of samples, in milliseconds."""

    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    count: int = 0


def quantiles(samples: list[float]) -> Quantiles:
    """Nearest-rank quantiles; of nothing, zeros with a count that says so."""
    if not samples:
        return Quantiles()
    ordered = sorted(samples)
    last = len(ordered) - 1
    return Quantiles(
        ordered[round(0.50 * last)], ordered[round(0.99 * last)], ordered[last], len(ordered)
    )


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a `Job`. Times are of the window, without the warm-up."""

    requests: int
    events: int
    errors: int
    problem: str = ""
    """The first error, for a human."""
    seconds: float
    cpu: float
    """Seconds of CPU of the target's tree."""
    generator: float
    """Share of one core that the generator and the mock used, 0 to 1 and above."""
    core: float
    """Share of the generator's core that was busy, whoever used it."""
    latency: Quantiles = Quantiles()
    """Request written to answer complete."""
    first: Quantiles = Quantiles()
    """Request written to first delta of a stream."""
    jitter: Quantiles = Quantiles()
    """Between two deltas of a stream: by how much their time on the way differed."""
    gap: Quantiles = Quantiles()
    """Between the arrivals of two deltas of a stream."""
    answers: list[int] = []
    """Whole answers of each connection."""

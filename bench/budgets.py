"""What the gateway may cost: one row per promise, next to the figure that shows it.

All features are on when these are measured. Ratios are to nginx's plain proxy in the
same run; a budget is never an absolute time of another machine.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from bench.suite import Figures

__all__ = ["BUDGETS", "Budget", "Verdict", "judge"]

Verdict = Literal["met", "missed", "not measured"]


class Budget(msgspec.Struct, frozen=True):
    """A promise: `figure` is at most (or at least) `limit`."""

    promise: str
    figure: str
    limit: float
    at_least: bool = False

    def verdict(self, figures: Figures) -> Verdict:
        """Whether `figures` keep the promise."""
        value = figures.get(self.figure)
        if value is None:
            return "not measured"
        kept = value >= self.limit if self.at_least else value <= self.limit
        return "met" if kept else "missed"


BUDGETS = (
    Budget("JSON c=32, verbatim: x nginx", "json-c32.vai.x", 9.0),
    Budget("JSON c=32, translated: x nginx", "json-c32.vai-translated.x", 14.0),
    Budget("JSON c=256, verbatim: p99 / p50", "json-c256.vai.tail", 2.0),
    Budget("JSON c=256, translated: p99 / p50", "json-c256.vai-translated.tail", 2.0),
    Budget("JSON 107 KB bodies, verbatim: x nginx", "json-107k.vai.x", 10.0),
    Budget("SSE paced, verbatim, per event: x nginx", "sse-paced.vai.x", 1.8),
    Budget("SSE paced, translated, per event: x nginx", "sse-paced.vai-translated.x", 2.6),
    Budget("SSE flat out, verbatim, per event: x nginx", "sse-flat.vai.x", 1.4),
    Budget("SSE flat out, translated, per event: x nginx", "sse-flat.vai-translated.x", 4.0),
    Budget("Added at 30 % load, p50, ms", "latency.vai.added_latency_p50_ms", 0.4),
    Budget("Added at 30 % load, p99, ms", "latency.vai.added_latency_p99_ms", 2.0),
    Budget("First event added, p99, ms", "sse-paced.vai.added_first_p99_ms", 1.5),
    Budget("Jitter between events added, p99, ms", "sse-paced.vai.added_jitter_p99_ms", 3.0),
    Budget("Free-flowing streams, 2 workers", "capacity.vai.streams", 500, at_least=True),
    Budget("A stalled reader holds, KiB", "stalled.vai.held_kib", 1024),
    Budget("A stalled reader's upstream sends, KiB", "stalled.vai.upstream_kib", 2048),
    Budget("Streams left open after their readers", "stalled.vai.left_open", 0),
    Budget("Admission, us", "micro.admission.us", 5.0),
    Budget("Metrics and log line, us", "micro.record.us", 10.0),
    Budget("Memory of the group, 2 workers, idle, MiB", "memory.vai.idle_mib", 200),
    Budget("Growth by a second load, MiB", "memory.vai.growth_mib", 5),
    Budget("Start to ready, s", "start.vai.ready_s", 2.0),
    Budget("2 workers: x 1 worker", "scaling.vai.x", 1.8, at_least=True),
)


def judge(figures: Figures) -> list[tuple[Budget, Verdict]]:
    """Every budget with its verdict."""
    return [(budget, budget.verdict(figures)) for budget in BUDGETS]

"""The tables on the terminal, and the same figures as a JSON file."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from bench.budgets import judge
from bench.loads import LOADS
from bench.suite import Figures, Suite

__all__ = ["RESULTS", "print_report", "write_results"]

RESULTS = Path(__file__).resolve().parent / "results"

_COLUMNS = {
    "x nginx": "x",
    "CPU us": "cost_us",
    "per s": "per_s",
    "p50 ms": "latency_p50_ms",
    "p99 ms": "latency_p99_ms",
    "p99/p50": "tail",
    "first p99": "first_p99_ms",
    "jitter p99": "jitter_p99_ms",
    "gen. %": "generator_%",
    "core %": "core_%",
}
_COLOURS = {"met": "green", "missed": "red", "not measured": "dim"}


def print_report(console: Console, suite: Suite) -> None:
    """Loads by way, then the other figures, then the budgets."""
    console.print(_loads(suite))
    console.print(_others(suite.figures))
    console.print(_budgets(suite.figures))
    if suite.void:
        console.print(
            "[yellow]void[/]: the core of the load generator was over 80 % busy in "
            + ", ".join(sorted(suite.void))
        )


def write_results(suite: Suite) -> Path:
    """Write everything to a file of its own; its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    verdicts = {
        budget.promise: {"figure": budget.figure, "limit": budget.limit, "verdict": verdict}
        for budget, verdict in judge(suite.figures)
    }
    content = {"figures": suite.figures, "budgets": verdicts, "void": sorted(suite.void)}
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    return path


def _loads(suite: Suite) -> Table:
    table = Table(title="Medians, per request or per event (sse-*)")
    for heading in ("load", "way"):
        table.add_column(heading, no_wrap=True)
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for name in (*LOADS, "latency"):
        for way in (suite.direct, *suite.others):
            key = f"{name}.{way.name}"
            cells = [_cell(suite.figures.get(f"{key}.{figure}")) for figure in _COLUMNS.values()]
            if any(cells):
                table.add_row(name, way.name + (" (void)" if key in suite.void else ""), *cells)
        table.add_section()
    return table


def _others(figures: Figures) -> Table:
    table = Table(title="States")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        if (name.split(".")[0] not in LOADS and not name.startswith("latency.")) or (
            ".added_latency" in name and name.startswith("latency.")
        ):
            table.add_row(name, _cell(value))
    return table


def _budgets(figures: Figures) -> Table:
    table = Table(title="Budgets")
    for heading in ("promise", "measured", "budget", "verdict"):
        table.add_column(heading, justify="left" if heading == "promise" else "right")
    for budget, verdict in judge(figures):
        sign = ">=" if budget.at_least else "<="
        colour = _COLOURS[verdict]
        table.add_row(
            budget.promise,
            _cell(figures.get(budget.figure)),
            f"{sign} {budget.limit:g}",
            f"[{colour}]{verdict}[/]",
        )
    return table


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"

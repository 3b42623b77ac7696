"""``vai limits``: the current use of the limits, as tables or as JSON.

Invariants: the command only reads. It is for the operator of the machine, so it names users;
responses to clients name none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vai.cli.limits_report import Allowance, LimitsReport, build_report
from vai.io.clock import span_in_words
from vai.io.group_record import DEFAULTS
from vai.io.groups import open_group, running_groups

__all__ = ["LimitsSelection", "show_limits", "watch_limits"]

_WIDE: Final = 160
"""Columns where the output is no terminal and does not report its width."""
_STORES: Final = {"shared_memory": "shared memory", "redis": "Redis", None: "unknown"}


class LimitsSelection(msgspec.Struct, frozen=True):
    """The gateways to show, and how many rows of each table.

    `pid` or `control_block`, a path, selects one gateway; without them all are shown. `rows` is
    how many rows of each table; None shows all.
    """

    pid: int | None = None
    control_block: Path | None = None
    rows: int | None = None


def show_limits(choice: LimitsSelection, allowance: Allowance | None, *, as_json: bool) -> None:
    """Write the current use to standard output.

    Raises:
        NotRunning: there is no such gateway.
        ControlBlockError: a control block cannot be read.
    """
    reports = _read_reports(choice, allowance)
    if as_json:
        _print_json(_reports_to_wire(reports, choice.rows), orjson.OPT_INDENT_2)
    else:
        _print_reports(_open_console(), reports, choice.rows)


def watch_limits(
    choice: LimitsSelection, allowance: Allowance | None, *, as_json: bool, every: float
) -> None:
    """`show_limits` once in `every` seconds, until Ctrl-C; JSON in lines. Raises the same."""
    console, pause = _open_console(), threading.Event()
    try:
        while True:
            reports = _read_reports(choice, allowance)
            if as_json:
                _print_json(_reports_to_wire(reports, choice.rows))
            else:
                console.clear()
                _print_reports(console, reports, choice.rows)
            pause.wait(every)
    except KeyboardInterrupt:
        return


def _read_reports(choice: LimitsSelection, allowance: Allowance | None) -> list[LimitsReport]:
    control_blocks = (
        running_groups(pid=choice.pid)
        if choice.control_block is None
        else [open_group(choice.control_block)]
    )
    try:
        return [build_report(control_block, allowance) for control_block in control_blocks]
    finally:
        for control_block in control_blocks:
            control_block.close()


def _print_json(wire: dict[str, Any], option: int = 0) -> None:
    print(orjson.dumps(wire, option=option).decode(), flush=True)  # noqa: T201


def _reports_to_wire(reports: list[LimitsReport], rows: int | None) -> dict[str, Any]:
    gateways = []
    for one in reports:
        wire = msgspec.to_builtins(one)
        for table in ("principals", "places"):
            items = wire[table]
            wire[table] = items[:rows]
            wire[f"{table}_left_out"] = len(items) - len(wire[table])
        gateways.append(wire)
    return {"gateways": gateways}


def _open_console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    return console


def _print_reports(console: Console, reports: Iterable[LimitsReport], rows: int | None) -> None:
    for number, one in enumerate(reports):
        if number:
            console.print()
        for line in _describe_report(one):
            console.print(line, markup=False)
        _print_table(console, _principals_table(one, rows), left_out=len(one.principals), rows=rows)
        if one.leases:
            _print_table(console, _leases_table(one, rows), left_out=len(one.leases), rows=rows)


def _print_table(console: Console, table: Table, *, left_out: int, rows: int | None) -> None:
    console.print()
    console.print(table)
    if rows is not None and left_out > rows:
        console.print(f"and {left_out - rows:,} more (--all shows them)", markup=False)


def _describe_report(one: LimitsReport) -> list[str]:
    waiting = "" if one.waiting is None else f", {one.waiting:,} waiting"
    lines = [
        f"gateway {one.pid}: {one.running:,} running, {one.sessions:,} sessions{waiting}",
        _describe_group(one),
        f"store: {_STORES[one.store]}; manager: {one.manager}"
        + ("; draining" if one.draining else ""),
    ]
    lines.append(
        f"callers: {one.callers:,} counted, room for {one.max_callers:,}"
        + ("; FULL: some were refused within the last minute" if one.full else "")
    )
    if one.enabled is False:
        lines.append("limits are off (limits.enabled = false)")
    elif one.store == "redis":
        lines.append("Redis counts for all gateways; shown is what this gateway alone has running")
    return lines


def _describe_group(one: LimitsReport) -> str:
    if one.version is None:
        return "of another version: where it listens, and with which settings, is not known"
    config = one.config if one.config == DEFAULTS else f"config {one.config}"
    workers = f"{one.workers} worker{'' if one.workers == 1 else 's'}"
    return f"{one.address}, {config}; {workers}, up {span_in_words(one.uptime)}, vai {one.version}"


def _principals_table(one: LimitsReport, rows: int | None) -> Table:
    columns = ("running", "sessions", "requests", "tokens")
    table = _new_table("user, key, address", columns)
    for principal in one.principals[:rows]:
        limits = principal.limits or {}
        table.add_row(
            Text(principal.name),
            *(
                _format_share(getattr(principal, column), limits.get(column, 0))
                for column in columns
            ),
        )
    return table


def _format_share(used: int, limit: int) -> str:
    return f"{used:,} / {limit:,}" if limit else f"{used:,}"


def _leases_table(one: LimitsReport, rows: int | None) -> Table:
    table = _new_table("request, session", ("age", "tokens", "worker", "pid"))
    table.add_column("by", overflow="fold")
    for lease in one.leases[:rows]:
        table.add_row(
            lease.kind,
            f"{lease.age:,.1f} s",
            f"{lease.tokens:,}",
            "gone" if lease.worker is None else str(lease.worker),
            "" if lease.pid is None else str(lease.pid),
            Text(", ".join(lease.principals[1:]) or lease.principals[0]),
        )
    return table


def _new_table(first: str, figures: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table

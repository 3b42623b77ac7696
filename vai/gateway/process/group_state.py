"""The record and the lines that main, or a single process, writes at the start of the group."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vai import __version__
from vai.config import Settings
from vai.gateway.process.operator_line import write_line
from vai.gateway.sanic_patches.opening import listening_address
from vai.io import service_manager
from vai.io.clock import span_in_words
from vai.io.group_record import DEFAULTS, GroupRecord, GroupState
from vai.io.process import process_age

if TYPE_CHECKING:
    from sanic import Sanic

__all__ = ["initial_state", "listening_url", "report_ready"]


def initial_state(
    app: Sanic[Any, Any], settings: Settings | None, mode: Literal["group", "single"], workers: int
) -> GroupState:
    """The state of a group that starts; its socket is bound."""
    named = os.environ.get("VAI_CONFIG")
    return GroupState(
        version=__version__,
        mode=mode,
        started=time.time() - process_age(os.getpid()),
        address=listening_url(app, settings),
        config=str(Path(named).resolve()) if named else DEFAULTS,
        workers=workers,
    )


def listening_url(app: Sanic[Any, Any], settings: Settings | None) -> str:
    """The address of the group: a URL, or `unix:` and a path."""
    endpoint = listening_address(app)
    if endpoint.startswith("unix:"):
        return endpoint
    is_secure = settings is not None and settings.tls.enabled
    return f"{'https' if is_secure else 'http'}://{endpoint}"


def report_ready(record: GroupRecord) -> None:
    """Write one line, and notify the service manager, when all workers serve for the first time."""
    record.change_state(is_ready=True)
    state = record.state
    who = f"{state.workers} worker{'' if state.workers == 1 else 's'}"
    if state.mode == "single":
        who = "single process"
    config = state.config if state.config == DEFAULTS else f"config {state.config}"
    took = span_in_words(process_age(os.getpid()))
    write_line(f"ready: {state.address}, {who}, {config} ({took})")
    service_manager.notify_service_manager("READY", f"{state.address}, {who}")

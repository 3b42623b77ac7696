"""What main, or the one process there is, says of the group at its start."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vai import __version__
from vai.config import Settings
from vai.gateway.process.operator_line import write_line
from vai.gateway.sanic_patches.opening import listened_on
from vai.io import service_manager
from vai.io.clock import span_in_words
from vai.io.group_record import DEFAULTS, GroupRecord, GroupState
from vai.io.process import age

if TYPE_CHECKING:
    from sanic import Sanic

__all__ = ["address", "first_state", "say_ready"]


def first_state(
    app: Sanic[Any, Any], settings: Settings | None, mode: Literal["group", "single"], workers: int
) -> GroupState:
    """A group that starts, whose socket is bound."""
    named = os.environ.get("VAI_CONFIG")
    return GroupState(
        version=__version__,
        mode=mode,
        started=time.time() - age(os.getpid()),
        address=address(app, settings),
        config=str(Path(named).resolve()) if named else DEFAULTS,
        workers=workers,
    )


def address(app: Sanic[Any, Any], settings: Settings | None) -> str:
    """Where it listens: a URL, or `unix:` and a path."""
    place = listened_on(app)
    if place.startswith("unix:"):
        return place
    is_secure = settings is not None and settings.tls.enabled
    return f"{'https' if is_secure else 'http'}://{place}"


def say_ready(record: GroupRecord) -> None:
    """Say in one line that all workers serve, for the first time."""
    record.change(is_ready=True)
    state = record.state
    who = f"{state.workers} worker{'' if state.workers == 1 else 's'}"
    if state.mode == "single":
        who = "single process"
    config = state.config if state.config == DEFAULTS else f"config {state.config}"
    took = span_in_words(age(os.getpid()))
    write_line(f"ready: {state.address}, {who}, {config} ({took})")
    service_manager.notify("READY", f"{state.address}, {who}")

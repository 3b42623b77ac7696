"""A gateway without a manager: one process that is main and worker at once.

It reports when it is ready, as a group does. It does not reload: on SIGHUP it writes a line and
goes on.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from vai.config import Settings
from vai.gateway.process.group_state import initial_state, report_ready
from vai.gateway.process.operator_line import write_line
from vai.io import service_manager
from vai.io.group_record import GroupRecord

if TYPE_CHECKING:
    from sanic import Sanic

__all__ = ["attach_single_process"]


def attach_single_process(app: Sanic[Any, Any], settings: Settings) -> None:
    """Have a single process report its state. Call it after `attach_main` and `attach_worker`."""

    def is_alone() -> bool:
        # A program that runs Sanic in a loop of its own has no control block before it serves.
        return "SANIC_WORKER_NAME" not in os.environ and hasattr(app.ctx, "control_block")

    async def begin(app: Sanic[Any, Any]) -> None:
        if is_alone():
            refusal = "not reloaded: a single process cannot reload, restart it"
            app.ctx.hangups.handle_with(partial(write_line, refusal))
            report_ready(
                GroupRecord(app.ctx.control_block, initial_state(app, settings, "single", 1))
            )

    async def end(_: Sanic[Any, Any]) -> None:
        if is_alone():
            service_manager.notify_service_manager("STOPPING")

    app.after_server_start(begin)
    app.before_server_stop(end)

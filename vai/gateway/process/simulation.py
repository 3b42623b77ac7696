"""The built-in simulator beside the gateway, for providers that have no key.

Main starts it once per group, or the worker when there is only one process. Children read its
URL from the environment; the gateway uses a URL that the environment already has as it is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sanic import Sanic

from vai.config import Settings

if TYPE_CHECKING:
    from vai.simulator.process import SimulatorProcess

__all__ = ["URL_VARIABLE", "attach_simulator", "simulator_url"]

URL_VARIABLE = "VAI_SIMULATOR_URL"


def simulator_url(settings: Settings) -> str | None:
    """The simulator's URL; None when the settings disable it."""
    return os.environ.get(URL_VARIABLE) if settings.simulate else None


def attach_simulator(app: Sanic[Any, Any], settings: Settings) -> None:
    """Start the simulator before anything needs it, and end it after everything."""
    if not settings.simulate:
        return
    running: list[SimulatorProcess] = []

    async def begin(app: Sanic[Any, Any]) -> None:
        if URL_VARIABLE not in os.environ:
            # Workers find the URL of the simulator that main started, and need none of its code.
            from vai.simulator.process import start_simulator  # noqa: PLC0415

            pace = settings.simulator
            running.append(start_simulator(ttft=pace.first_token, tps=pace.tokens_per_second))
            os.environ[URL_VARIABLE] = running[0].url

    async def finish(app: Sanic[Any, Any]) -> None:
        for process in running:
            process.stop()

    # In a worker group `begin` runs in main first, so the workers find the URL.
    app.main_process_start(begin)
    app.before_server_start(begin)
    app.main_process_stop(finish)
    app.after_server_stop(finish)

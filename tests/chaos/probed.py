"""The gateway's own application with a window into its process.

Only the window is added: what a worker holds that no caller can see, tasks and pooled
connections, is told at `/_probe`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sanic import Request
from sanic.response import HTTPResponse, json

from vai.gateway.app import served_app

__all__ = ["app"]

app = served_app()


@app.get("/_probe")
async def probe(request: Request) -> HTTPResponse:
    """Tasks, descriptors and, by provider, the pool's [open, idle, waiting]."""
    clients = request.app.ctx.service.providers._clients
    pools = {name: list(client._transport.get_stats()) for name, client in clients.items()}
    return json(
        {
            "pid": os.getpid(),
            "tasks": len(asyncio.all_tasks()),
            "fds": len(list(Path("/proc/self/fd").iterdir())),
            "pools": {name: stats for name, stats in pools.items() if any(stats)},
            "watched": len(request.app.ctx.deadlines),
        }
    )

"""``python -m vai.simulator``: the simulator as its own process.

Invariants: once the simulator listens, either the port file exists or it prints one line with
the URL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from vai.simulator.knobs import Knobs
from vai.simulator.server import Simulator

loops: ModuleType = asyncio
with contextlib.suppress(ImportError):
    import uvloop

    loops = uvloop

__all__ = ["main"]

_PR_SET_PDEATHSIG: Final = 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vai.simulator", description="LLM providers in their true wire formats."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--port-file", help="write the port here instead of printing the URL")
    parser.add_argument("--ttft", type=float, default=0.0, help="seconds to the first token")
    parser.add_argument("--tps", type=float, default=0.0, help="tokens per second, 0 is at once")
    parser.add_argument("--chunk", type=int, default=1, help="tokens per stream event")
    parser.add_argument("--journal", type=int, default=4096, help="requests remembered")
    parser.add_argument("--parent", type=int, default=0, help="end together with this process")
    return parser.parse_args()


async def _serve_until_signal(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    pace = Knobs(ttft=arguments.ttft, tps=arguments.tps, chunk=arguments.chunk)
    async with Simulator(
        arguments.host, arguments.port, pace=pace, journal=arguments.journal
    ) as simulator:
        if arguments.port_file:
            # Renamed at the end, so that a process that finds the file reads the whole number.
            new = Path(f"{arguments.port_file}.new")
            new.write_text(simulator.url.rpartition(":")[2])
            new.replace(arguments.port_file)
        else:
            sys.stdout.write(f"{simulator.url}\n")
            sys.stdout.flush()
        await stopped.wait()


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    arguments = parse_arguments()
    if arguments.parent and not _end_with_parent(arguments.parent):
        return 0
    loops.run(_serve_until_signal(arguments))
    return 0


def _end_with_parent(parent: int) -> bool:
    """Have the kernel end this process with `parent`; returns False if it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


if __name__ == "__main__":
    sys.exit(main())

"""``python -m vai.simulator``: the simulator as its own process.

The law of this module: ready means listening, and then either the port file exists or
one line with the URL is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from vai.simulator.knobs import Knobs
from vai.simulator.server import Simulator

__all__ = ["main"]


def _arguments() -> argparse.Namespace:
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
    return parser.parse_args()


async def _serve(given: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    pace = Knobs(ttft=given.ttft, tps=given.tps, chunk=given.chunk)
    async with Simulator(given.host, given.port, pace=pace, journal=given.journal) as simulator:
        if given.port_file:
            # Renamed into place: who sees the file sees the whole number.
            with open(f"{given.port_file}.new", "w") as file:
                file.write(simulator.url.rpartition(":")[2])
            os.replace(f"{given.port_file}.new", given.port_file)
        else:
            print(simulator.url, flush=True)
        await stopped.wait()


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    try:
        import uvloop
    except ImportError:
        runner = asyncio.run
    else:
        runner = uvloop.run
    runner(_serve(_arguments()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

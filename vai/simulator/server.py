"""The simulator as a server in the running loop.

Invariants: one listening socket, one world, and a stop that leaves nothing
behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from vai.simulator.connection import Connection
from vai.simulator.control import PREFIX, control
from vai.simulator.journal import Entry, Journal
from vai.simulator.knobs import Knobs
from vai.simulator.reply import Reply
from vai.simulator.world import World

__all__ = ["Simulator"]


class Simulator:
    """Simulated providers on one port: ``async with Simulator() as sim: sim.url``.

    `pace` is how a model without knobs behaves. A `journal` of 0 entries keeps none.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        pace: Knobs | None = None,
        journal: int = 4096,
        journal_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.journal = Journal(journal, journal_bytes)
        self.world = World(pace or Knobs(), self.journal)
        self.connections: set[Connection] = set()
        self.in_flight: set[Connection] = set()
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._connected = 0
        self._requests = 0
        self._outcomes: dict[str, int] = {}
        self._tokens = {"input": 0, "output": 0, "output_sent": 0}

    async def start(self) -> Self:
        """Listen.

        Raises:
            OSError: the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, loop), self._host, self._port, backlog=2048
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.drop()
        await asyncio.sleep(0)
        self._server = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The root of every provider's base URL, without a slash at its end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def stats(self) -> dict[str, Any]:
        """Figures since the start."""
        return {
            "open_connections": len(self.connections),
            "in_flight": sum(1 for c in self.in_flight if not c.controlling),
            "connections": self._connected,
            "requests": self._requests,
            "outcomes": dict(self._outcomes),
            "tokens": dict(self._tokens),
            "scripts": len(self.world.scripts),
            "tries": self.world.tries.show(),
        }

    # What a connection asks

    def number(self) -> int:
        self._connected += 1
        return self._connected

    def receive(self, connection: int, head: bytes, body: bytes, method: str, target: str) -> Entry:
        if target.startswith(PREFIX):
            return Entry(0, connection, head, method, target, body)
        self._requests += 1
        return self.journal.open(connection, head, body, method, target)

    def reply_to(self, entry: Entry, headers: Mapping[str, str]) -> Reply:
        if entry.n == 0:
            return control(self.world, self.stats, entry.method, entry.target, entry.body)
        return self.world.answer(entry, headers)

    def settled(self, entry: Entry) -> None:
        if entry.n == 0:
            return
        self._outcomes[entry.outcome] = self._outcomes.get(entry.outcome, 0) + 1
        self._tokens["input"] += entry.tokens_in
        self._tokens["output"] += entry.tokens_out
        self._tokens["output_sent"] += entry.tokens_sent

"""The simulator as a server in the running loop.

Invariants: there is one listening socket and one `SimulatedProviders`; `stop` closes every
connection. The paths below ``/_sim/`` control the simulator, and the journal omits them:

    PUT    /_sim/scripts/{model}     dictate the responses of a model (see `scripts.Script`)
    DELETE /_sim/scripts[/{model}]   drop one, or all
    GET    /_sim/journal?after=&id=&model=
    DELETE /_sim/journal
    DELETE /_sim/tries               let every model fail from the first request again
"""

from __future__ import annotations

import asyncio
import binascii
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote

import msgspec
import orjson

from vai.simulator.connection import ServerConnection
from vai.simulator.journal import Journal, JournalEntry
from vai.simulator.knobs import Knobs
from vai.simulator.providers import SimulatedProviders
from vai.simulator.scripts import Script, TooManyScripts
from vai.simulator.timed_response import TimedResponse, single_piece_response

__all__ = ["Simulator"]


PREFIX: Final = "/_sim/"
_HEADERS: Final = [("content-type", "application/json")]


def answer_control(
    providers: SimulatedProviders,
    stats: Callable[[], dict[str, Any]],
    method: str,
    target: str,
    body: bytes,
) -> TimedResponse:
    """Serve a control request."""
    path, _, query = target.partition("?")
    query_values = {name: values[-1] for name, values in parse_qs(query).items()}
    match method, path.removeprefix(PREFIX).split("/", 1):
        case "GET", ["health"]:
            return _json_response({"ok": True})
        case "GET", ["stats"]:
            return _json_response(stats())
        case "GET", ["journal"]:
            return _show_journal(providers, query_values)
        case "DELETE", ["journal"]:
            providers.journal.clear()
            return _json_response({"ok": True})
        case "DELETE", ["tries"]:
            providers.tries.clear()
            return _json_response({"ok": True})
        case "PUT", ["scripts", model]:
            return _put_script(providers, unquote(model), body)
        case "DELETE", ["scripts", model]:
            return _json_response({"ok": providers.scripts.drop_script(unquote(model))})
        case "DELETE", ["scripts"]:
            providers.scripts.clear()
            return _json_response({"ok": True})
    return _json_response({"error": f"no such control: {method} {path}"}, 404)


def _show_journal(providers: SimulatedProviders, query_values: dict[str, str]) -> TimedResponse:
    after = query_values.get("after", "0")
    if not after.isascii() or not after.isdigit():
        return _json_response({"error": "after: a number is needed"}, 400)
    entries = providers.journal.entries_after(
        int(after), query_values.get("id", ""), query_values.get("model", "")
    )
    shown = [entry.show() for entry in entries]
    return _json_response(
        {"entries": shown, "last": providers.journal.last_number, "now": time.monotonic()}
    )


def _put_script(providers: SimulatedProviders, model: str, body: bytes) -> TimedResponse:
    try:
        script = msgspec.json.decode(body, type=Script)
        list(
            script.scripted_response().body
        )  # decodes the base64 now, so that the client gets its errors
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as why:
        return _json_response({"error": str(why)}, 400)
    try:
        providers.scripts.put_script(model, script)
    except TooManyScripts:
        return _json_response({"error": "too many scripts"}, 409)
    return _json_response({"ok": True})


def _json_response(value: Any, status: int = 200) -> TimedResponse:
    return single_piece_response(status, list(_HEADERS), orjson.dumps(value))


class Simulator:
    """Simulated providers on one port: ``async with Simulator() as sim: sim.url``.

    `pace` is the behaviour of a model without knobs. A `journal` of 0 entries keeps none.
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
        self.providers = SimulatedProviders(pace or Knobs(), self.journal)
        self.connections: set[ServerConnection] = set()
        self.in_flight: set[ServerConnection] = set()
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._connected = 0
        self._requests = 0
        self._outcomes: dict[str, int] = {}
        self._tokens = {"input": 0, "output": 0, "output_sent": 0}

    async def start(self) -> Self:
        """Listen.

        Raises:
            OSError: the address is not available.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: ServerConnection(self, loop), self._host, self._port, backlog=2048
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
            "in_flight": sum(1 for c in self.in_flight if not c.is_control_request),
            "connections": self._connected,
            "requests": self._requests,
            "outcomes": dict(self._outcomes),
            "tokens": dict(self._tokens),
            "scripts": len(self.providers.scripts),
            "tries": self.providers.tries.show_counts(),
        }

    # Methods for connections

    def next_number(self) -> int:
        self._connected += 1
        return self._connected

    def record_request(
        self, connection: int, head: bytes, body: bytes, method: str, target: str
    ) -> JournalEntry:
        if target.startswith(PREFIX):
            return JournalEntry(0, connection, head, method, target, body)
        self._requests += 1
        return self.journal.open_entry(connection, head, body, method, target)

    def respond_to(self, entry: JournalEntry, headers: Mapping[str, str]) -> TimedResponse:
        if entry.n == 0:
            return answer_control(
                self.providers, self.stats, entry.method, entry.target, entry.body
            )
        return self.providers.respond(entry, headers)

    def finish_request(self, entry: JournalEntry) -> None:
        if entry.n == 0:
            return
        self._outcomes[entry.outcome] = self._outcomes.get(entry.outcome, 0) + 1
        self._tokens["input"] += entry.tokens_in
        self._tokens["output"] += entry.tokens_out
        self._tokens["output_sent"] += entry.tokens_sent

"""One client that plays a load to the gateway under callgrind, step by step.

Nothing is paced by a clock: the next request is sent when the answer has come, and the next event
of a stream when the mock is told so. What is counted does not depend on the machine's speed.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from bench import ways
from bench.callgrind import HASH_SEED, under_callgrind
from bench.instructions import read_answer
from bench.ways import Way, WayError
from bench.wire import MARK, http_request, message_request

__all__ = ["LOADS", "MODES", "Load", "Player", "playing"]

MODES = {"verbatim": "anthropic/", "translated": "openai/"}
LOADS = ("json", "107k", "open", "sse")
"""A small request, a large one, a stream of one event, and an event within a stream."""

_SLICE_EVENTS = 4
_MOST_EVENTS = 100_000
_LARGE = 107 * 1024
_TIMEOUT = 120.0


class Load(msgspec.Struct, frozen=True):
    """A load that has begun."""

    pid: int
    """The process that is counted."""
    play: Callable[[], None]
    """Send one request and read its answer, or receive the next events."""
    units: int
    """Requests or events of one `play`."""


class Player:
    """Opens loads on one gateway, which sends to one mock."""

    def __init__(self, gateway: Way, mock: Way, profile: Path) -> None:
        self.pid = gateway.root
        self.profile = profile
        """The path that callgrind was given."""
        self._gateway = gateway
        self._mock = mock
        self._connections = contextlib.ExitStack()

    def open_load(self, load: str) -> Load:
        """Begin one of `LOADS`."""
        client = self._connect(self._gateway.port)
        if load == "sse":
            client.sendall(self._request(events=_MOST_EVENTS))
            stream = _SteppedStream(client, self._connect(self._mock.port))
            return Load(self.pid, stream.receive_events, _SLICE_EVENTS)
        size, events = _LARGE if load == "107k" else 0, 1 if load == "open" else 0
        request = self._request(size=size, events=events)

        def play() -> None:
            client.sendall(request)
            read_answer(client)

        return Load(self.pid, play, 1)

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()

    def _connect(self, port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
        return self._connections.enter_context(connection)

    def _request(self, *, size: int = 0, events: int = 0) -> bytes:
        gateway = self._gateway
        model = f"{gateway.prefix}mock-{'step' if events else 'json'}"
        body = message_request(model, stream=events > 0, max_tokens=events or 256, size=size)
        return http_request(gateway.port, body, gateway.headers)


@contextlib.contextmanager
def playing(mode: str, environment: Mapping[str, str] | None = None) -> Iterator[Player]:
    """A player on a gateway in one of `MODES`, with more variables in its environment."""
    cores = ways.all_cores()
    with tempfile.TemporaryDirectory(prefix="vai-bench-callgrind-") as folder:
        profile = Path(folder, "profile")
        with (
            ways.mock(cores) as mock,
            ways.gateway(
                mock.port,
                cores,
                single_process=True,
                under=under_callgrind(profile),
                environment={**HASH_SEED, **(environment or {})},
            ) as gateway,
        ):
            player = Player(gateway.mode(mode, MODES[mode]), mock, profile)
            with contextlib.closing(player):
                yield player


class _SteppedStream:
    """A stream that has begun with one event; the others are asked for."""

    def __init__(self, client: socket.socket, control: socket.socket) -> None:
        self._client = client
        self._control = control
        self._await_event()

    def receive_events(self) -> None:
        """Have the mock send the next events one after the other, and wait for each."""
        for _ in range(_SLICE_EVENTS):
            self._control.sendall(b"GET /step HTTP/1.1\r\n\r\n")
            self._control.recv(1 << 16)
            self._await_event()

    def _await_event(self) -> None:
        while MARK not in (piece := self._client.recv(1 << 16)):
            if not piece:
                raise WayError("the stream ended before its events")

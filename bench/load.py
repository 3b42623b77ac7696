"""The load generator: one job read from stdin, one measurement written to stdout.

Invariants: it costs little, so that its core is not what limits a run.
Connections are raw protocols that look for the end of an answer and for marks; the
answers are the mock's own and known, so they are not parsed further. What it does not
understand is an error and ends the connection.

Run as ``python -m bench.load``.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import deque
from typing import cast

import msgspec
import uvloop

from bench.job import Job, Measured, quantiles
from bench.procs import core_seconds, cpu_seconds
from bench.wire import MARK, STAMP_DIGITS, http_request, message_request

__all__ = ["Load", "measure"]

_LAST_CHUNK = b"\r\n0\r\n\r\n"
_GRAIN = 0.001
"""uvloop's timers have no finer one."""
_MOST_CONNECTIONS = 2048
"""Of an open loop; more waiting than that means that the target has collapsed."""


class Load:
    """One job: its connections, its schedule, and what was seen in the window."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.watching = False
        self.requests = self.events = self.errors = 0
        self.problem = ""
        self.latency: list[float] = []
        self.first: list[float] = []
        self.jitter: list[float] = []
        self.gap: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()
        # A connection that is not read is known to no one else, and would be collected.
        self._connections: list[Connection] = []
        self._allowed = 0.0
        self._open = 0
        self._stopping = False
        body = message_request(
            job.model, stream=job.events > 0, max_tokens=job.events or 256, size=job.size
        )
        self.request = http_request(job.port, body, job.headers)

    async def run(self) -> Measured:
        """Open the connections, warm up, watch, stop."""
        job = self.job
        for number in range(job.concurrency):
            connection = await self._connect()
            if job.shape == "streams" and job.events:
                # Streams that start together also end together; a first one of another
                # length each puts them out of step at once.
                length = 1 + number * job.events // job.concurrency
                connection.fire(self._request_of(length))
            else:
                self._idle.append(connection)
        ticking = asyncio.ensure_future(self._tick())
        await asyncio.sleep(job.warmup)
        gc.collect()
        gc.disable()  # a collection of the generator's would be seen as the target's delay
        began, cpu, own, core = self._meters()
        self.watching = True
        await asyncio.sleep(job.seconds)
        self.watching = False
        ended, cpu_after, own_after, core_after = self._meters()
        self._stopping = True
        ticking.cancel()
        seconds = ended - began
        return Measured(
            requests=self.requests,
            events=self.events,
            errors=self.errors,
            problem=self.problem,
            seconds=seconds,
            cpu=cpu_after - cpu,
            generator=(own_after - own) / seconds,
            core=(core_after - core) / seconds,
            latency=quantiles(self.latency),
            first=quantiles(self.first),
            jitter=quantiles(self.jitter),
            gap=quantiles(self.gap),
            answers=[connection.answers for connection in self._connections],
        )

    def free(self, connection: Connection) -> None:
        """`connection` has had its answer."""
        if self.job.rate:
            self._idle.append(connection)
            self._release()
        elif not self._stopping:
            connection.fire(self.request)

    def lost(self, problem: str) -> None:
        """A connection is gone; a closed loop goes on with another one."""
        if self._stopping:
            return
        self.errors += 1
        self._open -= 1
        self.problem = self.problem or problem
        if self.job.shape != "open":
            # Not at once: a target that refuses would make this a busy loop.
            self._loop.call_later(0.05, lambda: self._loop.create_task(self._replace()))

    async def _replace(self) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            self.lost(str(error))
        else:
            self.free(connection)

    async def _connect(self) -> Connection:
        self._open += 1
        _, protocol = await self._loop.create_connection(
            lambda: Connection(self), "127.0.0.1", self.job.port
        )
        self._connections.append(protocol)
        return protocol

    async def _tick(self) -> None:
        """Let requests go as their time comes."""
        job = self.job
        if not job.rate:
            while self._idle:
                self._idle.popleft().fire(self.request)
            return
        at = time.monotonic()
        while True:
            now = time.monotonic()
            self._allowed += (now - at) * job.rate
            at = now
            if job.shape == "closed":
                # A ceiling and no debt: what could not be used is not made up for.
                self._allowed = min(self._allowed, max(job.concurrency, 2 * _GRAIN * job.rate))
            else:
                await self._add_connections()
            self._release()
            await asyncio.sleep(_GRAIN)

    async def _add_connections(self) -> None:
        missing = min(int(self._allowed) - len(self._idle), _MOST_CONNECTIONS - self._open)
        for _ in range(missing):
            self._idle.append(await self._connect())

    def _release(self) -> None:
        while self._idle and self._allowed >= 1.0 and not self._stopping:
            self._allowed -= 1.0
            self._idle.popleft().fire(self.request)

    def _request_of(self, events: int) -> bytes:
        job = self.job
        body = message_request(job.model, stream=True, max_tokens=events, size=job.size)
        return http_request(job.port, body, job.headers)

    def _meters(self) -> tuple[float, float, float, float]:
        job = self.job
        own = time.process_time() + (cpu_seconds(job.mock) if job.mock else 0.0)
        cpu = cpu_seconds(job.target) if job.target else 0.0
        return time.monotonic(), cpu, own, core_seconds(job.core)


class Connection(asyncio.Protocol):
    """One keep-alive connection: a request, its answer, and again."""

    def __init__(self, load: Load) -> None:
        self.answers = 0
        """Whole ones, while the load watches."""
        self._load = load
        self._transport: asyncio.Transport
        self._stream = load.job.events > 0
        self._stamped = load.job.shape == "streams" and "paced" in load.job.model
        self._stalled = load.job.shape == "stalled"
        self._busy = False
        self._began = 0
        self._head = b""
        self._missing = -1
        self._tail = b""
        self._arrived = 0
        self._on_way = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy:
            self._load.lost(f"connection lost: {exc or 'closed before the answer ended'}")

    def fire(self, request: bytes) -> None:
        """Send `request` now."""
        self._busy = True
        self._missing = -1
        self._head = self._tail = b""
        self._arrived = 0
        self._began = time.monotonic_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            data = self._head + data
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._head = data
                return
            if not self._understand(data, end):
                return
            data = data[end:]
        if self._stream:
            self._take_events(data)
        else:
            self._missing -= len(data)
            if self._missing == 0:
                self._complete()

    def _understand(self, data: bytes, end: int) -> bool:
        head = data[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            return self._give_up(f"{data[:12]!r} {data[end : end + 200]!r}")
        if self._stalled:
            self._transport.pause_reading()
            return False
        start = head.find(b"\r\ncontent-length:")
        if start >= 0:
            self._missing = int(head[start + 17 : head.index(b"\r\n", start + 17)])
        elif self._stream:
            self._missing = 0
        else:
            return self._give_up("an answer without a length")
        return True

    def _give_up(self, problem: str) -> bool:
        self._busy = False
        self._load.lost(problem)
        self._transport.abort()
        return False

    def _take_events(self, data: bytes) -> None:
        load = self._load
        if self._stamped:
            self._take_stamps(data)
        elif load.watching:
            load.events += data.count(MARK)
        self._tail = data[-7:] if len(data) >= 7 else (self._tail + data)[-7:]
        if self._tail == _LAST_CHUNK:
            self._complete()

    def _take_stamps(self, data: bytes) -> None:
        now = time.monotonic_ns()
        at = data.find(MARK)
        while at >= 0:
            stamp = data[at + 1 : at + 1 + STAMP_DIGITS]
            # A stamp cut by the end of a read is rare and only not looked at.
            if len(stamp) == STAMP_DIGITS:
                self._take_delta(now, now - int(stamp))
            at = data.find(MARK, at + 1)

    def _take_delta(self, now: int, on_way: int) -> None:
        load = self._load
        if load.watching:
            load.events += 1
            if self._arrived:
                load.jitter.append(abs(on_way - self._on_way) / 1e6)
                load.gap.append((now - self._arrived) / 1e6)
            else:
                load.first.append((now - self._began) / 1e6)
        self._arrived, self._on_way = now, on_way

    def _complete(self) -> None:
        load = self._load
        self._busy = False
        if load.watching:
            load.requests += 1
            self.answers += 1
            load.latency.append((time.monotonic_ns() - self._began) / 1e6)
        load.free(self)


async def measure(job: Job) -> Measured:
    """Run `job` in this process."""
    return await Load(job).run()


if __name__ == "__main__":
    answer = uvloop.run(measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)))
    sys.stdout.buffer.write(msgspec.json.encode(answer))

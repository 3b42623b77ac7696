"""The ports of an exchange as a script: what the upstream says, and when it says nothing.

Real sockets are under the transport's own tests and the end-to-end ones; here it is the
conductor that is tested, by the thousand, with a clock that moves when it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from vai.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout
from vai.exchange.attempts import RetryPlan
from vai.exchange.exchange import Exchange, Settlement
from vai.exchange.mode import ExchangeMode
from vai.policy.timers import Timers
from vai.types.message import Usage
from vai.types.provider import WireRequest

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}

CUT = object()
"""In a script: the connection breaks here."""
SILENCE = object()
"""In a script: nothing comes until the deadline."""
FOREVER = object()
"""In a script: a wait that only a cancellation ends."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reply:
    def __init__(self, clock: Clock, status: int, headers: Mapping[str, str], script: list) -> None:
        self.status = status
        self.headers = headers
        self.closed = 0
        self.kept = False
        self._clock = clock
        self._script = script

    async def read(self, until: float, /) -> bytes:
        step = self._script.pop(0) if self._script else b""
        if step is CUT:
            raise UpstreamBroken("cut", code="upstream_reset")
        if step is SILENCE:
            self._clock.now = until
            raise UpstreamTimeout("nothing came", code="read_timeout")
        if step is FOREVER:
            await asyncio.Event().wait()
        if isinstance(step, float):
            self._clock.now += step
            return await self.read(until)
        return step

    async def relay_body(self, sink, pause: float, deadline: float, /) -> None:
        while self._script:
            step = self._script[0]
            if step is SILENCE:
                self._script.pop(0)
                self._clock.now = min(self._clock.now + pause, deadline)
                raise UpstreamTimeout("nothing came", code="read_timeout")
            if step is FOREVER:
                await asyncio.Event().wait()
            if isinstance(step, float):
                self._clock.now += step
            elif not isinstance(step, bytes):
                return
            self._script.pop(0)
            if isinstance(step, bytes) and not sink(step):
                return

    def release_connection(self) -> None:
        self.closed += 1
        self.kept = True

    def close(self) -> None:
        self.closed += 1


class Said(NamedTuple):
    """One answer: what it is made of."""

    script: list
    status: int = 200
    headers: Mapping[str, str] = SSE


class Upstream:
    """Answers with `said`, one after the other; an answer that is a fault is raised."""

    def __init__(self, clock: Clock, said: list[Said | UpstreamFault]) -> None:
        self.replies: list[Reply] = []
        self.sent: list[WireRequest] = []
        self.deadlines: tuple[float, float] = (0, 0)
        self._clock = clock
        self._said = said

    @property
    def reply(self) -> Reply:
        """The newest reply; before there is one, what would be it."""
        if self.replies:
            return self.replies[-1]
        return Reply(self._clock, 200, {}, [])

    async def send_request(
        self, request: WireRequest, /, *, connect_deadline: float, headers_deadline: float
    ) -> Reply:
        self.sent.append(request)
        self.deadlines = (connect_deadline, headers_deadline)
        await asyncio.sleep(0)
        if self._clock.now > headers_deadline:
            raise UpstreamTimeout("too late", code="headers_timeout")
        said = self._said.pop(0)
        if isinstance(said, UpstreamFault):
            raise said
        self.replies.append(Reply(self._clock, said.status, said.headers, list(said.script)))
        return self.replies[-1]


class Admission:
    def __init__(self) -> None:
        self.running = 0
        self.charged: list[Usage] = []

    async def __call__(self, tokens: int, /) -> Admission:
        self.running += 1
        return self

    def settle(self, usage: Usage, /) -> None:
        self.running -= 1
        self.charged.append(usage)


class Rig:
    """An exchange and everything it touched.

    `relays` is set by a fixture: every test here runs with batches that are read one by one, and
    with batches that are relayed, and sees the same.
    """

    relays = False

    def __init__(
        self,
        mode: ExchangeMode,
        script: list,
        *,
        status: int = 200,
        headers: Mapping[str, str] = SSE,
        timers: Timers | None = None,
        then: list[Said | UpstreamFault] | None = None,
        plan: RetryPlan | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.upstream = Upstream(self.clock, [Said(script, status, headers), *(then or [])])
        self.admission = Admission()
        self.settlements: list[Settlement] = []
        self.exchange = Exchange(
            mode,
            self.upstream,
            self.admission,
            reserved_tokens=100,
            timers=timers or Timers(),
            clock=self.clock,
            on_settled=self.settlements.append,
            plan=plan,
        )

    async def run(self) -> list:
        """All batches; whatever is raised comes out."""
        batches = []
        with self.exchange as exchange:
            answer = await exchange.start()
            batches.append(answer.first_batch)
            if answer.is_streaming:
                while True:
                    if self.relays:
                        await exchange.relay_batches(lambda batch: not batches.append(batch))
                    if (batch := await exchange.read_batch()) is None:
                        break
                    batches.append(batch)
        return batches

    def assert_settled_once(self) -> Settlement:
        assert len(self.settlements) == 1
        assert self.admission.running == 0
        assert len(self.admission.charged) <= 1
        return self.settlements[0]

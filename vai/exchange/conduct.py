"""One LLM exchange, from admission to settlement: admit -> send -> decode -> relay -> settle.

The law of this module: whatever happens (an answer, an upstream fault, a timer, the
caller leaving at any await), the upstream connection is given back or dropped at once
and the exchange is settled exactly once. Everything that must happen on the way out
happens in `__exit__`, which cannot be cancelled because it never waits.

    with Exchange(lane, doors, ...) as exchange:
        answer = await exchange.open()
        batch = answer.first
        while batch is not None:
            ...                         # hand it to the caller
            batch = await exchange.read()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from vai.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, VaiError
from vai.exchange.ports import Admission, Clock, Lease, Timers, Upstream, UpstreamReply
from vai.types.message import Usage
from vai.types.provider import WireRequest

__all__ = ["Answer", "Exchange", "Lane", "Outcome", "Settlement"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_BODY = 64 << 20
"""Bytes of a JSON answer that are held; images make them large."""
MAX_ERROR_BODY = 1 << 20
"""Bytes of an error answer that are read; the rest is not worth having."""

Outcome = Literal["completed", "rejected", "upstream_failed", "client_left", "refused", "failed"]
"""How it ended: answered; the upstream said no; the upstream failed; the caller left;
VAI said no (admission, an untranslatable request, the end of a drain); VAI is at fault."""


class Lane(Protocol[T_co]):
    """How an exchange's bytes are read: verbatim or translated. Pure, built for one exchange."""

    @property
    def streaming(self) -> bool:
        """Whether the caller asked for a stream."""
        ...

    @property
    def usage(self) -> Usage:
        """What has been used so far, as far as it is known."""
        ...

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped, once it is known."""
        ...

    @property
    def started(self) -> bool:
        """Whether the first content block has come."""
        ...

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        ...

    @property
    def ended_early(self) -> bool:
        """Whether the answer is complete while the upstream still has more to say."""
        ...

    @property
    def failed(self) -> bool:
        """Whether the upstream ended its answer with an error that has been passed on as it was."""
        ...

    @property
    def fault(self) -> UpstreamFault | None:
        """Why the stream failed, once it has, and the caller must still be told."""
        ...

    def request(self) -> WireRequest:
        """The upstream request."""
        ...

    def reads(self, media_type: str) -> bool:
        """Whether a streamed answer may be a body of this media type."""
        ...

    def rejected(self, status: int, headers: Mapping[str, str], body: bytes) -> T_co:
        """An answer with an error status: the same for the caller, or the fault, raised."""
        ...

    def whole(self, body: bytes) -> T_co:
        """A JSON answer, complete."""
        ...

    def feed(self, data: bytes) -> T_co | None:
        """More of a streamed answer: what the caller can have now."""
        ...

    def end(self) -> T_co | None:
        """The upstream closed the stream."""
        ...

    def estimate(self) -> Usage:
        """What was probably used, from what went through; for counters that never came."""
        ...


class Answer(msgspec.Struct, Generic[T]):
    """The head of an answer and its first batch; a JSON answer is one batch."""

    status: int
    headers: Mapping[str, str]
    streaming: bool
    first: T


class Settlement(msgspec.Struct, frozen=True):
    """How an exchange ended and what it used.

    `estimated` says that the provider never reported its counters. `first_token` and
    `duration` are seconds since the exchange began; `first_token` is None when none came.
    """

    outcome: Outcome
    usage: Usage
    estimated: bool
    stop_reason: str | None
    duration: float
    first_token: float | None


class Exchange(Generic[T]):
    """One exchange. Use as a context manager; `open` first, then `read` until None."""

    def __init__(
        self,
        lane: Lane[T],
        upstream: Upstream,
        admission: Admission,
        *,
        principal: str,
        reserve: int,
        timers: Timers,
        clock: Clock,
        settled: Callable[[Settlement], None],
    ) -> None:
        self._lane = lane
        self._upstream = upstream
        self._admission = admission
        self._principal = principal
        self._reserve = reserve
        self._timers = timers
        self._clock = clock
        self._settled = settled
        self._began = clock()
        self._total_at = self._began + timers.total
        self._first_token_at = self._total_at
        self._first_token: float | None = None
        self._lease: Lease | None = None
        self._reply: UpstreamReply | None = None
        self._was_rejected = False
        self._was_answered = False
        self._has_failed = False

    def __enter__(self) -> Exchange[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._reply is not None:
            if error is None and self._was_answered and not self._lane.ended_early:
                self._reply.finish()
            else:
                self._reply.close()
        usage, estimated = self._used()
        if self._lease is not None:
            self._lease.settle(usage)
        self._settled(
            Settlement(
                outcome=self._outcome(error),
                usage=usage,
                estimated=estimated,
                stop_reason=self._lane.stop_reason,
                duration=self.elapsed,
                first_token=self._first_token,
            )
        )

    @property
    def elapsed(self) -> float:
        """Seconds since the exchange began."""
        return self._clock() - self._began

    async def open(self) -> Answer[T]:
        """Start the exchange and wait for the first batch of its answer.

        Until this returns, nothing needs to have been sent to the caller, so a failure
        here can still be answered with its own status.

        Raises:
            VaiError: whatever went wrong first.
        """
        try:
            return await self._open()
        except UpstreamFault:
            self._has_failed = True
            raise

    def reject(self, fault: UpstreamFault) -> UpstreamFault:
        """The answer came and is of no use to this caller: settle it as a failure."""
        self._has_failed = True
        return fault

    async def _open(self) -> Answer[T]:
        lane = self._lane
        request = lane.request()
        self._lease = await self._admission.admit(self._principal, self._reserve)
        reply = self._reply = await self._send(request)
        status, headers = reply.status, reply.headers
        if status >= 400:
            self._was_rejected = True
            body = await self._body(reply, MAX_ERROR_BODY, cut=True)
            return Answer(status, headers, False, lane.rejected(status, headers, body))
        if status >= 300:
            # Following one would send a credential where the settings did not say.
            raise UpstreamBroken("The provider answered with a redirect", code="upstream_redirect")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if lane.streaming and lane.reads(kind):
            self._first_token_at = self._clock() + self._timers.first_token
            first = await self.read()
            if first is None:
                raise UpstreamBroken("The provider closed the stream before any event")
            return Answer(status, headers, True, first)
        if kind != "application/json":
            raise UpstreamBroken(
                "The provider answered with something that is neither JSON nor an event stream",
                code="upstream_content_type",
            )
        body = await self._body(reply, MAX_BODY)
        if not body:
            raise UpstreamBroken("The provider's answer is empty", code="upstream_empty")
        first = lane.whole(body)
        self._was_answered = True
        return Answer(status, headers, False, first)

    async def read(self) -> T | None:
        """The next batch of a streamed answer, None when it is complete.

        All that one read of the upstream brought is one batch; nothing waits for more.

        Raises:
            UpstreamFault: the stream failed; what came before has been returned.
        """
        lane, reply = self._lane, self._reply
        if reply is None:
            raise RuntimeError("an exchange is read after it has been opened")
        try:
            while True:
                if lane.fault is not None:
                    raise lane.fault
                if lane.done:
                    self._was_answered = True
                    return None
                limit, late = self._limit()
                try:
                    data = await reply.read(limit)
                except UpstreamTimeout as exc:
                    raise UpstreamTimeout(_WAITED[late], code=late) from exc
                batch = lane.feed(data) if data else lane.end()
                if self._first_token is None and lane.started:
                    self._first_token = self.elapsed
                if batch is not None:
                    return batch
        except UpstreamFault:
            self._has_failed = True
            raise

    async def _send(self, request: WireRequest) -> UpstreamReply:
        """The upstream's answer as soon as its headers are there."""
        timers, total_at = self._timers, self._total_at
        now = self._clock()
        # A JSON answer begins when it is complete, so only `total` says how long is too long.
        headers_until = min(now + timers.headers, total_at) if request.streams else total_at
        connect_until = min(now + timers.connect, total_at)
        try:
            return await self._upstream.send(
                request, connect_until=connect_until, headers_until=headers_until
            )
        except UpstreamTimeout as exc:
            # Which limit ran out, not what the clock reads now: timers fire a moment early.
            limit = headers_until if exc.code == "headers_timeout" else connect_until
            if limit < total_at:
                raise
            raise UpstreamTimeout(_WAITED["total_timeout"], code="total_timeout") from exc

    def _limit(self) -> tuple[float, str]:
        """Until when the next piece has to come in this phase, and the code if it does not."""
        if self._lane.started:
            limit, late = self._clock() + self._timers.inter_chunk, "inter_chunk_timeout"
        else:
            limit, late = self._first_token_at, "first_token_timeout"
        return (limit, late) if limit <= self._total_at else (self._total_at, "total_timeout")

    async def _body(self, reply: UpstreamReply, limit: int, *, cut: bool = False) -> bytes:
        """The body of an answer that is not streamed, at most `limit` bytes of it."""
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await reply.read(self._total_at):
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    if cut:
                        break
                    raise UpstreamBroken("The provider's answer is too large", code="too_large")
        except UpstreamTimeout as exc:
            raise UpstreamTimeout(_WAITED["total_timeout"], code="total_timeout") from exc
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _used(self) -> tuple[Usage, bool]:
        """The usage to settle with, and whether it is a guess. Unknown is never zero."""
        lane = self._lane
        usage = lane.usage
        if self._reply is None or self._was_rejected:
            return usage, False
        # Counters run while the answer does: what a stream begins with (Anthropic says one
        # token) is what was used only once the model has stopped.
        running = not self._was_answered and lane.stop_reason is None
        if usage.output_tokens is not None and not running:
            return usage, False
        guess = lane.estimate()
        told = msgspec.structs.replace(
            usage, output_tokens=max(usage.output_tokens or 0, guess.output_tokens or 0)
        )
        return guess.merged(told), True

    def _outcome(self, error: BaseException | None) -> Outcome:
        if error is None:
            if self._was_rejected:
                return "rejected"
            # Whoever has told the caller of a fault leaves the block without an error.
            if self._lane.failed or self._has_failed:
                return "upstream_failed"
            return "completed" if self._was_answered else "refused"
        if isinstance(error, UpstreamFault):
            return "rejected" if self._was_rejected else "upstream_failed"
        if isinstance(error, VaiError):
            return "refused"
        if isinstance(error, asyncio.CancelledError):
            return "client_left"
        return "failed"


_WAITED = {
    "first_token_timeout": "The provider sent no content in time",
    "inter_chunk_timeout": "The provider stopped sending in the middle of its answer",
    "total_timeout": "The exchange took longer than allowed",
}

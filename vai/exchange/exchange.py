"""One LLM exchange, from admission to settlement: admit -> send -> decode -> relay -> settle.

Invariants: whatever happens (a response, an upstream fault, a timer, the client leaving at any
await), the exchange releases or drops the upstream connection at once and settles exactly once.
Everything that must happen at the end happens in `__exit__`, which never waits and therefore
cannot be cancelled.

Until its first batch an exchange may try again, as its plan decides (`vai.exchange.attempts`):
each attempt has a mode and an upstream of its own, and the exchange closes the response of the
attempt before it first. After that batch no other attempt follows, so the first batch comes with
the first content, or when `Timers.ping` is over. A response may also continue in a further
request to the same upstream (`ExchangeMode.continuation`), under the same timers.

    with Exchange(mode, upstream, admission, ...) as exchange:
        start = await exchange.start()
        batch = start.first_batch
        while batch is not None:
            ...                         # hand it to the client
            batch = await exchange.read_batch()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Generic, Literal, TypeVar

import msgspec

from vai.errors import (
    UpstreamBroken,
    UpstreamFault,
    UpstreamTimeout,
    UpstreamUnreachable,
    VaiError,
)
from vai.exchange.attempts import RetryPlan
from vai.exchange.mode import ExchangeMode
from vai.exchange.ports import Admission, Clock, Lease, Upstream, UpstreamResponse
from vai.policy.timers import Timers
from vai.providers.decode.stream_body import no_response_fault
from vai.types.message import Usage
from vai.types.provider import WireRequest

__all__ = ["Exchange", "Outcome", "ResponseStart", "Settlement"]

T = TypeVar("T")

MAX_BODY = 64 << 20
"""Bytes of a JSON response that are held; images make them large."""
MAX_ERROR_BODY = 1 << 20
"""Bytes of an error response that VAI reads; it ignores the rest."""
_TICK = 0.01
"""Seconds that a timer may fire early."""
_ROUND_TRIP = 2.0
"""Seconds within which a reused connection that had ended shows it. One that ends later ended
with the request on it, and VAI cannot know whether the provider worked on that request."""

Outcome = Literal["completed", "rejected", "upstream_failed", "client_left", "refused", "failed"]
"""How it ended: with a response; the upstream refused; the upstream failed; the client left;
VAI refused (admission, an untranslatable request, the end of a drain); VAI is at fault."""


class ResponseStart(msgspec.Struct, Generic[T]):
    """The head of a response and its first batch; a JSON response is one batch.

    `rejection` is the error with which the upstream refused the request, if it did.
    """

    status: int
    headers: Mapping[str, str]
    is_streaming: bool
    first_batch: T
    rejection: UpstreamFault | None = None


class Settlement(msgspec.Struct, frozen=True):
    """How an exchange ended and what it used.

    `is_estimated`: the provider never reported its counters. `first_token` and `duration` are
    seconds since the exchange began; `first_token` is None when none arrived.
    """

    outcome: Outcome
    usage: Usage
    is_estimated: bool
    stop_reason: str | None
    duration: float
    first_token: float | None


class Exchange(Generic[T]):
    """One exchange. Use as a context manager; `start` first, then `read_batch` until None.

    `mode` is that of the running attempt. Without a plan there is only one.
    """

    def __init__(
        self,
        mode: ExchangeMode[T],
        upstream: Upstream,
        admission: Admission,
        *,
        reserved_tokens: int,
        timers: Timers,
        clock: Clock,
        on_settled: Callable[[Settlement], None],
        plan: RetryPlan[T] | None = None,
    ) -> None:
        self.mode = mode
        self._upstream = upstream
        self._admit = admission
        self._reserved_tokens = reserved_tokens
        self._timers = timers
        self._clock = clock
        self._on_settled = on_settled
        self._plan = plan
        self._began = clock()
        self._total_at = self._began + timers.total
        self._held_until = self._began + timers.ping
        self._first_token_at = self._total_at
        self._first_token: float | None = None
        self._lease: Lease | None = None
        self._response: UpstreamResponse | None = None
        self._is_holding = False
        self._was_sent = False
        self._was_accepted = False
        self._was_rejected = False
        self._was_completed = False
        self._has_failed = False
        self._body_ended = False

    def __enter__(self) -> Exchange[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_plan(answered=False)
        if self._response is not None:
            if error is None and self._was_completed and not self.mode.ended_early:
                self._response.release_connection()
            else:
                self._response.close()
        usage, estimated = self._settled_usage()
        if self._lease is not None:
            self._lease.settle(usage)
        self._on_settled(
            Settlement(
                outcome=self._classify_outcome(error),
                usage=usage,
                is_estimated=estimated,
                stop_reason=self.mode.stop_reason,
                duration=self.elapsed_seconds,
                first_token=self._first_token,
            )
        )

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the exchange began."""
        return self._clock() - self._began

    async def start(self) -> ResponseStart[T]:
        """Start the exchange and wait for the first batch of its response.

        Until this returns, the client needs to have received nothing, so VAI can still answer
        a failure here with its own status.

        Raises:
            VaiError: the first failure.
        """
        self._lease = await self._admit(self._reserved_tokens)
        while True:
            try:
                start = await self._start_attempt()
                if start.rejection is None or not await self._start_next_attempt(start.rejection):
                    self._end_plan(answered=start.rejection is None)
                    return start
            except UpstreamFault as fault:
                self._record_status(fault)
                if not await self._start_next_attempt(fault):
                    self._has_failed = True
                    raise

    def _record_status(self, fault: UpstreamFault) -> None:
        """Record the status of the upstream's error response."""
        if fault.upstream_status is None and self._response is not None:
            fault.upstream_status = self._response.status

    def mark_failed(self, fault: UpstreamFault) -> UpstreamFault:
        """Settle as a failure: a response arrived, but this client cannot use it."""
        self._has_failed = True
        return fault

    async def _start_attempt(self) -> ResponseStart[T]:
        """What the upstream of the running attempt sends, up to the first batch."""
        mode = self.mode
        response = self._response = await self._send_request(mode.upstream_request)
        status, headers = response.status, response.headers
        if status >= 400:
            self._was_rejected = True
            body = await self._read_body(response, MAX_ERROR_BODY, cut=True)
            fault = mode.parse_rejection(status, headers, body)
            return ResponseStart(status, headers, False, mode.forward_rejection(fault, body), fault)
        self._was_accepted = True
        if self._is_streamed(response):
            now = self._clock()
            self._first_token_at = now + self._timers.first_token
            self._is_holding = now < self._held_until
            if not self._is_holding:
                self._release_held()
            first = await self.read_batch()
            if first is None:
                raise UpstreamBroken("The provider ended its response before any event")
            return ResponseStart(status, headers, True, first)
        return ResponseStart(status, headers, False, await self._read_json_response(response))

    def _is_streamed(self, response: UpstreamResponse) -> bool:
        """Whether to read the body piece by piece.

        Raises:
            UpstreamBroken: it is no response at all.
        """
        if response.status >= 300:
            # Following a redirect would send a credential to an address outside the settings.
            raise UpstreamBroken.from_code("upstream_redirect")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not self.mode.accepts_media_type(kind):
            raise no_response_fault()
        return self.mode.is_streaming

    async def _read_json_response(self, response: UpstreamResponse) -> T:
        """A JSON response, with all that follows it."""
        while True:
            body = await self._read_body(response, MAX_BODY)
            if not body:
                raise UpstreamBroken.from_code("upstream_empty")
            decoded = self.mode.decode_json_body(body)
            if decoded is not None:
                self._was_completed = True
                return decoded
            response = await self._send_continuation(response)

    async def _send_continuation(self, response: UpstreamResponse) -> UpstreamResponse:
        """The upstream's response to the request that continues the one in `response`.

        It fails as a part of a response that has begun: no retry follows.
        """
        request = self.mode.continuation
        if request is None:
            raise UpstreamBroken.from_code("upstream_truncated")
        response.release_connection()
        self._response = None
        self._body_ended = False
        response = self._response = await self._send_request(request)
        if response.status >= 400:
            body = await self._read_body(response, MAX_ERROR_BODY, cut=True)
            raise self.mode.parse_rejection(response.status, response.headers, body)
        if self._is_streamed(response) != self.mode.is_streaming:
            raise UpstreamBroken.from_code("upstream_content_type")
        return response

    async def _start_next_attempt(self, fault: UpstreamFault) -> bool:
        """Prepare the attempt that the plan has after `fault`, if any, and wait its delay."""
        if self._plan is None:
            return False
        attempt = await self._plan.next_attempt(fault, self._total_at - self._clock())
        if attempt is None:
            return False
        if self._response is not None:
            self._response.close()
            self._response = None
        self._was_sent = self._was_accepted = self._was_rejected = False
        self._has_failed = self._body_ended = False
        self.mode, self._upstream = attempt.mode, attempt.upstream
        if attempt.delay > 0:
            await asyncio.sleep(attempt.delay)
        return True

    def _end_plan(self, *, answered: bool) -> None:
        """End the plan: no attempt follows. A stream must not keep alive what the plan holds."""
        plan, self._plan = self._plan, None
        if plan is not None:
            plan.close(answered=answered)

    async def read_batch(self) -> T | None:
        """The next batch of a streamed response, None when it is complete.

        All bytes of one read of the upstream are one batch; nothing waits for more.

        Raises:
            UpstreamFault: the stream failed; all earlier batches have been returned.
        """
        mode, response = self.mode, self._response
        if response is None:
            raise RuntimeError("an exchange is read after it has been opened")
        try:
            while True:
                if mode.stream_error is not None:
                    raise mode.stream_error
                if mode.is_complete:
                    self._was_completed = True
                    if mode.forwarded_error is not None:
                        self._record_status(mode.forwarded_error)
                    return None
                if self._body_ended:
                    response = await self._send_continuation(response)
                limit, late = self._next_deadline()
                if self._is_holding and self._held_until < limit:
                    limit, late = self._held_until, "preamble"
                try:
                    data = await response.read(limit)
                except UpstreamTimeout as exc:
                    if late != "preamble":
                        raise UpstreamTimeout.from_code(late) from exc
                    batch = self._release_held()
                    if batch is not None:
                        return batch
                    continue
                self._body_ended = not data
                batch = mode.feed_stream(data) if data else mode.end_stream()
                if self._first_token is None and mode.has_content:
                    self._first_token = self.elapsed_seconds
                    self._is_holding = False
                if batch is not None:
                    return batch
        except UpstreamFault as fault:
            self._record_status(fault)
            self._has_failed = True
            raise

    async def relay_batches(self, write: Callable[[T], bool]) -> bool:
        """Pass batches to `write` in the moment in which their bytes come.

        Waking a task for each event of a stream would cost more than all else that is done for it.

        Returns:
            False when `write` did (the client is behind); True when `read_batch` has to decide
            what follows, which may be at once.

        Raises:
            UpstreamTimeout: as `read_batch` does.
        """
        mode, response = self.mode, self._response
        if response is None or self._first_token is None or self._has_news:
            return True
        keeps_up = True

        def relay_piece(data: bytes) -> bool:
            nonlocal keeps_up
            batch = mode.feed_stream(data)
            if batch is not None:
                keeps_up = write(batch)
            return keeps_up and not (mode.is_complete or mode.stream_error is not None)

        try:
            await response.relay_body(relay_piece, self._timers.inter_chunk, self._total_at)
        except UpstreamTimeout as exc:
            is_total = self._clock() >= self._total_at - _TICK
            fault = UpstreamTimeout.from_code(
                "total_timeout" if is_total else "inter_chunk_timeout"
            )
            self._record_status(fault)
            self._has_failed = True
            raise fault from exc
        return keeps_up

    @property
    def _has_news(self) -> bool:
        """Whether the next batch needs no further bytes, or those of another request."""
        mode = self.mode
        return self._body_ended or mode.is_complete or mode.stream_error is not None

    def _release_held(self) -> T | None:
        """The held beginning of a stream whose content is late."""
        self._is_holding = False
        return self.mode.release_held()

    async def _send_request(self, request: WireRequest) -> UpstreamResponse:
        """The upstream's response, as soon as its headers have arrived."""
        timers, total_at = self._timers, self._total_at
        now = self._clock()
        # A JSON response begins when it is complete, so only `total` limits the wait for it.
        headers_deadline = min(now + timers.headers, total_at) if request.streams else total_at
        connect_deadline = min(now + timers.connect, total_at)
        self._was_sent = True
        try:
            return await self._upstream.send_request(
                request, connect_deadline=connect_deadline, headers_deadline=headers_deadline
            )
        except UpstreamTimeout as exc:
            self._was_sent = exc.code == "headers_timeout"
            # The limit that ran out, not a reading of the clock: timers fire a moment early.
            limit = headers_deadline if exc.code == "headers_timeout" else connect_deadline
            if limit < total_at:
                raise
            raise UpstreamTimeout.from_code("total_timeout") from exc
        except UpstreamUnreachable as exc:
            self._was_sent = False
            if exc.code != "upstream_stale" or self._clock() - now <= _ROUND_TRIP:
                raise
            raise UpstreamUnreachable.from_code("upstream_reset") from exc

    def _next_deadline(self) -> tuple[float, str]:
        """The deadline of the next piece in this phase, and the error code of missing it."""
        if self.mode.has_content:
            limit, late = self._clock() + self._timers.inter_chunk, "inter_chunk_timeout"
        else:
            limit, late = self._first_token_at, "first_token_timeout"
        return (limit, late) if limit <= self._total_at else (self._total_at, "total_timeout")

    async def _read_body(
        self, response: UpstreamResponse, limit: int, *, cut: bool = False
    ) -> bytes:
        """The body of a response that is not streamed, at most `limit` bytes of it."""
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await response.read(self._total_at):
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    if cut:
                        break
                    raise UpstreamBroken.from_code("too_large")
        except UpstreamTimeout as exc:
            raise UpstreamTimeout.from_code("total_timeout") from exc
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _settled_usage(self) -> tuple[Usage, bool]:
        """The usage to settle with, and whether it is estimated. Unknown is never zero."""
        mode = self.mode
        usage = mode.usage
        # A provider that got the request reads it, whether or not the client waits.
        if self._was_rejected or not (self._was_sent or self._was_accepted):
            return usage, False
        # Counters run while the response does: the count at a stream's beginning (Anthropic sends
        # one token) is the final one only once the model has stopped.
        running = not self._was_completed and mode.stop_reason is None
        has_counters = usage.input_tokens is not None and usage.output_tokens is not None
        if has_counters and not running:
            return usage, False
        guess = mode.estimate_usage()
        counted = msgspec.structs.replace(
            usage, output_tokens=max(usage.output_tokens or 0, guess.output_tokens or 0)
        )
        return guess.merged_with(counted), True

    def _classify_outcome(self, error: BaseException | None) -> Outcome:
        if error is None:
            if self._was_rejected:
                return "rejected"
            # A stream that sent its client an error event leaves the block without one.
            if self.mode.forwarded_error is not None or self._has_failed:
                return "upstream_failed"
            return "completed" if self._was_completed else "refused"
        if isinstance(error, UpstreamFault):
            return "rejected" if self._was_rejected else "upstream_failed"
        if isinstance(error, VaiError):
            return "refused"
        if isinstance(error, asyncio.CancelledError):
            return "client_left"
        return "failed"

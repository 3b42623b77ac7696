"""The limits of several machines: a `LimitStore` on a Redis server that they share.

Invariants: the server decides, by its clock, and every decision is one call. This worker makes
the handles of its leases, so that it can return a lease whose response was lost. If the server is
unavailable, the worker returns a lease later; if the worker dies before, the lease lapses there.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

import msgspec

from vai.io.limits.redis.client import RedisClient, RedisUnavailable
from vai.policy.limits.decision import NO_HANDLE, Decision, RefusedLimit
from vai.policy.limits.sets import Principal
from vai.policy.limits.store import LeaseUse, LimitsSnapshot, PrincipalUse

__all__ = ["MAX_HELD", "RedisLimits"]

MAX_HELD: Final = 16384
"""Leases one worker may hold, including those whose return is not delivered yet."""

T = TypeVar("T")

_REQUEST, _SESSION = 1, 2
_KEEP_CHARGE: Final = -1
"""In place of the tokens used: the charge stays."""
_BATCH: Final = 128
_REMOTE: Final = 1 << 62
_MAX_TOKENS: Final = 1 << 40
"""Tokens of one exchange; a client's figure must not exceed what the server's numbers hold."""
_FULL = Decision(refused="capacity", retry_after=1.0)

_Figures = tuple[bool, RefusedLimit, str, float, int, int, float, int, int, float]
_decode_figures = msgspec.msgpack.Decoder(_Figures).decode
_decode_flag = msgspec.msgpack.Decoder(bool).decode
_decode_flags = msgspec.msgpack.Decoder(list[bool]).decode
_decode_count = msgspec.msgpack.Decoder(int).decode
_decode_text = msgspec.msgpack.Decoder(str).decode
_decode_texts = msgspec.msgpack.Decoder(list[str]).decode
_decode_uses = msgspec.msgpack.Decoder(list[tuple[str, int, int, int, int]]).decode
_LeaseRecord = tuple[str, int, tuple[str, ...], int, int, int]
_decode_leases = msgspec.msgpack.Decoder(tuple[float, list[_LeaseRecord]]).decode


class _HeldLease(NamedTuple):
    kind: int
    names: tuple[str, ...]
    since: float


class RedisLimits:
    """A `LimitStore` on a server; its calls may raise RedisUnavailable.

    Handles are larger than 2**62 and unique; with another worker's handle only
    `record_heartbeat` has an effect.

    Args:
        client: the connection to the server; `aclose` closes it.
        node: the name of this node among those that share the server: unique, the same for all
            its workers, another one after a restart.
        generation: the worker's in its control block; 0 for one that takes no lease.
        clock: the clock of the times that are passed in, seconds.
        server_clock: count by the server's clock. False counts by the times passed in, for tests
            only: machines have no such clock in common.
    """

    def __init__(
        self,
        client: RedisClient,
        *,
        node: str,
        generation: int,
        clock: Callable[[], float] = time.monotonic,
        server_clock: bool = True,
    ) -> None:
        self._client = client
        self._node = node
        self._owner = self._owner_name(generation)
        self._clock = clock
        self._server_clock = server_clock
        self._numbers = itertools.count(_REMOTE | secrets.randbits(30) << 32)
        self._held: dict[int, _HeldLease] = {}
        self._returned: deque[tuple[str, int, float | bool]] = deque()
        self._delivery: asyncio.Task[None] | None = None
        self._delivering = asyncio.Lock()
        self._reached = True
        """Whether the last call succeeded; if not, no return is delivered until one does."""

    def is_holding(self, handle: int) -> bool:
        """Whether this worker took the lease and has not returned it."""
        return handle in self._held

    async def admit(
        self, principals: tuple[Principal, ...], tokens: int, now: float, /
    ) -> Decision:
        """See `LimitStore.admit`. Raises RedisUnavailable."""
        return await self._take_lease(_REQUEST, principals, _clamp_tokens(tokens), now)

    async def acquire_session(self, principals: tuple[Principal, ...], now: float, /) -> Decision:
        """See `LimitStore.acquire_session`. Raises RedisUnavailable."""
        return await self._take_lease(_SESSION, principals, 0, now)

    def settle(self, handle: int, used: int, now: float, /) -> bool:
        """See `LimitStore.settle`. False: the lease is not held."""
        taken = self._held.get(handle)
        if taken is None or taken.kind != _REQUEST:
            return False
        return self._give_back(handle, _clamp_tokens(used), now)

    def release(self, handle: int, /) -> bool:
        """See `LimitStore.release`. As `settle`."""
        return handle in self._held and self._give_back(handle, _KEEP_CHARGE, 0.0)

    async def record_heartbeat(self, handle: int, now: float, /) -> bool:
        """See `LimitStore.record_heartbeat`. Raises RedisUnavailable."""
        if _decode_flag(
            await self._call_script("heartbeat", str(handle), clock=self._clock_argument(now))
        ):
            return True
        await self._register_leases([handle])
        return handle in self._held

    async def list_sessions(self) -> tuple[LeaseUse, ...]:
        """See `LimitStore.list_sessions`. Raises RedisUnavailable.

        The owner of a session of another node is 0.
        """
        return tuple([one for one in await self._list_leases() if one.kind == "session"])

    async def expire_sessions(self, silent_since: float, /) -> tuple[int, ...]:
        """See `LimitStore.expire_sessions`. Raises RedisUnavailable."""
        silent, clock = silent_since, None if self._server_clock else 0.0
        if self._server_clock:
            silent = self._clock() - silent_since
        freed: list[int] = []
        for owner in _decode_texts(await self._call_script("owners")):
            handles = await self._call_script("expire", owner, silent, clock=clock)
            freed += [int(handle) for handle in _decode_texts(handles)]
        for handle in freed:
            self._held.pop(handle, None)
        return tuple(freed)

    async def reclaim_leases(self, owner: int, /) -> int:
        """See `LimitStore.reclaim_leases`, for a worker of this node. Raises RedisUnavailable."""
        return _decode_count(await self._call_script("reclaim", self._owner_name(owner)))

    async def read_snapshot(self, now: float, /) -> LimitsSnapshot:
        """See `LimitStore.read_snapshot`. Raises RedisUnavailable."""
        uses: list[PrincipalUse] = []
        while page := _decode_uses(
            await self._call_script("principals", len(uses), clock=self._clock_argument(now))
        ):
            uses += [PrincipalUse(*figures) for figures in page]
        return LimitsSnapshot(tuple(uses), await self._list_leases())

    # -- staying alive -----------------------------------------------------------------

    async def renew_leases(self) -> None:
        """Renew all leases that are held; due every third of their time. Raises RedisUnavailable.

        The exchanges of leases that the server lost (FLUSHALL, an eviction, a lease that lapsed
        while this worker was stopped) still run here, so the worker registers them again.
        """
        for some in _split_batches(list(self._held)):
            forgotten = _decode_texts(
                await self._call_script("renew", [str(handle) for handle in some])
            )
            await self._register_leases([int(handle) for handle in forgotten])
        await self.deliver_returns()

    async def eviction_policy(self) -> str:
        """The server's own name for what it does when its memory is full; "" where it does not
        report it. Raises RedisUnavailable."""
        return _decode_text(await self._call_script("policy"))

    async def rejoin(self) -> None:
        """Rejoin a server that was unavailable: deliver the returns of the meantime, and register
        again those of the other leases that it lost. Raises RedisUnavailable."""
        await self._call_script("ping")
        await self.deliver_returns()
        for some in _split_batches(list(self._held)):
            await self._register_leases(some)

    async def deliver_returns(self) -> list[bool]:
        """Deliver the waiting returns; which of the leases were held there. Raises
        RedisUnavailable."""
        results: list[bool] = []
        async with self._delivering:
            while self._returned:
                batch = list(itertools.islice(self._returned, _BATCH))
                results += _decode_flags(await self._call_script("give_back", batch))
                # Only now: a second delivery does nothing, and none would lose a lease.
                for _ in batch:
                    self._returned.popleft()
        return results

    async def aclose(self) -> None:
        """Deliver the waiting returns if the server is available, and disconnect."""
        if self._delivery is not None:
            await asyncio.wait([self._delivery])
        with suppress(RedisUnavailable):  # undelivered leases lapse
            await self.deliver_returns()
        await self._client.aclose()

    # -- inside ------------------------------------------------------------------------

    async def _register_leases(self, handles: list[int]) -> None:
        """Register the leases held here with the server again; drop those it has ended."""
        now = self._clock()
        leases = [
            (str(handle), taken.kind, taken.names, max(0.0, now - taken.since))
            for handle in handles
            if (taken := self._held.get(handle)) is not None
        ]
        if leases:
            for ended in _decode_texts(await self._call_script("register", self._owner, leases)):
                self._held.pop(int(ended), None)

    async def _take_lease(
        self, kind: int, principals: tuple[Principal, ...], tokens: int, now: float
    ) -> Decision:
        if len(self._held) + len(self._returned) >= MAX_HELD:
            return _FULL
        handle = next(self._numbers)
        names = tuple([_encodable_name(one.name) for one in principals])
        limits = [(name, *one.limits) for name, one in zip(names, principals, strict=True)]
        try:
            reply = await self._call_script(
                "take",
                str(handle),
                kind,
                self._owner,
                limits,
                tokens,
                clock=self._clock_argument(now),
            )
        except BaseException:
            # Whether it was taken is unknown: the response was lost, or the client disconnected.
            self._queue_return(handle, 0 if kind == _REQUEST else _KEEP_CHARGE, now)
            raise
        decision = _decision_from_reply(handle, reply)
        if decision.is_admitted:
            self._held[handle] = _HeldLease(kind, names, self._clock())
        return decision

    def _give_back(self, handle: int, used: int, now: float) -> bool:
        del self._held[handle]
        self._queue_return(handle, used, now)
        return True

    def _queue_return(self, handle: int, used: int, now: float) -> None:
        self._returned.append((str(handle), used, False if self._server_clock else now))
        if self._reached and self._delivery is None:
            # Without a running loop, `aclose` or the next call delivers.
            with suppress(RuntimeError):
                self._delivery = asyncio.get_running_loop().create_task(self._deliver_soon())

    async def _deliver_soon(self) -> None:
        try:
            with suppress(
                RedisUnavailable
            ):  # undelivered returns wait for the next call that succeeds
                await self.deliver_returns()
        finally:
            self._delivery = None

    async def _call_script(
        self, operation: str, *arguments: object, clock: float | None = None
    ) -> bytes:
        try:
            reply = await self._client.call_script(operation, *arguments, clock=clock)
        except RedisUnavailable:
            self._reached = False
            raise
        self._reached = True
        return reply

    async def _list_leases(self) -> tuple[LeaseUse, ...]:
        leases: list[LeaseUse] = []
        for owner in _decode_texts(await self._call_script("owners")):
            server_now, records = _decode_leases(await self._call_script("held", owner))
            # Times are converted to this worker's clock.
            shift = self._clock() - server_now if self._server_clock else 0.0
            owner_generation = self._generation_of(owner)
            leases += [_lease_use(record, owner_generation, shift) for record in records]
        return tuple(leases)

    def _clock_argument(self, now: float) -> float | None:
        return None if self._server_clock else now

    def _owner_name(self, generation: int) -> str:
        return f"{self._node}:{generation}"

    def _generation_of(self, owner: str) -> int:
        node, _, generation = owner.rpartition(":")
        return int(generation) if node == self._node else 0


def _clamp_tokens(tokens: int) -> int:
    return min(max(tokens, 0), _MAX_TOKENS)


def _encodable_name(name: str) -> str:
    """The name in a form that can be sent: a lone surrogate has no encoding."""
    return name.encode(errors="backslashreplace").decode()


def _decision_from_reply(handle: int, reply: bytes) -> Decision:
    admitted, refused, principal, retry_after, *_ = figures = _decode_figures(reply)
    return Decision(
        handle if admitted else NO_HANDLE,
        refused,
        principal,
        retry_after,
        requests_limit=figures[4],
        requests_remaining=figures[5],
        requests_reset=figures[6],
        tokens_limit=figures[7],
        tokens_remaining=figures[8],
        tokens_reset=figures[9],
    )


def _lease_use(lease: _LeaseRecord, owner: int, shift: float) -> LeaseUse:
    handle, kind, names, tokens, since, heartbeat = lease
    return LeaseUse(
        handle=int(handle),
        kind="session" if kind == _SESSION else "request",
        owner=owner,
        principals=names,
        tokens=tokens,
        since=since / 1000 + shift,
        last_heartbeat=(heartbeat if kind == _SESSION else since) / 1000 + shift,
    )


def _split_batches(items: list[T]) -> list[list[T]]:
    return [items[at : at + _BATCH] for at in range(0, len(items), _BATCH)]

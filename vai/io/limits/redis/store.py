"""The limits of several machines: the door of `LimitStore` to a server they share.

The law: the server decides, by its own clock, and every decision is one call. What is taken
here has a handle that was made here, so that a place whose answer was lost can be given back
all the same; what cannot be given back because the server is away is kept for later, and
lapses there by itself when this worker does not live to do it.
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

__all__ = ["MOST_HELD", "RedisLimits"]

MOST_HELD: Final = 16384
"""Places one worker may hold, those included that it gave back and could not deliver."""

T = TypeVar("T")

_REQUEST, _SESSION = 1, 2
_STAYS: Final = -1
"""In place of the tokens used: what was charged stays."""
_BATCH: Final = 128
_REMOTE: Final = 1 << 62
_MOST_TOKENS: Final = 1 << 40
"""Of one exchange; no figure of a caller's may exceed what the server's numbers hold."""
_FULL = Decision(refused="capacity", retry_after=1.0)

_Figures = tuple[bool, RefusedLimit, str, float, int, int, float, int, int, float]
_figures = msgspec.msgpack.Decoder(_Figures).decode
_flag = msgspec.msgpack.Decoder(bool).decode
_flags = msgspec.msgpack.Decoder(list[bool]).decode
_count = msgspec.msgpack.Decoder(int).decode
_word = msgspec.msgpack.Decoder(str).decode
_texts = msgspec.msgpack.Decoder(list[str]).decode
_uses = msgspec.msgpack.Decoder(list[tuple[str, int, int, int, int]]).decode
_Place = tuple[str, int, tuple[str, ...], int, int, int]
_places = msgspec.msgpack.Decoder(tuple[float, list[_Place]]).decode


class _Taken(NamedTuple):
    kind: int
    names: tuple[str, ...]
    since: float


class RedisLimits:
    """A `LimitStore` on a server; its calls raise Away where the protocol knows no failure.

    Handles are larger than 2**62 and never given twice; one that another worker took can be
    shown alive (`heartbeat`) and nothing else.

    Args:
        line: the way to the server; closed with this.
        node: this machine among those that share the server: unique, the same for all its
            workers, another one after a restart.
        claim: the worker's on its board; 0 for one that takes nothing.
        clock: the clock of the times that callers pass in, seconds.
        own_time: count by the server's clock. False counts by the times passed in, which is
            for tests: machines have no such clock in common.
    """

    def __init__(
        self,
        line: RedisClient,
        *,
        node: str,
        claim: int,
        clock: Callable[[], float] = time.monotonic,
        own_time: bool = True,
    ) -> None:
        self._line = line
        self._node = node
        self._owner = self._name_of(claim)
        self._clock = clock
        self._own_time = own_time
        self._numbers = itertools.count(_REMOTE | secrets.randbits(30) << 32)
        self._held: dict[int, _Taken] = {}
        self._returned: deque[tuple[str, int, float | bool]] = deque()
        self._delivery: asyncio.Task[None] | None = None
        self._delivering = asyncio.Lock()
        self._reached = True
        """Whether the last call was answered; else nothing is delivered until one is."""

    def holds(self, handle: int) -> bool:
        """Whether the place was taken here and not given back."""
        return handle in self._held

    async def admit(
        self, principals: tuple[Principal, ...], tokens: int, now: float, /
    ) -> Decision:
        """See `LimitStore.admit`. Raises Away."""
        return await self._take(_REQUEST, principals, _bounded(tokens), now)

    async def acquire_session(self, principals: tuple[Principal, ...], now: float, /) -> Decision:
        """See `LimitStore.acquire`. Raises Away."""
        return await self._take(_SESSION, principals, 0, now)

    def settle(self, handle: int, used: int, now: float, /) -> bool:
        """See `LimitStore.settle`. False says that it is known not to be held."""
        taken = self._held.get(handle)
        if taken is None or taken.kind != _REQUEST:
            return False
        return self._give_back(handle, _bounded(used), now)

    def release(self, handle: int, /) -> bool:
        """See `LimitStore.release`. As `settle`."""
        return handle in self._held and self._give_back(handle, _STAYS, 0.0)

    async def record_heartbeat(self, handle: int, now: float, /) -> bool:
        """See `LimitStore.heartbeat`. Raises Away."""
        if _flag(await self._call("heartbeat", str(handle), clock=self._time(now))):
            return True
        await self._reassert([handle])
        return handle in self._held

    async def list_sessions(self) -> tuple[LeaseUse, ...]:
        """See `LimitStore.sessions`. Raises Away. The owner of another node's is 0."""
        return tuple([one for one in await self._all_held() if one.kind == "session"])

    async def expire_sessions(self, silent_since: float, /) -> tuple[int, ...]:
        """See `LimitStore.expire`. Raises Away."""
        silent, clock = silent_since, None if self._own_time else 0.0
        if self._own_time:
            silent = self._clock() - silent_since
        freed: list[int] = []
        for owner in _texts(await self._call("owners")):
            found = await self._call("expire", owner, silent, clock=clock)
            freed += [int(handle) for handle in _texts(found)]
        for handle in freed:
            self._held.pop(handle, None)
        return tuple(freed)

    async def reclaim_leases(self, owner: int, /) -> int:
        """See `LimitStore.reclaim`, for a worker of this node. Raises Away."""
        return _count(await self._call("reclaim", self._name_of(owner)))

    async def read_snapshot(self, now: float, /) -> LimitsSnapshot:
        """See `LimitStore.snapshot`. Raises Away."""
        uses: list[PrincipalUse] = []
        while page := _uses(await self._call("principals", len(uses), clock=self._time(now))):
            uses += [PrincipalUse(*figures) for figures in page]
        return LimitsSnapshot(tuple(uses), await self._all_held())

    # -- staying alive -----------------------------------------------------------------

    async def renew(self) -> None:
        """Have all that is held last for another lease. Due every third of one. Raises Away.

        What the server has forgotten (FLUSHALL, an eviction, a lease that lapsed while this
        worker stood still) runs on here, so this tells the server of it again.
        """
        for some in _batches(list(self._held)):
            forgotten = _texts(await self._call("renew", [str(handle) for handle in some]))
            await self._reassert([int(handle) for handle in forgotten])
        await self.deliver()

    async def eviction_policy(self) -> str:
        """What the server does when its memory is full, in its own word; "" where it does not
        say. Raises Away."""
        return _word(await self._call("policy"))

    async def rejoin(self) -> None:
        """Be in step with a server that was away: give back to it what was returned meanwhile,
        and have it know again what it forgot of the rest. Raises Away."""
        await self._call("ping")
        await self.deliver()
        for some in _batches(list(self._held)):
            await self._reassert(some)

    async def deliver(self) -> list[bool]:
        """Give back what waits for it; which of it was still held there. Raises Away."""
        found: list[bool] = []
        async with self._delivering:
            while self._returned:
                batch = list(itertools.islice(self._returned, _BATCH))
                found += _flags(await self._call("give_back", batch))
                # Only now: delivered twice does nothing, and never delivered is a place lost.
                for _ in batch:
                    self._returned.popleft()
        return found

    async def aclose(self) -> None:
        """Give back what waits, if the server is there, and hang up."""
        if self._delivery is not None:
            await asyncio.wait([self._delivery])
        with suppress(RedisUnavailable):  # what stays lapses
            await self.deliver()
        await self._line.aclose()

    # -- inside ------------------------------------------------------------------------

    async def _reassert(self, handles: list[int]) -> None:
        """Have the server hold again what is held here; forget what it has ended."""
        now = self._clock()
        places = [
            (str(handle), taken.kind, taken.names, max(0.0, now - taken.since))
            for handle in handles
            if (taken := self._held.get(handle)) is not None
        ]
        if places:
            for ended in _texts(await self._call("register", self._owner, places)):
                self._held.pop(int(ended), None)

    async def _take(
        self, kind: int, principals: tuple[Principal, ...], tokens: int, now: float
    ) -> Decision:
        if len(self._held) + len(self._returned) >= MOST_HELD:
            return _FULL
        handle = next(self._numbers)
        names = tuple([_text(one.name) for one in principals])
        asked = [(name, *one.limits) for name, one in zip(names, principals, strict=True)]
        try:
            told = await self._call(
                "take", str(handle), kind, self._owner, asked, tokens, clock=self._time(now)
            )
        except BaseException:
            # Nobody knows whether it was given: the answer was lost, or the caller left.
            self._return(handle, 0 if kind == _REQUEST else _STAYS, now)
            raise
        decision = _decision(handle, told)
        if decision.is_admitted:
            self._held[handle] = _Taken(kind, names, self._clock())
        return decision

    def _give_back(self, handle: int, used: int, now: float) -> bool:
        del self._held[handle]
        self._return(handle, used, now)
        return True

    def _return(self, handle: int, used: int, now: float) -> None:
        self._returned.append((str(handle), used, False if self._own_time else now))
        if self._reached and self._delivery is None:
            # Where no loop runs, `aclose` delivers, or whatever is called next.
            with suppress(RuntimeError):
                self._delivery = asyncio.get_running_loop().create_task(self._deliver_soon())

    async def _deliver_soon(self) -> None:
        try:
            with suppress(
                RedisUnavailable
            ):  # what stays is kept until the next call that is answered
                await self.deliver()
        finally:
            self._delivery = None

    async def _call(self, operation: str, *arguments: object, clock: float | None = None) -> bytes:
        try:
            told = await self._line.call(operation, *arguments, clock=clock)
        except RedisUnavailable:
            self._reached = False
            raise
        self._reached = True
        return told

    async def _all_held(self) -> tuple[LeaseUse, ...]:
        found: list[LeaseUse] = []
        for owner in _texts(await self._call("owners")):
            server_now, places = _places(await self._call("held", owner))
            # Times are told in the clock of whoever asks.
            shift = self._clock() - server_now if self._own_time else 0.0
            claim = self._claim_of(owner)
            found += [_held(place, claim, shift) for place in places]
        return tuple(found)

    def _time(self, now: float) -> float | None:
        return None if self._own_time else now

    def _name_of(self, claim: int) -> str:
        return f"{self._node}:{claim}"

    def _claim_of(self, owner: str) -> int:
        node, _, claim = owner.rpartition(":")
        return int(claim) if node == self._node else 0


def _bounded(tokens: int) -> int:
    return min(max(tokens, 0), _MOST_TOKENS)


def _text(name: str) -> str:
    """The name as it may be sent: a lone half of a surrogate pair is no text on any wire."""
    return name.encode(errors="backslashreplace").decode()


def _decision(handle: int, told: bytes) -> Decision:
    admitted, refused, principal, retry_after, *_ = figures = _figures(told)
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


def _held(place: _Place, claim: int, shift: float) -> LeaseUse:
    handle, kind, names, tokens, since, beat = place
    return LeaseUse(
        handle=int(handle),
        kind="session" if kind == _SESSION else "request",
        owner=claim,
        principals=names,
        tokens=tokens,
        since=since / 1000 + shift,
        last_heartbeat=(beat if kind == _SESSION else since) / 1000 + shift,
    )


def _batches(every: list[T]) -> list[list[T]]:
    return [every[at : at + _BATCH] for at in range(0, len(every), _BATCH)]

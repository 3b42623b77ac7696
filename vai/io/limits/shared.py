"""The limits of one machine: admission, settlement and live sessions in shared memory.

Invariants: every decision reads all its inputs and writes all its results while it holds the mutex,
first the leases and slots, then the words derived from them. A process that is killed in between
leaves at most a charge without a lease, which leaves the window by itself: for a minute the limits
admit too little, never too much.

A settlement is never lost. While the mutex cannot be taken, because its holder is stopped,
requests are refused and settlements are deferred; no more of them than there are leases.

Only the thread of the loop makes these calls. They wait for nothing but the mutex.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from vai.io.limits import leases, snapshot
from vai.io.limits.fast_path import open_fast_path
from vai.io.limits.layout import (
    H_DIRTY,
    H_LATEST,
    L_HEARTBEAT,
    L_KIND,
    L_SLOT,
    L_TOKENS,
    NO_OWNER,
    OWNERS,
    R_PAST_REQUESTS,
    R_PAST_TOKENS,
    R_REQUEST_SLOTS,
    R_RUNNING,
    R_SESSIONS,
    R_TOKEN_LEVEL,
    R_TOKEN_SLOTS,
    REQUEST,
    ROW_BITS,
    ROW_WORDS,
    SESSION,
)
from vai.io.limits.mutex import LockUnavailable
from vai.io.limits.rows import CounterRows, raise_levels, refund_tokens, spacing_waits
from vai.io.limits.section import LimitsSection
from vai.io.warn import RateLimitedWarning
from vai.policy.limits.decision import Decision, RefusedLimit
from vai.policy.limits.sets import Principal, capped_reservation
from vai.policy.limits.store import LeaseUse, LimitsSnapshot
from vai.policy.limits.window import SLOT_SECONDS, SLOTS, seconds_until_reset, seconds_until_room

__all__ = ["SharedLimits"]

_Counters = tuple[int, int, int, int]
"""Counters of one principal: the offset of its row (0: none), its requests and tokens in the
current slot, and how many leases it holds."""

_MANY = 1 << 62
_MAX_TOKENS = 1 << 40
"""The most tokens that one exchange counts: a client may request any number, a word holds 63 bits
and a window many exchanges."""
_RETRY_SECONDS = 1.0
"""Seconds after which a client may repeat a refused request where a lease must end first."""
_FULL = Decision(refused="capacity", retry_after=_RETRY_SECONDS)

_WINDOWS: tuple[RefusedLimit, RefusedLimit] = ("requests", "tokens")
_UNKNOWN: RefusedLimit = "capacity"
_EMPTY = [0] * SLOTS
_NO_WINDOW: tuple[int, int, list[int]] = (0, 0, [])


class SharedLimits:
    """A `LimitStore` in shared memory, as one worker uses it.

    Args:
        section: the limits' section of the control block.
        worker_index, owner: the index of the worker's slot in the control block, and the
            generation of its claim. After `reclaim_leases` of that owner, this worker gets no
            lease.
    """

    def __init__(self, section: LimitsSection, worker_index: int, owner: int) -> None:
        if owner <= NO_OWNER:
            raise ValueError("claims begin at 1")
        self.section = section
        self._words = section.words
        self._first = section.rows
        self._rows = CounterRows(section)
        self._owner_at = OWNERS + worker_index
        self._owner = owner
        self._deferred: deque[Callable[[], bool]] = deque()
        self._warn = RateLimitedWarning()
        with section.locked():
            section.words[self._owner_at] = owner
        self._fast_path = open_fast_path(section, self._rows, self._owner_at, owner)

    # -- the store: never raises LockUnavailable where a request would see it ------------

    async def admit(
        self, principals: tuple[Principal, ...], tokens: int, now: float, /
    ) -> Decision:
        """See `LimitStore.admit`."""
        try:
            if self._deferred:
                self.settle_deferred()
            decision = self.take_lease(principals, tokens, now)
        except LockUnavailable:
            return _FULL
        if decision.refused == "capacity":
            self._warn(
                "a request was refused because the limits have no room for one more caller "
                "or running request; see limits.max_callers and `vai limits`"
            )
        return decision

    def settle(self, handle: int, used: int, now: float, /) -> bool:
        """See `LimitStore.settle`."""
        try:
            if self._deferred:
                self.settle_deferred()
            return self.settle_lease(handle, used, now)
        except LockUnavailable:
            self._deferred.append(partial(self.settle_lease, handle, used, now))
            return True

    async def acquire_session(self, principals: tuple[Principal, ...], now: float, /) -> Decision:
        """See `LimitStore.acquire_session`."""
        try:
            return self.take_lease(principals, 0, now, SESSION)
        except LockUnavailable:
            return _FULL

    async def record_heartbeat(self, handle: int, now: float, /) -> bool:
        """See `LimitStore.record_heartbeat`."""
        try:
            return self.touch_session(handle, now)
        except LockUnavailable:
            return True  # whether it has lapsed is unknown; the next heartbeat shows it

    def release(self, handle: int, /) -> bool:
        """See `LimitStore.release`."""
        try:
            if self._deferred:
                self.settle_deferred()
            return self.release_lease(handle)
        except LockUnavailable:
            self._deferred.append(partial(self.release_lease, handle))
            return True

    async def list_sessions(self) -> tuple[LeaseUse, ...]:
        """See `LimitStore.list_sessions`."""
        return snapshot.list_sessions(self.section)

    async def expire_sessions(self, silent_since: float, /) -> tuple[int, ...]:
        """See `LimitStore.expire_sessions`. Raises LockUnavailable."""
        return leases.expire_sessions(self.section, silent_since)

    async def reclaim_leases(self, owner: int, /) -> int:
        """See `LimitStore.reclaim_leases`. Raises LockUnavailable."""
        return leases.reclaim_leases(self.section, owner)

    async def read_snapshot(self, now: float, /) -> LimitsSnapshot:
        """See `LimitStore.read_snapshot`."""
        return snapshot.read_snapshot(self.section, now)

    def settle_deferred(self) -> None:
        """Settle the deferred leases; a timer also calls this, for a worker that falls idle.

        Raises LockUnavailable when that is still impossible; no settlement is lost then.
        """
        while self._deferred:
            self._deferred[0]()
            self._deferred.popleft()

    # -- taking a lease ------------------------------------------------------------------

    def take_lease(
        self, principals: tuple[Principal, ...], tokens: int, now: float, kind: int = REQUEST
    ) -> Decision:
        """Take a lease of a `kind`, or return the limit that refuses it. Raises LockUnavailable."""
        if self._fast_path is not None and kind == REQUEST:
            admitted = self._fast_path.take(principals, tokens, now)
            if admitted is not None:
                return admitted
        if not 0 <= tokens <= _MAX_TOKENS:
            tokens = min(max(tokens, 0), _MAX_TOKENS)
        section = self.section
        section.lock()
        try:
            decision = self._decide_locked(kind, principals, tokens, now)
            if decision.refused == "tokens":
                # Computed only now: hardly any estimate is larger than a whole minute's limit.
                reserved = capped_reservation(tokens, principals)
                if reserved < tokens:
                    return self._decide_locked(kind, principals, reserved, now)
            return decision
        except BaseException:
            self._words[H_DIRTY] = 1
            raise
        finally:
            section.unlock()

    def _decide_locked(
        self, kind: int, principals: tuple[Principal, ...], tokens: int, now: float
    ) -> Decision:
        # Long, and with few calls: every request waits for this method, and a call costs as
        # much as three of its comparisons.
        words, cached = self._words, self._rows.cached
        slot = self._current_slot(now)
        lease_index = leases.next_free_index(self.section)
        if lease_index < 0 or words[self._owner_at] != self._owner:
            return _FULL
        at, count = R_REQUEST_SLOTS + slot % SLOTS, R_RUNNING if kind == REQUEST else R_SESSIONS
        rows: list[_Counters] = []
        request_room = token_room = _MANY
        request_limit = token_limit = 0
        spaced = unseen = False
        for name, (requests, allowance, concurrency, sessions, smooth), _ in principals:
            entry = cached.get(name)
            base = entry[2] if entry and words[entry[0]] == entry[1] else self._rows.find_row(name)
            if not base:
                unseen = True
                used = reserved = held = used_now = reserved_now = 0
            else:
                if words[base] != slot:  # R_EPOCH
                    self._rows.advance_window(base, slot)
                used_now, reserved_now = words[base + at], words[base + at + SLOTS]
                used = words[base + R_PAST_REQUESTS] + used_now
                reserved = words[base + R_PAST_TOKENS] + reserved_now
                held = words[base + count]
            rows.append((base, used_now, reserved_now, held))
            spaced = spaced or smooth
            most = concurrency if kind == REQUEST else sessions
            if requests and requests - used < request_room:
                request_limit, request_room = requests, requests - used
            if allowance and allowance - reserved < token_room:
                token_limit, token_room = allowance, allowance - reserved
            if most and held >= most:
                return self._explain_refusal(kind, principals, tokens, slot, now)
        if request_room <= 0 or (tokens and token_room < tokens):
            return self._explain_refusal(kind, principals, tokens, slot, now)
        if spaced and self._is_too_soon(principals, rows, tokens, now):
            return self._explain_refusal(kind, principals, tokens, slot, now)
        if unseen and not self._add_rows(principals, rows, slot):
            return self._no_room(principals, rows, slot, now)
        handle = self._charge_lease(kind, rows, tokens, lease_index, slot, now)
        if spaced:
            self._raise_levels(principals, rows, tokens, now)
        reset = (slot + SLOTS) * SLOT_SECONDS - now
        return Decision(
            handle,
            "",
            "",
            0.0,
            request_limit,
            request_room - 1 if request_limit else 0,
            reset if request_limit else 0.0,
            token_limit,
            max(0, token_room - tokens) if token_limit else 0,
            reset if token_limit else 0.0,
        )

    def _charge_lease(
        self, kind: int, rows: list[_Counters], tokens: int, lease_index: int, slot: int, now: float
    ) -> int:
        """Charge the windows, take the lease, count it; returns its handle."""
        words, first = self._words, self._first
        at, count = R_REQUEST_SLOTS + slot % SLOTS, R_RUNNING if kind == REQUEST else R_SESSIONS
        packed = 0
        for base, used_now, reserved_now, _ in rows:
            words[base + at] = used_now + 1
            if tokens:
                words[base + at + SLOTS] = reserved_now + tokens
            packed = packed << ROW_BITS | ((base - first) // ROW_WORDS + 1)
        handle = leases.write_lease(
            self.section, lease_index, self._owner, kind, packed, tokens, slot, int(now * 1000)
        )
        for base, _, _, held in rows:
            words[base + count] = held + 1
        return handle

    def _is_too_soon(
        self, principals: tuple[Principal, ...], rows: list[_Counters], tokens: int, now: float
    ) -> bool:
        return any(
            base
            and limits.smooth
            and any(spacing_waits(self._words, base, limits, tokens, int(now * 1000)))
            for (_, limits, _), (base, *_) in zip(principals, rows, strict=True)
        )

    def _raise_levels(
        self, principals: tuple[Principal, ...], rows: list[_Counters], tokens: int, now: float
    ) -> None:
        for (_, limits, _), (base, *_) in zip(principals, rows, strict=True):
            if limits.smooth:
                raise_levels(self._words, base, limits, tokens, int(now * 1000))

    def _add_rows(
        self, principals: tuple[Principal, ...], rows: list[_Counters], slot: int
    ) -> bool:
        """Assign rows to principals without one; False when no row is left."""
        for index, (name, _, listed) in enumerate(principals):
            if not rows[index][0]:
                base = self._rows.assign_row(name, slot, listed=listed)
                if not base:
                    return False
                rows[index] = (base, 0, 0, 0)
        return True

    def _no_room(
        self, principals: tuple[Principal, ...], rows: list[_Counters], slot: int, now: float
    ) -> Decision:
        """The refusal of a request because no row is left for its principals."""
        wait = max(
            self._rows.seconds_until_row(name, slot, now, listed=listed)
            for (name, _, listed), (base, *_) in zip(principals, rows, strict=True)
            if not base
        )
        return Decision(refused="capacity", retry_after=wait)

    def _explain_refusal(
        self, kind: int, principals: tuple[Principal, ...], tokens: int, slot: int, now: float
    ) -> Decision:
        bases = [self._rows.locate_row(principal.name) for principal in principals]
        for base in bases:
            if base and self._words[base] != slot:
                self._rows.advance_window(base, slot)
        return _refusal_decision(
            self._words, kind, principals, bases, tokens=tokens, slot=slot, now=now
        )

    def _current_slot(self, now: float) -> int:
        """The slot of `now`, or a later one that another worker has already seen."""
        words = self._words
        slot = int(now) // SLOT_SECONDS
        latest: int = words[H_LATEST]
        if slot > latest:
            words[H_LATEST] = slot
            return slot
        return latest

    # -- ending a lease ------------------------------------------------------------------

    def settle_lease(self, handle: int, used: int, now: float) -> bool:
        """Return a lease, charge `used`. Raises LockUnavailable: then nothing changed."""
        if self._fast_path is not None and self._fast_path.settle(handle, used, now):
            return True
        section, words = self.section, self._words
        section.lock()
        try:
            at = leases.find_lease(section, handle)
            if not at or words[at + L_KIND] != REQUEST:
                return False
            if not 0 <= used <= _MAX_TOKENS:
                used = min(max(used, 0), _MAX_TOKENS)
            offsets = leases.row_offsets(section, at)
            excess = used - words[at + L_TOKENS]
            if excess:
                self._correct_charge(at, offsets, excess, self._current_slot(now))
            leases.free_lease(section, at, offsets)
            return True
        except BaseException:
            words[H_DIRTY] = 1
            raise
        finally:
            section.unlock()

    def _correct_charge(self, at: int, offsets: list[int], excess: int, slot: int) -> None:
        """Charge the `excess` over the reservation, or refund its unused part.

        A refund goes to the slot that was charged, as long as that slot counts; an excess counts
        from now.
        """
        words = self._words
        into = slot if excess > 0 else words[at + L_SLOT]
        # First: if the process dies below, nothing is refunded twice.
        words[at + L_TOKENS] += excess
        counts = into > slot - SLOTS
        tokens_at = R_TOKEN_SLOTS + into % SLOTS
        for base in offsets:
            if words[base] != slot:
                self._rows.advance_window(base, slot)
            if counts:
                words[base + tokens_at] += excess
                if into != slot:
                    words[base + R_PAST_TOKENS] += excess
            if words[base + R_TOKEN_LEVEL]:
                refund_tokens(words, base, -excess)

    def release_lease(self, handle: int) -> bool:
        """Return a lease; its charge stays. Raises LockUnavailable: then nothing changed."""
        with self.section.locked():
            at = leases.find_lease(self.section, handle)
            if at:
                leases.free_lease(self.section, at)
            return bool(at)

    def touch_session(self, handle: int, now: float) -> bool:
        """Record a heartbeat; False: the session has lapsed. Raises LockUnavailable."""
        with self.section.locked():
            at = leases.find_lease(self.section, handle)
            if at:
                self._words[at + L_HEARTBEAT] = int(now * 1000)
            return bool(at)


def _refusal_decision(
    words: memoryview,
    kind: int,
    principals: tuple[Principal, ...],
    bases: Sequence[int],
    *,
    tokens: int,
    slot: int,
    now: float,
) -> Decision:
    """The decision for a request that some limit refuses; `bases`: the rows of `principals` or 0.

    The rows' windows have moved to `slot`. Under the mutex.
    """
    longest, refused, by = -1.0, _UNKNOWN, ""
    tightest = [_NO_WINDOW, _NO_WINDOW]  # limit, what is left of it, slots
    for (name, limits, _), base in zip(principals, bases, strict=True):
        spaced = (0.0, 0.0)
        if limits.smooth and base:
            spaced = spacing_waits(words, base, limits, tokens, int(now * 1000))
        for which, limit, first, cost in (
            (0, limits.requests, R_REQUEST_SLOTS, 1),
            (1, limits.tokens, R_TOKEN_SLOTS, tokens),
        ):
            if not limit:
                continue
            slots = words[base + first : base + first + SLOTS].tolist() if base else _EMPTY
            left = limit - sum(slots)
            if not tightest[which][0] or left < tightest[which][1]:
                tightest[which] = (limit, left, slots)
            # A cost beyond the limit refuses the request; a smaller reservation may pass.
            if cost and (left < cost or spaced[which]):
                wait = max(
                    spaced[which], seconds_until_room(slots, slot, now, cost=cost, limit=limit)
                )
                if wait > longest:
                    longest, refused, by = wait, _WINDOWS[which], name
        held: RefusedLimit = "sessions" if kind == SESSION else "concurrency"
        most = limits.sessions if kind == SESSION else limits.concurrency
        count = R_SESSIONS if kind == SESSION else R_RUNNING
        if most and base and words[base + count] >= most and longest < _RETRY_SECONDS:
            longest, refused, by = _RETRY_SECONDS, held, name
    figures = [
        (limit, max(0, left), seconds_until_reset(slots, slot, now) if limit else 0.0)
        for limit, left, slots in tightest
    ]
    return Decision(0, refused, by, longest, *figures[0], *figures[1])

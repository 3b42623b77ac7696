"""The limits of one box: admission, settlement and live sessions in shared memory.

The law: every decision looks at all that it depends on and writes all that follows from it
while it holds the mutex, truth first and what is made from it after. A process that is
killed in between leaves at most a charge without a place, and that leaves the window by
itself: too little is admitted then for a minute, never too much.

These calls are made on the thread of the loop only. They wait for nothing but the mutex.
"""

from __future__ import annotations

from vai.io.limits import leases
from vai.io.limits.layout import (
    H_DIRTY,
    H_LATEST,
    L_BEAT,
    L_KIND,
    L_SLOT,
    L_TOKENS,
    NOBODY,
    OWNERS,
    R_PAST_REQUESTS,
    R_PAST_TOKENS,
    R_REQUEST_SLOTS,
    R_RUNNING,
    R_SESSIONS,
    R_TOKEN_SLOTS,
    REQUEST,
    ROW_BITS,
    ROW_WORDS,
    SESSION,
)
from vai.io.limits.refusal import refusal
from vai.io.limits.rows import CounterRows
from vai.io.limits.section import LimitsSection
from vai.io.limits.spacing import raise_levels, refund, waits
from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import Principal, capped_reservation
from vai.policy.limits.window import SLOT_SECONDS, SLOTS

__all__ = ["SharedLimits"]

_Row = tuple[int, int, int, int]
"""Of one principal: the position of its row (0: it has none), its requests and tokens in the slot
of now, and how many places it holds."""

_MANY = 1 << 62
_MOST_TOKENS = 1 << 40
"""What is counted of one exchange at most: a caller may ask for any number, a word holds 63 bits
and a window many exchanges."""
_FULL = Decision(refused="capacity", retry_after=1.0)


class SharedLimits:
    """A worker's way to the limits.

    Args:
        section: where they are.
        place, claim: the worker's row on the board and its claim. From `reclaim` of that
            claim on, this worker is given nothing any more.
    """

    def __init__(self, section: LimitsSection, place: int, claim: int) -> None:
        if claim <= NOBODY:
            raise ValueError("claims begin at 1")
        self.section = section
        self._words = section.words
        self._first = section.rows
        self._rows = CounterRows(section)
        self._owner_at = OWNERS + place
        self._claim = claim
        with section.held():
            section.words[self._owner_at] = claim

    # -- taking ------------------------------------------------------------------------

    def take_request(self, principals: tuple[Principal, ...], tokens: int, now: float) -> Decision:
        """See `LimitStore.admit`. Raises LockUnavailable."""
        if not 0 <= tokens <= _MOST_TOKENS:
            tokens = min(max(tokens, 0), _MOST_TOKENS)
        decision = self._take(REQUEST, principals, tokens, now)
        if decision.refused == "tokens":
            # Looked at only now: hardly any estimate is larger than a whole minute's limit.
            reserved = capped_reservation(tokens, principals)
            if reserved < tokens:
                return self._take(REQUEST, principals, reserved, now)
        return decision

    def take_session(self, principals: tuple[Principal, ...], now: float) -> Decision:
        """See `LimitStore.acquire`. Raises LockUnavailable."""
        return self._take(SESSION, principals, 0, now)

    def _take(
        self, kind: int, principals: tuple[Principal, ...], tokens: int, now: float
    ) -> Decision:
        section = self.section
        section.enter()
        try:
            return self._decide(kind, principals, tokens, now)
        except BaseException:
            self._words[H_DIRTY] = 1
            raise
        finally:
            section.leave()

    def _decide(
        self, kind: int, principals: tuple[Principal, ...], tokens: int, now: float
    ) -> Decision:
        # Long, and with few calls: all that every request waits for is in here, and a call
        # costs as much as three of its comparisons.
        words, known = self._words, self._rows.known
        slot = self._slot(now)
        place = leases.next_place(self.section)
        if place < 0 or words[self._owner_at] != self._claim:
            return _FULL
        at, count = R_REQUEST_SLOTS + slot % SLOTS, R_RUNNING if kind == REQUEST else R_SESSIONS
        rows: list[_Row] = []
        request_room = token_room = _MANY
        request_limit = token_limit = 0
        spaced = unseen = False
        for name, (requests, allowance, concurrency, sessions, smooth), _ in principals:
            seen = known.get(name)
            base = seen[2] if seen and words[seen[0]] == seen[1] else self._rows.find(name)
            if not base:
                unseen = True
                used = reserved = held = used_now = reserved_now = 0
            else:
                if words[base] != slot:  # R_EPOCH
                    self._rows.advance(base, slot)
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
                return self._refuse(kind, principals, tokens, slot, now)
        if request_room <= 0 or (tokens and token_room < tokens):
            return self._refuse(kind, principals, tokens, slot, now)
        if spaced and self._too_soon(principals, rows, tokens, now):
            return self._refuse(kind, principals, tokens, slot, now)
        if unseen and not self._claim_rows(principals, rows, slot):
            return self._no_room(principals, rows, slot, now)
        handle = self._charge(kind, rows, tokens, place, slot, now)
        if spaced:
            self._space(principals, rows, tokens, now)
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

    def _charge(
        self, kind: int, rows: list[_Row], tokens: int, place: int, slot: int, now: float
    ) -> int:
        """Charge the windows, take the place, count it; its handle."""
        words, first = self._words, self._first
        at, count = R_REQUEST_SLOTS + slot % SLOTS, R_RUNNING if kind == REQUEST else R_SESSIONS
        packed = 0
        for base, used_now, reserved_now, _ in rows:
            words[base + at] = used_now + 1
            if tokens:
                words[base + at + SLOTS] = reserved_now + tokens
            packed = packed << ROW_BITS | ((base - first) // ROW_WORDS + 1)
        handle = leases.take(
            self.section, place, self._claim, kind, packed, tokens, slot, int(now * 1000)
        )
        for base, _, _, held in rows:
            words[base + count] = held + 1
        return handle

    def _too_soon(
        self, principals: tuple[Principal, ...], rows: list[_Row], tokens: int, now: float
    ) -> bool:
        return any(
            base
            and limits.smooth
            and any(waits(self._words, base, limits, tokens, int(now * 1000)))
            for (_, limits, _), (base, *_) in zip(principals, rows, strict=True)
        )

    def _space(
        self, principals: tuple[Principal, ...], rows: list[_Row], tokens: int, now: float
    ) -> None:
        for (_, limits, _), (base, *_) in zip(principals, rows, strict=True):
            if limits.smooth:
                raise_levels(self._words, base, limits, tokens, int(now * 1000))

    def _claim_rows(self, principals: tuple[Principal, ...], rows: list[_Row], slot: int) -> bool:
        """Give those without a row one; False when there is none left."""
        for index, (name, _, listed) in enumerate(principals):
            if not rows[index][0]:
                base = self._rows.claim(name, slot, listed=listed)
                if not base:
                    return False
                rows[index] = (base, 0, 0, 0)
        return True

    def _no_room(
        self, principals: tuple[Principal, ...], rows: list[_Row], slot: int, now: float
    ) -> Decision:
        """The refusal of one whose principals have no row to be counted on."""
        wait = max(
            self._rows.wait(name, slot, now, listed=listed)
            for (name, _, listed), (base, *_) in zip(principals, rows, strict=True)
            if not base
        )
        return Decision(refused="capacity", retry_after=wait)

    def _refuse(
        self, kind: int, principals: tuple[Principal, ...], tokens: int, slot: int, now: float
    ) -> Decision:
        bases = [self._rows.locate(principal.name) for principal in principals]
        for base in bases:
            if base and self._words[base] != slot:
                self._rows.advance(base, slot)
        return refusal(self._words, kind, principals, bases, tokens=tokens, slot=slot, now=now)

    def _slot(self, now: float) -> int:
        """The slot of `now`, or a later one that somebody has seen already."""
        words = self._words
        slot = int(now) // SLOT_SECONDS
        latest: int = words[H_LATEST]
        if slot > latest:
            words[H_LATEST] = slot
            return slot
        return latest

    # -- giving back -------------------------------------------------------------------

    def settle_lease(self, handle: int, used: int, now: float) -> bool:
        """See `LimitStore.settle`. Raises LockUnavailable: then nothing was done."""
        section, words = self.section, self._words
        section.enter()
        try:
            at = leases.find(section, handle)
            if not at or words[at + L_KIND] != REQUEST:
                return False
            excess = min(max(used, 0), _MOST_TOKENS) - words[at + L_TOKENS]
            if excess:
                self._correct(at, excess, self._slot(now))
            leases.free(section, at)
            return True
        except BaseException:
            words[H_DIRTY] = 1
            raise
        finally:
            section.leave()

    def _correct(self, at: int, excess: int, slot: int) -> None:
        """Charge the `excess` over what was reserved, or take back what was reserved for nothing.

        It is taken back from the slot it was charged to, as long as that counts; what was used
        beyond the reservation counts from now.
        """
        words = self._words
        charged = words[at + L_SLOT]
        # First: should anything below be cut short, nothing is taken back twice.
        words[at + L_TOKENS] += excess
        into = slot if excess > 0 else charged
        for base in leases.rows_of(self.section, at):
            if words[base] != slot:
                self._rows.advance(base, slot)
            if into > slot - SLOTS:
                words[base + R_TOKEN_SLOTS + into % SLOTS] += excess
                if into != slot:
                    words[base + R_PAST_TOKENS] += excess
            refund(words, base, -excess)

    def release_lease(self, handle: int) -> bool:
        """See `LimitStore.release`. Raises LockUnavailable: then nothing was done."""
        with self.section.held():
            at = leases.find(self.section, handle)
            if at:
                leases.free(self.section, at)
            return bool(at)

    def touch_session(self, handle: int, now: float) -> bool:
        """See `LimitStore.heartbeat`. Raises LockUnavailable."""
        with self.section.held():
            at = leases.find(self.section, handle)
            if at:
                self._words[at + L_BEAT] = int(now * 1000)
            return bool(at)

"""The counter rows of the principals: looked up by a digest of the name, reused when idle.

Invariants: a principal has one row. A row is idle when no lease counts for it and its window is
empty; its reuse loses no count. All methods run under the mutex of the section.
"""

from __future__ import annotations

import hashlib

from vai.io.limits.layout import (
    BUCKET,
    H_FULL,
    R_EPOCH,
    R_LEVEL_AT,
    R_NAME,
    R_REQUEST_LEVEL,
    R_REQUEST_SLOTS,
    R_RUNNING,
    R_SESSIONS,
    R_TOKEN_LEVEL,
    RESERVED_ROWS,
    ROW_WORDS,
    Layout,
)
from vai.io.limits.repair import update_sums
from vai.policy.limits.sets import GATEWAY, LimitSet
from vai.policy.limits.window import (
    MILLI,
    SLOT_SECONDS,
    SLOTS,
    drained_level,
    expired_slots,
    seconds_until_spaced,
)

__all__ = ["CounterRows", "raise_levels", "refund_tokens", "spacing_waits"]

_MAX_CACHED = 16384
_MANY_UNUSED = 8
"""With so many unused rows beyond the reserved ones, a bucket is not searched for idle rows."""
_NAME_BYTES = (ROW_WORDS - R_NAME) * 8


class CounterRows:
    """The rows of one section, as one process sees them."""

    __slots__ = ("_digests", "_section", "cached")

    def __init__(self, section: Layout) -> None:
        self._section = section
        self._digests: dict[str, int] = {}
        self.cached: dict[str, tuple[int, int, int]] = {GATEWAY: (section.keys, 1, section.rows)}
        """Name to the position of its key, the key, and the position of its row. Valid only
        while the key at that position is the same: another process may have reassigned the row."""

    def locate_row(self, name: str) -> int:
        """As `find_row`, from the cache first. An admission inlines this."""
        seen = self.cached.get(name)
        if seen and self._section.words[seen[0]] == seen[1]:
            return seen[2]
        return self.find_row(name)

    def find_row(self, name: str) -> int:
        """The position of the principal's row; 0 if it has none."""
        if name == GATEWAY:
            return self._section.rows
        key = self._key_of(name)
        words, keys = self._section.words, self._section.keys
        for first in self._buckets_of(key):
            near = words[keys + first : keys + first + BUCKET].tolist()
            if key in near:
                return self._cache_row(name, key, first + near.index(key))
        return 0

    def assign_row(self, name: str, slot: int, *, listed: bool) -> int:
        """Assign a row to a principal that has none; its position, or 0 if all are in use."""
        key = self._key_of(name)
        section, words = self._section, self._section.words
        row_index = self._choose_row(key, slot, 0 if listed else RESERVED_ROWS)
        if not row_index:
            words[H_FULL] = slot + 1
            return 0
        base = section.rows + row_index * ROW_WORDS
        words[section.keys + row_index] = 0  # first: a half-written row belongs to no principal
        for word in range(base, base + ROW_WORDS):
            words[word] = 0
        words[base + R_EPOCH] = slot
        text = _encode_name(name)[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0")
        for index in range(_NAME_BYTES // 8):
            words[base + R_NAME + index] = int.from_bytes(
                text[index * 8 : index * 8 + 8], "little", signed=True
            )
        words[section.keys + row_index] = key  # last: now it is the principal's
        return self._cache_row(name, key, row_index)

    def advance_window(self, base: int, slot: int) -> None:
        """Move the windows of the row at `base` to `slot`, and drop the older slots."""
        words = self._section.words
        for number in expired_slots(words[base + R_EPOCH], slot):
            offset = base + R_REQUEST_SLOTS + number % SLOTS
            words[offset] = words[offset + SLOTS] = 0
        update_sums(words, base, slot)
        # Last: cut short before this, it is done again. The other way round the slots of an
        # hour ago would count as those of now.
        words[base + R_EPOCH] = slot

    def seconds_until_row(self, name: str, slot: int, now: float, *, listed: bool) -> float:
        """Seconds until there is a row for a principal for which `assign_row` had none, if all
        requests of now continue to run."""
        at = 0 if listed else RESERVED_ROWS
        idle_at = min(
            sorted(self._idle_at(first, slot))[at] for first in self._buckets_of(self._key_of(name))
        )
        return max(0.0, idle_at * SLOT_SECONDS - now)

    def _choose_row(self, key: int, slot: int, reserved: int) -> int:
        """A row in the emptier bucket of a key, if that has more than `reserved` free; else 0."""
        buckets = self._buckets_of(key)
        looks = [
            (keys.count(0), first, keys) for first in buckets for keys in [self._bucket_keys(first)]
        ]
        unused, first, keys = max(looks)
        if unused > reserved + _MANY_UNUSED:  # finding idle rows takes thirty times as long
            row_index: int = first + keys.index(0)
            return row_index
        usable = max((self._usable_rows(first, slot) for first in buckets), key=len)
        return usable[0] if len(usable) > reserved else 0

    def _usable_rows(self, first: int, slot: int) -> list[int]:
        """The rows of a bucket that may be taken: the unused ones first, then the idle ones."""
        keys = self._bucket_keys(first)
        unused = [first + at for at, key in enumerate(keys) if not key]
        idle = [
            first + at
            for at, idle_at in enumerate(self._idle_at(first, slot))
            if idle_at <= slot and keys[at]
        ]
        return unused + idle

    def _bucket_keys(self, first: int) -> list[int]:
        keys: list[int] = self._section.words[
            self._section.keys + first : self._section.keys + first + BUCKET
        ].tolist()
        return keys

    def _idle_at(self, first: int, slot: int) -> list[int]:
        """For each row of a bucket the slot from which on it may be taken.

        A row with a lease is counted as if the lease ended now.
        """
        section, words = self._section, self._section.words
        begin = section.rows + first * ROW_WORDS
        end = begin + BUCKET * ROW_WORDS
        epochs, running, sessions = (
            words[begin + word : end : ROW_WORDS].tolist()
            for word in (R_EPOCH, R_RUNNING, R_SESSIONS)
        )
        return [
            0 if not key else slot + SLOTS if busy or open_ else epoch + SLOTS
            for key, epoch, busy, open_ in zip(
                self._bucket_keys(first), epochs, running, sessions, strict=True
            )
        ]

    def _key_of(self, name: str) -> int:
        key = self._digests.get(name)
        if key is None:
            digest = hashlib.blake2b(_encode_name(name), digest_size=8, key=self._section.secret)
            key = int.from_bytes(digest.digest(), "little", signed=True) or 1
            if len(self._digests) >= _MAX_CACHED:
                self._digests.clear()
            self._digests[name] = key
        return key

    def _buckets_of(self, key: int) -> tuple[int, int]:
        """The first rows of the two buckets of a key."""
        count = self._section.buckets
        one, other = key % count, key // count % count
        return 1 + one * BUCKET, 1 + other * BUCKET

    def _cache_row(self, name: str, key: int, row_index: int) -> int:
        if len(self.cached) >= _MAX_CACHED:
            gateway = self.cached[GATEWAY]
            self.cached.clear()
            self.cached[GATEWAY] = gateway
        section = self._section
        base = section.rows + row_index * ROW_WORDS
        self.cached[name] = (section.keys + row_index, key, base)
        return base


def _encode_name(name: str) -> bytes:
    # Accepts any text: an error here would occur while this process holds the mutex.
    return name.encode(errors="surrogatepass")


def spacing_waits(
    words: memoryview, base: int, limits: LimitSet, tokens: int, now_ms: int
) -> tuple[float, float]:
    """Seconds until a request and `tokens` may pass; 0.0 where they may now."""
    requests, allowance = _drained_levels(words, base, limits, now_ms)
    return (
        seconds_until_spaced(requests, 1, limits.requests) if limits.requests else 0.0,
        seconds_until_spaced(allowance, tokens, limits.tokens) if limits.tokens and tokens else 0.0,
    )


def raise_levels(words: memoryview, base: int, limits: LimitSet, tokens: int, now_ms: int) -> None:
    """Charge one request and `tokens`."""
    requests, allowance = _drained_levels(words, base, limits, now_ms)
    words[base + R_LEVEL_AT] = max(now_ms, words[base + R_LEVEL_AT])
    words[base + R_REQUEST_LEVEL] = requests + MILLI if limits.requests else 0
    words[base + R_TOKEN_LEVEL] = allowance + tokens * MILLI if limits.tokens else 0


def refund_tokens(words: memoryview, base: int, tokens: int) -> None:
    """Subtract `tokens` from the level (negative: add them). An empty bucket stays empty."""
    level = words[base + R_TOKEN_LEVEL]
    if level:
        words[base + R_TOKEN_LEVEL] = max(0, level - tokens * MILLI)


def _drained_levels(words: memoryview, base: int, limits: LimitSet, now_ms: int) -> tuple[int, int]:
    elapsed = now_ms - words[base + R_LEVEL_AT]
    return (
        drained_level(words[base + R_REQUEST_LEVEL], elapsed, limits.requests),
        drained_level(words[base + R_TOKEN_LEVEL], elapsed, limits.tokens),
    )

"""The rows of the principals: found by a digest of the name, taken anew when idle.

The law: one principal, one row. A row is idle when nothing is held on it and its window is
empty; nothing is lost with it. Everything here happens under the mutex of the section.
"""

from __future__ import annotations

import hashlib

from vai.io.limits.layout import (
    BUCKET,
    H_FULL,
    KEPT,
    R_EPOCH,
    R_LEVEL_AT,
    R_NAME,
    R_REQUEST_LEVEL,
    R_REQUEST_SLOTS,
    R_RUNNING,
    R_SESSIONS,
    R_TOKEN_LEVEL,
    ROW_WORDS,
    Layout,
)
from vai.io.limits.repair import add_up
from vai.policy.limits.sets import GATEWAY, LimitSet
from vai.policy.limits.window import (
    MILLI,
    SLOT_SECONDS,
    SLOTS,
    drained_level,
    expired_slots,
    seconds_until_spaced,
)

__all__ = ["CounterRows", "raise_levels", "refund", "waits"]

_REMEMBERED = 16384
_PLENTY = 8
"""Unused rows beyond those that are kept with which a bucket need not be looked at closely."""
_NAME_BYTES = (ROW_WORDS - R_NAME) * 8


class CounterRows:
    """The rows of one section, as one process sees them."""

    __slots__ = ("_digests", "_section", "known")

    def __init__(self, section: Layout) -> None:
        self._section = section
        self._digests: dict[str, int] = {}
        self.known: dict[str, tuple[int, int, int]] = {GATEWAY: (section.keys, 1, section.rows)}
        """Name to the position of its key, the key, and the position of its row. True only
        while that key stands there: another process may have given the row away."""

    def locate(self, name: str) -> int:
        """As `find`, by way of what is remembered. An admission has this written out."""
        seen = self.known.get(name)
        if seen and self._section.words[seen[0]] == seen[1]:
            return seen[2]
        return self.find(name)

    def find(self, name: str) -> int:
        """The position of the principal's row; 0 if it has none."""
        if name == GATEWAY:
            return self._section.rows
        key = self._key(name)
        words, keys = self._section.words, self._section.keys
        for first in self._buckets(key):
            near = words[keys + first : keys + first + BUCKET].tolist()
            if key in near:
                return self._remember(name, key, first + near.index(key))
        return 0

    def claim(self, name: str, slot: int, *, listed: bool) -> int:
        """A row for a principal that has none; its position, or 0 if all are in use."""
        key = self._key(name)
        section, words = self._section, self._section.words
        row = self._row_for(key, slot, 0 if listed else KEPT)
        if not row:
            words[H_FULL] = slot + 1
            return 0
        base = section.rows + row * ROW_WORDS
        words[section.keys + row] = 0  # first: what is half made is nobody's
        for word in range(base, base + ROW_WORDS):
            words[word] = 0
        words[base + R_EPOCH] = slot
        text = _bytes(name)[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0")
        for index in range(_NAME_BYTES // 8):
            words[base + R_NAME + index] = int.from_bytes(
                text[index * 8 : index * 8 + 8], "little", signed=True
            )
        words[section.keys + row] = key  # last: now it is the principal's
        return self._remember(name, key, row)

    def advance(self, base: int, slot: int) -> None:
        """Move the windows of the row at `base` to `slot`: what is older than that is gone."""
        words = self._section.words
        for number in expired_slots(words[base + R_EPOCH], slot):
            place = base + R_REQUEST_SLOTS + number % SLOTS
            words[place] = words[place + SLOTS] = 0
        add_up(words, base, slot)
        # Last: cut short before this, it is done again. The other way round the slots of an
        # hour ago would count as those of now.
        words[base + R_EPOCH] = slot

    def wait(self, name: str, slot: int, now: float, *, listed: bool) -> float:
        """Seconds until there is a row for a principal that `claim` had none for, if all that run
        now go on running."""
        at = 0 if listed else KEPT
        idle_at = min(
            sorted(self._idle_at(first, slot))[at] for first in self._buckets(self._key(name))
        )
        return max(0.0, idle_at * SLOT_SECONDS - now)

    def _row_for(self, key: int, slot: int, kept: int) -> int:
        """A row in the emptier bucket of a key, if that has more than `kept` to give; else 0."""
        buckets = self._buckets(key)
        looks = [(keys.count(0), first, keys) for first in buckets for keys in [self._keys(first)]]
        unused, first, keys = max(looks)
        if unused > kept + _PLENTY:  # idle rows take thirty times as long to find
            row: int = first + keys.index(0)
            return row
        usable = max((self._usable(first, slot) for first in buckets), key=len)
        return usable[0] if len(usable) > kept else 0

    def _usable(self, first: int, slot: int) -> list[int]:
        """The rows of a bucket that may be taken: the unused ones first, then the idle ones."""
        keys = self._keys(first)
        unused = [first + at for at, key in enumerate(keys) if not key]
        idle = [
            first + at
            for at, idle_at in enumerate(self._idle_at(first, slot))
            if idle_at <= slot and keys[at]
        ]
        return unused + idle

    def _keys(self, first: int) -> list[int]:
        keys: list[int] = self._section.words[
            self._section.keys + first : self._section.keys + first + BUCKET
        ].tolist()
        return keys

    def _idle_at(self, first: int, slot: int) -> list[int]:
        """For each row of a bucket the slot from which on it may be taken.

        A row that something runs on is counted as if that ended now.
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
                self._keys(first), epochs, running, sessions, strict=True
            )
        ]

    def _key(self, name: str) -> int:
        key = self._digests.get(name)
        if key is None:
            digest = hashlib.blake2b(_bytes(name), digest_size=8, key=self._section.secret)
            key = int.from_bytes(digest.digest(), "little", signed=True) or 1
            if len(self._digests) >= _REMEMBERED:
                self._digests.clear()
            self._digests[name] = key
        return key

    def _buckets(self, key: int) -> tuple[int, int]:
        """The first rows of the two buckets of a key."""
        count = self._section.buckets
        one, other = key % count, key // count % count
        return 1 + one * BUCKET, 1 + other * BUCKET

    def _remember(self, name: str, key: int, row: int) -> int:
        if len(self.known) >= _REMEMBERED:
            everybody = self.known[GATEWAY]
            self.known.clear()
            self.known[GATEWAY] = everybody
        section = self._section
        base = section.rows + row * ROW_WORDS
        self.known[name] = (section.keys + row, key, base)
        return base


def _bytes(name: str) -> bytes:
    # Whatever text it is: an error in here would be one inside the mutex.
    return name.encode(errors="surrogatepass")


def waits(
    words: memoryview, base: int, limits: LimitSet, tokens: int, now_ms: int
) -> tuple[float, float]:
    """Seconds until a request and `tokens` may pass; 0.0 where they may now."""
    requests, allowance = _levels(words, base, limits, now_ms)
    return (
        seconds_until_spaced(requests, 1, limits.requests) if limits.requests else 0.0,
        seconds_until_spaced(allowance, tokens, limits.tokens) if limits.tokens and tokens else 0.0,
    )


def raise_levels(words: memoryview, base: int, limits: LimitSet, tokens: int, now_ms: int) -> None:
    """Charge one request and `tokens`."""
    requests, allowance = _levels(words, base, limits, now_ms)
    words[base + R_LEVEL_AT] = max(now_ms, words[base + R_LEVEL_AT])
    words[base + R_REQUEST_LEVEL] = requests + MILLI if limits.requests else 0
    words[base + R_TOKEN_LEVEL] = allowance + tokens * MILLI if limits.tokens else 0


def refund(words: memoryview, base: int, tokens: int) -> None:
    """Take `tokens` off the level (negative: put them on). An empty bucket stays empty."""
    level = words[base + R_TOKEN_LEVEL]
    if level:
        words[base + R_TOKEN_LEVEL] = max(0, level - tokens * MILLI)


def _levels(words: memoryview, base: int, limits: LimitSet, now_ms: int) -> tuple[int, int]:
    elapsed = now_ms - words[base + R_LEVEL_AT]
    return (
        drained_level(words[base + R_REQUEST_LEVEL], elapsed, limits.requests),
        drained_level(words[base + R_TOKEN_LEVEL], elapsed, limits.tokens),
    )

"""Recomputes the words that are derived from the leases and the slots.

Invariants: the outcome depends on leases and slots alone, so the next holder repeats a repair that
was cut short. A charge whose lease was never taken stays: it leaves the window by itself, and
whether its exchange had begun is unknown.
"""

from __future__ import annotations

from collections import Counter

from vai.io.limits.layout import (
    H_FREE,
    H_HIGH,
    L_KIND,
    L_OWNER,
    L_ROWS,
    LEASE_WORDS,
    R_EPOCH,
    R_PAST_REQUESTS,
    R_PAST_TOKENS,
    R_REQUEST_SLOTS,
    R_RUNNING,
    R_SESSIONS,
    ROW_BITS,
    ROW_MASK,
    ROW_WORDS,
    SESSION,
    Layout,
)
from vai.policy.limits.window import SLOTS

__all__ = ["repair_section", "update_sums"]


def repair_section(section: Layout) -> None:
    """Recompute sums, counts and the list of free leases. Under the mutex.

    Takes about 2 µs for every row and lease in use.
    """
    running, sessions = _count_leases(section)
    words = section.words
    for row_index, key in enumerate(words[section.keys : section.rows].tolist()):
        if not key:
            continue
        base = section.rows + row_index * ROW_WORDS
        update_sums(words, base, words[base + R_EPOCH])
        words[base + R_RUNNING] = running[row_index]
        words[base + R_SESSIONS] = sessions[row_index]


def update_sums(words: memoryview, base: int, slot: int) -> None:
    """Recompute the sums of the slots before `slot` for the row at `base`."""
    now = base + R_REQUEST_SLOTS + slot % SLOTS
    first = base + R_REQUEST_SLOTS
    requests, tokens = words[first : first + SLOTS], words[first + SLOTS : first + 2 * SLOTS]
    words[base + R_PAST_REQUESTS] = sum(requests.tolist()) - words[now]
    words[base + R_PAST_TOKENS] = sum(tokens.tolist()) - words[now + SLOTS]


def _count_leases(section: Layout) -> tuple[Counter[int], Counter[int]]:
    """How many requests and sessions count for each row; also lists the free leases."""
    words = section.words
    running: Counter[int] = Counter()
    sessions: Counter[int] = Counter()
    free = 0
    for index in range(words[H_HIGH]):
        at = section.leases + index * LEASE_WORDS
        if not words[at + L_OWNER]:
            words[section.free + free] = index
            free += 1
            continue
        counter = sessions if words[at + L_KIND] == SESSION else running
        rows = words[at + L_ROWS]
        while rows:
            counter[(rows & ROW_MASK) - 1] += 1
            rows >>= ROW_BITS
    words[H_FREE] = free
    return running, sessions

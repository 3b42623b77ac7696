"""Making anew what is made from the leases and the slots.

The law: the outcome depends on the truth alone, so a repair that is itself cut short is
simply done again. A charge whose place was never taken stays: it leaves the window by
itself, and to take it away would need to know that the exchange had not begun.
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

__all__ = ["add_up", "repair"]


def repair(section: Layout) -> None:
    """Make sums, counts and the list of free places anew. Under the mutex.

    Takes about 2 µs for every row and place in use.
    """
    running, sessions = _count(section)
    words = section.words
    for row, key in enumerate(words[section.keys : section.rows].tolist()):
        if not key:
            continue
        base = section.rows + row * ROW_WORDS
        add_up(words, base, words[base + R_EPOCH])
        words[base + R_RUNNING] = running[row]
        words[base + R_SESSIONS] = sessions[row]


def add_up(words: memoryview, base: int, slot: int) -> None:
    """Make the sums of the slots before `slot` anew for the row at `base`."""
    now = base + R_REQUEST_SLOTS + slot % SLOTS
    first = base + R_REQUEST_SLOTS
    requests, tokens = words[first : first + SLOTS], words[first + SLOTS : first + 2 * SLOTS]
    words[base + R_PAST_REQUESTS] = sum(requests.tolist()) - words[now]
    words[base + R_PAST_TOKENS] = sum(tokens.tolist()) - words[now + SLOTS]


def _count(section: Layout) -> tuple[Counter[int], Counter[int]]:
    """How many requests and sessions hang on each row; lists the free places on the way."""
    words = section.words
    running: Counter[int] = Counter()
    sessions: Counter[int] = Counter()
    free = 0
    for place in range(words[H_HIGH]):
        at = section.leases + place * LEASE_WORDS
        if not words[at + L_OWNER]:
            words[section.free + free] = place
            free += 1
            continue
        counter = sessions if words[at + L_KIND] == SESSION else running
        rows = words[at + L_ROWS]
        while rows:
            counter[(rows & ROW_MASK) - 1] += 1
            rows >>= ROW_BITS
    words[H_FREE] = free
    return running, sessions

"""The layout of the section of the control block that holds the limits.

Invariants: every word is 8 bytes and aligned, so no reader sees and no crash leaves a half-written
word, and all writes happen under one mutex. Two kinds of words are the source of truth: the leases
and the slots of the windows. All others (sums, counts, the list of free leases) are derived from
these, and recomputed when a holder of the mutex died. A writer writes the word that makes an entry
valid last, and the word that makes it invalid first.

    header    the magic number, the mutex, the latest slot, how many leases were ever used
    owners    by worker slot: the generation of the worker that may take leases
    keys      of the rows, side by side so that reading a bucket of 64 is one copy
    rows      320 bytes for every principal: counts, sums, levels, 2 x 13 slots, its name
    free      the indexes of leases that were returned
    leases    64 bytes for every lease
"""

from __future__ import annotations

from vai.io.control_block import ROWS as WORKERS
from vai.policy.limits.window import SLOTS

__all__ = [
    "BUCKET",
    "DEFAULT_LEASES",
    "DEFAULT_PRINCIPALS",
    "H_DIRTY",
    "H_FREE",
    "H_FULL",
    "H_HIGH",
    "H_LATEST",
    "H_LAYOUT",
    "H_LEASES",
    "H_MAGIC",
    "H_PRINCIPALS",
    "H_SECRET",
    "KEYS",
    "LAYOUT",
    "LEASE_WORDS",
    "L_GENERATION",
    "L_HEARTBEAT",
    "L_KIND",
    "L_OWNER",
    "L_ROWS",
    "L_SINCE",
    "L_SLOT",
    "L_TOKENS",
    "MAGIC",
    "MUTEX",
    "NO_OWNER",
    "OWNERS",
    "REQUEST",
    "RESERVED_ROWS",
    "ROW_BITS",
    "ROW_MASK",
    "ROW_WORDS",
    "R_EPOCH",
    "R_LEVEL_AT",
    "R_NAME",
    "R_PAST_REQUESTS",
    "R_PAST_TOKENS",
    "R_REQUEST_LEVEL",
    "R_REQUEST_SLOTS",
    "R_RUNNING",
    "R_SESSIONS",
    "R_TOKEN_LEVEL",
    "R_TOKEN_SLOTS",
    "SESSION",
    "Layout",
    "section_size",
]

MAGIC = int.from_bytes(b"VAILIMIT", "little")
LAYOUT = 2
_WORD = 8

DEFAULT_PRINCIPALS = 8192
DEFAULT_LEASES = 16384

H_MAGIC, H_LAYOUT, H_PRINCIPALS, H_LEASES, H_SECRET = range(5)
H_DIRTY, H_LATEST, H_FREE, H_HIGH, H_FULL = range(6, 11)
"""H_DIRTY: the derived words must be recomputed. H_LATEST: the latest slot that any worker saw, so
that a worker with an older time does not move a window back. H_FREE: how many leases were returned
and not taken again. H_HIGH: how many leases were ever taken."""
MUTEX = 16
OWNERS = 64
KEYS = OWNERS + WORKERS

BUCKET = 64
"""Rows of a bucket. A principal's key determines two buckets; its row goes into the one with more
room. So rows need no tombstones, no row moves, no search is longer than two buckets, and buckets
fill evenly: with the mean of `_MEAN` rows the fullest has three or four more."""

RESERVED_ROWS = BUCKET // 4
"""Rows of a bucket that only configured principals may take, so that any number of addresses
leaves room for them."""

_MEAN = 42
"""Addresses of a bucket when there are as many principals as the section was sized for. It is 6
below what addresses may take of a bucket, so that no bucket is full before all are."""

ROW_WORDS = 40
R_EPOCH, R_RUNNING, R_SESSIONS, R_PAST_REQUESTS, R_PAST_TOKENS = range(5)
R_REQUEST_LEVEL, R_TOKEN_LEVEL, R_LEVEL_AT, R_REQUEST_SLOTS = range(5, 9)
R_TOKEN_SLOTS = R_REQUEST_SLOTS + SLOTS
R_NAME = R_TOKEN_SLOTS + SLOTS
"""R_EPOCH: the slot the windows have moved to. R_PAST_...: the sums of the slots before it, so
that a charge writes one word. R_RUNNING, R_SESSIONS: how many leases count for the row."""

LEASE_WORDS = 8
L_OWNER, L_GENERATION, L_KIND, L_ROWS, L_TOKENS, L_SLOT, L_SINCE, L_HEARTBEAT = range(LEASE_WORDS)
REQUEST, SESSION = 1, 2
NO_OWNER = 0
"""The owner of a free lease; generations begin at 1."""

ROW_BITS = 20
ROW_MASK = (1 << ROW_BITS) - 1
"""The rows of a lease share one word: three fields of ROW_BITS, each with 1 added."""


def _buckets_of(principals: int) -> int:
    return max(1, -(-principals // _MEAN))


def section_size(principals: int = DEFAULT_PRINCIPALS, leases: int = DEFAULT_LEASES) -> int:
    """Bytes to reserve in the control block; 5 MiB with the defaults."""
    rows = 1 + _buckets_of(principals) * BUCKET  # the first row is the gateway's
    return (KEYS + rows * (1 + ROW_WORDS) + leases * (1 + LEASE_WORDS)) * _WORD


class Layout:
    """The words of a section. Positions count words from its beginning."""

    __slots__ = (
        "buckets",
        "free",
        "keys",
        "lease_count",
        "leases",
        "principals",
        "rows",
        "secret",
        "words",
    )

    def __init__(self, view: memoryview) -> None:
        """Open a prepared section. Raises ValueError if `view` is none."""
        words = view.cast("q")
        if words[H_MAGIC] != MAGIC or words[H_LAYOUT] != LAYOUT:
            raise ValueError(f"not a section of limits of layout {LAYOUT}")
        self.words = words
        self.secret = bytes(words[H_SECRET : H_SECRET + 2])
        """Keys the names' digests, so that no client can choose names that share one bucket."""
        self.principals = words[H_PRINCIPALS]
        """The least number of principals that fit, configured or not."""
        self.buckets = _buckets_of(self.principals)
        self.lease_count = words[H_LEASES]
        rows = 1 + self.buckets * BUCKET
        self.keys = KEYS
        self.rows = KEYS + rows
        self.free = self.rows + rows * ROW_WORDS
        self.leases = self.free + self.lease_count

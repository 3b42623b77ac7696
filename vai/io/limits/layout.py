"""Where everything lies in the section of the board that holds the limits.

The law: every word is 8 bytes and aligned, so none is ever seen or left half written, and
all are written under one mutex. Two kinds of words are the truth: the places that are held
(leases) and the slots of the windows. All others (sums, counts, the list of free places) are
made from these, and made anew when a holder of the mutex died with it in hand. What makes
something valid is written last, what makes it invalid first.

    header    what it is, the mutex, the latest slot, how many places were ever used
    owners    by row of the board: the claim of the worker that may take places
    keys      of the rows, side by side so that a look at a bucket of 64 is one copy
    rows      320 bytes for every principal: counts, sums, levels, 2 x 13 slots, its name
    free      the numbers of places that were given back
    leases    64 bytes for every place that is held
"""

from __future__ import annotations

from vai.io.control_block import ROWS as WORKERS
from vai.policy.limits.window import SLOTS

__all__ = [
    "BUCKET",
    "DEFAULT_LEASES",
    "DEFAULT_SUBJECTS",
    "H_DIRTY",
    "H_FREE",
    "H_FULL",
    "H_HIGH",
    "H_LATEST",
    "H_LAYOUT",
    "H_LEASES",
    "H_MAGIC",
    "H_SECRET",
    "H_SUBJECTS",
    "KEPT",
    "KEYS",
    "LAYOUT",
    "LEASE_WORDS",
    "L_BEAT",
    "L_GENERATION",
    "L_KIND",
    "L_OWNER",
    "L_ROWS",
    "L_SINCE",
    "L_SLOT",
    "L_TOKENS",
    "MAGIC",
    "MUTEX",
    "NOBODY",
    "OWNERS",
    "REQUEST",
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

DEFAULT_SUBJECTS = 8192
DEFAULT_LEASES = 16384

H_MAGIC, H_LAYOUT, H_SUBJECTS, H_LEASES, H_SECRET = range(5)
H_DIRTY, H_LATEST, H_FREE, H_HIGH, H_FULL = range(6, 11)
"""H_DIRTY: what can be made anew has to be. H_LATEST: the latest slot anybody saw, so that one
whose reading of the clock is older does not turn a window back. H_FREE: how many places were
given back and not taken again. H_HIGH: how many places were ever taken."""
MUTEX = 16
OWNERS = 64
KEYS = OWNERS + WORKERS

BUCKET = 64
"""Rows of a bucket. A principal's row is in one of two buckets, which its key tells, and goes where
there is more room. So rows come and go without a trace (no tombstones), none ever moves, no search
is longer than two buckets, and buckets fill evenly: with the mean of `_MEAN` rows the fullest has
three or four more."""

KEPT = BUCKET // 4
"""Rows of a bucket that only principals known by configuration may take, so that any number of
strangers leaves room for them."""

_MEAN = 42
"""Strangers of a bucket when there are as many principals as were asked for. It is 6 below what
strangers may take of one, so that none is full before all are."""

ROW_WORDS = 40
R_EPOCH, R_RUNNING, R_SESSIONS, R_PAST_REQUESTS, R_PAST_TOKENS = range(5)
R_REQUEST_LEVEL, R_TOKEN_LEVEL, R_LEVEL_AT, R_REQUEST_SLOTS = range(5, 9)
R_TOKEN_SLOTS = R_REQUEST_SLOTS + SLOTS
R_NAME = R_TOKEN_SLOTS + SLOTS
"""R_EPOCH: the slot the windows have moved to. R_PAST_...: the sums of the slots before it, so
that a charge writes one word. R_RUNNING, R_SESSIONS: how many leases hang on the row."""

LEASE_WORDS = 8
L_OWNER, L_GENERATION, L_KIND, L_ROWS, L_TOKENS, L_SLOT, L_SINCE, L_BEAT = range(LEASE_WORDS)
REQUEST, SESSION = 1, 2
NOBODY = 0
"""The owner of a place that is free; claims begin at 1."""

ROW_BITS = 20
ROW_MASK = (1 << ROW_BITS) - 1
"""The rows of a lease lie in one word, three times so many bits, each with 1 added."""


def _buckets_of(principals: int) -> int:
    return max(1, -(-principals // _MEAN))


def section_size(principals: int = DEFAULT_SUBJECTS, leases: int = DEFAULT_LEASES) -> int:
    """Bytes to set aside on the board; 5 MiB with the defaults."""
    rows = 1 + _buckets_of(principals) * BUCKET  # the first row is the gateway's own
    return (KEYS + rows * (1 + ROW_WORDS) + leases * (1 + LEASE_WORDS)) * _WORD


class Layout:
    """The words of a section. Positions count words from its beginning."""

    __slots__ = (
        "buckets",
        "free",
        "keys",
        "leases",
        "places",
        "principals",
        "rows",
        "secret",
        "words",
    )

    def __init__(self, view: memoryview) -> None:
        """Open a section that was prepared. Raises ValueError if `view` is none."""
        words = view.cast("q")
        if words[H_MAGIC] != MAGIC or words[H_LAYOUT] != LAYOUT:
            raise ValueError(f"not a section of limits of layout {LAYOUT}")
        self.words = words
        self.secret = bytes(words[H_SECRET : H_SECRET + 2])
        """Keys the names' digests, so that nobody can choose names that meet in one place."""
        self.principals = words[H_SUBJECTS]
        """How many principals find room at least, known or not."""
        self.buckets = _buckets_of(self.principals)
        self.places = words[H_LEASES]
        rows = 1 + self.buckets * BUCKET
        self.keys = KEYS
        self.rows = KEYS + rows
        self.free = self.rows + rows * ROW_WORDS
        self.leases = self.free + self.places

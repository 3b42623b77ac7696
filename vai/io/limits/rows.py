"""The rows of the subjects: found by a digest of the name, taken anew when idle.

The law: one subject, one row. A row is idle when nothing is held on it and its window is
empty; nothing is lost with it. Everything here happens under the mutex of the section.
"""

from __future__ import annotations

import hashlib

from vai.io.limits.layout import (
    NEIGHBOURS,
    R_EPOCH,
    R_NAME,
    R_REQUEST_SLOTS,
    R_RUNNING,
    R_SESSIONS,
    ROW_WORDS,
    Layout,
)
from vai.io.limits.repair import add_up
from vai.policy.limits.sets import EVERYBODY
from vai.policy.limits.window import SLOTS, expired_places

__all__ = ["Rows"]

_REMEMBERED = 16384
_KEPT_FOR_LISTED = NEIGHBOURS // 4
"""Rows of a neighbourhood that only subjects known by configuration may take, so that any
number of strangers leaves room for them."""
_NAME_BYTES = (ROW_WORDS - R_NAME) * 8


class Rows:
    """The rows of one section, as one process sees them."""

    __slots__ = ("_digests", "_section", "known")

    def __init__(self, section: Layout) -> None:
        self._section = section
        self._digests: dict[str, int] = {}
        self.known: dict[str, tuple[int, int, int]] = {EVERYBODY: (section.keys, 1, section.rows)}
        """Name to the position of its key, the key, and the position of its row. True only
        while that key stands there: another process may have given the row away."""

    def locate(self, name: str) -> int:
        """As `find`, by way of what is remembered. An admission has this written out."""
        seen = self.known.get(name)
        if seen and self._section.words[seen[0]] == seen[1]:
            return seen[2]
        return self.find(name)

    def find(self, name: str) -> int:
        """The position of the subject's row; 0 if it has none."""
        if name == EVERYBODY:
            return self._section.rows
        key = self._key(name)
        first = self._first(key)
        words, keys = self._section.words, self._section.keys
        near = words[keys + first : keys + first + NEIGHBOURS].tolist()
        if key not in near:
            return 0
        return self._remember(name, key, first + near.index(key))

    def claim(self, name: str, slot: int, *, listed: bool) -> int:
        """A row for a subject that has none; its position, or 0 if all are in use."""
        key = self._key(name)
        first = self._first(key)
        section, words = self._section, self._section.words
        row = self._usable(first, slot, 0 if listed else _KEPT_FOR_LISTED)
        if not row:
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
        words[section.keys + row] = key  # last: now it is the subject's
        return self._remember(name, key, row)

    def advance(self, base: int, slot: int) -> None:
        """Move the windows of the row at `base` to `slot`: what is older than that is gone."""
        words = self._section.words
        for number in expired_places(words[base + R_EPOCH], slot):
            place = base + R_REQUEST_SLOTS + number % SLOTS
            words[place] = words[place + SLOTS] = 0
        add_up(words, base, slot)
        # Last: cut short before this, it is done again. The other way round the slots of an
        # hour ago would count as those of now.
        words[base + R_EPOCH] = slot

    def _usable(self, first: int, slot: int, kept: int) -> int:
        """An unused or idle row of a neighbourhood, if there are more than `kept`; else 0."""
        section = self._section
        keys = section.words[section.keys + first : section.keys + first + NEIGHBOURS].tolist()
        if keys.count(0) > kept:
            row: int = first + keys.index(0)
            return row
        usable = [row for row in range(first, first + NEIGHBOURS) if self._idle(row, slot)]
        return usable[0] if len(usable) > kept else 0

    def _idle(self, row: int, slot: int) -> bool:
        section, words = self._section, self._section.words
        if not words[section.keys + row]:
            return True
        base = section.rows + row * ROW_WORDS
        if words[base + R_RUNNING] or words[base + R_SESSIONS]:
            return False
        return words[base + R_EPOCH] <= slot - SLOTS

    def _key(self, name: str) -> int:
        key = self._digests.get(name)
        if key is None:
            digest = hashlib.blake2b(_bytes(name), digest_size=8, key=self._section.secret)
            key = int.from_bytes(digest.digest(), "little", signed=True) or 1
            if len(self._digests) >= _REMEMBERED:
                self._digests.clear()
            self._digests[name] = key
        return key

    def _first(self, key: int) -> int:
        return 1 + key % self._section.starts

    def _remember(self, name: str, key: int, row: int) -> int:
        if len(self.known) >= _REMEMBERED:
            everybody = self.known[EVERYBODY]
            self.known.clear()
            self.known[EVERYBODY] = everybody
        section = self._section
        base = section.rows + row * ROW_WORDS
        self.known[name] = (section.keys + row, key, base)
        return base


def _bytes(name: str) -> bytes:
    # Whatever text it is: an error in here would be one inside the mutex.
    return name.encode(errors="surrogatepass")

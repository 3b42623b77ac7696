"""The journal of received requests, in order and byte for byte.

Invariants: count and bytes are bounded, and the oldest entries are dropped first; no rendering has
a credential, but its SHA-256 instead.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections import deque
from typing import Any, Final, Literal

import msgspec

__all__ = ["Journal", "JournalEntry"]

_CREDENTIALS: Final = frozenset(
    {"authorization", "x-api-key", "x-goog-api-key", "x-vai-key", "cookie"}
)

Outcome = Literal["in_flight", "completed", "client_closed", "faulted"]


class JournalEntry(msgspec.Struct):
    """One request and its outcome. Moments are `time.monotonic` seconds, which the processes of
    one machine share."""

    n: int
    connection: int
    head: bytes
    method: str
    target: str
    body: bytes = b""
    provider: str = ""
    model: str = ""
    request_id: str = ""
    status: int = 0
    received: float = 0.0
    first_byte: float | None = None
    ended: float | None = None
    client_closed: float | None = None
    outcome: Outcome = "in_flight"
    """`faulted`: the simulator cut or reset it on request."""
    sent: int = 0
    """Bytes written to the socket."""
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_sent: int = 0
    """Output tokens sent before the end or the cut."""

    def show(self) -> dict[str, Any]:
        """The entry as JSON-able members, credentials hashed."""
        shown: dict[str, Any] = msgspec.structs.asdict(self)
        shown["head"], shown["headers"], shown["credentials"] = _hash_credentials(self.head)
        try:
            shown["body"] = self.body.decode()
            shown["body_base64"] = None
        except UnicodeDecodeError:
            shown["body"] = None
            shown["body_base64"] = base64.b64encode(self.body).decode()
        return shown


class Journal:
    """The latest entries, at most `most` of them and about `most_bytes` of heads and bodies."""

    def __init__(self, most: int = 4096, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._entries: deque[JournalEntry] = deque()
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._count = 0

    def open_entry(
        self, connection: int, head: bytes, body: bytes, method: str, target: str
    ) -> JournalEntry:
        """Record a request that has just been received completely."""
        self._count += 1
        entry = JournalEntry(
            n=self._count,
            connection=connection,
            head=head,
            method=method,
            target=target,
            body=body,
            received=time.monotonic(),
        )
        if self._most:
            self._entries.append(entry)
            self._bytes += len(head) + len(body)
            while len(self._entries) > self._most or self._bytes > self._most_bytes:
                self._drop_oldest()
        return entry

    def entries_after(
        self, after: int = 0, request_id: str = "", model: str = ""
    ) -> list[JournalEntry]:
        """Entries numbered above `after`, optionally of one request id or model."""
        return [
            entry
            for entry in self._entries
            if entry.n > after
            and request_id in ("", entry.request_id)
            and model in ("", entry.model)
        ]

    @property
    def last_number(self) -> int:
        """The number of the newest request, dropped or not."""
        return self._count

    def clear(self) -> None:
        """Drop the entries; the numbering goes on."""
        self._entries.clear()
        self._bytes = 0

    def _drop_oldest(self) -> None:
        old = self._entries.popleft()
        self._bytes -= len(old.head) + len(old.body)


def _hash_credentials(head: bytes) -> tuple[str, list[list[str]], list[dict[str, str]]]:
    """The head with credentials hashed: as text, as pairs, and their full digests."""
    lines = head.decode("latin-1").split("\r\n")
    pairs: list[list[str]] = []
    digests: list[dict[str, str]] = []
    for at, line in enumerate(lines[1:], 1):
        name, colon, value = line.partition(":")
        if not colon:
            continue
        value = value.strip(" \t")
        if name.lower() in _CREDENTIALS:
            secret = value.partition(" ")[2] or value
            digest = hashlib.sha256(secret.encode("latin-1")).hexdigest()
            digests.append({"header": name.lower(), "sha256": digest})
            value = f"sha256:{digest[:12]}"
            lines[at] = f"{name}: {value}"
        pairs.append([name, value])
    return "\r\n".join(lines), pairs, digests

"""`reasoning_details`: reasoning of servers that want back every word of it, and its seals.

OpenRouter sends a list of texts, summaries and encrypted pieces, and wants the list back in the
order it came in (https://openrouter.ai/docs/use-cases/reasoning-tokens, seen 2026-11); MiniMax
has the same member. The envelope on a thinking block holds the list.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

__all__ = ["ReasoningDetails", "opened", "text_of"]

Wire = dict[str, Any]

_PIECES: Final = ("text", "summary", "data")
"""The members of which a stream sends pieces."""
_SAME: Final = ("type", "index", "id")
"""The members by which the pieces of one entry are known."""
_MAX_KEPT: Final = 4 << 20
"""Characters of one list; a longer one is shown and not given back."""


class ReasoningDetails:
    """Collects the entries of one stretch of reasoning."""

    def __init__(self) -> None:
        self._entries: list[Wire] = []
        self._pieces: list[dict[str, list[str]]] = []
        self._length = 0

    def add(self, found: list[Any]) -> None:
        """The entries of one chunk, or pieces of them."""
        for entry in found:
            if not isinstance(entry, dict) or not entry:
                continue
            self._length += len(msgspec.json.encode(entry))
            if self._length > _MAX_KEPT:
                self._entries, self._pieces = [], []
            elif self._entries and _is_same(self._entries[-1], entry):
                self._extend(entry)
            else:
                self._entries.append(dict(entry))
                self._pieces.append({name: [said] for name, said in _said(entry)})

    def _extend(self, entry: Wire) -> None:
        for name, value in entry.items():
            if value is not None and name not in _PIECES:
                self._entries[-1][name] = value
        for name, said in _said(entry):
            self._pieces[-1].setdefault(name, []).append(said)

    def take(self) -> str:
        """All entries as text for an envelope, which is empty if there are none."""
        entries, pieces = self._entries, self._pieces
        self._entries, self._pieces, self._length = [], [], 0
        if not entries:
            return ""
        for entry, said in zip(entries, pieces, strict=True):
            entry |= {name: "".join(parts) for name, parts in said.items()}
        return base64.urlsafe_b64encode(msgspec.json.encode(entries)).decode()


def text_of(found: Any) -> str:
    """What a client can read of a list of entries."""
    if not isinstance(found, list):
        return ""
    return "".join(
        said
        for entry in found
        if isinstance(entry, dict)
        for name, said in _said(entry)
        if name != "data"
    )


def opened(payload: str) -> list[Wire]:
    """The entries that `ReasoningDetails.take` put into an envelope; none if it was changed."""
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(payload))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return []
    if not isinstance(found, list):
        return []
    return [entry for entry in found if isinstance(entry, dict)]


def _is_same(known: Wire, entry: Wire) -> bool:
    """Whether `entry` is a further piece of the entry before it."""
    if known.get("signature") or known.get("index") is None:
        return False
    return all(entry.get(name) in (None, known.get(name)) for name in _SAME)


def _said(entry: Wire) -> list[tuple[str, str]]:
    return [(name, entry[name]) for name in _PIECES if isinstance(entry.get(name), str)]

"""The prompt cache: which prefixes were seen before.

Invariants: the only memory the simulated models have, and it is bounded.
A prefix is known by its hash; the oldest are forgotten.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.ask import Ask

__all__ = ["Prefixes"]

_KNOWN: Final = 4096


class Prefixes:
    """Prompt prefixes that were written to the cache. Not safe across threads."""

    def __init__(self, most: int = _KNOWN) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._most = most

    def account(self, ask: Ask, body: dict[str, Any]) -> None:
        """Split the input tokens of a Messages request into read, written and plain."""
        if ask.knobs.cached or ask.knobs.cache_write:
            ask.cache_read = min(ask.knobs.cached, ask.tokens)
            ask.cache_write = min(ask.knobs.cache_write, ask.tokens - ask.cache_read)
            return
        read = written = 0
        long_lived = False
        for digest, size, ttl in self._breakpoints(ask.model, body):
            counted = min(tokens.estimate(size), ask.tokens)
            if digest in self._known:
                read, written = counted, 0
            else:
                written = counted - read
            long_lived = ttl == "1h"
            self._remember(digest)
        ask.cache_read = read
        if long_lived:
            ask.cache_write_1h = written
        else:
            ask.cache_write = written

    def _breakpoints(self, model: str, body: dict[str, Any]) -> list[tuple[bytes, int, str]]:
        """Each breakpoint as its prefix's digest, its size in bytes and its lifetime."""
        parts = _cacheable(body)
        automatic = body.get("cache_control")
        seen, size = hashlib.sha256(model.partition(";")[0].encode()), 0
        found: list[tuple[bytes, int, str]] = []
        for at, part in enumerate(parts):
            mark = part.get("cache_control") or (automatic if at == len(parts) - 1 else None)
            plain = orjson.dumps({k: v for k, v in part.items() if k != "cache_control"})
            seen.update(plain)
            size += len(plain)
            if mark:
                found.append((seen.digest(), size, mark.get("ttl", "5m")))
        return found

    def _remember(self, digest: bytes) -> None:
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def _cacheable(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Tools, system and messages as one list of blocks, in cache order."""
    if b"cache_control" not in orjson.dumps(body):
        return []
    parts = list(body.get("tools") or [])
    for content in [body.get("system"), *(message["content"] for message in body["messages"])]:
        if isinstance(content, str):
            parts.append({"type": "text", "text": content})
        elif content:
            parts += content
    return parts

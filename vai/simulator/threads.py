"""The state of the Messages API between requests: message threads and the prompt cache.

The simulator keeps a request with ``thread: {"type": "create"}`` under the id of its response; one
with ``{"type": "continue", "previous_message_id": ...}`` has its new messages only, and continues
the messages, the system prompt and the tools kept there. Both stores are bounded, and drop their
oldest entry first. The cache identifies a prefix by its hash.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.parsed_request import ParsedRequest, SimulatedError

__all__ = ["BETA", "ThreadStore"]

BETA: Final = "message-threads-2026-08-12"
_MOST_CONVERSATIONS: Final = 1024
_MAX_BYTES: Final = 64 << 20
_CREATE_ONLY: Final = ("system", "tools")


_KNOWN: Final = 4096


class PromptCache:
    """Prompt prefixes that were written to the cache. Not thread-safe."""

    def __init__(self, most: int = _KNOWN) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._most = most

    def split_input_tokens(self, request: ParsedRequest, body: dict[str, Any]) -> None:
        """Split the input tokens of a Messages request into read, written and plain."""
        if request.knobs.cached or request.knobs.cache_write:
            request.cache_read = min(request.knobs.cached, request.tokens)
            request.cache_write = min(
                request.knobs.cache_write, request.tokens - request.cache_read
            )
            return
        read = written = 0
        long_lived = False
        for digest, size, ttl in self._breakpoints(request.model, body):
            counted = min(tokens.estimate_tokens(size), request.tokens)
            if digest in self._known:
                read, written = counted, 0
            else:
                written = counted - read
            long_lived = ttl == "1h"
            self._remember(digest)
        request.cache_read = read
        if long_lived:
            request.cache_write_1h = written
        else:
            request.cache_write = written

    def _breakpoints(self, model: str, body: dict[str, Any]) -> list[tuple[bytes, int, str]]:
        """Each breakpoint as its prefix's digest, its size in bytes and its lifetime."""
        parts = _cacheable_blocks(body)
        automatic = body.get("cache_control")
        seen, size = hashlib.sha256(model.partition(";")[0].encode()), 0
        breakpoints: list[tuple[bytes, int, str]] = []
        for at, part in enumerate(parts):
            mark = part.get("cache_control") or (automatic if at == len(parts) - 1 else None)
            plain = orjson.dumps({k: v for k, v in part.items() if k != "cache_control"})
            seen.update(plain)
            size += len(plain)
            if mark:
                breakpoints.append((seen.digest(), size, mark.get("ttl", "5m")))
        return breakpoints

    def _remember(self, digest: bytes) -> None:
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def _cacheable_blocks(body: dict[str, Any]) -> list[dict[str, Any]]:
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


class ThreadStore:
    """The conversations that a request can continue. Not thread-safe."""

    def __init__(self, most: int = _MOST_CONVERSATIONS, max_bytes: int = _MAX_BYTES) -> None:
        self._conversations: OrderedDict[str, tuple[dict[str, Any], int]] = OrderedDict()
        self._most = most
        self._max_bytes = max_bytes
        self._bytes = 0

    def complete_thread(self, body: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """The body of a request that has a `thread`, with the whole conversation in it.

        Raises:
            SimulatedError: 404 for a response that is not kept, 400 for other mistakes.
        """
        thread = body["thread"]
        if BETA not in headers.get("anthropic-beta", ""):
            raise SimulatedError(400, f"thread: requires {BETA}", code="thread_unsupported_request")
        kind = thread.get("type")
        if kind == "create":
            return body
        if kind != "continue":
            raise SimulatedError(400, "thread.type: Input should be 'create' or 'continue'")
        for name in _CREATE_ONLY:
            if name in body:
                raise SimulatedError(400, f"{name}: cannot be set when a thread is continued")
        conversation = self._conversations.get(str(thread.get("previous_message_id")))
        if conversation is None:
            raise SimulatedError(404, "No thread was found", code="thread_not_found")
        return {
            **body,
            **conversation[0],
            "messages": conversation[0]["messages"] + body["messages"],
        }

    def keep_thread(
        self, body: dict[str, Any], size: int, message_id: str, content: list[Any]
    ) -> None:
        """Keep the conversation of a response.

        Args:
            body: the completed request.
            size: bytes of the request as received.
            message_id: the response's id.
            content: the response's blocks.
        """
        reply = {"role": "assistant", "content": content}
        conversation: dict[str, Any] = {name: body[name] for name in _CREATE_ONLY if name in body}
        conversation["messages"] = [*body["messages"], reply]
        self._forget(message_id)
        self._conversations[message_id] = (conversation, size)
        self._bytes += size
        while len(self._conversations) > self._most or self._bytes > self._max_bytes:
            self._forget(next(iter(self._conversations)))

    def _forget(self, message_id: str) -> None:
        _, size = self._conversations.pop(message_id, ({}, 0))
        self._bytes -= size

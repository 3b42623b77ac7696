"""Message threads: conversations that the Messages API keeps between requests.

A request with ``thread: {"type": "create"}`` is kept under the id of its response; one with
``{"type": "continue", "previous_message_id": ...}`` brings its new messages only, and takes the
rest, the system prompt and the tools from there. What is kept is bounded; the oldest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from vai.simulator.ask import Refused

__all__ = ["BETA", "Threads"]

BETA: Final = "message-threads-2026-08-12"
_KEPT: Final = 1024
_MAX_BYTES: Final = 64 << 20
_CREATE_ONLY: Final = ("system", "tools")


class Threads:
    """The conversations that can be continued. Not safe across threads of the process."""

    def __init__(self, most: int = _KEPT, max_bytes: int = _MAX_BYTES) -> None:
        self._kept: OrderedDict[str, tuple[dict[str, Any], int]] = OrderedDict()
        self._most = most
        self._max_bytes = max_bytes
        self._bytes = 0

    def complete(self, body: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """The request, which has a `thread`, with the whole conversation in it.

        Raises:
            Refused: 404 for a response that is not kept, 400 for other mistakes.
        """
        thread = body["thread"]
        if BETA not in headers.get("anthropic-beta", ""):
            raise Refused(400, f"thread: requires {BETA}", code="thread_unsupported_request")
        kind = thread.get("type")
        if kind == "create":
            return body
        if kind != "continue":
            raise Refused(400, "thread.type: Input should be 'create' or 'continue'")
        for name in _CREATE_ONLY:
            if name in body:
                raise Refused(400, f"{name}: cannot be set when a thread is continued")
        kept = self._kept.get(str(thread.get("previous_message_id")))
        if kept is None:
            raise Refused(404, "No thread was found", code="thread_not_found")
        return {**body, **kept[0], "messages": kept[0]["messages"] + body["messages"]}

    def keep(self, body: dict[str, Any], size: int, message_id: str, content: list[Any]) -> None:
        """Remember the conversation behind a response.

        Args:
            body: the completed request.
            size: bytes of the request as it came.
            message_id: the response's id.
            content: the response's blocks.
        """
        reply = {"role": "assistant", "content": content}
        kept: dict[str, Any] = {name: body[name] for name in _CREATE_ONLY if name in body}
        kept["messages"] = [*body["messages"], reply]
        self._forget(message_id)
        self._kept[message_id] = (kept, size)
        self._bytes += size
        while len(self._kept) > self._most or self._bytes > self._max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, message_id: str) -> None:
        _, size = self._kept.pop(message_id, ({}, 0))
        self._bytes -= size

"""Which tool call a piece of a stream belongs to.

OpenAI numbers its calls. Servers that imitate it reuse number 0 for every call, leave
out the number, the id, or both, or repeat id and name on every piece. So a piece starts
a new call when it says so (another id), or when it cannot be a continuation (a name,
where the call it would continue is already complete).
"""

from __future__ import annotations

from typing import Any

import msgspec

from vai.providers.emitter import Emitter
from vai.providers.openai.chunk import CallDelta, FunctionDelta
from vai.providers.toolcall import decode_object

__all__ = ["Calls"]


class _Seen:
    """A call as its pieces named it."""

    __slots__ = ("arguments", "chunk", "id", "key", "name")

    def __init__(self, key: int, id: str | None, name: str | None, chunk: int) -> None:
        self.key = key
        self.id = id
        self.name = name
        self.chunk = chunk
        self.arguments: list[str] | None = [] if id is None else None
        """Kept only where completeness has to tell calls apart."""


class Calls:
    """Gives every piece of a tool call to the emitter under the call's own key.

    Args:
        names: alias -> the name the caller gave the tool, where they differ.
    """

    def __init__(self, emitter: Emitter, names: dict[str, str]) -> None:
        self._emitter = emitter
        self._names = names
        self._by_index: dict[int, _Seen] = {}
        self._last: _Seen | None = None
        self._count = 0
        self._chunk = 0

    def pieces(self, pieces: list[CallDelta]) -> None:
        """The tool calls of one chunk."""
        self._chunk += 1
        for piece in pieces:
            self._piece(piece.index, piece.id or None, piece.function or _NOTHING)

    def legacy(self, function: FunctionDelta) -> None:
        """The one call of the older `function_call` member."""
        self._chunk += 1
        self._piece(0, None, function)

    def _piece(self, index: int | None, id: str | None, function: FunctionDelta) -> None:
        seen = self._last if index is None else self._by_index.get(index)
        if seen is None or self._is_new(seen, index, id, function.name):
            seen = _Seen(self._count, id, function.name, self._chunk)
            self._count += 1
            if index is not None:
                self._by_index[index] = seen
            self._open(seen)
        elif function.name and not seen.name:
            seen.name = function.name
            self._open(seen)
        self._last = seen
        text = _as_text(function.arguments)
        if text:
            if seen.arguments is not None:
                seen.arguments.append(text)
            self._emitter.tool_args(seen.key, text)

    def _open(self, seen: _Seen) -> None:
        name = self._names.get(seen.name, seen.name) if seen.name else None
        self._emitter.tool_open(seen.key, seen.id, name)

    def _is_new(self, seen: _Seen, index: int | None, id: str | None, name: str | None) -> bool:
        if id is not None and seen.id is not None:
            return id != seen.id
        if not name or not seen.name:
            return False
        if name != seen.name or (index is None and seen.chunk == self._chunk):
            return True
        given = "".join(seen.arguments or ()).strip()
        return given.endswith("}") and decode_object(given) is not None


_NOTHING = FunctionDelta()


def _as_text(arguments: Any) -> str:
    if not arguments:
        # An empty object needs no piece: a call without arguments has the input {}.
        return ""
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()

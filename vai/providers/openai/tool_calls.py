"""Which tool call a piece of a stream belongs to.

OpenAI numbers its calls. Servers that imitate it reuse number 0 for every call, leave
out the number, the id, or both, or repeat id and name on every piece. So a piece starts
a new call when it says so (another id), or when it cannot be a continuation (a name,
where the call it would continue is already complete).
"""

from __future__ import annotations

from typing import Any

from vai.providers.decode.emitter import Emitter
from vai.providers.decode.tool_call import as_json, parse_arguments
from vai.providers.openai.chunk import CallDelta, FunctionDelta

__all__ = ["ChatCalls", "has_call_content"]


class _SeenCall:
    """A call as its pieces named it."""

    __slots__ = ("chunk", "has_begun", "id", "key", "name")

    def __init__(self, key: int, id: Any, name: str | None, chunk: int) -> None:
        self.key = key
        self.id = id
        self.name = name
        self.chunk = chunk
        self.has_begun = False
        """Whether any of its arguments have come."""


class ChatCalls:
    """Gives every piece of a tool call to the emitter under the call's own key."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._by_index: dict[int, _SeenCall] = {}
        self._order: list[_SeenCall] = []
        self._last: _SeenCall | None = None
        self._chunk = 0

    def add_pieces(self, pieces: list[CallDelta]) -> None:
        """The tool calls of one chunk."""
        self._chunk += 1
        for piece in pieces:
            self._add_piece(piece.index, piece.id or None, _function_of(piece))

    def add_legacy_call(self, function: FunctionDelta) -> None:
        """The one call of the older `function_call` member."""
        self._chunk += 1
        self._add_piece(0, None, function)

    def complete_calls(self, calls: list[CallDelta]) -> None:
        """All calls of the response: what the pieces before did not say of them follows."""
        for number, call in enumerate(calls):
            function = _function_of(call)
            if number < len(self._order):
                seen = self._order[number]
                self._open_call(seen, call.id, function.name)
            else:
                seen = self._add_call(call.id or None, function.name)
            self._emitter.complete_arguments(seen.key, as_json(function.arguments))

    def _add_piece(self, index: int | None, id: Any, function: FunctionDelta) -> None:
        seen = self._last if index is None else self._by_index.get(index)
        text = as_json(function.arguments)
        if seen is None or self._starts_call(seen, index, id, function.name, text):
            if not (id or function.name or text):
                return  # a member that the server always writes
            seen = self._add_call(id, function.name)
            if index is not None:
                self._by_index[index] = seen
        elif (function.name and not seen.name) or (id and not seen.id):
            self._open_call(seen, id, function.name)
        self._last = seen
        if text:
            seen.has_begun = True
            self._emitter.add_arguments(seen.key, text)

    def _add_call(self, id: Any, name: str | None) -> _SeenCall:
        seen = _SeenCall(len(self._order), id, name, self._chunk)
        self._order.append(seen)
        self._open_call(seen, id, name)
        return seen

    def _open_call(self, seen: _SeenCall, id: Any, name: str | None) -> None:
        seen.id, seen.name = seen.id or id, seen.name or name
        self._emitter.open_tool_call(seen.key, id, name)

    def _starts_call(
        self, seen: _SeenCall, index: int | None, id: Any, name: str | None, text: str
    ) -> bool:
        if id is not None and seen.id is not None and id != seen.id:
            return index is None or not self._continues_call(seen, name, text)
        if not name or not seen.name:
            return False
        if name != seen.name or (index is None and seen.chunk == self._chunk):
            return True
        if id is None:
            return self._emitter.has_complete_arguments(seen.key)
        # With the same id on every piece, only a further object is a further call.
        return text[:1] == "{" and self._emitter.is_another_call(seen.key, text)

    def _continues_call(self, seen: _SeenCall, name: str | None, text: str) -> bool:
        """Whether a piece with another id continues a call all the same.

        vLLM gives every piece an id of its own, and the name as well where one tool is demanded.
        """
        if not seen.name or (name and name != seen.name):
            return False
        if self._emitter.has_complete_arguments(seen.key):
            return False
        has_text = bool(text.strip())
        if name and has_text and parse_arguments(text) is not None:
            return False
        return seen.has_begun or has_text or not name


def has_call_content(call: FunctionDelta | CallDelta) -> bool:
    """Whether it is a call, and not a member that the server always writes."""
    if isinstance(call, CallDelta) and call.id:
        return True
    function = _function_of(call) if isinstance(call, CallDelta) else call
    return bool(function.name or function.arguments)


def _function_of(piece: CallDelta) -> FunctionDelta:
    return piece.function or FunctionDelta(piece.name, piece.arguments)

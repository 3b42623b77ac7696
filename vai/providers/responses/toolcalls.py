"""The calls of an answer that the caller has to run.

Arguments come in pieces, whole at the end, or both; what the pieces left out of the whole
follows. A free-form input and the actions of the computer tool become JSON objects: a
canonical call has no other input.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.decode.emitter import Emitter
from vai.providers.decode.tool_call import as_json

__all__ = ["CALLS", "ToolCalls"]

Item = dict[str, Any]

CALLS: Final = frozenset({"computer_call", "custom_tool_call", "function_call"})
"""Types of the items that are such calls."""


class ToolCalls:
    """Gives calls to the emitter, each under a key of its own."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._count = 0
        self._open: dict[int, int] = {}
        """Place in the output -> key."""

    def added(self, index: int, item: Item) -> None:
        """A call begins; it may come without its name."""
        self._open[index] = self._count
        self._count += 1
        self._announce(index, item)

    def piece(self, index: int, text: str) -> None:
        """More of a function's arguments."""
        if index not in self._open:
            self.added(index, {})
        self._emitter.add_arguments(self._open[index], text)

    def arguments(self, index: int, whole: Any) -> None:
        """All of a function's arguments."""
        if index in self._open:
            self._emitter.complete_arguments(self._open[index], as_json(whole))

    def complete(self, number: int, item: Item) -> None:
        """A call by its number among all calls: done, unless it is already."""
        for index, key in self._open.items():
            if key == number:
                self.done(index, item)
                return

    def done(self, index: int, item: Item) -> None:
        """A call is complete."""
        if index not in self._open:
            self.added(index, item)
        else:
            self._announce(index, item)
        kind = item.get("type")
        if kind == "function_call":
            self.arguments(index, item.get("arguments"))
        elif kind == "custom_tool_call":
            self.arguments(index, {"input": str(item.get("input") or "")})
        else:
            self.arguments(index, _actions(item))
        del self._open[index]

    def _announce(self, index: int, item: Item) -> None:
        name = "computer" if item.get("type") == "computer_call" else item.get("name")
        self._emitter.open_tool_call(
            self._open[index],
            item.get("call_id") or item.get("id"),
            name if isinstance(name, str) and name else None,
        )


def _actions(item: Item) -> Item:
    """What is to be done on the screen, as the input of a call."""
    actions = item.get("actions")
    if not isinstance(actions, list):
        actions = [item["action"]] if item.get("action") else []
    checks = item.get("pending_safety_checks")
    return {"actions": actions} | ({"pending_safety_checks": checks} if checks else {})

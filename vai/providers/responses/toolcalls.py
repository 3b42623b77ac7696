"""The calls of an answer that the caller has to run.

Arguments come in pieces, whole at the end, or both; what the pieces left out of the whole
follows. A free-form input and the actions of the computer tool become JSON objects: a
canonical call has no other input.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.emitter import Emitter

__all__ = ["CALLS", "ToolCalls"]

Item = dict[str, Any]

CALLS: Final = frozenset({"computer_call", "custom_tool_call", "function_call"})
"""Types of the items that are such calls."""


class ToolCalls:
    """Gives calls to the emitter, each under a key of its own.

    Args:
        names: alias -> the name the caller gave the tool, where they differ.
    """

    def __init__(self, emitter: Emitter, names: dict[str, str]) -> None:
        self._emitter = emitter
        self._names = names
        self._count = 0
        self._open: dict[int, tuple[int, int]] = {}
        """Place in the output -> key, and characters of arguments so far."""

    def added(self, index: int, item: Item) -> None:
        """A call begins; it may come without its name."""
        self._open[index] = (self._count, 0)
        self._count += 1
        self._announce(index, item)

    def piece(self, index: int, text: str) -> None:
        """More of a function's arguments."""
        if index not in self._open:
            self.added(index, {})
        key, sent = self._open[index]
        self._open[index] = (key, sent + len(text))
        self._emitter.tool_args(key, text)

    def arguments(self, index: int, whole: Any) -> None:
        """All of a function's arguments."""
        if whole and not isinstance(whole, str):
            whole = msgspec.json.encode(whole).decode()
        _, sent = self._open.get(index, (0, 0))
        if index in self._open and whole and whole[sent:]:
            self.piece(index, whole[sent:])

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
        key, _ = self._open[index]
        name = "computer" if item.get("type") == "computer_call" else item.get("name")
        given = item.get("call_id") or item.get("id")
        self._emitter.tool_open(
            key,
            given if isinstance(given, str) else None,
            self._names.get(name, name) if isinstance(name, str) and name else None,
        )


def _actions(item: Item) -> Item:
    """What is to be done on the screen, as the input of a call."""
    actions = item.get("actions")
    if not isinstance(actions, list):
        actions = [item["action"]] if item.get("action") else []
    checks = item.get("pending_safety_checks")
    return {"actions": actions} | ({"pending_safety_checks": checks} if checks else {})

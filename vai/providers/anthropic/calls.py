"""Calls in answers of servers that speak the Messages API nearly right.

Anthropic's own calls pass as they are. Other servers of this protocol send ids outside of its
alphabet or twice, names that no tool has, and inputs that are text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vai.providers.callids import CallIds
from vai.providers.toolcall import object_of
from vai.providers.toolnames import ToolNames

__all__ = ["Calls"]

Wire = dict[str, Any]


class Calls:
    """Brings the calls of one answer into the form that the Messages API has for them.

    Args:
        exchange: calls without an id get one that derives from this.
        taken: the ids of the calls in the history.
    """

    def __init__(
        self,
        provider: str,
        exchange: str,
        taken: Iterable[str] = (),
        names: ToolNames | None = None,
    ) -> None:
        self._ids = CallIds(provider, exchange, taken)
        self._names = names or ToolNames()

    def mend(self, block: Any) -> Any:
        """A content block as clients may see it; the same object if nothing had to be changed."""
        if not isinstance(block, dict) or block.get("type") != "tool_use":
            return block
        given, name, said = block.get("id"), block.get("name"), block.get("input")
        mended = {
            "id": self._ids.show(given),
            "name": self._names.caller(name if isinstance(name, str) else "")
            or self._names.only
            or "",
            # What is no object at all stays, to be found and told.
            "input": said
            if isinstance(said, dict) or (found := object_of(said)) is None
            else found,
        }
        return block if mended.items() <= block.items() else {**block, **mended}

    def mend_content(self, content: Any) -> Any:
        """The content of a whole answer."""
        return [self.mend(block) for block in content] if isinstance(content, list) else content

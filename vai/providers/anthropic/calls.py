"""Calls in answers of servers that speak the Messages API nearly right.

Anthropic's own calls pass as they are. Other servers of this protocol send ids outside of its
alphabet or twice, names that no tool has, and inputs that are text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from vai.providers.decode.call_ids import CallIds, sent
from vai.providers.decode.tool_call import object_of
from vai.providers.decode.tool_names import ToolNames
from vai.types.parse import check_tools
from vai.types.request import Tool

__all__ = ["ClaudeCalls", "calls_for", "has_odd_ids"]

Wire = dict[str, Any]


_MAX_ID: Final = 1 << 16
"""The API limits the alphabet of ids, and not their length."""
_IDS: Final = {"tool_use": "id", "tool_result": "tool_use_id"}


def has_odd_ids(request: dict[str, Any], body: bytes, provider: str) -> bool:
    """Whether a history has ids of calls that `provider` must get in another form.

    Args:
        request: the parsed body; may be any JSON object.
        body: its bytes.
    """
    if b"tool_use" not in body:
        return False
    return any(sent(given, provider, _MAX_ID) != given for given, _ in _ids(request))


def calls_for(request: dict[str, Any], provider: str, exchange: str) -> ClaudeCalls:
    """The calls in the answer to a request that is passed on as it is.

    Args:
        exchange: calls without an id get one that derives from this.

    Raises:
        InvalidRequest: it has more than `parse.MAX_TOOLS` tools.
    """
    tools = request.get("tools")
    check_tools(tools)
    names = [
        Tool(name=tool["name"])
        for tool in (tools if isinstance(tools, list) else ())
        if isinstance(tool, dict) and isinstance(tool.get("name"), str)
    ]
    taken = [given for given, is_call in _ids(request) if is_call]
    return ClaudeCalls(provider, exchange, taken, ToolNames({}, names))


def _ids(request: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The ids of calls and of results in a history, and whether each is that of a call."""
    turns = request.get("messages")
    for turn in turns if isinstance(turns, list) else ():
        content = turn.get("content") if isinstance(turn, dict) else None
        for block in content if isinstance(content, list) else ():
            kind = block.get("type") if isinstance(block, dict) else None
            if kind in ("tool_use", "tool_result"):
                given = block.get(_IDS[kind])
                if isinstance(given, str):
                    yield given, kind == "tool_use"


class ClaudeCalls:
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

"""Repairs tool calls in responses of servers that deviate from the Messages API.

Anthropic's own calls stay as they are. Other servers of this API send ids outside of its
alphabet, ids twice, names that no tool has, and inputs that are text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from vai.providers.decode.call_ids import CallIds, to_upstream_id
from vai.providers.decode.tool_call import parse_arguments
from vai.providers.decode.tool_names import ToolNames
from vai.types.parse import check_tools
from vai.types.request import Tool

__all__ = ["CallRepairer", "has_odd_ids", "make_call_repairer"]

Wire = dict[str, Any]


_MAX_ID: Final = 1 << 16
"""A length above every real id: the API limits the alphabet of ids only."""
_IDS: Final = {"tool_use": "id", "tool_result": "tool_use_id"}


def has_odd_ids(request: dict[str, Any], provider: str) -> bool:
    """Whether a history has call ids that VAI must change for `provider`.

    Args:
        request: the parsed body; may be any JSON object.
    """
    for call_id, _ in _call_ids(request):
        if to_upstream_id(call_id, provider, _MAX_ID) != call_id:
            return True
    return False


def make_call_repairer(request: dict[str, Any], provider: str, exchange: str) -> CallRepairer:
    """The repairer of calls in the response to a request that VAI sends unchanged.

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
    taken = [call_id for call_id, is_call in _call_ids(request) if is_call]
    return CallRepairer(provider, exchange, taken, ToolNames({}, names))


def _call_ids(request: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The ids of calls and of results in a history; True marks the id of a call."""
    turns = request.get("messages")
    for turn in turns if isinstance(turns, list) else ():
        content = turn.get("content") if isinstance(turn, dict) else None
        for block in content if isinstance(content, list) else ():
            kind = block.get("type") if isinstance(block, dict) else None
            if kind in ("tool_use", "tool_result"):
                call_id = block.get(_IDS[kind])
                if isinstance(call_id, str):
                    yield call_id, kind == "tool_use"


class CallRepairer:
    """Brings the calls of one response into the Messages API's form.

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

    def repair_block(self, block: Any) -> Any:
        """The content block for the client; the same object if it needs no change."""
        if not isinstance(block, dict) or block.get("type") != "tool_use":
            return block
        call_id, name, arguments = block.get("id"), block.get("name"), block.get("input")
        repaired = {
            "id": self._ids.to_client_id(call_id),
            "name": self._names.to_client_name(name if isinstance(name, str) else "")
            or self._names.only_name
            or "",
            # A value that is no object stays, so that the parser reports it.
            "input": arguments
            if isinstance(arguments, dict) or (input_object := parse_arguments(arguments)) is None
            else input_object,
        }
        return block if repaired.items() <= block.items() else {**block, **repaired}

    def repair_content(self, content: Any) -> Any:
        """The content of a whole response, with its calls repaired."""
        return (
            [self.repair_block(block) for block in content]
            if isinstance(content, list)
            else content
        )

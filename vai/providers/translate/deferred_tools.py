"""Tools that are loaded later: which of them a provider without that form is sent.

In the Messages API a tool with `defer_loading` stays out of the model's context until a
`tool_reference` names it. Either a search tool that Anthropic runs finds it
(``tool_search_tool_bm25``), or one that the client runs, whose results hold the references
(https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool, 2026-11-27).

Invariants: a tool that the conversation has loaded is sent like any other. The rest are left out
where the client searches, and sent like any other where the request counts on a search that the
provider does not have: nothing else could find them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from vai.providers.translate.client_tools import family
from vai.types.blocks import Block, ToolResultBlock, ToolUseBlock, UnknownBlock
from vai.types.request import MessageRequest, Tool

__all__ = ["DEFERRED", "is_search", "searches", "unloaded_tools"]

DEFERRED: Final = "tools[*].defer_loading"
"""How it is named that tools were sent at once, or left out for now (`X-VAI-Dropped`)."""
_SEARCH: Final = frozenset({"tool_search", "tool_search_tool_bm25", "tool_search_tool_regex"})
_NONE: Final[frozenset[str]] = frozenset()


def is_search(tool: Tool) -> bool:
    """Whether `tool` is a search for tools that the provider runs."""
    return not tool.is_function and family(tool.type) in _SEARCH


def searches(request: MessageRequest) -> bool:
    """Whether the request counts on a search that the provider runs."""
    return any(map(is_search, request.tools or ()))


def unloaded_tools(request: MessageRequest) -> frozenset[str]:
    """The names of the deferred tools that nothing in the conversation has loaded yet.

    A tool that `tool_choice` names, and one that was called before, counts as loaded.
    """
    deferred = {
        tool.name for tool in request.tools or () if tool.name and tool.extra.get("defer_loading")
    }
    if not deferred:  # nearly every request
        return _NONE
    for turn in request.messages:
        if not isinstance(turn.content, str):
            for block in turn.content:
                deferred.difference_update(_loaded_by(block))
    if request.tool_choice is not None and request.tool_choice.name:
        deferred.discard(request.tool_choice.name)
    return frozenset(deferred)


def _loaded_by(block: Block) -> Iterator[str]:
    if isinstance(block, ToolUseBlock):
        yield block.name
    elif isinstance(block, ToolResultBlock):
        if not isinstance(block.content, str):
            for inner in block.content or ():
                yield from _loaded_by(inner)
    elif isinstance(block, UnknownBlock):
        yield from _referenced(block.raw)


def _referenced(raw: dict[str, Any]) -> Iterator[str]:
    """The tools that a reference names, or the result of a search that the provider ran."""
    kind, content = raw.get("type"), raw.get("content")
    references: Any = ()
    if kind == "tool_reference":
        references = (raw,)
    elif kind == "tool_search_tool_result" and isinstance(content, dict):
        references = content.get("tool_references")
    for reference in references if isinstance(references, list | tuple) else ():
        name = reference.get("tool_name") if isinstance(reference, dict) else None
        if isinstance(name, str):
            yield name

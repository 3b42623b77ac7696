"""The tools of a request: client tools of every provider, the tool choice, deferred tools.

Invariants:

* A client tool that one provider defines (bash, text editor, memory) keeps
  its name and its members at every provider, so that one handler in the client's code serves
  all providers. VAI sends a provider without such a tool an ordinary function with the same name
  and an explicit schema.
* VAI refuses a request that forces a call but has no tools, because no response can contain the
  call. Any other choice has no effect without tools.
* In the Messages API a tool with `defer_loading` stays out of the model's context until a
  `tool_reference` names it. Either a search tool that Anthropic runs finds it
  (``tool_search_tool_bm25``), or one that the client runs, whose results hold the references
  (https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool, 2026-11-27).
  VAI sends a tool that the conversation has loaded like any other. It leaves the rest out where the
  client searches, and sends them like any other where the request needs a search that the provider
  does not have: without it the model could not find them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from vai.providers.translate.diagnostics import Diagnostics
from vai.types.blocks import Block, ToolResultBlock, ToolUseBlock, UnknownBlock
from vai.types.request import MessageRequest, Tool, ToolChoice

__all__ = [
    "DEFERRED",
    "ClientTool",
    "check_unused_choice",
    "is_tool_search",
    "to_client_tool",
    "tool_family",
    "unloaded_tools",
    "uses_tool_search",
]

Schema = dict[str, Any]

_VERSION: Final = re.compile(r"_\d{8}$")
_FAMILIES: Final = {
    "browser_search": "web_search",
    "code_interpreter": "code_execution",
    "computer_use": "computer",
    "computer_use_preview": "computer",
    "computer_toolset": "computer",
    "web_search_preview": "web_search",
}
"""Other name of a tool -> its name in VAI."""


class ClientTool(NamedTuple):
    """A function in a form for any provider; `schema` is a JSON Schema of type object."""

    name: str
    description: str
    schema: Schema


def tool_family(kind: str | None) -> str:
    """A tool type without its version: ``web_search`` for ``web_search_20260318``.

    One of ``web_search``, ``web_fetch``, ``code_execution``, ``computer``, ``bash``,
    ``text_editor``, ``memory``, ``file_search``, ``image_generation``, or the type itself
    without its date.
    """
    plain = _VERSION.sub("", kind or "")
    return _FAMILIES.get(plain, plain)


def to_client_tool(tool: Tool) -> ClientTool | None:
    """The function that represents `tool`; None if the client does not run it.

    `tool.name` wins over the usual name, because the client's handler uses it.
    """
    client_tool = _CLIENT_TOOLS.get(tool_family(tool.type))
    if client_tool is None:
        return None
    versioned = _OLD_EDITOR if tool.type in _OLD_EDITORS else client_tool
    return versioned._replace(name=tool.name) if tool.name else versioned


_STRING: Final[Schema] = {"type": "string"}
_INTEGER: Final[Schema] = {"type": "integer"}
_RANGE: Final[Schema] = {
    "type": "array",
    "items": _INTEGER,
    "description": "First and last line to view, counted from 1; -1 is the end of the file.",
}


def _object_schema(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _enum_schema(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


_BASH: Final = ClientTool(
    "bash",
    "Run a command in a persistent shell; `restart` starts a new one.",
    _object_schema((), command=_STRING, restart={"type": "boolean"}),
)
_EDITOR: Final = ClientTool(
    "str_replace_based_edit_tool",
    "View, create and edit text files.",
    _object_schema(
        ("command", "path"),
        command=_enum_schema("view", "create", "str_replace", "insert"),
        path=_STRING,
        file_text=_STRING,
        old_str=_STRING,
        new_str=_STRING,
        insert_line=_INTEGER,
        insert_text=_STRING,
        view_range=_RANGE,
    ),
)
_OLD_EDITORS: Final = ("text_editor_20241022", "text_editor_20250124")
_OLD_EDITOR: Final = ClientTool(
    "str_replace_editor",
    "View, create and edit text files; `undo_edit` takes the last edit back.",
    _object_schema(
        ("command", "path"),
        command=_enum_schema("view", "create", "str_replace", "insert", "undo_edit"),
        path=_STRING,
        file_text=_STRING,
        old_str=_STRING,
        new_str=_STRING,
        insert_line=_INTEGER,
        view_range=_RANGE,
    ),
)
_MEMORY: Final = ClientTool(
    "memory",
    "Keep notes in files below /memories.",
    _object_schema(
        ("command",),
        command=_enum_schema("view", "create", "str_replace", "insert", "delete", "rename"),
        path=_STRING,
        file_text=_STRING,
        old_str=_STRING,
        new_str=_STRING,
        insert_line=_INTEGER,
        insert_text=_STRING,
        old_path=_STRING,
        new_path=_STRING,
        view_range=_RANGE,
    ),
)
_CLIENT_TOOLS: Final = {"bash": _BASH, "text_editor": _EDITOR, "memory": _MEMORY}


def check_unused_choice(choice: ToolChoice | None, diagnostics: Diagnostics) -> None:
    """Drop or refuse a choice without tools, which servers refuse."""
    if choice is None:
        return
    if choice.type in ("any", "tool"):
        diagnostics.note_refused(
            "tool_choice", "expected tools beside it, or auto or none: there is none to choose"
        )
    else:
        diagnostics.note_dropped("tool_choice")


DEFERRED: Final = "tools[*].defer_loading"
"""The path in `X-VAI-Dropped` for deferred tools that VAI sent at once or left out."""
_SEARCH: Final = frozenset({"tool_search", "tool_search_tool_bm25", "tool_search_tool_regex"})
_NONE: Final[frozenset[str]] = frozenset()


def is_tool_search(tool: Tool) -> bool:
    """Whether `tool` is a search for tools that the provider runs."""
    return not tool.is_function and tool_family(tool.type) in _SEARCH


def uses_tool_search(request: MessageRequest) -> bool:
    """Whether the request needs a search that the provider runs."""
    return any(map(is_tool_search, request.tools or ()))


def unloaded_tools(request: MessageRequest) -> frozenset[str]:
    """The names of the deferred tools that the conversation has not loaded yet.

    A tool that `tool_choice` names, or that the model called before, counts as loaded.
    """
    deferred = {
        tool.name for tool in request.tools or () if tool.name and tool.extra.get("defer_loading")
    }
    if not deferred:  # nearly every request
        return _NONE
    for turn in request.messages:
        if not isinstance(turn.content, str):
            for block in turn.content:
                deferred.difference_update(_tools_loaded_by(block))
    if request.tool_choice is not None and request.tool_choice.name:
        deferred.discard(request.tool_choice.name)
    return frozenset(deferred)


def _tools_loaded_by(block: Block) -> Iterator[str]:
    if isinstance(block, ToolUseBlock):
        yield block.name
    elif isinstance(block, ToolResultBlock):
        if not isinstance(block.content, str):
            for inner in block.content or ():
                yield from _tools_loaded_by(inner)
    elif isinstance(block, UnknownBlock):
        yield from _referenced_tools(block.raw)


def _referenced_tools(raw: dict[str, Any]) -> Iterator[str]:
    """The tools that a reference, or the result of the provider's search, names."""
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

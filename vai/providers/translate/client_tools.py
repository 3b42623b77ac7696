"""Tools that one provider describes itself and the caller runs: bash, text editor, memory.

Invariants: a tool keeps its name and its members on every provider, so that
one handler in the caller's code serves them all. A provider without such a tool gets an
ordinary function with the same name and a written-out schema.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from vai.types.request import Tool

__all__ = ["ClientTool", "as_function", "family"]

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
"""Other names of one tool -> the name it has here."""


class ClientTool(NamedTuple):
    """A function as any provider takes it; `schema` is a JSON Schema of type object."""

    name: str
    description: str
    schema: Schema


def family(kind: str | None) -> str:
    """What a tool type is whatever its version: ``web_search_20260318`` is ``web_search``.

    One of ``web_search``, ``web_fetch``, ``code_execution``, ``computer``, ``bash``,
    ``text_editor``, ``memory``, ``file_search``, ``image_generation``, or the type itself
    without its date.
    """
    plain = _VERSION.sub("", kind or "")
    return _FAMILIES.get(plain, plain)


def as_function(tool: Tool) -> ClientTool | None:
    """The function that stands for `tool`; None if the caller does not run it.

    `tool.name` wins over the usual name: the caller's handler goes by it.
    """
    made = _MAKERS.get(family(tool.type))
    if made is None:
        return None
    found = _OLD_EDITOR if tool.type in _OLD_EDITORS else made
    return found._replace(name=tool.name) if tool.name else found


_STRING: Final[Schema] = {"type": "string"}
_INTEGER: Final[Schema] = {"type": "integer"}
_RANGE: Final[Schema] = {
    "type": "array",
    "items": _INTEGER,
    "description": "First and last line to view, counted from 1; -1 is the end of the file.",
}


def _object(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


_BASH: Final = ClientTool(
    "bash",
    "Run a command in a persistent shell; `restart` starts a new one.",
    _object((), command=_STRING, restart={"type": "boolean"}),
)
_EDITOR: Final = ClientTool(
    "str_replace_based_edit_tool",
    "View, create and edit text files.",
    _object(
        ("command", "path"),
        command=_one_of("view", "create", "str_replace", "insert"),
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
    _object(
        ("command", "path"),
        command=_one_of("view", "create", "str_replace", "insert", "undo_edit"),
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
    _object(
        ("command",),
        command=_one_of("view", "create", "str_replace", "insert", "delete", "rename"),
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
_MAKERS: Final = {"bash": _BASH, "text_editor": _EDITOR, "memory": _MEMORY}

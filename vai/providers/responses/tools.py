"""Tools and tool choice -> their form in Responses."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.responses.hosted import enabled_tools, hosted, mcp_server
from vai.providers.translate.names import legal_tool_name
from vai.providers.translate.schema import NotStrict, object_schema, to_strict_schema
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.texts import describe_tool
from vai.providers.translate.tools import (
    DEFERRED,
    is_tool_search,
    to_client_tool,
    tool_family,
    unloaded_tools,
    uses_tool_search,
)
from vai.types.blocks import ToolUseBlock
from vai.types.request import MessageRequest, Tool, ToolChoice

__all__ = ["RequestTools", "tool_choice", "tooling"]

Wire = dict[str, Any]

_SAID: Final = ("defer_loading", "format", "input_examples")
"""Members of a function that have a place here."""
_CHOSEN: Final = {
    "code_execution": "code_interpreter",
    "computer": "computer",
    "file_search": "file_search",
    "image_generation": "image_generation",
    "web_search": "web_search_preview",
}
"""What a tool of the server's own is called where it is the one to be used."""


class RequestTools(msgspec.Struct, frozen=True):
    """The tools of one request.

    Attributes:
        sent: as the server is sent them.
        include: what it must be asked to show of its own tools' results.
        names: alias -> the caller's name, where they differ.
        free: aliases of tools whose input is plain text.
        computer: whether the server's own computer tool is among them.
    """

    sent: list[Wire] = []
    include: list[str] = []
    names: dict[str, str] = {}
    free: set[str] = set()
    computer: bool = False

    def kind(self, block: ToolUseBlock) -> str:
        """The type of the item that a call of the past is."""
        if legal_tool_name(block.name) in self.free and isinstance(block.input.get("input"), str):
            return "custom_tool_call"
        if self.computer and block.name == "computer" and _is_actions(block.input.get("actions")):
            return "computer_call"
        return "function_call"


def tooling(request: MessageRequest, target: OpenaiTarget) -> RequestTools:
    """All tools, MCP servers among them."""
    made = RequestTools([], [], {}, set())
    allowed = enabled_tools(request.tools)
    unloaded = unloaded_tools(request)
    finds = uses_tool_search(request)
    for index, tool in enumerate(request.tools or ()):
        at = f"tools[{index}]"
        if tool.name and legal_tool_name(tool.name) != tool.name:
            made.names[legal_tool_name(tool.name)] = tool.name
        if tool.cache_control:
            target.diagnostics.note_dropped("tools[*].cache_control")
        if tool.name in unloaded and not finds:
            target.diagnostics.note_dropped(DEFERRED)
        elif tool.is_function:
            made.sent.append(_function(tool, at, target, made, later=tool.name in unloaded))
        else:
            made.sent.extend(_described(tool, at, target, made))
    for index, server in enumerate(_list(request.extra.get("mcp_servers"))):
        made.sent.extend(mcp_server(server, f"mcp_servers[{index}]", allowed, target, made.names))
    computer = any(tool.get("type") in ("computer", "computer_use_preview") for tool in made.sent)
    return msgspec.structs.replace(made, computer=computer)


def tool_choice(
    choice: ToolChoice, request: MessageRequest, made: RequestTools, target: OpenaiTarget
) -> Any:
    """The form of a choice among these tools; None where it can be no choice."""
    if choice.type != "tool":
        return {"auto": "auto", "any": "required", "none": "none"}[choice.type]
    name = choice.name or ""
    if legal_tool_name(name) in made.free:
        return {"type": "custom", "name": legal_tool_name(name)}
    if any(
        tool.get("type") == "function" and tool["name"] == legal_tool_name(name)
        for tool in made.sent
    ):
        return {"type": "function", "name": legal_tool_name(name)}
    for tool in request.tools or ():
        kind = _CHOSEN.get(tool_family(tool.type))
        if kind and not tool.is_function and name in (tool.name, tool.type, tool_family(tool.type)):
            return {"type": kind}
    target.diagnostics.note_refused("tool_choice.name", "expected the name of one of the tools")
    return None


def _function(
    tool: Tool, at: str, target: OpenaiTarget, made: RequestTools, *, later: bool
) -> Wire:
    """A function; `later` says that the server's own search is to find it."""
    if not tool.name:
        target.diagnostics.note_refused(
            f"{at}.name", "this field is required; expected a value", "missing_required_field"
        )
        return {}
    for name, value in tool.extra.items():
        if value and name not in _SAID:
            target.diagnostics.note_dropped(f"tools[*].{name}")
    if tool.config:
        target.diagnostics.note_dropped("tools[*].config")
    entry: Wire = {"type": "function", "name": legal_tool_name(tool.name)}
    description = describe_tool(tool)
    if description:
        entry["description"] = description
    if later:
        entry["defer_loading"] = True
    elif tool.extra.get("defer_loading"):
        target.diagnostics.note_dropped(DEFERRED)
    if isinstance(tool.extra.get("format"), dict) and tool.input_schema is None:
        made.free.add(legal_tool_name(tool.name))
        return entry | {"type": "custom", "format": tool.extra["format"]}
    schema, is_strict = object_schema(tool.input_schema), False
    if tool.strict:
        try:
            schema, is_strict = to_strict_schema(schema, target.inlining), True
        except NotStrict:
            target.diagnostics.note_dropped(f"{at}.strict")
    # Said in any case: where it is missing, the server takes it for true.
    return entry | {"parameters": schema, "strict": is_strict}


def _described(tool: Tool, at: str, target: OpenaiTarget, made: RequestTools) -> list[Wire]:
    """A tool that its type describes."""
    known = to_client_tool(tool)
    if known is not None:
        for member in (*tool.extra, *(f"config.{name}" for name in tool.config or {})):
            target.diagnostics.note_dropped(f"{at}.{member}")
        entry = {
            "type": "function",
            "name": legal_tool_name(known.name),
            "description": known.description,
        }
        return [entry | {"parameters": known.schema, "strict": False}]
    if is_tool_search(tool):
        for name in tool.extra:
            target.diagnostics.note_dropped(f"{at}.{name}")
        return [{"type": "tool_search"}]
    if tool_family(tool.type) == "mcp_toolset":
        return []  # says which tools of a server of `mcp_servers` there are
    return hosted(tool, at, target, made.include)


def _is_actions(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

"""Tools and tool choice -> their Chat Completions form."""

from __future__ import annotations

from typing import Any

from vai.providers.openai.hosted import hosted
from vai.providers.translate.names import legal_tool_name
from vai.providers.translate.schema import NotStrict, object_schema, to_strict_schema
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.texts import describe_tool
from vai.providers.translate.tools import (
    DEFERRED,
    ClientTool,
    is_tool_search,
    to_client_tool,
    tool_family,
    unloaded_tools,
    uses_tool_search,
)
from vai.types.request import MessageRequest, Tool, ToolChoice

__all__ = ["names", "tool_choice", "tools"]

Wire = dict[str, Any]


def tools(request: MessageRequest, target: OpenaiTarget) -> tuple[list[Wire], Wire]:
    """The tools, and the members of the body that stand for further ones."""
    found: list[Wire] = []
    members: Wire = {}
    unloaded = frozenset() if uses_tool_search(request) else unloaded_tools(request)
    for index, tool in enumerate(request.tools or ()):
        at = f"tools[{index}]"
        if tool.name in unloaded:
            target.diagnostics.note_dropped(DEFERRED)
        elif is_tool_search(tool):  # what it would find has been sent
            target.diagnostics.note_dropped(at)
        elif tool.is_function:
            found.append(_function(tool, at, target))
        elif (described := to_client_tool(tool)) is not None:
            found.append(_client_tool(tool, described, at, target))
        else:
            if tool.cache_control:
                target.diagnostics.note_dropped("tools[*].cache_control")
            entries, asked = hosted(tool, at, target)
            found += entries
            members |= asked
    if found and not target.capabilities.tools:
        target.diagnostics.note_refused(
            "tools", f"{target.spec.name} takes no tools", "unsupported_tool_type"
        )
    return found, members


def names(request: MessageRequest) -> dict[str, str]:
    """Alias -> the caller's name, for the tools whose name had to be changed."""
    given = [tool.name for tool in request.tools or () if tool.name]
    return {legal_tool_name(name): name for name in given if legal_tool_name(name) != name}


def tool_choice(
    choice: ToolChoice, request: MessageRequest, found: list[Wire], target: OpenaiTarget
) -> Any:
    """The form of a choice among `found`; None where there is nothing to say."""
    if choice.type != "tool":
        return {"auto": "auto", "any": "required", "none": "none"}[choice.type]
    name = legal_tool_name(choice.name or "")
    if any(tool and tool.get("function", {}).get("name") == name for tool in found):
        return {"type": "function", "function": {"name": name}}
    if choice.name in [tool_family(tool.type) for tool in request.tools or ()]:
        # A tool of the server's own has no name to choose it by, but may be the only one.
        if len(found) <= 1:
            return "required" if found else None
        what = f"{target.spec.name} cannot be made to use one of its own tools among others"
        target.diagnostics.note_refused("tool_choice.name", what)
        return None
    target.diagnostics.note_refused("tool_choice.name", "expected the name of one of the tools")
    return None


def _function(tool: Tool, at: str, target: OpenaiTarget) -> Wire:
    if not tool.name:
        target.diagnostics.note_refused(
            f"{at}.name", "this field is required; expected a value", "missing_required_field"
        )
        return {}
    function: Wire = {"name": legal_tool_name(tool.name)}
    description = describe_tool(tool)
    if description:
        function["description"] = description
    function["parameters"] = object_schema(tool.input_schema)
    if tool.strict:
        try:
            function["parameters"] = to_strict_schema(function["parameters"], target.inlining)
            function["strict"] = True
        except NotStrict:
            target.diagnostics.note_dropped(f"{at}.strict")
    for name, value in tool.extra.items():
        if value and name != "input_examples":
            target.diagnostics.note_dropped(f"tools[*].{name}")
    if tool.config:
        target.diagnostics.note_dropped("tools[*].config")
    if tool.cache_control:
        target.diagnostics.note_dropped("tools[*].cache_control")
    return {"type": "function", "function": function}


def _client_tool(tool: Tool, known: ClientTool, at: str, target: OpenaiTarget) -> Wire:
    for name in tool.extra:
        target.diagnostics.note_dropped(f"{at}.{name}")
    for name in tool.config or {}:
        target.diagnostics.note_dropped(f"{at}.config.{name}")
    if tool.cache_control:
        target.diagnostics.note_dropped("tools[*].cache_control")
    function = {
        "name": legal_tool_name(known.name),
        "description": known.description,
        "parameters": known.schema,
    }
    return {"type": "function", "function": function}

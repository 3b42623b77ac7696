"""Tools and tool choice -> their Chat Completions form."""

from __future__ import annotations

from typing import Any, Final

from vai.providers.clienttools import as_function
from vai.providers.names import alias
from vai.providers.schema import NotStrict, object_schema, strict
from vai.providers.target import Target
from vai.providers.texts import described
from vai.types.request import MessageRequest, Tool, ToolChoice

__all__ = ["names", "tool_choice", "tools"]

Wire = dict[str, Any]

_HINTS: Final = ("allowed_callers", "eager_input_streaming")


def tools(request: MessageRequest, target: Target) -> list[Wire]:
    """The tools; provider-run ones do not exist here."""
    found = []
    for index, tool in enumerate(request.tools or ()):
        at = f"tools[{index}]"
        if tool.extra.get("defer_loading"):
            what = f"{target.row.name} cannot load tools later; send it at once or not at all"
            target.findings.refuse(f"{at}.defer_loading", what, "unsupported_tool_type")
        elif tool.is_function:
            found.append(_function(tool, at, target))
        else:
            found += _client_tool(tool, at, target)
    if found and not target.can.tools:
        target.findings.refuse(
            "tools", f"{target.row.name} takes no tools", "unsupported_tool_type"
        )
    return found


def names(request: MessageRequest) -> dict[str, str]:
    """Alias -> the caller's name, for the tools whose name had to be changed."""
    given = [tool.name for tool in request.tools or () if tool.name]
    return {alias(name): name for name in given if alias(name) != name}


def tool_choice(choice: ToolChoice) -> Any:
    """The form of a choice. Its server must have been sent tools."""
    if choice.type == "tool":
        return {"type": "function", "function": {"name": alias(choice.name or "")}}
    return {"auto": "auto", "any": "required", "none": "none"}[choice.type]


def _function(tool: Tool, at: str, target: Target) -> Wire:
    if not tool.name:
        target.findings.refuse(f"{at}.name", "this field is required", "missing_required_field")
        return {}
    function: Wire = {"name": alias(tool.name)}
    description = described(tool)
    if description:
        function["description"] = description
    function["parameters"] = object_schema(tool.input_schema)
    if tool.strict:
        try:
            function["parameters"] = strict(function["parameters"])
            function["strict"] = True
        except NotStrict:
            target.findings.drop(f"{at}.strict")
    for name in _HINTS:
        if tool.extra.get(name):
            target.findings.drop(f"tools[*].{name}")
    if tool.cache_control:
        target.findings.drop("tools[*].cache_control")
    return {"type": "function", "function": function}


def _client_tool(tool: Tool, at: str, target: Target) -> list[Wire]:
    known = as_function(tool)
    if known is None:
        what = f"{target.row.name} has no tool of type {tool.type}"
        target.findings.refuse(at, what, "unsupported_tool_type")
        return []
    function = {
        "name": alias(known.name),
        "description": known.description,
        "parameters": known.schema,
    }
    return [{"type": "function", "function": function}]

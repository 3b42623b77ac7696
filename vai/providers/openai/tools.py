"""Tools and tool choice -> their Chat Completions form."""

from __future__ import annotations

from typing import Any

from vai.providers.openai.hosted import hosted
from vai.providers.translate.names import alias
from vai.providers.translate.schema import NotStrict, object_schema, strict
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.texts import described
from vai.providers.translate.tools import (
    DEFERRED,
    ClientTool,
    as_function,
    family,
    is_search,
    searches,
    unloaded_tools,
)
from vai.types.request import MessageRequest, Tool, ToolChoice

__all__ = ["names", "tool_choice", "tools"]

Wire = dict[str, Any]


def tools(request: MessageRequest, target: OpenaiTarget) -> tuple[list[Wire], Wire]:
    """The tools, and the members of the body that stand for further ones."""
    found: list[Wire] = []
    members: Wire = {}
    unloaded = frozenset() if searches(request) else unloaded_tools(request)
    for index, tool in enumerate(request.tools or ()):
        at = f"tools[{index}]"
        if tool.name in unloaded:
            target.findings.drop(DEFERRED)
        elif is_search(tool):  # what it would find has been sent
            target.findings.drop(at)
        elif tool.is_function:
            found.append(_function(tool, at, target))
        elif (described := as_function(tool)) is not None:
            found.append(_client_tool(tool, described, at, target))
        else:
            if tool.cache_control:
                target.findings.drop("tools[*].cache_control")
            entries, asked = hosted(tool, at, target)
            found += entries
            members |= asked
    if found and not target.can.tools:
        target.findings.refuse(
            "tools", f"{target.row.name} takes no tools", "unsupported_tool_type"
        )
    return found, members


def names(request: MessageRequest) -> dict[str, str]:
    """Alias -> the caller's name, for the tools whose name had to be changed."""
    given = [tool.name for tool in request.tools or () if tool.name]
    return {alias(name): name for name in given if alias(name) != name}


def tool_choice(
    choice: ToolChoice, request: MessageRequest, found: list[Wire], target: OpenaiTarget
) -> Any:
    """The form of a choice among `found`; None where there is nothing to say."""
    if choice.type != "tool":
        return {"auto": "auto", "any": "required", "none": "none"}[choice.type]
    name = alias(choice.name or "")
    if any(tool and tool.get("function", {}).get("name") == name for tool in found):
        return {"type": "function", "function": {"name": name}}
    if choice.name in [family(tool.type) for tool in request.tools or ()]:
        # A tool of the server's own has no name to choose it by, but may be the only one.
        if len(found) <= 1:
            return "required" if found else None
        what = f"{target.row.name} cannot be made to use one of its own tools among others"
        target.findings.refuse("tool_choice.name", what)
        return None
    target.findings.refuse("tool_choice.name", "expected the name of one of the tools")
    return None


def _function(tool: Tool, at: str, target: OpenaiTarget) -> Wire:
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
            function["parameters"] = strict(function["parameters"], target.inlining)
            function["strict"] = True
        except NotStrict:
            target.findings.drop(f"{at}.strict")
    for name, value in tool.extra.items():
        if value and name != "input_examples":
            target.findings.drop(f"tools[*].{name}")
    if tool.config:
        target.findings.drop("tools[*].config")
    if tool.cache_control:
        target.findings.drop("tools[*].cache_control")
    return {"type": "function", "function": function}


def _client_tool(tool: Tool, known: ClientTool, at: str, target: OpenaiTarget) -> Wire:
    for name in tool.extra:
        target.findings.drop(f"{at}.{name}")
    for name in tool.config or {}:
        target.findings.drop(f"{at}.config.{name}")
    if tool.cache_control:
        target.findings.drop("tools[*].cache_control")
    function = {
        "name": alias(known.name),
        "description": known.description,
        "parameters": known.schema,
    }
    return {"type": "function", "function": function}

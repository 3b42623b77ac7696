"""Tools and tool choice -> `tools` and `toolConfig` of generateContent.

Functions go out as ordinary JSON Schema; their names are pure functions of the client's names. VAI
sends a tool that Google runs without the limits that Google does not support: it leaves out and
names a limit that only saves money, and refuses the request for one that keeps the model away
from something.
"""

from __future__ import annotations

import re
from typing import Any, Final

from vai.providers.gemini.models import GeminiTarget
from vai.providers.translate.diagnostics import refuse_tool
from vai.providers.translate.names import legal_tool_name
from vai.providers.translate.texts import describe_tool
from vai.providers.translate.tools import (
    DEFERRED,
    check_unused_choice,
    is_tool_search,
    to_client_tool,
    tool_family,
    unloaded_tools,
    uses_tool_search,
)
from vai.types.request import MessageRequest, Tool, ToolChoice

__all__ = [
    "gemini_tool_name",
    "original_tool_names",
    "plain_schema",
    "reports_searches_last",
    "translate_tool_config",
    "translate_tools",
]

Wire = dict[str, Any]

_READ_MEMBERS: Final = ("defer_loading", "input_examples")
"""Further members of a function that have been read, or named, elsewhere."""
_MODES: Final = {"auto": "AUTO", "any": "ANY", "tool": "ANY", "none": "NONE"}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""


def translate_tools(request: MessageRequest, target: GeminiTarget) -> list[Wire]:
    """The functions as one tool, then those that Google runs, one each."""
    functions: list[Wire] = []
    server_tools: list[Wire] = []
    unloaded = frozenset() if uses_tool_search(request) else unloaded_tools(request)
    for index, tool in enumerate(request.tools or ()):
        at = f"tools[{index}]"
        if tool.extra.get("defer_loading"):
            target.diagnostics.note_dropped(DEFERRED)
        if tool.cache_control:
            target.diagnostics.note_dropped("tools[*].cache_control")
        if tool.name in unloaded:
            continue
        if is_tool_search(tool):  # what it would find has been sent
            target.diagnostics.note_dropped(at)
        elif tool.is_function:
            functions += _function_declarations(tool, at, target)
        elif (client_tool := to_client_tool(tool)) is not None:
            _note_left_out({**tool.extra, **(tool.config or {})}, at, target)
            declared = {
                "name": gemini_tool_name(client_tool.name),
                "description": client_tool.description,
            }
            functions.append({**declared, "parametersJsonSchema": client_tool.schema})
        elif tool_family(tool.type) == "image_generation":  # a modality of the response, not a tool
            _note_left_out({**tool.extra, **(tool.config or {})}, at, target)
        else:
            server_tools += _server_tools(tool, at, target)
    if request.tool_choice is not None and request.tool_choice.type == "none":
        # Only functions have a mode; what Google runs cannot run where it is left out.
        server_tools = []
    exclusive_tools = [tool for tool in server_tools if "computerUse" not in tool]
    if functions and exclusive_tools and not target.traits.tools_combinable:
        what = f"{target.model} takes either functions or tools that Google runs, not both"
        target.diagnostics.note_refused("tools", what, "unsupported_tool_type")
    return ([{"functionDeclarations": functions}] if functions else []) + server_tools


def translate_tool_config(request: MessageRequest, sent: list[Wire], target: GeminiTarget) -> Wire:
    """The rules for using the tools; empty where the request needs none."""
    choice = request.tool_choice
    if not sent:
        if choice is not None and not (choice.type == "none" and request.tools):
            check_unused_choice(choice, target.diagnostics)
        return {}
    names = [item["name"] for tool in sent for item in tool.get("functionDeclarations", ())]
    calling = _calling_config(choice, names, target)
    strict = any(tool.strict for tool in request.tools or () if tool.is_function)
    if strict and calling.get("mode", "AUTO") == "AUTO":
        calling["mode"] = "VALIDATED"
    config: Wire = {"functionCallingConfig": calling} if calling and names else {}
    server_tools = [
        tool for tool in sent if not tool.keys() & {"functionDeclarations", "computerUse"}
    ]
    if names and server_tools:
        config["includeServerSideToolInvocations"] = True
    return config


def reports_searches_last(sent: list[Wire], config: Wire) -> bool:
    """Whether Google may search or read pages, and report it as metadata of the response
    instead of as parts of it."""
    if config.get("includeServerSideToolInvocations"):
        return False
    return any(not tool.keys().isdisjoint(("googleSearch", "urlContext")) for tool in sent)


def plain_schema(schema: Wire) -> Wire:
    """A schema without the members that name the schema itself."""
    return {name: value for name, value in schema.items() if name not in ("$schema", "$id")}


def _calling_config(choice: ToolChoice | None, names: list[str], target: GeminiTarget) -> Wire:
    if choice is None:
        return {}
    if choice.disable_parallel_tool_use:
        target.diagnostics.note_dropped("tool_choice.disable_parallel_tool_use")
    calling: Wire = {"mode": _MODES[choice.type]}
    if choice.type == "tool":
        if gemini_tool_name(choice.name or "") not in names:
            target.diagnostics.note_refused(
                "tool_choice.name", "expected the name of one of the functions"
            )
        calling["allowedFunctionNames"] = [gemini_tool_name(choice.name or "")]
    elif choice.type == "any" and not names:
        what = f"{target.spec.name} cannot be made to use a tool that it runs itself"
        target.diagnostics.note_refused("tool_choice", what)
    return calling


def _function_declarations(tool: Tool, at: str, target: GeminiTarget) -> list[Wire]:
    if not tool.name:
        target.diagnostics.note_refused(
            f"{at}.name", "this field is required; expected a value", "missing_required_field"
        )
        return []
    function: Wire = {
        "name": gemini_tool_name(tool.name),
        "description": describe_tool(tool) or tool.name,
    }
    schema = plain_schema(tool.input_schema or {})
    if schema:
        function["parametersJsonSchema"] = schema
    for name, value in tool.extra.items():
        if value and name not in _READ_MEMBERS:
            target.diagnostics.note_dropped(f"tools[*].{name}")
    if tool.config:
        target.diagnostics.note_dropped("tools[*].config")
    return [function]


def _server_tools(tool: Tool, at: str, target: GeminiTarget) -> list[Wire]:
    settings = {**tool.extra, **(tool.config or {})}
    kind = tool_family(tool.type)
    if kind == "web_search":
        return [{"googleSearch": _search_config(settings, at, target)}]
    if kind == "web_fetch":
        _refuse_domains(settings, at, target)
        _note_left_out(settings, at, target)
        return [{"urlContext": {}}]
    if kind == "code_execution":
        _note_left_out(settings, at, target)
        return [{"codeExecution": {}}]
    if kind == "computer":
        _note_left_out(settings, at, target)
        return [{"computerUse": {"environment": "ENVIRONMENT_BROWSER"}}]
    if kind == "file_search":
        return _file_search_tools(settings, at, target)
    refuse_tool(at, target.diagnostics, target.spec.name, target.spec.capabilities.server_tools)
    return []


def _search_config(settings: Wire, at: str, target: GeminiTarget) -> Wire:
    search: Wire = {}
    blocked = settings.get("blocked_domains")
    if target.is_code_assist and isinstance(blocked, list) and blocked:
        search["excludeDomains"] = blocked
        settings = {name: value for name, value in settings.items() if name != "blocked_domains"}
    _refuse_domains(settings, at, target)
    _note_left_out(settings, at, target)
    return search


def _file_search_tools(settings: Wire, at: str, target: GeminiTarget) -> list[Wire]:
    stores = settings.get("file_search_store_names") or settings.get("vector_store_ids")
    if not isinstance(stores, list) or not stores:
        target.diagnostics.note_refused(
            f"{at}.config.vector_store_ids", "expected the stores to search"
        )
        return []
    search: Wire = {"fileSearchStoreNames": stores}
    rest = dict(settings)
    for name in ("file_search_store_names", "vector_store_ids"):
        if rest.get(name) == stores:
            del rest[name]
    if isinstance(settings.get("max_results"), int):
        search["topK"] = rest.pop("max_results")
    if isinstance(settings.get("metadata_filter"), str):
        search["metadataFilter"] = rest.pop("metadata_filter")
    _note_left_out(rest, at, target)
    return [{"fileSearch": search}]


def _refuse_domains(settings: Wire, at: str, target: GeminiTarget) -> None:
    for name in ("allowed_domains", "blocked_domains"):
        if settings.get(name):
            what = f"{target.spec.name} cannot restrict this tool to domains"
            target.diagnostics.note_refused(f"{at}.{name}", what, "unsupported_tool_option")


def _note_left_out(settings: Wire, at: str, target: GeminiTarget) -> None:
    for name, value in settings.items():
        if value is not None and name not in ("allowed_domains", "blocked_domains"):
            target.diagnostics.note_dropped(f"{at}.{name}")


_LEGAL = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")


def gemini_tool_name(name: str) -> str:
    """A tool's name, changed only if Gemini would refuse it."""
    return name if _LEGAL.fullmatch(name) else legal_tool_name(f"_{name}")


def original_tool_names(tools: list[Tool] | None) -> dict[str, str]:
    """Name sent -> the client's name, for the tools whose name had to be changed."""
    names_of_tools = [tool.name for tool in tools or () if tool.name]
    return {
        gemini_tool_name(name): name for name in names_of_tools if gemini_tool_name(name) != name
    }

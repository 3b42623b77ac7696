"""Tools and tool choice -> `tools` and `toolConfig` of generateContent.

Functions are sent as ordinary JSON Schema. A tool that Google runs is sent without the
limits it does not know: a limit that only saves money is left out and named, one that
keeps the model away from something refuses the request.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.gemini.names import alias
from vai.providers.gemini.target import GeminiTarget
from vai.providers.translate.diagnostics import refuse_tool
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

__all__ = ["plain_schema", "tells_of_searches_last", "tool_config", "tools"]

Wire = dict[str, Any]

_READ: Final = ("defer_loading", "input_examples")
"""Further members of a function that have been read, or named, elsewhere."""
_MODES: Final = {"auto": "AUTO", "any": "ANY", "tool": "ANY", "none": "NONE"}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""


def tools(request: MessageRequest, target: GeminiTarget) -> list[Wire]:
    """The functions as one tool, then those that Google runs, one each."""
    functions: list[Wire] = []
    hosted: list[Wire] = []
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
            functions += _function(tool, at, target)
        elif (known := to_client_tool(tool)) is not None:
            _leave_out({**tool.extra, **(tool.config or {})}, at, target)
            declared = {"name": alias(known.name), "description": known.description}
            functions.append({**declared, "parametersJsonSchema": known.schema})
        elif tool_family(tool.type) == "image_generation":  # a modality of the answer, not a tool
            _leave_out({**tool.extra, **(tool.config or {})}, at, target)
        else:
            hosted += _hosted(tool, at, target)
    if request.tool_choice is not None and request.tool_choice.type == "none":
        # Only functions have a mode; what Google runs is kept from running by leaving it out.
        hosted = []
    run_there = [tool for tool in hosted if "computerUse" not in tool]
    if functions and run_there and not target.traits.mixes:
        what = f"{target.model} takes either functions or tools that Google runs, not both"
        target.diagnostics.note_refused("tools", what, "unsupported_tool_type")
    return ([{"functionDeclarations": functions}] if functions else []) + hosted


def tool_config(request: MessageRequest, sent: list[Wire], target: GeminiTarget) -> Wire:
    """How the tools may be used; empty where there is nothing to say."""
    choice = request.tool_choice
    if not sent:
        if choice is not None and not (choice.type == "none" and request.tools):
            check_unused_choice(choice, target.diagnostics)
        return {}
    names = [item["name"] for tool in sent for item in tool.get("functionDeclarations", ())]
    calling = _calling(choice, names, target)
    strict = any(tool.strict for tool in request.tools or () if tool.is_function)
    if strict and calling.get("mode", "AUTO") == "AUTO":
        calling["mode"] = "VALIDATED"
    config: Wire = {"functionCallingConfig": calling} if calling and names else {}
    hosted = [tool for tool in sent if not tool.keys() & {"functionDeclarations", "computerUse"}]
    if names and hosted:
        config["includeServerSideToolInvocations"] = True
    return config


def tells_of_searches_last(sent: list[Wire], config: Wire) -> bool:
    """Whether Google may search or read pages, and report it as metadata of the answer
    instead of as parts of it."""
    if config.get("includeServerSideToolInvocations"):
        return False
    return any(not tool.keys().isdisjoint(("googleSearch", "urlContext")) for tool in sent)


def plain_schema(schema: Wire) -> Wire:
    """A schema without the members that name the schema itself."""
    return {name: value for name, value in schema.items() if name not in ("$schema", "$id")}


def _calling(choice: ToolChoice | None, names: list[str], target: GeminiTarget) -> Wire:
    if choice is None:
        return {}
    if choice.disable_parallel_tool_use:
        target.diagnostics.note_dropped("tool_choice.disable_parallel_tool_use")
    calling: Wire = {"mode": _MODES[choice.type]}
    if choice.type == "tool":
        if alias(choice.name or "") not in names:
            target.diagnostics.note_refused(
                "tool_choice.name", "expected the name of one of the functions"
            )
        calling["allowedFunctionNames"] = [alias(choice.name or "")]
    elif choice.type == "any" and not names:
        what = f"{target.spec.name} cannot be made to use a tool that it runs itself"
        target.diagnostics.note_refused("tool_choice", what)
    return calling


def _function(tool: Tool, at: str, target: GeminiTarget) -> list[Wire]:
    if not tool.name:
        target.diagnostics.note_refused(
            f"{at}.name", "this field is required; expected a value", "missing_required_field"
        )
        return []
    function: Wire = {"name": alias(tool.name), "description": describe_tool(tool) or tool.name}
    schema = plain_schema(tool.input_schema or {})
    if schema:
        function["parametersJsonSchema"] = schema
    for name, value in tool.extra.items():
        if value and name not in _READ:
            target.diagnostics.note_dropped(f"tools[*].{name}")
    if tool.config:
        target.diagnostics.note_dropped("tools[*].config")
    return [function]


def _hosted(tool: Tool, at: str, target: GeminiTarget) -> list[Wire]:
    settings = {**tool.extra, **(tool.config or {})}
    kind = tool_family(tool.type)
    if kind == "web_search":
        return [{"googleSearch": _search(settings, at, target)}]
    if kind == "web_fetch":
        _no_domains(settings, at, target)
        _leave_out(settings, at, target)
        return [{"urlContext": {}}]
    if kind == "code_execution":
        _leave_out(settings, at, target)
        return [{"codeExecution": {}}]
    if kind == "computer":
        _leave_out(settings, at, target)
        return [{"computerUse": {"environment": "ENVIRONMENT_BROWSER"}}]
    if kind == "file_search":
        return _file_search(settings, at, target)
    refuse_tool(at, target.diagnostics, target.spec.name, target.spec.capabilities.server_tools)
    return []


def _search(settings: Wire, at: str, target: GeminiTarget) -> Wire:
    search: Wire = {}
    blocked = settings.get("blocked_domains")
    if target.assists and isinstance(blocked, list) and blocked:
        search["excludeDomains"] = blocked
        settings = {name: value for name, value in settings.items() if name != "blocked_domains"}
    _no_domains(settings, at, target)
    _leave_out(settings, at, target)
    return search


def _file_search(settings: Wire, at: str, target: GeminiTarget) -> list[Wire]:
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
    _leave_out(rest, at, target)
    return [{"fileSearch": search}]


def _no_domains(settings: Wire, at: str, target: GeminiTarget) -> None:
    for name in ("allowed_domains", "blocked_domains"):
        if settings.get(name):
            what = f"{target.spec.name} cannot restrict this tool to domains"
            target.diagnostics.note_refused(f"{at}.{name}", what, "unsupported_tool_option")


def _leave_out(settings: Wire, at: str, target: GeminiTarget) -> None:
    for name, value in settings.items():
        if value is not None and name not in ("allowed_domains", "blocked_domains"):
            target.diagnostics.note_dropped(f"{at}.{name}")

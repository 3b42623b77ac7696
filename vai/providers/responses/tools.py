"""Tools, server tools and tool choice -> their form in Responses.

VAI refuses a request with a server tool's setting that changes the response and has no equivalent
here; it notes one that only bounds the effort as dropped.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.translate.diagnostics import refuse_tool
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

__all__ = [
    "RequestTools",
    "enabled_mcp_tools",
    "translate_mcp_server",
    "translate_server_tool",
    "translate_tool_choice",
    "translate_tools",
]

Wire = dict[str, Any]

_LOCATION_MEMBERS: Final = ("city", "country", "region", "timezone")
_IMAGE_MEMBERS: Final = (
    "background",
    "input_fidelity",
    "model",
    "moderation",
    "output_compression",
    "output_format",
    "quality",
    "size",
)
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_MCP_MEMBERS: Final = frozenset(
    {"type", "name", "url", "authorization_token", "tool_configuration"}
)
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_MCP_CHOICE_MEMBERS: Final = frozenset({"enabled", "allowed_tools"})
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_SCREEN: Final = {"display_width": 1024, "display_height": 768, "environment": "browser"}
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


def translate_server_tool(
    tool: Tool, at: str, target: OpenaiTarget, include: list[str]
) -> list[Wire]:
    """The entry for `tool`; adds to `include` the results that the request must include."""
    maker = {
        "web_search": _make_web_search,
        "code_execution": _make_code_interpreter,
        "computer": _make_computer,
        "file_search": _make_file_search,
        "image_generation": _make_image_generation,
    }.get(tool_family(tool.type))
    if maker is None:
        refuse_tool(at, target.diagnostics, target.spec.name, target.capabilities.server_tools)
        return []
    settings = _ToolSettings(tool, at, target)
    entry = maker(settings, include)
    settings.note_unused()
    return [entry]


class _ToolSettings:
    """A tool's own members, wherever the client put them; each is read once."""

    def __init__(self, tool: Tool, at: str, target: OpenaiTarget) -> None:
        self.at = at
        self.target = target
        self._values = {f"config.{name}": value for name, value in (tool.config or {}).items()}
        self._values |= tool.extra

    def take(self, *names: str) -> Any:
        """The value of the first of `names` that has one."""
        first = None
        for name in names:
            for member in (name, f"config.{name}"):
                value = self._values.pop(member, None)
                first = value if first is None else first
        return first

    def note_unused(self) -> None:
        for member, value in self._values.items():
            if value is not None:
                self.target.diagnostics.note_dropped(f"{self.at}.{member}")


def _make_web_search(settings: _ToolSettings, include: list[str]) -> Wire:
    entry: Wire = {"type": "web_search"}
    if settings.take("blocked_domains"):
        what = f"{settings.target.spec.name} accepts only domains to search, none to avoid"
        settings.target.diagnostics.note_refused(f"{settings.at}.blocked_domains", what)
    domains = settings.take("allowed_domains")
    if isinstance(domains, list) and domains:
        entry["filters"] = {"allowed_domains": domains}
    location = settings.take("user_location")
    if isinstance(location, dict):
        approximate = {
            name: location[name]
            for name in _LOCATION_MEMBERS
            if isinstance(location.get(name), str)
        }
        entry["user_location"] = {"type": "approximate", **approximate}
    size = settings.take("search_context_size")
    if size is not None:
        entry["search_context_size"] = size
    include.append("web_search_call.action.sources")
    return entry


def _make_code_interpreter(settings: _ToolSettings, include: list[str]) -> Wire:
    include.append("code_interpreter_call.outputs")
    container = settings.take("container")
    if not isinstance(container, str | dict):
        container = {"type": "auto"}
    return {"type": "code_interpreter", "container": container}


def _make_computer(settings: _ToolSettings, include: list[str]) -> Wire:
    width = settings.take("display_width", "display_width_px")
    height = settings.take("display_height", "display_height_px")
    environment = settings.take("environment")
    settings.take("display_number", "enable_zoom", "configs")
    if "computer-use" not in settings.target.model:
        return {"type": "computer"}
    screen = {"display_width": width, "display_height": height, "environment": environment}
    stated = {name: value for name, value in screen.items() if value is not None}
    return {"type": "computer_use_preview", **_SCREEN, **stated}


def _make_file_search(settings: _ToolSettings, include: list[str]) -> Wire:
    stores = settings.take("vector_store_ids")
    if not isinstance(stores, list) or not stores:
        settings.target.diagnostics.note_refused(
            f"{settings.at}.vector_store_ids", "expected the ids of vector stores"
        )
    entry: Wire = {"type": "file_search", "vector_store_ids": stores}
    most = settings.take("max_num_results", "max_results")
    if most is not None:
        entry["max_num_results"] = most
    for name in ("filters", "ranking_options"):
        value = settings.take(name)
        if value is not None:
            entry[name] = value
    include.append("file_search_call.results")
    return entry


def _make_image_generation(settings: _ToolSettings, include: list[str]) -> Wire:
    values = {name: settings.take(name) for name in _IMAGE_MEMBERS}
    stated = {name: value for name, value in values.items() if value is not None}
    return {"type": "image_generation", **stated}


def enabled_mcp_tools(tools: list[Tool] | None) -> dict[str, list[str]]:
    """MCP server -> those of its tools that a toolset names; none for servers that offer all."""
    enabled: dict[str, list[str]] = {}
    for tool in tools or ():
        server = tool.extra.get("mcp_server_name")
        if isinstance(server, str) and tool_family(tool.type) == "mcp_toolset":
            named = _enabled_names(tool)
            if named:
                enabled[server] = named
    return enabled


def translate_mcp_server(
    server: Any, at: str, enabled: dict[str, list[str]], target: OpenaiTarget, names: dict[str, str]
) -> list[Wire]:
    """The entry for one of `mcp_servers`, none if it is switched off.

    Args:
        enabled: server name -> its tools, from the request's toolsets.
        names: receives a server whose name VAI has to change.
    """
    name = server.get("name") if isinstance(server, dict) else None
    url = server.get("url") if isinstance(server, dict) else None
    if not (isinstance(name, str) and name and isinstance(url, str) and url):
        target.diagnostics.note_refused(at, "expected a server with a name and a url")
        return []
    chosen = server.get("tool_configuration")
    chosen = chosen if isinstance(chosen, dict) else {}
    for member in server.keys() - _MCP_MEMBERS:
        target.diagnostics.note_dropped(f"mcp_servers[*].{member}")
    for member in chosen.keys() - _MCP_CHOICE_MEMBERS:
        target.diagnostics.note_dropped(f"mcp_servers[*].tool_configuration.{member}")
    label = legal_tool_name(name)
    if label != name:
        names[label] = name
    # Approval would end the response with a question that Messages clients cannot respond to.
    entry: Wire = {"type": "mcp", "server_label": label, "server_url": url}
    entry["require_approval"] = "never"
    if server.get("authorization_token"):
        entry["authorization"] = server["authorization_token"]
    allowed = chosen.get("allowed_tools")
    if chosen.get("enabled") is False:
        return []
    allowed = enabled.get(name, allowed)
    if isinstance(allowed, list):
        entry["allowed_tools"] = allowed
    return [entry]


def _enabled_names(tool: Tool) -> list[str] | None:
    """The tools of a server that a toolset names; None where all of them are on."""
    usual, configs = tool.extra.get("default_config"), tool.extra.get("configs")
    if not isinstance(usual, dict) or usual.get("enabled") is not False:
        return None
    named = configs.items() if isinstance(configs, dict) else ()
    return [name for name, one in named if isinstance(one, dict) and one.get("enabled", True)]


_FUNCTION_MEMBERS: Final = ("defer_loading", "format", "input_examples")
"""Members of a function that this format has."""
_CHOSEN: Final = {
    "code_execution": "code_interpreter",
    "computer": "computer",
    "file_search": "file_search",
    "image_generation": "image_generation",
    "web_search": "web_search_preview",
}
"""The name of a server tool where the request selects it."""


class RequestTools(msgspec.Struct, frozen=True):
    """The tools of one request.

    Attributes:
        sent: in the form that the server receives.
        include: what the request must include of its own tools' results.
        names: alias -> the client's name, where they differ.
        freeform: aliases of tools whose input is plain text.
        computer: whether the server's own computer tool is among them.
    """

    sent: list[Wire] = []
    include: list[str] = []
    names: dict[str, str] = {}
    freeform: set[str] = set()
    computer: bool = False

    def item_type(self, block: ToolUseBlock) -> str:
        """The type of the item for a call in the history."""
        if legal_tool_name(block.name) in self.freeform and isinstance(
            block.input.get("input"), str
        ):
            return "custom_tool_call"
        if (
            self.computer
            and block.name == "computer"
            and _is_action_list(block.input.get("actions"))
        ):
            return "computer_call"
        return "function_call"


def translate_tools(request: MessageRequest, target: OpenaiTarget) -> RequestTools:
    """All tools, MCP servers among them."""
    made = RequestTools([], [], {}, set())
    allowed = enabled_mcp_tools(request.tools)
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
            made.sent.append(
                _translate_function(tool, at, target, made, later=tool.name in unloaded)
            )
        else:
            made.sent.extend(_translate_typed_tool(tool, at, target, made))
    for index, server in enumerate(_to_list(request.extra.get("mcp_servers"))):
        made.sent.extend(
            translate_mcp_server(server, f"mcp_servers[{index}]", allowed, target, made.names)
        )
    computer = any(tool.get("type") in ("computer", "computer_use_preview") for tool in made.sent)
    return msgspec.structs.replace(made, computer=computer)


def translate_tool_choice(
    choice: ToolChoice, request: MessageRequest, made: RequestTools, target: OpenaiTarget
) -> Any:
    """The form of a choice among these tools; None where VAI refuses the choice."""
    if choice.type != "tool":
        return {"auto": "auto", "any": "required", "none": "none"}[choice.type]
    name = choice.name or ""
    if legal_tool_name(name) in made.freeform:
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


def _translate_function(
    tool: Tool, at: str, target: OpenaiTarget, made: RequestTools, *, later: bool
) -> Wire:
    """A function; `later`: the server's own search is to find it."""
    if not tool.name:
        target.diagnostics.note_refused(
            f"{at}.name", "this field is required; expected a value", "missing_required_field"
        )
        return {}
    for name, value in tool.extra.items():
        if value and name not in _FUNCTION_MEMBERS:
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
        made.freeform.add(legal_tool_name(tool.name))
        return entry | {"type": "custom", "format": tool.extra["format"]}
    schema, is_strict = object_schema(tool.input_schema), False
    if tool.strict:
        try:
            schema, is_strict = to_strict_schema(schema, target.inlining), True
        except NotStrict:
            target.diagnostics.note_dropped(f"{at}.strict")
    # Sent in any case: the server's default is true.
    return entry | {"parameters": schema, "strict": is_strict}


def _translate_typed_tool(
    tool: Tool, at: str, target: OpenaiTarget, made: RequestTools
) -> list[Wire]:
    """A tool that its type describes."""
    described = to_client_tool(tool)
    if described is not None:
        for member in (*tool.extra, *(f"config.{name}" for name in tool.config or {})):
            target.diagnostics.note_dropped(f"{at}.{member}")
        entry = {
            "type": "function",
            "name": legal_tool_name(described.name),
            "description": described.description,
        }
        return [entry | {"parameters": described.schema, "strict": False}]
    if is_tool_search(tool):
        for name in tool.extra:
            target.diagnostics.note_dropped(f"{at}.{name}")
        return [{"type": "tool_search"}]
    if tool_family(tool.type) == "mcp_toolset":
        return []  # selects the tools of a server of `mcp_servers`
    return translate_server_tool(tool, at, target, made.include)


def _is_action_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _to_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

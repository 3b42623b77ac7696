"""Tools that the server runs itself: how they are asked for.

What of a tool's settings changes the answer and has no place here refuses the request;
what only bounds the effort is named and left out.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.translate.diagnostics import refuse_tool
from vai.providers.translate.names import legal_tool_name
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.tools import tool_family
from vai.types.request import Tool

__all__ = ["enabled_tools", "hosted", "mcp_server"]

Wire = dict[str, Any]

_PLACE: Final = ("city", "country", "region", "timezone")
_IMAGE: Final = (
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
_SERVER: Final = frozenset({"type", "name", "url", "authorization_token", "tool_configuration"})
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_CHOICE: Final = frozenset({"enabled", "allowed_tools"})
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_SCREEN: Final = {"display_width": 1024, "display_height": 768, "environment": "browser"}
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


def hosted(tool: Tool, at: str, target: OpenaiTarget, include: list[str]) -> list[Wire]:
    """The entry for `tool`; notes in `include` what of its results must be asked for."""
    maker = {
        "web_search": _web_search,
        "code_execution": _code,
        "computer": _computer,
        "file_search": _file_search,
        "image_generation": _image_generation,
    }.get(tool_family(tool.type))
    if maker is None:
        refuse_tool(at, target.diagnostics, target.spec.name, target.capabilities.server_tools)
        return []
    settings = _Settings(tool, at, target)
    entry = maker(settings, include)
    settings.leave_out_the_rest()
    return [entry]


class _Settings:
    """A tool's own members, wherever the caller put them; each is taken once."""

    def __init__(self, tool: Tool, at: str, target: OpenaiTarget) -> None:
        self.at = at
        self.target = target
        self._values = {f"config.{name}": value for name, value in (tool.config or {}).items()}
        self._values |= tool.extra

    def take(self, *names: str) -> Any:
        """The value of the first of `names` that has one."""
        found = None
        for name in names:
            for place in (name, f"config.{name}"):
                value = self._values.pop(place, None)
                found = value if found is None else found
        return found

    def leave_out_the_rest(self) -> None:
        for place, value in self._values.items():
            if value is not None:
                self.target.diagnostics.note_dropped(f"{self.at}.{place}")


def _web_search(settings: _Settings, include: list[str]) -> Wire:
    entry: Wire = {"type": "web_search"}
    if settings.take("blocked_domains"):
        what = f"{settings.target.spec.name} can only be told where to search, not where not to"
        settings.target.diagnostics.note_refused(f"{settings.at}.blocked_domains", what)
    domains = settings.take("allowed_domains")
    if isinstance(domains, list) and domains:
        entry["filters"] = {"allowed_domains": domains}
    place = settings.take("user_location")
    if isinstance(place, dict):
        known = {name: place[name] for name in _PLACE if isinstance(place.get(name), str)}
        entry["user_location"] = {"type": "approximate", **known}
    size = settings.take("search_context_size")
    if size is not None:
        entry["search_context_size"] = size
    include.append("web_search_call.action.sources")
    return entry


def _code(settings: _Settings, include: list[str]) -> Wire:
    include.append("code_interpreter_call.outputs")
    container = settings.take("container")
    if not isinstance(container, str | dict):
        container = {"type": "auto"}
    return {"type": "code_interpreter", "container": container}


def _computer(settings: _Settings, include: list[str]) -> Wire:
    width = settings.take("display_width", "display_width_px")
    height = settings.take("display_height", "display_height_px")
    environment = settings.take("environment")
    settings.take("display_number", "enable_zoom", "configs")
    if "computer-use" not in settings.target.model:
        return {"type": "computer"}
    given = {"display_width": width, "display_height": height, "environment": environment}
    known = {name: value for name, value in given.items() if value is not None}
    return {"type": "computer_use_preview", **_SCREEN, **known}


def _file_search(settings: _Settings, include: list[str]) -> Wire:
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


def _image_generation(settings: _Settings, include: list[str]) -> Wire:
    values = {name: settings.take(name) for name in _IMAGE}
    known = {name: value for name, value in values.items() if value is not None}
    return {"type": "image_generation", **known}


def enabled_tools(tools: list[Tool] | None) -> dict[str, list[str]]:
    """MCP server -> the tools of it that a toolset names; none for servers that offer all."""
    found: dict[str, list[str]] = {}
    for tool in tools or ():
        server = tool.extra.get("mcp_server_name")
        if isinstance(server, str) and tool_family(tool.type) == "mcp_toolset":
            named = _enabled(tool)
            if named:
                found[server] = named
    return found


def mcp_server(
    server: Any, at: str, enabled: dict[str, list[str]], target: OpenaiTarget, names: dict[str, str]
) -> list[Wire]:
    """The entry for one of `mcp_servers`, none if it is switched off.

    Args:
        enabled: what `enabled_tools` found.
        names: takes up a server whose name has to be changed.
    """
    name = server.get("name") if isinstance(server, dict) else None
    url = server.get("url") if isinstance(server, dict) else None
    if not (isinstance(name, str) and name and isinstance(url, str) and url):
        target.diagnostics.note_refused(at, "expected a server with a name and a url")
        return []
    chosen = server.get("tool_configuration")
    chosen = chosen if isinstance(chosen, dict) else {}
    for member in server.keys() - _SERVER:
        target.diagnostics.note_dropped(f"mcp_servers[*].{member}")
    for member in chosen.keys() - _CHOICE:
        target.diagnostics.note_dropped(f"mcp_servers[*].tool_configuration.{member}")
    label = legal_tool_name(name)
    if label != name:
        names[label] = name
    # Approval would end the answer with a question that no Messages client can answer.
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


def _enabled(tool: Tool) -> list[str] | None:
    """The tools of a server that a toolset names; None where it leaves all of them on."""
    usual, configs = tool.extra.get("default_config"), tool.extra.get("configs")
    if not isinstance(usual, dict) or usual.get("enabled") is not False:
        return None
    named = configs.items() if isinstance(configs, dict) else ()
    return [name for name, one in named if isinstance(one, dict) and one.get("enabled", True)]

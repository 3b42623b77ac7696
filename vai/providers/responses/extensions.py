"""The client's own members for Responses: `extensions.oai-resp`, else `extensions.openai`.

The list is an allow list, not a deny list: a member that changed the model, the stream or the
items would make the response unreadable here.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.translate.target import OpenaiTarget
from vai.types.request import MessageRequest

__all__ = ["apply_extension", "extension_effort", "find_extension"]

_NAMES: Final = ("oai-resp", "oai_resp", "openai")
_ALLOWED: Final = frozenset(
    {
        "access_programs",
        "context_management",
        "max_tool_calls",
        "metadata",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "temperature",
        "top_p",
        "truncation",
        "user",
    }
)
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_MERGED: Final = ("prompt_cache_options", "reasoning")
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


def find_extension(request: MessageRequest) -> tuple[str, Any]:
    """The name of the extension that VAI uses, and its value."""
    for name in _NAMES:
        value = (request.extensions or {}).get(name)
        if value is not None:
            return name, value
    return _NAMES[0], {}


def extension_effort(request: MessageRequest) -> str | None:
    """The effort in the extension, in either of its spellings."""
    _, members = find_extension(request)
    if not isinstance(members, dict):
        return None
    reasoning = members.get("reasoning")
    requested = reasoning.get("effort") if isinstance(reasoning, dict) else None
    requested = requested or members.get("reasoning_effort")
    return requested if isinstance(requested, str) else None


def apply_extension(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    """Put the extension's members into `body`; they win over derived ones."""
    key, members = find_extension(request)
    if not isinstance(members, dict):
        target.diagnostics.note_refused(f"extensions.{key}", "expected an object")
        return
    for name, value in members.items():
        if value is None:
            continue
        if target.traits.always_reasons and _disables_reasoning(name, value):
            target.diagnostics.note_dropped(f"extensions.{key}.{name}")
        elif name == "reasoning_effort":
            body["reasoning"] = body.get("reasoning", {}) | {"effort": value}
        elif name in _MERGED and isinstance(value, dict):
            body[name] = body.get(name, {}) | value
        elif name == "verbosity":
            body["text"] = body.get("text", {}) | {"verbosity": value}
        elif name == "text" and isinstance(value, dict) and value.keys() <= {"verbosity"}:
            body["text"] = body.get("text", {}) | value
        elif name == "include" and isinstance(value, list):
            body["include"] = [*dict.fromkeys([*body.get("include", ()), *map(str, value)])]
        elif name in _ALLOWED:
            body[name] = value
        else:
            target.diagnostics.note_dropped(f"extensions.{key}.{name}")


def _disables_reasoning(name: str, value: Any) -> bool:
    """Whether an extension member turns the model's reasoning off."""
    requested = value.get("effort") if name == "reasoning" and isinstance(value, dict) else value
    return name in ("reasoning", "reasoning_effort") and requested == "none"

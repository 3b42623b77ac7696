"""A canonical request -> the body of an Anthropic Messages request.

The translation passes unknown members on unchanged, so that a feature of the API that is
newer than this code works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from vai.providers.anthropic.conversation import (
    blocks_to_wire,
    has_thinking,
    last_call_lacks_thinking,
    messages_to_wire,
)
from vai.providers.anthropic.models import ClaudeTraits, find_traits
from vai.providers.anthropic.schema import to_enforceable_schema
from vai.providers.anthropic.tools import beta_of, tool_to_wire
from vai.providers.translate.capability_override import (
    check_content,
    without_result_media,
    without_unsupported_options,
)
from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.options import EFFORTS, check_output, clamp_effort, effort_for_budget
from vai.providers.translate.tools import check_unused_choice
from vai.types.base import to_wire
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["DEFAULT_MAX_TOKENS", "DEFAULT_VERSION", "translate_request"]

DEFAULT_MAX_TOKENS: Final = 4096
"""Sent where the client named no limit: the API requires one."""
DEFAULT_VERSION: Final = "2023-06-01"
"""Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""
MIN_BUDGET: Final = 1024
"""The smallest thinking budget, in tokens.
Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""
_BUDGETS: Final = {"low": 2047, "medium": 8191, "high": 24575, "xhigh": 65535, "max": 65535}
"""Effort -> the largest budget that it stands for; the inverse of `effort_for_budget`."""
_SAMPLING: Final = ("temperature", "top_p", "top_k")
"""Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""
_MAX_BETAS: Final = 32
"""The number of betas that an extension may name; VAI sends them in one header field."""
_MAX_BETA: Final = 128
_TIERS: Final = ("auto", "standard_only")
"""Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""

_VAI_MEMBERS: Final = ("extensions", "output", "voice")
"""Members of VAI's own, which Anthropic does not have."""
_EXTENSIONS: Final = frozenset(
    {
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "mcp_servers",
        "service_tier",
        "speed",
        "thinking",
    }
)
"""Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""


def translate_request(
    request: MessageRequest, spec: ProviderSpec, headers: Mapping[str, str]
) -> tuple[WireRequest, list[str]]:
    """The upstream request, and the paths of dropped members.

    Args:
        headers: the client's; only ``anthropic-version`` and ``anthropic-beta`` are read.

    Raises:
        InvalidRequest: Anthropic's format cannot express a required part.
    """
    diagnostics = Diagnostics(spec.name)
    if spec.has_capability_override:
        request = without_unsupported_options(request, spec.capabilities, diagnostics)
        request = without_result_media(request, spec.capabilities, diagnostics)
        check_content(request, spec.capabilities, diagnostics)
    traits = find_traits(spec.find_catalogue_key(request.model)[1])
    body: dict[str, Any] = to_wire(request)
    for name in _VAI_MEMBERS:
        body.pop(name, None)
    if request.voice:
        diagnostics.note_dropped("voice")
    body["messages"] = messages_to_wire(request, traits, diagnostics, spec.id)
    if isinstance(request.system, list):
        body["system"] = blocks_to_wire(request.system, "system", diagnostics)
    if not body.get("system"):
        body.pop("system", None)
    betas = _set_tools(request, body, traits, diagnostics)
    betas += _apply_extensions(request, body, diagnostics)
    _set_thinking(request, body, traits, diagnostics)
    _set_output_format(request, body, diagnostics)
    _check_sampling(body, traits, diagnostics)
    _check_service_tier(body, diagnostics)
    diagnostics.raise_if_refused()
    version = headers.get("anthropic-version") or DEFAULT_VERSION
    if version != DEFAULT_VERSION and any(name in body for name in _SAMPLING):
        # Newer versions of the API refuse sampling members, whatever the model.
        version = DEFAULT_VERSION
        diagnostics.note_dropped("anthropic-version")
    sent = _build_headers(request, headers, betas, version)
    wire = WireRequest("POST", spec.path, sent, msgspec.json.encode(body), request.stream)
    return wire, diagnostics.dropped_paths


def _build_headers(
    request: MessageRequest, client_headers: Mapping[str, str], betas: list[str], version: str
) -> tuple[tuple[str, str], ...]:
    client_betas = [beta.strip() for beta in client_headers.get("anthropic-beta", "").split(",")]
    wanted = list(dict.fromkeys(beta for beta in client_betas + betas if beta))
    headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if request.stream else "application/json"),
        ("anthropic-version", version),
    ]
    if wanted:
        headers.append(("anthropic-beta", ",".join(wanted)))
    return tuple(headers)


def _set_tools(
    request: MessageRequest, body: dict[str, Any], traits: ClaudeTraits, diagnostics: Diagnostics
) -> list[str]:
    """Set the tools; return the betas they need."""
    tools = [
        tool_to_wire(tool, f"tools[{index}]", traits.tool_generation, diagnostics)
        for index, tool in enumerate(request.tools or ())
    ]
    if not tools:
        body.pop("tools", None)
        body.pop("tool_choice", None)
        check_unused_choice(request.tool_choice, diagnostics)
        return []
    body["tools"] = tools
    choice = request.tool_choice
    if choice is not None and choice.type in ("any", "tool") and not traits.forced_tool:
        diagnostics.note_refused(
            "tool_choice", "this model cannot be made to use a tool; expected auto or none"
        )
    return [beta for beta in map(beta_of, tools) if beta is not None]


def _apply_extensions(
    request: MessageRequest, body: dict[str, Any], diagnostics: Diagnostics
) -> list[str]:
    """Copy `extensions.anthropic` into the body; return the betas named there."""
    members = (request.extensions or {}).get("anthropic")
    if members is None:
        return []
    if not isinstance(members, dict):
        diagnostics.note_refused("extensions.anthropic", "expected an object")
        return []
    betas: list[str] = []
    for name, value in members.items():
        if name == "betas" and isinstance(value, list):
            named = [beta for beta in value if isinstance(beta, str) and _is_token(beta)]
            betas += named[:_MAX_BETAS]
            if len(betas) < len(value):
                diagnostics.note_dropped("extensions.anthropic.betas")
        elif name in _EXTENSIONS and value is not None and name not in body:
            body[name] = value
        else:  # also where the request has the member itself, which wins
            diagnostics.note_dropped(f"extensions.anthropic.{name}")
    return betas


def _is_token(beta: str) -> bool:
    plain = beta.replace("-", "").replace("_", "")
    return len(beta) <= _MAX_BETA and plain.isascii() and plain.isalnum()


def _set_thinking(
    request: MessageRequest, body: dict[str, Any], traits: ClaudeTraits, diagnostics: Diagnostics
) -> None:
    wire = body.get("thinking")
    config = body.get("output_config") or {}
    effort = config.get("effort")
    if effort in EFFORTS and effort not in traits.efforts:
        # An effort outside of EFFORTS is newer than this table; it passes unchanged.
        supported = clamp_effort(effort, traits.efforts)
        rest = {k: v for k, v in config.items() if k != "effort"}
        body["output_config"] = rest if supported is None else {**rest, "effort": supported}
        diagnostics.note_dropped("output_config.effort")
    elif effort is not None and not traits.efforts:
        body["output_config"] = {k: v for k, v in config.items() if k != "effort"}
        diagnostics.note_dropped("output_config.effort")
    if not isinstance(wire, dict):
        body["max_tokens"] = _choose_max_tokens(request, 0)
        return
    if wire.get("type") == "adaptive" and not traits.accepts_adaptive_thinking:
        wire = _set_thinking_budget(request, body, wire, str(effort or "medium"), diagnostics)
    budget = wire.get("budget_tokens")
    if wire.get("type") == "disabled" and not traits.thinking_can_be_disabled:
        diagnostics.note_refused(
            "thinking", "this model always thinks; expected adaptive, or no thinking"
        )
    elif wire.get("type") == "enabled" and not traits.accepts_thinking_budget:
        rest = {name: value for name, value in wire.items() if name != "budget_tokens"}
        body["thinking"] = rest | {"type": "adaptive"}
        diagnostics.note_dropped("thinking.type" if budget is None else "thinking.budget_tokens")
        if isinstance(budget, int):
            config = dict(body.get("output_config") or {})
            config.setdefault("effort", effort_for_budget(budget))
            body["output_config"] = config
        budget = None
    elif wire.get("type") == "enabled" and _cannot_start(request):
        body.pop("thinking")
        diagnostics.note_dropped("thinking")
        budget = None
    body["max_tokens"] = _choose_max_tokens(request, budget if isinstance(budget, int) else 0)


def _set_thinking_budget(
    request: MessageRequest,
    body: dict[str, Any],
    wire: dict[str, Any],
    effort: str,
    diagnostics: Diagnostics,
) -> dict[str, Any]:
    """Replace adaptive thinking by a budget, for a model that requires one."""
    budget = _BUDGETS.get(effort, _BUDGETS["medium"])
    if request.max_tokens is not None:
        budget = min(budget, request.max_tokens - 1)
    if budget < MIN_BUDGET:
        body.pop("thinking")
        diagnostics.note_dropped("thinking")
        return {}
    body["thinking"] = {**wire, "type": "enabled", "budget_tokens": budget}
    diagnostics.note_dropped("thinking.type")
    return dict(body["thinking"])


def _cannot_start(request: MessageRequest) -> bool:
    # The API requires a turn that called a tool to begin with its reasoning. Where the whole
    # history has none, thinking can start only with the next turn.
    return last_call_lacks_thinking(request) and not has_thinking(request)


def _choose_max_tokens(request: MessageRequest, budget: int) -> int:
    return DEFAULT_MAX_TOKENS + budget if request.max_tokens is None else request.max_tokens


def _set_output_format(
    request: MessageRequest, body: dict[str, Any], diagnostics: Diagnostics
) -> None:
    form = request.output_format
    if form is not None:
        if form.name:  # a member of Chat Completions that the Messages API lacks
            diagnostics.note_dropped("output_config.format.name")
        schema = to_enforceable_schema(form.schema, "output_config.format.schema", diagnostics)
        body["output_config"]["format"] = {"type": form.type, "schema": schema, **form.extra}
    if not body.get("output_config", True):
        del body["output_config"]
    check_output(request, diagnostics, frozenset())


def _check_sampling(body: dict[str, Any], traits: ClaudeTraits, diagnostics: Diagnostics) -> None:
    thinks = isinstance(body.get("thinking"), dict) and body["thinking"].get("type") != "disabled"
    for name in _SAMPLING:
        value = body.get(name)
        if value is None:
            continue
        # Thinking excludes sampling members, except a top_p of 0.95 or more.
        is_allowed = name == "top_p" and value >= 0.95
        if not traits.accepts_sampling or (thinks and not is_allowed):
            del body[name]
            diagnostics.note_dropped(name)
    if body.get("temperature", 0) > 1:
        diagnostics.note_refused("temperature", "expected a number from 0 to 1 for Anthropic")


def _check_service_tier(body: dict[str, Any], diagnostics: Diagnostics) -> None:
    if body.get("service_tier") not in (None, *_TIERS):
        del body["service_tier"]
        diagnostics.note_dropped("service_tier")
    if not isinstance(body.get("metadata"), dict):
        return
    for name in list(body["metadata"]):
        if name != "user_id":
            del body["metadata"][name]
            diagnostics.note_dropped(f"metadata.{name}")
    if not body["metadata"]:
        del body["metadata"]

"""The caller's own words for one provider: `extensions.<provider>`.

Documented members of the provider's API that have no canonical name are handed on as
they are. A list of what is allowed, not of what is forbidden: a member that changed the
model, the stream or the number of answers would make the answer unreadable here.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.translate.target import OpenaiTarget
from vai.types.request import MessageRequest

__all__ = ["allowed", "apply"]

_SHARED: Final = frozenset(
    {
        "parallel_tool_calls",
        "reasoning_effort",
        "seed",
        "service_tier",
        "temperature",
        "top_p",
        "user",
    }
)
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""
_ALLOWED: Final[dict[str, frozenset[str]]] = {
    "openai": _SHARED
    | {
        "frequency_penalty",
        "logit_bias",
        "metadata",
        "moderation",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "verbosity",
        "web_search_options",
    },
    "groq": _SHARED
    | {"citation_options", "documents", "include_reasoning", "reasoning_format", "search_settings"},
    "cerebras": _SHARED
    | {
        "clear_thinking",
        "disable_reasoning",
        "logit_bias",
        "min_completion_tokens",
        "prediction",
        "prompt_cache_key",
        "reasoning_format",
    },
}
"""The members beside those with a canonical name: types of openai 3.54.0,
https://github.com/openai/openai-python (2026-11-17); types of groq 1.7.0,
https://github.com/groq/groq-python (2026-08-25); types of cerebras-cloud-sdk 1.91.0,
https://github.com/Cerebras/cerebras-cloud-sdk-python (2026-07-08)."""


def allowed(provider: str) -> frozenset[str]:
    """The members that `provider` documents beside those with a canonical name."""
    return _ALLOWED.get(provider, _SHARED)


def apply(request: MessageRequest, body: dict[str, Any], target: OpenaiTarget) -> None:
    """Put the provider's extension members into `body`; they win over derived ones."""
    provider = target.spec.id
    given = (request.extensions or {}).get(provider)
    if given is None:
        return
    if not isinstance(given, dict):
        target.diagnostics.note_refused(f"extensions.{provider}", "expected an object")
        return
    can = allowed(provider)
    for name, value in given.items():
        if target.traits.always_reasons and _switches_off(name, value):
            target.diagnostics.note_dropped(f"extensions.{provider}.{name}")
        elif name == "reasoning" and isinstance(value, dict) and "effort" in value:
            body["reasoning_effort"] = value["effort"]
        elif name == "audio":
            continue  # goes with `output.modalities`
        elif name in can and value is not None:
            body[name] = value
        else:
            target.diagnostics.note_dropped(f"extensions.{provider}.{name}")
    if "reasoning_format" in given:
        # The two say the same, and together they are refused.
        body.pop("include_reasoning", None)


def _switches_off(name: str, value: Any) -> bool:
    """Whether an extension member asks the model not to reason."""
    if name == "reasoning" and isinstance(value, dict):
        return value.get("effort") == "none"
    return (name == "reasoning_effort" and value == "none") or (
        name == "disable_reasoning" and value is True
    )

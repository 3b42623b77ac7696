"""How much a model is to think -> `thinkingConfig`.

Up to 2.5 a model has a budget in tokens, from 3 on a level; either wins over what the
caller said in the other's words. Thinking counts against `max_tokens` in both.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.gemini.target import GeminiTarget
from vai.providers.translate.options import EFFORTS, clamp_effort, requested_effort, shows_reasoning
from vai.types.request import MessageRequest

__all__ = ["thinking_config"]

_BUDGETS: Final = {"minimal": 512, "low": 1024, "medium": 4096, "high": 16_384}
"""Effort -> budget; beyond them the largest."""


def thinking_config(request: MessageRequest, target: GeminiTarget) -> dict[str, Any]:
    """`thinkingConfig`; empty where the caller says nothing or the model does not think."""
    traits = target.traits
    thinking = request.thinking
    effort, path = requested_effort(request)
    if not traits.levels and traits.budget is None:
        if effort not in (None, "none"):
            target.diagnostics.note_dropped(path)
        elif thinking is not None and thinking.type in ("enabled", "adaptive"):
            target.diagnostics.note_dropped("thinking")
        return {}
    config: dict[str, Any] = {}
    if thinking is not None and thinking.type in ("enabled", "adaptive"):
        config["includeThoughts"] = shows_reasoning(request, target.diagnostics)
    if effort is None:
        return config
    if traits.levels:
        level = clamp_effort(effort, traits.levels)
        if level is not None:
            config["thinkingLevel"] = level.upper()
        if level != effort:
            target.diagnostics.note_dropped(path)
    else:
        config |= _budget(request, effort, path, target)
    return config


def _budget(
    request: MessageRequest, effort: str, path: str, target: GeminiTarget
) -> dict[str, Any]:
    least, most = target.traits.budget or (0, 0)
    if effort == "none":
        if target.traits.can_rest:
            return {"thinkingBudget": 0}
        target.diagnostics.note_dropped(path)
        return {"thinkingBudget": least}
    if effort not in EFFORTS:
        target.diagnostics.note_dropped(path)
        return {}
    wanted = _BUDGETS.get(effort, most)
    if path == "thinking.budget_tokens" and request.thinking is not None:
        wanted = request.thinking.budget_tokens or wanted
        if not least <= wanted <= most:
            target.diagnostics.note_dropped(path)
    return {"thinkingBudget": min(max(wanted, least), most)}

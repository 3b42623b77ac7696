"""How much a model is to reason: words, budgets, and what a model has of them."""

from __future__ import annotations

from typing import Final

from vai.providers.translate.diagnostics import Diagnostics
from vai.types.request import MessageRequest

__all__ = ["EFFORTS", "asked", "clamp", "effort_for", "is_shown"]

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All efforts, in ascending order.
Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


def asked(request: MessageRequest) -> tuple[str | None, str]:
    """The effort asked for, and the path of the member that asks for it."""
    config = request.output_config
    thinking = request.thinking
    if thinking is not None and thinking.type in ("disabled", "between_tools"):
        return "none", "thinking"
    if config is not None and config.effort:
        return config.effort, "output_config.effort"
    if thinking is not None and thinking.type == "enabled" and thinking.budget_tokens:
        return effort_for(thinking.budget_tokens), "thinking.budget_tokens"
    return None, "thinking"


def is_shown(request: MessageRequest, findings: Diagnostics) -> bool:
    """Whether the caller asks to read the reasoning.

    Other providers show it whole or not at all. A further form, such as ``updates`` of the
    Messages API, is named as dropped: the client then reads the whole.
    https://platform.claude.com/docs/en/build-with-claude/thinking (2026-11-28)
    """
    thinking = request.thinking
    if thinking is None or thinking.type not in ("enabled", "adaptive"):
        return False
    if thinking.display not in (None, "summarized", "omitted"):
        findings.drop("thinking.display")
    return thinking.display != "omitted"


def effort_for(budget: int) -> str:
    """The effort that a thinking budget in tokens stands for."""
    for limit, effort in ((2048, "low"), (8192, "medium"), (24576, "high"), (65536, "xhigh")):
        if budget < limit:
            return effort
    return "max"


def clamp(effort: str, efforts: tuple[str, ...]) -> str | None:
    """The nearest of `efforts`, rather less than more; None if `effort` is no effort.

    To reason a little is never turned into not to reason: only ``none`` is ``none``.
    """
    if effort in efforts:
        return effort
    if effort not in EFFORTS or not efforts:
        return None
    kept = [name for name in efforts if name != "none"]
    rank = EFFORTS.index(effort)
    below = [name for name in kept if name in EFFORTS[:rank]]
    return below[-1] if below else next(iter(kept), None)

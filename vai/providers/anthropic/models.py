"""What a Claude model accepts, derived from its name. Unknown names accept everything.

Each rule names the day on which it was last confirmed: in Anthropic's documentation
(https://platform.claude.com/docs/en/about-claude/models/overview), or in recorded responses.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

__all__ = ["ClaudeTraits", "find_traits"]


class ClaudeTraits(msgspec.Struct, frozen=True, kw_only=True):
    """What one model accepts.

    Attributes:
        accepts_sampling: whether temperature, top_p and top_k are accepted. Migration notes of
            anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20).
        accepts_thinking_budget: whether thinking can be given a budget in tokens.
            https://platform.claude.com/docs/en/build-with-claude/thinking (2026-11-28)
        accepts_adaptive_thinking: whether thinking can be adaptive.
            https://platform.claude.com/docs/en/build-with-claude/thinking (2026-11-28)
        efforts: the efforts that a request may name, ascending.
            https://platform.claude.com/docs/en/build-with-claude/effort (2026-11-28)
        thinking_can_be_disabled: whether thinking can be disabled. litellm 1.110.2,
            https://github.com/BerriAI/litellm (2026-11-28).
        forced_tool: whether a tool can be forced. litellm 1.109.1,
            https://github.com/BerriAI/litellm (2026-11-12).
        system_turns: whether system messages may stand among the others. Observed in 200s of
            claude-opus-4-8 (2026-11-27).
        prefill: whether the last message may be the assistant's. Types of anthropic 2.12.0,
            https://github.com/anthropics/anthropic-sdk-python (2026-11-20).
        tool_generation: the generation of Anthropic's tools it accepts; all models accept 0.
            Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python
            (2026-11-20).
    """

    accepts_sampling: bool = True
    accepts_thinking_budget: bool = True
    accepts_adaptive_thinking: bool = True
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    thinking_can_be_disabled: bool = True
    forced_tool: bool = True
    system_turns: bool = True
    prefill: bool = True
    tool_generation: int = 0


class _Since(NamedTuple):
    """The first (major, minor) with a fact: `every` for all families, `first` for one family."""

    every: tuple[int, int]
    family: str
    first: tuple[int, int]
    seen: str

    def holds_for(self, family: str, version: tuple[int, int]) -> bool:
        """Whether the fact holds for a model."""
        return version >= self.every or (family == self.family and version >= self.first)


SYSTEM_TURNS: Final = _Since(
    (5, 0), "opus", (4, 8), "recorded 200s of claude-opus-4-8 (2026-11-27)"
)
EFFORTS: Final = _Since(
    (4, 6),
    "opus",
    (4, 5),
    "https://platform.claude.com/docs/en/build-with-claude/effort (2026-11-28)",
)
_NAME = re.compile(r"claude-([a-z]+)-(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_ALWAYS_THINKING = re.compile(r"claude-(?:fable|mythos)")
_OLD_NAME = re.compile(r"claude-(\d)(?:[-.](\d))?-")


def find_traits(model: str) -> ClaudeTraits:
    """The traits of `model`."""
    match = _NAME.match(model)
    if match is None:
        return (
            _OLD
            if _OLD_NAME.match(model)
            else ClaudeTraits(thinking_can_be_disabled=not _ALWAYS_THINKING.match(model))
        )
    family, version = match[1], (int(match[2]), int(match[3] or 0))
    newest = (family, version) == ("opus", (5, 5))
    always_thinks = newest or family in ("fable", "mythos")
    return ClaudeTraits(
        accepts_sampling=version < (4, 7),
        accepts_thinking_budget=version < (4, 7),
        accepts_adaptive_thinking=version >= (4, 6),
        efforts=_efforts_of_model(family, version),
        thinking_can_be_disabled=not always_thinks,
        forced_tool=version < (5, 1) or family == "haiku",
        system_turns=SYSTEM_TURNS.holds_for(family, version),
        prefill=version < (4, 6),
        tool_generation=sum(version >= since for since in ((4, 6), (5, 0), (5, 1))),
    )


def _efforts_of_model(family: str, version: tuple[int, int]) -> tuple[str, ...]:
    if not EFFORTS.holds_for(family, version):
        return ()
    efforts = ClaudeTraits().efforts
    if version >= (4, 7):
        return efforts
    return efforts[:3] if version < (4, 6) else tuple(word for word in efforts if word != "xhigh")


_OLD = ClaudeTraits(accepts_adaptive_thinking=False, efforts=(), system_turns=False)

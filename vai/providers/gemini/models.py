"""What a Gemini model accepts, told from its name.

A name without a version (``gemini-flash-latest``) stands for the newest generation; a name
that is no Gemini's (``gemma-3-27b-it``) has the plain traits, and the upstream has the last word.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = ["GeminiTraits", "traits"]


class GeminiTraits(msgspec.Struct, frozen=True, kw_only=True):
    """One model's ways.

    Attributes:
        levels: thinking levels it knows, ascending efforts; none where it has budgets or none.
            https://ai.google.dev/gemini-api/docs/thinking (2026-11-22), the newer models:
            litellm 1.110.2, https://github.com/BerriAI/litellm (2026-11-28).
        budget: smallest and largest thinking budget in tokens; None where it has levels or none.
            https://ai.google.dev/gemini-api/docs/thinking (2026-11-22)
        can_rest: whether thinking can be switched off.
            https://ai.google.dev/gemini-api/docs/thinking (2026-11-22)
        samples: whether temperature, top_p and top_k are accepted.
            https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/3-5-flash-lite
            (2026-11-28), litellm 1.109.1 (2026-11-12).
        signs: whether calls in a running tool loop must carry a thought signature.
            https://ai.google.dev/gemini-api/docs/thought-signatures (2026-11-22)
        result_media: whether a function's response may hold images. Types of google-genai 3.4.0,
            https://github.com/googleapis/python-genai (2026-11-22).
        mixes: whether functions go together with tools that Google runs, and with a JSON Schema.
            Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22).
        draws: whether it answers with images.
            https://ai.google.dev/gemini-api/docs/pricing (2026-11-22)
        fetches: whether Google fetches media at any public https URL for it.
            https://ai.google.dev/gemini-api/docs/file-input-methods#external-urls (2026-11-28)
    """

    levels: tuple[str, ...] = ()
    budget: tuple[int, int] | None = None
    can_rest: bool = False
    samples: bool = True
    signs: bool = False
    result_media: bool = False
    mixes: bool = False
    draws: bool = False
    fetches: bool = True


_NAME = re.compile(r"gemini-(?:(\d{1,3})(?:\.(\d{1,3}))?(?![\d.]))?-?([a-z0-9-]*)")
_NEWEST: Final = (99, 0)
_UNSAMPLED: Final = (((3, 5), "flash-lite"), ((3, 7), "flash"), ((3, 8), "flash"))
"""litellm 1.109.1, https://github.com/BerriAI/litellm (2026-11-12)"""


def traits(model: str) -> GeminiTraits:
    """The traits of `model`."""
    found = _NAME.match(model)
    if found is None:
        return GeminiTraits()
    version = (int(found[1]), int(found[2] or 0)) if found[1] else _NEWEST
    family = found[3]
    draws = "image" in family or "banana" in family
    if version < (2, 5):
        return GeminiTraits(draws=draws, fetches=False)
    if version < (3, 0):
        # 2.5 draws without thinking.
        return GeminiTraits(draws=True) if draws else _with_budget(family)
    return GeminiTraits(
        levels=() if draws else _levels(version, family),
        samples=not any(
            version == at and re.match(rf"{name}(?!-lite)", family) for at, name in _UNSAMPLED
        ),
        signs=True,
        result_media=True,
        mixes=True,
        draws=draws,
    )


def _with_budget(family: str) -> GeminiTraits:
    if family.startswith("flash-lite"):
        return GeminiTraits(budget=(512, 24_576), can_rest=True)
    if family.startswith("flash"):
        return GeminiTraits(budget=(1, 24_576), can_rest=True)
    return GeminiTraits(budget=(128, 32_768))


_MINIMAL: Final = (3, 7)
"""The first version whose Flash models know no ``minimal`` level.
litellm 1.110.2, https://github.com/BerriAI/litellm (2026-11-28)"""


def _levels(version: tuple[int, int], family: str) -> tuple[str, ...]:
    if "flash" in family and version < _MINIMAL:
        return ("minimal", "low", "medium", "high")
    if version == (3, 0):
        return ("low", "high")
    if version == (4, 0) and re.match("hydrogen|neon", family):
        return ("low", "medium", "high", "xhigh")
    return ("low", "medium", "high")

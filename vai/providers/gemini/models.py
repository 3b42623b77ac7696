"""What a Gemini model accepts, derived from its name, and the target of a translation.

A name without a version (``gemini-flash-latest``) means the newest generation; a name that is no
Gemini's (``gemma-3-27b-it``) has the plain traits, and the provider decides.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from vai.providers.translate.diagnostics import Diagnostics
from vai.types.provider import ProviderSpec

__all__ = ["GeminiTarget", "GeminiTraits", "traits_of_model"]


class GeminiTraits(msgspec.Struct, frozen=True, kw_only=True):
    """What one model accepts.

    Attributes:
        levels: thinking levels it accepts, ascending efforts; none where it has budgets or none.
            https://ai.google.dev/gemini-api/docs/thinking (2026-11-22), the newer models:
            litellm 1.110.2, https://github.com/BerriAI/litellm (2026-11-28).
        budget: smallest and largest thinking budget in tokens; None where it has levels or none.
            https://ai.google.dev/gemini-api/docs/thinking (2026-11-22)
        thinking_can_be_disabled: whether thinking can be disabled.
            https://ai.google.dev/gemini-api/docs/thinking (2026-11-22)
        accepts_sampling: whether temperature, top_p and top_k are accepted.
            https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/3-5-flash-lite
            (2026-11-28), litellm 1.109.1 (2026-11-12).
        calls_need_signature: whether calls in a running tool loop must carry a thought signature.
            https://ai.google.dev/gemini-api/docs/thought-signatures (2026-11-22)
        results_hold_media: whether a function's response may hold images.
            Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22).
        tools_combinable: whether functions go together with tools that Google runs, and with a
            JSON Schema.
            Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22).
        outputs_images: whether it responds with images.
            https://ai.google.dev/gemini-api/docs/pricing (2026-11-22)
        fetches_urls: whether Google fetches media at any public https URL for it.
            https://ai.google.dev/gemini-api/docs/file-input-methods#external-urls (2026-11-28)
    """

    levels: tuple[str, ...] = ()
    budget: tuple[int, int] | None = None
    thinking_can_be_disabled: bool = False
    accepts_sampling: bool = True
    calls_need_signature: bool = False
    results_hold_media: bool = False
    tools_combinable: bool = False
    outputs_images: bool = False
    fetches_urls: bool = True


_NAME = re.compile(r"gemini-(?:(\d{1,3})(?:\.(\d{1,3}))?(?![\d.]))?-?([a-z0-9-]*)")
_NEWEST: Final = (99, 0)
_UNSAMPLED: Final = (((3, 5), "flash-lite"), ((3, 7), "flash"), ((3, 8), "flash"))
"""litellm 1.109.1, https://github.com/BerriAI/litellm (2026-11-12)"""


def traits_of_model(model: str) -> GeminiTraits:
    """The traits of `model`."""
    match = _NAME.match(model)
    if match is None:
        return GeminiTraits()
    version = (int(match[1]), int(match[2] or 0)) if match[1] else _NEWEST
    family = match[3]
    outputs_images = "image" in family or "banana" in family
    if version < (2, 5):
        return GeminiTraits(outputs_images=outputs_images, fetches_urls=False)
    if version < (3, 0):
        # 2.5 outputs images without thinking.
        return GeminiTraits(outputs_images=True) if outputs_images else _budget_traits(family)
    return GeminiTraits(
        levels=() if outputs_images else _thinking_levels(version, family),
        accepts_sampling=not any(
            version == at and re.match(rf"{name}(?!-lite)", family) for at, name in _UNSAMPLED
        ),
        calls_need_signature=True,
        results_hold_media=True,
        tools_combinable=True,
        outputs_images=outputs_images,
    )


def _budget_traits(family: str) -> GeminiTraits:
    if family.startswith("flash-lite"):
        return GeminiTraits(budget=(512, 24_576), thinking_can_be_disabled=True)
    if family.startswith("flash"):
        return GeminiTraits(budget=(1, 24_576), thinking_can_be_disabled=True)
    return GeminiTraits(budget=(128, 32_768))


_MINIMAL: Final = (3, 7)
"""The first version whose Flash models have no ``minimal`` level.
litellm 1.110.2, https://github.com/BerriAI/litellm (2026-11-28)"""


def _thinking_levels(version: tuple[int, int], family: str) -> tuple[str, ...]:
    if "flash" in family and version < _MINIMAL:
        return ("minimal", "low", "medium", "high")
    if version == (3, 0):
        return ("low", "high")
    if version == (4, 0) and re.match("hydrogen|neon", family):
        return ("low", "medium", "high", "xhigh")
    return ("low", "medium", "high")


class GeminiTarget:
    """One service and model, and the diagnostics of the translation for it."""

    def __init__(self, spec: ProviderSpec, model: str) -> None:
        self.spec = spec
        self.model = model.removeprefix("models/")
        self.traits: GeminiTraits = traits_of_model(self.model)
        self.diagnostics = Diagnostics(spec.name)

    @property
    def is_code_assist(self) -> bool:
        """Whether it is Code Assist, which accepts fewer members and a few of Vertex's."""
        return self.spec.kind == "code-assist"

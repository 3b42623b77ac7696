"""What a model of OpenAI, Groq or Cerebras accepts, derived from its name.

VAI relies on names: none of these servers reports the traits in a form that VAI could request. An
unrecognised name gets the default traits, and the provider accepts or refuses the request.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

__all__ = ["OpenaiTraits", "traits_of_model"]


class OpenaiTraits(msgspec.Struct, frozen=True, kw_only=True):
    """What one model accepts.

    Attributes:
        efforts: the efforts it accepts, ascending; empty if it does not reason. Without
            ``none`` among them it always reasons. https://platform.openai.com/docs/guides/reasoning
            (2026-11-28), https://console.groq.com/docs/reasoning (2026-11-28),
            https://inference-docs.cerebras.ai/capabilities/reasoning (2026-11-28); the newer
            models: litellm 1.110.2, https://github.com/BerriAI/litellm (2026-11-28).
        instruction_role: role of the instructions. Types of openai 3.54.0,
            https://github.com/openai/openai-python (2026-11-17).
        accepts_stop: whether stop sequences are accepted. Types of openai 3.54.0 ("not supported
            with latest reasoning models"), https://github.com/openai/openai-python (2026-11-17).
        accepts_sampling: whether temperature and top_p are accepted while it reasons. litellm
            1.109.1, https://github.com/BerriAI/litellm (2026-11-12).
        reasoning_off_by_default: whether it reasons only where the request demands it.
            https://platform.openai.com/docs/guides/reasoning (2026-11-28), litellm 1.110.2,
            https://github.com/BerriAI/litellm (2026-11-28).
        tools_forbid_reasoning: whether Chat Completions accepts function tools only while it does
            not reason. Observed: the API's error names /v1/responses and ``none`` (2026-11-22).
        cache_breakpoints: whether a prompt cache breakpoint can be set.
            https://developers.openai.com/api/docs/guides/prompt-caching (2026-11-28)
        labels_commentary: whether it labels comments apart from final text, and accepts the labels.
            Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17).
        reasoning_visibility_param: what shows or hides reasoning: empty (nothing), ``format`` or
            ``include``. https://console.groq.com/docs/reasoning (2026-11-28),
            https://inference-docs.cerebras.ai/capabilities/reasoning (2026-11-28)
    """

    efforts: tuple[str, ...] = ()
    instruction_role: str = "system"
    accepts_stop: bool = True
    accepts_sampling: bool = True
    reasoning_off_by_default: bool = False
    tools_forbid_reasoning: bool = False
    cache_breakpoints: bool = False
    labels_commentary: bool = False
    reasoning_visibility_param: str = ""

    @property
    def always_reasons(self) -> bool:
        """Whether its reasoning cannot be disabled."""
        return bool(self.efforts) and "none" not in self.efforts


@lru_cache(maxsize=256)  # a request asks more than once, and most requests are for few models
def traits_of_model(provider: str, model: str) -> OpenaiTraits:
    """The traits of `model` at `provider`."""
    if provider in ("openai", "oai-resp"):
        return _openai_traits(model)
    if provider == "groq":
        return _groq_traits(model)
    if provider == "cerebras":
        return _cerebras_traits(model)
    return OpenaiTraits()


_GPT = re.compile(r"gpt-(\d{1,3})(?:\.(\d{1,3}))?(?![\d.])(?!o)-?(\w*)")
_O = re.compile(r"o\d\b")


def _openai_traits(model: str) -> OpenaiTraits:
    if _O.match(model):
        return OpenaiTraits(
            efforts=("low", "medium", "high"),
            instruction_role="developer",
            accepts_stop=False,
            accepts_sampling=False,
        )
    match = _GPT.match(model)
    if not match or int(match[1]) < 5:
        return OpenaiTraits()
    version = (int(match[1]), int(match[2] or 0))
    if match[3] == "chat":  # the models of ChatGPT choose for themselves
        return OpenaiTraits(instruction_role="developer")
    efforts = _gpt_efforts(version, match[3])
    return OpenaiTraits(
        efforts=efforts,
        instruction_role="developer",
        accepts_stop=False,
        accepts_sampling=False,
        reasoning_off_by_default=version in ((5, 1), (5, 2), (5, 4)) and "none" in efforts,
        tools_forbid_reasoning=version >= (5, 4),
        cache_breakpoints=version >= (5, 6),
        labels_commentary=version >= (5, 3),
    )


_LOW_TO_HIGH: Final = ("low", "medium", "high")
_REASONING_OPTIONAL: Final = (((6, 0), "sol"), ((6, 0), "luna"), ((6, 1), "terra"))
"""Models from 6.0 on whose reasoning can be disabled; VAI assumes that others always reason.
litellm 1.110.2, https://github.com/BerriAI/litellm (2026-11-28)"""


def _gpt_efforts(version: tuple[int, int], family: str) -> tuple[str, ...]:
    if family == "pro":
        return ("high",) if version == (5, 0) else ("medium", "high", "xhigh")
    if version == (5, 0):
        return _LOW_TO_HIGH if family == "codex" else ("minimal", *_LOW_TO_HIGH)
    if family == "codex" and version < (5, 3):
        return _LOW_TO_HIGH if version == (5, 1) else (*_LOW_TO_HIGH, "xhigh")
    if version == (5, 1):
        return ("none", *_LOW_TO_HIGH)
    if version < (6, 0):
        return ("none", *_LOW_TO_HIGH, "xhigh")
    none_effort = ("none",) if (version, family) in _REASONING_OPTIONAL else ()
    return (*none_effort, *_LOW_TO_HIGH, "xhigh", "max")


def _groq_traits(model: str) -> OpenaiTraits:
    if "gpt-oss" in model:
        return OpenaiTraits(efforts=("low", "medium", "high"), reasoning_visibility_param="include")
    if "qwen3.8" in model:
        return OpenaiTraits(
            efforts=("none", "low", "medium", "high"), reasoning_visibility_param="format"
        )
    if "qwen3" in model:
        return OpenaiTraits(efforts=("none", "default"), reasoning_visibility_param="format")
    return OpenaiTraits()


def _cerebras_traits(model: str) -> OpenaiTraits:
    if "gpt-oss" in model:
        return OpenaiTraits(efforts=("low", "medium", "high"), reasoning_visibility_param="format")
    if re.search(r"qwen-?3|glm", model):
        return OpenaiTraits(
            efforts=("none", "low", "medium", "high"), reasoning_visibility_param="format"
        )
    return OpenaiTraits()

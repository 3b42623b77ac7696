"""What a model of OpenAI, Groq or Cerebras accepts, told from its name.

Names are all there is: none of these servers says it in a form that could be asked. A
name that is not recognised gets the plain traits of its provider, and the upstream has
the last word.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = ["OpenaiTraits", "traits"]


class OpenaiTraits(msgspec.Struct, frozen=True, kw_only=True):
    """One model's ways.

    Attributes:
        efforts: the efforts it knows, ascending; none at all where it does not reason. Without
            ``none`` among them it always reasons.
            https://platform.openai.com/docs/guides/reasoning (2026-11-28),
            https://console.groq.com/docs/reasoning (2026-11-28),
            https://inference-docs.cerebras.ai/capabilities/reasoning (2026-11-28); the newer
            models: litellm 1.110.2, https://github.com/BerriAI/litellm (2026-11-28).
        instructs: role of the instructions. Types of openai 3.54.0,
            https://github.com/openai/openai-python (2026-11-17).
        stop: whether stop sequences are accepted. Types of openai 3.54.0 ("not supported with
            latest reasoning models"), https://github.com/openai/openai-python (2026-11-17).
        samples: whether temperature and top_p are accepted while it reasons. litellm 1.109.1,
            https://github.com/BerriAI/litellm (2026-11-12).
        idle_by_default: whether it does not reason unless asked.
            https://platform.openai.com/docs/guides/reasoning (2026-11-28),
            litellm 1.110.2, https://github.com/BerriAI/litellm (2026-11-28).
        quiet_tools: whether Chat Completions takes function tools only while it does not reason.
            Observed: the API's error names /v1/responses and ``none`` (2026-11-22).
        breakpoints: whether a prompt cache breakpoint can be set.
            https://developers.openai.com/api/docs/guides/prompt-caching (2026-11-28)
        phases: whether it tells its comments from its answers, and wants to be told so again.
            Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17).
        hides: how reasoning is shown or hidden: no way, ``format`` or ``include``.
            https://console.groq.com/docs/reasoning (2026-11-28),
            https://inference-docs.cerebras.ai/capabilities/reasoning (2026-11-28)
    """

    efforts: tuple[str, ...] = ()
    instructs: str = "system"
    stop: bool = True
    samples: bool = True
    idle_by_default: bool = False
    quiet_tools: bool = False
    breakpoints: bool = False
    phases: bool = False
    hides: str = ""

    @property
    def always_reasons(self) -> bool:
        """Whether it cannot be asked not to reason."""
        return bool(self.efforts) and "none" not in self.efforts


def traits(provider: str, model: str) -> OpenaiTraits:
    """The traits of `model` at `provider`."""
    if provider in ("openai", "oai-resp"):
        return _openai(model)
    if provider == "groq":
        return _groq(model)
    if provider == "cerebras":
        return _cerebras(model)
    return OpenaiTraits()


_GPT = re.compile(r"gpt-(\d{1,3})(?:\.(\d{1,3}))?(?![\d.])(?!o)-?(\w*)")
_O = re.compile(r"o\d\b")


def _openai(model: str) -> OpenaiTraits:
    if _O.match(model):
        return OpenaiTraits(
            efforts=("low", "medium", "high"), instructs="developer", stop=False, samples=False
        )
    found = _GPT.match(model)
    if not found or int(found[1]) < 5:
        return OpenaiTraits()
    version = (int(found[1]), int(found[2] or 0))
    if found[3] == "chat":  # the models of ChatGPT choose for themselves
        return OpenaiTraits(instructs="developer")
    efforts = _gpt_efforts(version, found[3])
    return OpenaiTraits(
        efforts=efforts,
        instructs="developer",
        stop=False,
        samples=False,
        idle_by_default=version in ((5, 1), (5, 2), (5, 4)) and "none" in efforts,
        quiet_tools=version >= (5, 4),
        breakpoints=version >= (5, 6),
        phases=version >= (5, 3),
    )


_LOW_TO_HIGH: Final = ("low", "medium", "high")
_RESTING: Final = (((6, 0), "sol"), ((6, 0), "luna"), ((6, 1), "terra"))
"""Models from 6.0 on that can be asked not to reason; a newer one is not taken to be able to.
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
    rests = ("none",) if (version, family) in _RESTING else ()
    return (*rests, *_LOW_TO_HIGH, "xhigh", "max")


def _groq(model: str) -> OpenaiTraits:
    if "gpt-oss" in model:
        return OpenaiTraits(efforts=("low", "medium", "high"), hides="include")
    if "qwen3.8" in model:
        return OpenaiTraits(efforts=("none", "low", "medium", "high"), hides="format")
    if "qwen3" in model:
        return OpenaiTraits(efforts=("none", "default"), hides="format")
    return OpenaiTraits()


def _cerebras(model: str) -> OpenaiTraits:
    if "gpt-oss" in model:
        return OpenaiTraits(efforts=("low", "medium", "high"), hides="format")
    if re.search(r"qwen-?3|glm", model):
        return OpenaiTraits(efforts=("none", "low", "medium", "high"), hides="format")
    return OpenaiTraits()

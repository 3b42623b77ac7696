"""What a model of OpenAI, Groq or Cerebras accepts, told from its name.

Names are all there is: none of these servers says it in a form that could be asked. A
name that is not recognised gets the plain traits of its provider, and the upstream has
the last word.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["Traits", "traits"]


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """One model's ways.

    Attributes:
        efforts: the efforts it knows, ascending; none at all where it does not reason.
        instructs: role of the instructions.
        stop: whether stop sequences are accepted.
        samples: whether temperature and top_p are accepted while it reasons.
        idle_by_default: whether it does not reason unless asked.
        quiet_tools: whether Chat Completions takes function tools only while it does not reason.
        breakpoints: whether a prompt cache breakpoint can be set.
        phases: whether it tells its comments from its answers, and wants to be told so again.
        hides: how reasoning is shown or hidden: no way, ``format`` or ``include``.
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


def traits(provider: str, model: str) -> Traits:
    """The traits of `model` at `provider`."""
    if provider in ("openai", "oai-resp"):
        return _openai(model)
    if provider == "groq":
        return _groq(model)
    if provider == "cerebras":
        return _cerebras(model)
    return Traits()


_GPT = re.compile(r"gpt-(\d{1,3})(?:\.(\d{1,3}))?(?![\d.])(?!o)-?(\w*)")
_O = re.compile(r"o\d\b")


def _openai(model: str) -> Traits:
    if _O.match(model):
        return Traits(
            efforts=("low", "medium", "high"), instructs="developer", stop=False, samples=False
        )
    found = _GPT.match(model)
    if not found or int(found[1]) < 5:
        return Traits()
    version = (int(found[1]), int(found[2] or 0))
    if version == (5, 0) and found[3] == "chat":
        return Traits(instructs="developer")
    return Traits(
        efforts=_gpt_efforts(version, found[3]),
        instructs="developer",
        stop=False,
        samples=False,
        idle_by_default=version in ((5, 1), (5, 2), (5, 4)),
        quiet_tools=version >= (5, 4),
        breakpoints=version >= (5, 6),
        phases=version >= (5, 3),
    )


def _gpt_efforts(version: tuple[int, int], family: str) -> tuple[str, ...]:
    if version == (5, 0):
        return ("minimal", "low", "medium", "high")
    if version == (5, 1):
        return ("none", "low", "medium", "high")
    if version < (6, 0):
        return ("none", "low", "medium", "high", "xhigh")
    always = (version, family) in (((6, 0), "astra"), ((6, 1), "sol"))
    return ("low", "medium", "high", "xhigh", "max") if always else (
        "none", "low", "medium", "high", "xhigh", "max"
    )  # fmt: skip


def _groq(model: str) -> Traits:
    if "gpt-oss" in model:
        return Traits(efforts=("low", "medium", "high"), hides="include")
    if "qwen3.8" in model:
        return Traits(efforts=("none", "low", "medium", "high"), hides="format")
    if "qwen3" in model:
        return Traits(efforts=("none", "default"), hides="format")
    return Traits()


def _cerebras(model: str) -> Traits:
    if "gpt-oss" in model:
        return Traits(efforts=("low", "medium", "high"), hides="format")
    if re.search(r"qwen-?3|glm", model):
        return Traits(efforts=("none", "low", "medium", "high"), hides="format")
    return Traits()

"""The caller's own words for Gemini: `extensions.gemini`.

Documented members of generateContent that have no canonical name are handed on as they
are, in camelCase or snake_case. A list of what is allowed, not of what is forbidden: a
member that changed the number of answers or their form would make them unreadable here.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.gemini.target import GeminiTarget
from vai.types.request import MessageRequest

__all__ = ["apply"]

_GENERATION: Final = frozenset(
    {
        "audioTimestamp",
        "enableEnhancedCivicAnswers",
        "frequencyPenalty",
        "imageConfig",
        "maxOutputTokens",
        "mediaResolution",
        "presencePenalty",
        "responseModalities",
        "seed",
        "speechConfig",
        "temperature",
        "topK",
        "topP",
    }
)
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_BODY: Final = frozenset({"cachedContent", "safetySettings"})
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_BODY_OF_THE_API: Final = frozenset({"serviceTier", "store"})
"""Members that Code Assist does not know.
Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_BODY_OF_CODE_ASSIST: Final = frozenset({"labels"})
"""https://github.com/google-gemini/gemini-cli (2026-08-21)."""
_THINKING: Final = {
    "level": "thinkingLevel",
    "thinkingLevel": "thinkingLevel",
    "budget": "thinkingBudget",
    "thinkingBudget": "thinkingBudget",
    "includeThoughts": "includeThoughts",
}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""


def apply(request: MessageRequest, body: dict[str, Any], target: GeminiTarget) -> None:
    """Put the extension members into `body`; they win over derived ones.

    `body` must hold its `generationConfig`. Code Assist goes by its own name first.
    """
    all_given = request.extensions or {}
    name = target.spec.id if target.spec.id in all_given else "gemini"
    given = all_given.get(name)
    if given is None:
        return
    if not isinstance(given, dict):
        target.diagnostics.note_refused(f"extensions.{name}", "expected an object")
        return
    for member, value in given.items():
        if value is not None and not _place(_camel(member), value, body, target):
            target.diagnostics.note_dropped(f"extensions.{name}.{member}")


def _place(member: str, value: Any, body: dict[str, Any], target: GeminiTarget) -> bool:
    """Whether there is a place for this member; then it is there."""
    generation = body["generationConfig"]
    own = _BODY_OF_CODE_ASSIST if target.assists else _BODY_OF_THE_API
    if member in _GENERATION:
        generation[member] = _camels(value)
    elif member in _BODY:
        body[member] = _camels(value)
    elif member in own:
        body[member] = value
    elif member == "retrievalConfig":
        body.setdefault("toolConfig", {})[member] = _camels(value)
    elif member in ("thinking", "thinkingConfig") and isinstance(value, dict):
        placed = [_think(_camel(name), item, generation, target) for name, item in value.items()]
        return all(placed)
    else:
        return member in _THINKING and _think(member, value, generation, target)
    return True


def _think(member: str, value: Any, generation: dict[str, Any], target: GeminiTarget) -> bool:
    name = _THINKING.get(member)
    if name is None or (not target.traits.can_rest and _switches_off(name, value)):
        return False
    config = generation.setdefault("thinkingConfig", {})
    # A model has a level or a budget; both together are refused.
    if name != "includeThoughts":
        config.pop("thinkingBudget" if name == "thinkingLevel" else "thinkingLevel", None)
    config[name] = value.upper() if name == "thinkingLevel" and isinstance(value, str) else value
    return True


def _switches_off(name: str, value: Any) -> bool:
    """Whether a member of `thinkingConfig` asks the model not to think.

    JSON of protocol buffers may write a number as text:
    https://protobuf.dev/programming-guides/json/ (2026-11-28).
    """
    if name == "thinkingBudget":
        return value in (0, "0")
    return name == "thinkingLevel" and isinstance(value, str) and value.lower() == "none"


def _camels(value: Any) -> Any:
    """A value of the API's own, its names in camelCase."""
    if isinstance(value, dict):
        return {_camel(name): _camels(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_camels(item) for item in value]
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)

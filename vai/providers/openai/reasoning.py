"""Reasoning of Chat Completions servers: what they call it, and how it goes back to them.

The envelope on a thinking block says who made it and under which name. Servers that think
between calls want it back beside the call, and refuse the turn without it: DeepSeek
(https://api-docs.deepseek.com/guides/thinking_mode, seen 2026-11), Kimi, vLLM. Beside a turn
without calls some refuse it (DeepSeek's older models), and no server needs it. Mistral has
it as parts of the content and takes these in every turn
(https://docs.mistral.ai/capabilities/reasoning, seen 2026-11). So do servers with
`reasoning_details`, whose list is in the envelope.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.openai.details import opened
from vai.providers.translate.reasoning import origin_of, unwrap_signature, wrap_signature
from vai.providers.translate.target import is_custom_server
from vai.types.blocks import RedactedThinkingBlock, ThinkingBlock
from vai.types.provider import ProviderSpec

__all__ = [
    "BOTH",
    "CONTENT",
    "DETAILS",
    "PARTS",
    "REASONING",
    "Thought",
    "marks",
    "put",
    "thought_of",
]

Wire = dict[str, Any]
Thought = tuple[str, str]
"""The form that reasoning came in, and its text; with details, the payload of its envelope."""

REASONING: Final = "reasoning"
CONTENT: Final = "reasoning_content"
BOTH: Final = "both"
PARTS: Final = "thinking"
DETAILS: Final = "details"
_MEMBERS: Final = {
    "chat": (REASONING,),
    REASONING: (REASONING,),
    CONTENT: (CONTENT,),
    BOTH: (REASONING, CONTENT),
}
"""Form -> the members of a message that have it. `chat` is that of Groq and Cerebras."""


def marks(spec: ProviderSpec) -> dict[str, str]:
    """Form -> the envelope of reasoning that comes so; none where it cannot go back."""
    if "reasoning_text" in spec.quirks:
        return dict.fromkeys((*_MEMBERS, PARTS), wrap_signature(spec.id, "chat"))
    if is_custom_server(spec):
        return {form: wrap_signature(spec.id, form) for form in (*_MEMBERS, PARTS, DETAILS)}
    return {}


def thought_of(block: ThinkingBlock | RedactedThinkingBlock, spec: ProviderSpec) -> Thought | None:
    """Reasoning that the server of `spec` made itself."""
    if origin_of(block) != spec.id or not marks(spec):
        return None
    envelope = (block.signature or "") if isinstance(block, ThinkingBlock) else block.data
    form = envelope.split(".", 3)[2]
    if form == DETAILS:
        return form, unwrap_signature(envelope) or ""
    if not isinstance(block, ThinkingBlock):
        return None
    return (form, block.thinking) if form in _MEMBERS or form == PARTS else None


def put(message: Wire, thoughts: list[Thought], spec: ProviderSpec) -> bool:
    """Add reasoning to an assistant's message as its maker takes it; whether all of it was."""
    parts = [text for form, text in thoughts if form == PARTS]
    if parts:
        said = message.get("content")
        message["content"] = [
            {"type": PARTS, PARTS: [{"type": "text", "text": text}]} for text in parts
        ] + ([{"type": "text", "text": said}] if said else [])
    details = [entry for form, payload in thoughts if form == DETAILS for entry in opened(payload)]
    if details:
        message["reasoning_details"] = details
    others = [thought for thought in thoughts if thought[0] not in (PARTS, DETAILS)]
    if others and not ("tool_calls" in message or "reasoning_text" in spec.quirks):
        return False
    for form in dict.fromkeys(form for form, _ in others):
        text = "\n\n".join(said for one, said in others if one == form)
        for name in _MEMBERS[form]:
            message[name] = text
    return bool(details) or all(form != DETAILS for form, _ in thoughts)

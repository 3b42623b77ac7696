"""Reasoning of Chat Completions servers: what they call it, and how it goes back to them.

The envelope on a thinking block says who made it and under which name. Servers that think
between calls want it back beside the call, and refuse the turn without it: DeepSeek
(https://api-docs.deepseek.com/guides/thinking_mode, seen 2026-11), Kimi, vLLM. Beside a turn
without calls some refuse it (DeepSeek's older models), and no server needs it. Mistral has
it as parts of the content and takes these in every turn
(https://docs.mistral.ai/capabilities/reasoning, seen 2026-11).
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers import signature
from vai.providers.target import is_own
from vai.types.blocks import ThinkingBlock
from vai.types.provider import ProviderRow

__all__ = ["BOTH", "CONTENT", "PARTS", "REASONING", "Thought", "marks", "put", "thought_of"]

Wire = dict[str, Any]
Thought = tuple[str, str]
"""The form that reasoning came in, and its text."""

REASONING: Final = "reasoning"
CONTENT: Final = "reasoning_content"
BOTH: Final = "both"
PARTS: Final = "thinking"
_MEMBERS: Final = {
    "chat": (REASONING,),
    REASONING: (REASONING,),
    CONTENT: (CONTENT,),
    BOTH: (REASONING, CONTENT),
}
"""Form -> the members of a message that have it. `chat` is that of Groq and Cerebras."""


def marks(row: ProviderRow) -> dict[str, str]:
    """Form -> the envelope of reasoning that comes so; none where it cannot go back."""
    if "reasoning_text" in row.quirks:
        return dict.fromkeys((*_MEMBERS, PARTS), signature.seal(row.id, "chat"))
    if is_own(row):
        return {form: signature.seal(row.id, form) for form in (*_MEMBERS, PARTS)}
    return {}


def thought_of(block: ThinkingBlock, row: ProviderRow) -> Thought | None:
    """Reasoning that the server of `row` made itself."""
    if signature.made_by(block) != row.id or not marks(row):
        return None
    form = (block.signature or "").split(".", 3)[2]
    return (form, block.thinking) if form in _MEMBERS or form == PARTS else None


def put(message: Wire, thoughts: list[Thought], row: ProviderRow) -> bool:
    """Add reasoning to an assistant's message as its maker takes it; whether all of it was."""
    parts = [text for form, text in thoughts if form == PARTS]
    if parts:
        said = message.get("content")
        message["content"] = [
            {"type": PARTS, PARTS: [{"type": "text", "text": text}]} for text in parts
        ] + ([{"type": "text", "text": said}] if said else [])
    others = [thought for thought in thoughts if thought[0] != PARTS]
    if others and not ("tool_calls" in message or "reasoning_text" in row.quirks):
        return False
    for form in dict.fromkeys(form for form, _ in others):
        text = "\n\n".join(said for one, said in others if one == form)
        for name in _MEMBERS[form]:
            message[name] = text
    return True

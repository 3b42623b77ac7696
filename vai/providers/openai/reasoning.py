"""Reasoning of Chat Completions servers: its names, and how it goes back to them.

The signature on a thinking block names its provider and the member it came in. Servers that think
between calls require it beside the call, and refuse the turn without it: DeepSeek
(https://api-docs.deepseek.com/guides/thinking_mode, seen 2026-11), Kimi, vLLM. Beside a turn
without calls some refuse it (DeepSeek's older models), and no server needs it. Mistral has
it as parts of the content and accepts these in every turn
(https://docs.mistral.ai/capabilities/reasoning, seen 2026-11). So do servers with
`reasoning_details`, whose list is in the signature: OpenRouter sends a list of texts, summaries and
encrypted pieces, and requires the list in its original order
(https://openrouter.ai/docs/use-cases/reasoning-tokens, seen 2026-11); MiniMax has the same member.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

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
    "ReasoningDetails",
    "ReasoningPart",
    "add_reasoning",
    "details_from_payload",
    "reasoning_from_block",
    "reasoning_signatures",
    "text_of_details",
]

Wire = dict[str, Any]

_PIECES: Final = ("text", "summary", "data")
"""The members that a stream sends in pieces."""
_SAME: Final = ("type", "index", "id")
"""The members that identify the pieces of one entry."""
_MAX_DETAILS: Final = 4 << 20
"""Characters of one list; VAI shows a longer one and does not send it back."""


class ReasoningDetails:
    """Collects the entries of one stretch of reasoning."""

    def __init__(self) -> None:
        self._entries: list[Wire] = []
        self._pieces: list[dict[str, list[str]]] = []
        self._length = 0

    def add_entries(self, entries: list[Any]) -> None:
        """The entries of one chunk, or pieces of them."""
        for entry in entries:
            if not isinstance(entry, dict) or not entry:
                continue
            self._length += len(msgspec.json.encode(entry))
            if self._length > _MAX_DETAILS:
                self._entries, self._pieces = [], []
            elif self._entries and _continues_entry(self._entries[-1], entry):
                self._extend_entry(entry)
            else:
                self._entries.append(dict(entry))
                self._pieces.append({name: [text] for name, text in _text_members(entry)})

    def _extend_entry(self, entry: Wire) -> None:
        for name, value in entry.items():
            if value is not None and name not in _PIECES:
                self._entries[-1][name] = value
        for name, text in _text_members(entry):
            self._pieces[-1].setdefault(name, []).append(text)

    def take_payload(self) -> str:
        """All entries as text for a signature, which is empty if there are none."""
        entries, pieces = self._entries, self._pieces
        self._entries, self._pieces, self._length = [], [], 0
        if not entries:
            return ""
        for entry, texts in zip(entries, pieces, strict=True):
            entry |= {name: "".join(parts) for name, parts in texts.items()}
        return base64.urlsafe_b64encode(msgspec.json.encode(entries)).decode()


def text_of_details(details: Any) -> str:
    """The readable text of a list of entries."""
    if not isinstance(details, list):
        return ""
    return "".join(
        text
        for entry in details
        if isinstance(entry, dict)
        for name, text in _text_members(entry)
        if name != "data"
    )


def details_from_payload(payload: str) -> list[Wire]:
    """The entries that `take_payload` put into a signature; none if it was changed."""
    try:
        entries = msgspec.json.decode(base64.urlsafe_b64decode(payload))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return []
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def _continues_entry(last: Wire, entry: Wire) -> bool:
    """Whether `entry` is a further piece of the entry before it."""
    if last.get("signature") or last.get("index") is None:
        return False
    return all(entry.get(name) in (None, last.get(name)) for name in _SAME)


def _text_members(entry: Wire) -> list[tuple[str, str]]:
    return [(name, entry[name]) for name in _PIECES if isinstance(entry.get(name), str)]


ReasoningPart = tuple[str, str]
"""The form that reasoning came in, and its text; with details, the payload of its signature."""

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


def reasoning_signatures(spec: ProviderSpec) -> dict[str, str]:
    """Form -> the signature of reasoning in that form; none where it cannot go back."""
    if "reasoning_text" in spec.quirks:
        return dict.fromkeys((*_MEMBERS, PARTS), wrap_signature(spec.id, "chat"))
    if is_custom_server(spec):
        return {form: wrap_signature(spec.id, form) for form in (*_MEMBERS, PARTS, DETAILS)}
    return {}


def reasoning_from_block(
    block: ThinkingBlock | RedactedThinkingBlock, spec: ProviderSpec
) -> ReasoningPart | None:
    """Reasoning that comes from the server of `spec` itself."""
    if origin_of(block) != spec.id or not reasoning_signatures(spec):
        return None
    envelope = (block.signature or "") if isinstance(block, ThinkingBlock) else block.data
    form = envelope.split(".", 3)[2]
    if form == DETAILS:
        return form, unwrap_signature(envelope) or ""
    if not isinstance(block, ThinkingBlock):
        return None
    return (form, block.thinking) if form in _MEMBERS or form == PARTS else None


def add_reasoning(message: Wire, reasoning: list[ReasoningPart], spec: ProviderSpec) -> bool:
    """Add reasoning to an assistant's message in its server's form; whether all of it was."""
    parts = [text for form, text in reasoning if form == PARTS]
    if parts:
        content = message.get("content")
        message["content"] = [
            {"type": PARTS, PARTS: [{"type": "text", "text": text}]} for text in parts
        ] + ([{"type": "text", "text": content}] if content else [])
    details = [
        entry
        for form, payload in reasoning
        if form == DETAILS
        for entry in details_from_payload(payload)
    ]
    if details:
        message["reasoning_details"] = details
    others = [thought for thought in reasoning if thought[0] not in (PARTS, DETAILS)]
    if others and not ("tool_calls" in message or "reasoning_text" in spec.quirks):
        return False
    for form in dict.fromkeys(form for form, _ in others):
        text = "\n\n".join(part for one, part in others if one == form)
        for name in _MEMBERS[form]:
            message[name] = text
    return bool(details) or all(form != DETAILS for form, _ in reasoning)

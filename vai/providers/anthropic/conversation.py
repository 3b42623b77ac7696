"""The conversation -> Anthropic's messages.

Most blocks pass unchanged, unknown members included. The translation leaves out reasoning,
server tool blocks and citations of other providers. It corrects what the API refuses in histories
of other providers: empty texts, empty messages, odd tool ids. Of VAI's own block types it sends
the text, or it refuses them by name.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.anthropic.foreign import is_foreign_run, is_unsealed
from vai.providers.anthropic.models import ClaudeTraits
from vai.providers.decode.call_ids import to_upstream_id
from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.reasoning import origin_of
from vai.providers.translate.texts import AS_USER
from vai.providers.translate.tool_results import note_left_out
from vai.types.base import to_wire
from vai.types.blocks import (
    AudioBlock,
    Block,
    DocumentBlock,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    VideoBlock,
)
from vai.types.request import InputMessage, MessageRequest

__all__ = ["has_thinking", "last_call_lacks_thinking", "messages_to_wire"]

Wire = dict[str, Any]

_RESULT: Final = "tool_result"
"""Stands in place of a role for the blocks of a tool's result."""
_ID_MEMBERS = {"tool_use": "id", "tool_result": "tool_use_id"}


def messages_to_wire(
    request: MessageRequest, traits: ClaudeTraits, diagnostics: Diagnostics, provider: str
) -> list[Wire]:
    """The request's messages in Anthropic's form."""
    wire_messages: list[Wire] = []
    folded: list[Wire] = []
    for index, turn in enumerate(request.messages):
        at = f"messages[{index}]"
        if isinstance(turn.content, str):
            content = _text_blocks(turn.content)
        else:
            content = blocks_to_wire(turn.content, f"{at}.content", diagnostics, turn.role)
            _set_ids(content, provider)
        if turn.role == "system" and not traits.system_turns:
            folded += [_as_user(block) for block in content]
            diagnostics.note_dropped(AS_USER)
            _note_lost(turn, diagnostics)
            continue
        if turn.role == "user":
            # The API requires results first in the turn after the calls.
            results = [block for block in content if block.get("type") == "tool_result"]
            others = [block for block in content if block.get("type") != "tool_result"]
            content, folded = [*results, *folded, *others], []
        if content:
            plain = isinstance(turn.content, str) and len(content) == 1
            shown: Any = content[0]["text"] if plain else content
            wire_messages.append({"role": turn.role, "content": shown, **turn.extra})
        else:
            _note_lost(turn, diagnostics)
    if folded:
        wire_messages.append({"role": "user", "content": folded})
    _check_end(wire_messages, traits, diagnostics)
    return wire_messages


def _note_lost(turn: InputMessage, diagnostics: Diagnostics) -> None:
    """Note as dropped the extra members of a turn that is not sent as a message."""
    for name in turn.extra:
        diagnostics.note_dropped(f"messages[*].{name}")


def blocks_to_wire(
    content: list[Block], at: str, diagnostics: Diagnostics, role: str = "user"
) -> list[Wire]:
    """Blocks in Anthropic's form, without the empty ones that it refuses."""
    wire_blocks = []
    for index, block in enumerate(content):
        wire = _block_to_wire(block, f"{at}[{index}]", diagnostics, role)
        if wire is not None:
            wire_blocks.append(wire)
    return wire_blocks


def _set_ids(content: list[Wire], provider: str) -> None:
    """Set call ids that the server accepts: its own, or ids in the API's alphabet."""
    for wire in content:
        name = _ID_MEMBERS.get(wire.get("type", ""))
        if name is not None:
            wire[name] = to_upstream_id(wire[name], provider)


def has_thinking(request: MessageRequest) -> bool:
    """Whether any message holds reasoning that Anthropic made."""
    return any(_is_own_thinking(block) for turn in request.messages for block in turn.blocks)


def last_call_lacks_thinking(request: MessageRequest) -> bool:
    """Whether the last assistant turn calls a tool and has no reasoning of Anthropic's."""
    for turn in reversed(request.messages):
        if turn.role == "assistant":
            calls = any(isinstance(block, ToolUseBlock) for block in turn.blocks)
            return calls and not any(map(_is_own_thinking, turn.blocks))
    return False


def _is_own_thinking(block: Block) -> bool:
    return (
        isinstance(block, ThinkingBlock | RedactedThinkingBlock) and origin_of(block) == "anthropic"
    )


def _block_to_wire(block: Block, at: str, diagnostics: Diagnostics, role: str) -> Wire | None:
    if isinstance(block, TextBlock) and not block.text:
        return None
    if isinstance(block, AudioBlock | VideoBlock):
        return _media_as_text(block, at, diagnostics, in_result=role == _RESULT)
    if isinstance(block, ImageBlock) and role == "assistant":
        what = "an image cannot be sent to Anthropic as the assistant's"
        diagnostics.note_refused(at, what, "unsupported_content_block")
        return None
    if isinstance(block, ThinkingBlock | RedactedThinkingBlock) and not _is_own_thinking(block):
        kind = "thinking" if isinstance(block, ThinkingBlock) else "redacted_thinking"
        diagnostics.note_dropped(f"messages[*].content[*].{kind}")
        return None
    wire: Wire = to_wire(block)
    if is_foreign_run(wire):
        diagnostics.note_dropped(f"messages[*].content[*].{wire['type']}")
        return None
    if isinstance(block, TextBlock) and block.citations:
        _keep_sealed_citations(wire, block.citations, diagnostics)
    elif isinstance(block, ThinkingBlock):
        wire.pop("summary", None)
    elif isinstance(block, DocumentBlock):
        name = wire.pop("filename", None)
        if name:
            wire.setdefault("title", name)
    elif isinstance(block, ToolResultBlock) and isinstance(block.content, list):
        wire["content"] = blocks_to_wire(block.content, f"{at}.content", diagnostics, _RESULT)
    return wire


def _media_as_text(
    block: AudioBlock | VideoBlock, at: str, diagnostics: Diagnostics, *, in_result: bool
) -> Wire | None:
    """The transcript of audio as text, if there is one: Anthropic accepts no audio or video."""
    if isinstance(block, AudioBlock) and block.transcript:
        diagnostics.note_dropped("messages[*].content[*].audio")
        return {"type": "text", "text": block.transcript}
    if in_result:
        return {"type": "text", "text": note_left_out(block, diagnostics, "the model")}
    kind = "audio" if isinstance(block, AudioBlock) else "video"
    diagnostics.note_refused(at, f"{kind} cannot be sent to Anthropic", "unsupported_content_block")
    return None


def _keep_sealed_citations(
    wire: Wire, citations: list[dict[str, Any]], diagnostics: Diagnostics
) -> None:
    """Keep only citations that Anthropic accepts: those with its `encrypted_index`."""
    sealed = [citation for citation in citations if not is_unsealed(citation)]
    if len(sealed) < len(citations):
        diagnostics.note_dropped("messages[*].content[*].citations")
        wire["citations"] = sealed
        if not sealed:
            del wire["citations"]


def _check_end(wire_messages: list[Wire], traits: ClaudeTraits, diagnostics: Diagnostics) -> None:
    """Check an assistant message at the end, which the model is to continue."""
    if not wire_messages or wire_messages[-1]["role"] != "assistant":
        return
    if not traits.prefill:
        diagnostics.note_refused(
            "messages",
            "this model cannot continue an assistant message; end with a user message",
            "unsupported_prefill",
        )
    else:
        _strip_end(wire_messages, diagnostics)


def _strip_end(wire_messages: list[Wire], diagnostics: Diagnostics) -> None:
    """Remove trailing blanks from the text to continue: the API refuses them."""
    last = wire_messages[-1]
    content = last["content"]
    text = content if isinstance(content, str) else content[-1].get("text")
    if isinstance(text, str) and text[-1:].isspace():
        diagnostics.note_dropped(f"messages[{len(wire_messages) - 1}].content")
    if isinstance(content, str):
        last["content"] = content.rstrip()
    elif content[-1].get("type") == "text":
        content[-1]["text"] = content[-1]["text"].rstrip()
        if not content[-1]["text"]:
            content.pop()
    if not last["content"]:
        wire_messages.pop()


def _text_blocks(text: str) -> list[Wire]:
    return [{"type": "text", "text": text}] if text else []


def _as_user(block: Wire) -> Wire:
    return {**block, "text": f"<system>\n{block.get('text', '')}\n</system>"}

"""The conversation -> `messages` of Chat Completions.

Invariants: order carries meaning. The server requires every tool result directly behind the
calls, so this module splits a user's turn: results first, in the order of the calls, then
everything else of the turn in its own order. Equal turns always produce equal bytes, whatever
follows them: the upstream's prompt cache depends on it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.decode import call_ids as callids
from vai.providers.openai.reasoning import ReasoningPart, add_reasoning, reasoning_from_block
from vai.providers.translate import content_parts
from vai.providers.translate.content_parts import Part
from vai.providers.translate.diagnostics import refuse_block
from vai.providers.translate.names import legal_tool_name
from vai.providers.translate.target import OpenaiTarget, is_custom_server
from vai.providers.translate.texts import is_server_tool_block, kind_of
from vai.providers.translate.tool_results import (
    BlockAtPath,
    PendingCall,
    TurnGroup,
    add_pending_call,
    blocks_with_paths,
    check_last_turn,
    group_turns,
    match_results,
    translate_result,
)
from vai.types.blocks import (
    AudioBlock,
    Block,
    ImageBlock,
    RedactedThinkingBlock,
    Source,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from vai.types.request import InputMessage, MessageRequest

__all__ = ["Part", "chat_parts_from_block", "messages_from_request"]


class _ChatParts:
    text_type = "text"

    def make_image(self, source: Source, url: str | None) -> Part | None:
        return {"type": "image_url", "image_url": {"url": url}} if url else None

    def make_file(self, source: Source, name: str | None) -> Part | None:
        if source.type == "base64" and source.media_type == "application/pdf" and source.data:
            data = f"data:application/pdf;base64,{source.data}"
            return {"type": "file", "file": {"filename": name or "document.pdf", "file_data": data}}
        if source.type == "file" and source.file_id:
            return {"type": "file", "file": {"file_id": source.file_id}}
        return None

    def make_audio(self, data: str, form: str) -> Part | None:
        return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


_FORM: Final = _ChatParts()


def chat_parts_from_block(block: Block, at: str, target: OpenaiTarget) -> list[Part]:
    """The parts for a block of a user's turn or of a tool's result."""
    return content_parts.parts_from_block(block, at, target, _FORM)


Wire = dict[str, Any]

_MAX_ID: Final = 40
"""Characters of a call's id; OpenAI responds 400 to longer ones (seen 2026-11)."""
_CACHED: Final = "messages[*].content[*].cache_control"


def messages_from_request(request: MessageRequest, target: OpenaiTarget) -> list[Wire]:
    """All messages, instructions first."""
    wire = _messages_from_system(request.system, target)
    calls: dict[str, PendingCall] = {}
    for is_assistant, run in group_turns(request):
        if is_assistant:
            for blocks in _merge_turns(run):
                wire += _messages_from_assistant(blocks, calls, target)
        else:
            for at, block in match_results(run, calls, target.diagnostics):
                wire.append(_message_from_result(block, at, target))
            calls = {}
            for at, turn in run:
                wire += _messages_from_turn(turn, at, target)
    check_last_turn(request, target.diagnostics)
    return wire


def _messages_from_system(system: str | list[Block] | None, target: OpenaiTarget) -> list[Wire]:
    if not system:
        return []
    role = target.traits.instruction_role
    if isinstance(system, str):
        return [{"role": role, "content": system}]
    content: list[Part] = []
    for index, block in enumerate(system):
        at = f"system[{index}]"
        if isinstance(block, TextBlock):
            content += _mark_cached(
                chat_parts_from_block(block, at, target), block, target, "system[*].cache_control"
            )
        else:
            target.diagnostics.note_refused(
                at, "expected a text block: instructions must be text", "unsupported_content_block"
            )
    return _messages_from_parts(role, content, plain=target.has_quirk("plain_system"))


def _merge_turns(run: TurnGroup) -> list[list[BlockAtPath]]:
    """One list of blocks per message: consecutive turns with calls are one turn.

    The server refuses an assistant message between calls and their results.
    """
    turns = [blocks_with_paths(at, turn) for at, turn in run]
    if any(isinstance(block, ToolUseBlock) for turn in turns for _, block in turn):
        return [[block for turn in turns for block in turn]]
    return turns


def _messages_from_assistant(
    blocks: list[BlockAtPath], waiting: dict[str, PendingCall], target: OpenaiTarget
) -> list[Wire]:
    """The message; this adds its calls to `waiting`."""
    texts: list[str] = []
    reasoning: list[ReasoningPart] = []
    images: list[Wire] = []
    calls: list[Wire] = []
    apart = False
    for at, block in blocks:
        text = _text_of_block(block, target)
        if text is not None:
            if text:
                # Neighbours are one text cut by citations; others were separate texts.
                texts += ["\n\n", text] if apart and texts else [text]
                apart = False
            continue
        apart = True
        if isinstance(block, ToolUseBlock):
            add_pending_call(waiting, block, at, target.diagnostics)
            calls.append(_call_from_block(block, target))
            _note_cache_control(block, target)
        elif isinstance(block, ThinkingBlock | RedactedThinkingBlock):
            reasoning += _reasoning_to_return(block, target)
        elif isinstance(block, ImageBlock) and is_custom_server(target.spec):
            images += chat_parts_from_block(block, at, target)
        elif is_server_tool_block(block):
            target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
        else:
            what = "cannot be sent to {} as the assistant's"
            refuse_block(block, at, target.diagnostics, what=what)
    message: Wire = {"role": "assistant"}
    if texts:
        message["content"] = "".join(texts)
    elif calls and not target.has_quirk("no_nulls"):
        message["content"] = None
    if calls:
        message["tool_calls"] = calls
    if images:
        message["images"] = images
    is_sent = bool(texts or calls or images)
    if reasoning and not (is_sent and add_reasoning(message, reasoning, target.spec)):
        target.diagnostics.note_dropped("messages[*].content[*].thinking")
    return [message] if is_sent else []


def _text_of_block(block: Block, target: OpenaiTarget) -> str | None:
    """The text of a block, None for blocks without text; "" is an empty text."""
    if isinstance(block, AudioBlock) and block.transcript:
        target.diagnostics.note_dropped("messages[*].content[*].audio")
        return block.transcript
    if not isinstance(block, TextBlock):
        return None
    if block.citations:
        target.diagnostics.note_dropped("messages[*].content[*].citations")
    _note_cache_control(block, target)
    return block.text


def _call_from_block(block: ToolUseBlock, target: OpenaiTarget) -> Wire:
    return {
        "id": _shorten_id(block.id, target),
        "type": "function",
        "function": {
            "name": legal_tool_name(block.name),
            "arguments": msgspec.json.encode(block.input).decode(),
        },
    }


def _shorten_id(id: str, target: OpenaiTarget) -> str:
    return callids.to_upstream_id(id, target.spec.id, _MAX_ID, short=target.needs_short_ids)


def _reasoning_to_return(
    block: ThinkingBlock | RedactedThinkingBlock, target: OpenaiTarget
) -> list[ReasoningPart]:
    """The reasoning to send back: only that of the target's own provider."""
    part = reasoning_from_block(block, target.spec)
    if part is None:
        target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
        return []
    return [part]


def _message_from_result(block: ToolResultBlock, at: str, target: OpenaiTarget) -> Wire:
    texts: list[str] = []
    native: list[Part] = []
    count = 0
    for part in _parts_from_result(block, at, target):
        if part["type"] == "text":
            texts.append(part["text"])
            native.append(part)
        elif target.capabilities.tool_result_images and part["type"] == "image_url":
            native.append(part)
        else:
            count += 1
            what = "image" if part["type"] == "image_url" else "file"
            texts.append(f"[{what} {count} attached below]")
            native.append({"type": "text", "text": texts[-1]})
    _note_cache_control(block, target)
    text = "\n".join(texts)
    content: Any = f"Error: {text}" if block.is_error else text
    if any(part["type"] != "text" for part in native):
        mark: list[Part] = [{"type": "text", "text": "Error:"}] if block.is_error else []
        content = mark + native
    return {
        "role": "tool",
        "tool_call_id": _shorten_id(block.tool_use_id, target),
        "content": content,
    }


def _messages_from_turn(turn: InputMessage, at: str, target: OpenaiTarget) -> list[Wire]:
    """The message with all of a turn except tool results."""
    if turn.role == "user" and isinstance(turn.content, str):  # nearly every turn of nearly all
        return [{"role": "user", "content": turn.content}] if turn.content else []
    content: list[Part] = []
    for path, block in blocks_with_paths(at, turn):
        if isinstance(block, ToolResultBlock):
            content += _attached_parts(block, path, target)
        elif turn.role == "system" and not isinstance(block, TextBlock):
            target.diagnostics.note_refused(
                path,
                "expected a text block: instructions must be text",
                "unsupported_content_block",
            )
        elif is_server_tool_block(block):
            target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
        else:
            content += _mark_cached(
                chat_parts_from_block(block, path, target), block, target, _CACHED
            )
    if turn.role == "system":
        return _messages_from_parts(
            target.traits.instruction_role, content, plain=target.has_quirk("plain_system")
        )
    return _messages_from_parts("user", content)


def _attached_parts(block: ToolResultBlock, at: str, target: OpenaiTarget) -> list[Part]:
    """Parts that a tool message cannot hold, with a text that names the call they belong to."""
    attached = [
        part
        for part in _parts_from_result(block, at, target, silent=True)
        if part["type"] != "text"
        and not (target.capabilities.tool_result_images and part["type"] == "image_url")
    ]
    if not attached:
        return []
    label = f"[Attached to the result of tool call {_shorten_id(block.tool_use_id, target)}]"
    return [{"type": "text", "text": label}, *attached]


def _parts_from_result(
    block: ToolResultBlock, at: str, target: OpenaiTarget, *, silent: bool = False
) -> list[Part]:
    # The parts are made twice, for the tool message and for the user message behind it;
    # the diagnostics of the first time are enough.
    quiet_target = OpenaiTarget(target.spec, target.model) if silent else target
    content: list[Part] = []
    for item, made in translate_result(block, at, quiet_target, chat_parts_from_block, _text_part):
        content += made
        _note_cache_control(item, quiet_target)
    return content


def _text_part(words: str) -> Part:
    return {"type": "text", "text": words}


def _messages_from_parts(role: str, content: list[Part], *, plain: bool = False) -> list[Wire]:
    """A message of these parts, if there are any. A lone text is a plain string."""
    if not content:
        return []
    if plain and all(part["type"] == "text" for part in content):
        return [{"role": role, "content": "\n\n".join(part["text"] for part in content)}]
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        return [{"role": role, "content": content[0]["text"]}]
    return [{"role": role, "content": content}]


def _mark_cached(content: list[Part], block: Block, target: OpenaiTarget, path: str) -> list[Part]:
    """The parts, the last of them with the block's cache breakpoint."""
    if not getattr(block, "cache_control", None):
        return content
    if not (content and target.traits.cache_breakpoints):
        target.diagnostics.note_dropped(path)
        return content
    if "ttl" in (getattr(block, "cache_control", None) or {}):
        target.diagnostics.note_dropped(f"{path}.ttl")
    mark = {"mode": "explicit", "ttl": "30m"}
    return [*content[:-1], {**content[-1], "prompt_cache_breakpoint": mark}]


def _note_cache_control(block: Block, target: OpenaiTarget) -> None:
    if getattr(block, "cache_control", None):
        target.diagnostics.note_dropped(_CACHED)

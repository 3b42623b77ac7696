"""The conversation -> `input` and `instructions` of Responses.

Invariants: order carries meaning. Texts and calls of an assistant's turn keep their places; of a
user's turn the results of calls go first, in the order of the calls, then everything else. Items
that the server generated go back to it in the same order. Reasoning goes only before the item that
followed it: the server refuses a reasoning item whose successor is missing.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from vai.providers.decode.call_ids import to_upstream_id
from vai.providers.responses import wrapped_items
from vai.providers.responses.server_tools import call_and_signature
from vai.providers.responses.tools import RequestTools
from vai.providers.translate import content_parts
from vai.providers.translate.content_parts import Part
from vai.providers.translate.diagnostics import refuse_block
from vai.providers.translate.names import legal_tool_name
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.texts import is_server_tool_block, kind_of
from vai.providers.translate.tool_results import (
    BlockAtPath,
    PendingCall,
    add_pending_call,
    blocks_with_paths,
    check_last_turn,
    group_turns,
    match_results,
    translate_result,
)
from vai.types.blocks import (
    Block,
    ImageBlock,
    RedactedThinkingBlock,
    Source,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from vai.types.request import InputMessage, MessageRequest

__all__ = [
    "CACHED",
    "AssistantItems",
    "Part",
    "input_from_request",
    "input_parts_from_block",
    "mark_cached",
]

_BREAKPOINT: Final = {"mode": "explicit", "ttl": "30m"}
"""https://developers.openai.com/api/docs/guides/prompt-caching (2026-11-28)."""
# VAI requests the shortest lifetime for an hour too: the next one is twelve hours, and costs
# money.


class _InputParts:
    text_type = "input_text"

    def make_image(self, source: Source, url: str | None) -> Part | None:
        if url:
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        if source.type == "file" and (source.file_id or "").startswith("file-"):
            return {"type": "input_image", "file_id": source.file_id, "detail": "auto"}
        return None

    def make_file(self, source: Source, name: str | None) -> Part | None:
        if source.type == "base64" and source.media_type == "application/pdf" and source.data:
            data = f"data:application/pdf;base64,{source.data}"
            return {"type": "input_file", "filename": name or "document.pdf", "file_data": data}
        if source.type == "url" and source.url:
            return {"type": "input_file", "file_url": source.url}
        if source.type == "file" and source.file_id:
            return {"type": "input_file", "file_id": source.file_id}
        return None

    def make_audio(self, data: str, form: str) -> Part | None:
        return None


_FORM: Final = _InputParts()


def input_parts_from_block(block: Block, at: str, target: OpenaiTarget) -> list[Part]:
    """The parts for a block of a user's turn or of a tool's result."""
    return content_parts.parts_from_block(block, at, target, _FORM)


def mark_cached(content: list[Part], block: Block, path: str, target: OpenaiTarget) -> list[Part]:
    """The parts, the last of them with the block's cache breakpoint."""
    if not getattr(block, "cache_control", None):
        return content
    if not (content and target.traits.cache_breakpoints):
        target.diagnostics.note_dropped(path)
        return content
    if "ttl" in (getattr(block, "cache_control", None) or {}):
        target.diagnostics.note_dropped(f"{path}.ttl")
    return [*content[:-1], {**content[-1], "prompt_cache_breakpoint": dict(_BREAKPOINT)}]


Wire = dict[str, Any]

CACHED: Final = "messages[*].content[*].cache_control"
"""The path that names breakpoints which cannot be set."""
_CALL_TYPES: Final = ("function_call", "custom_tool_call", "computer_call")


class AssistantItems:
    """The items of a run of assistant turns."""

    def __init__(self, target: OpenaiTarget, tooling: RequestTools) -> None:
        self.calls: dict[str, PendingCall] = {}
        """By id, each with the type of its item."""
        self._target = target
        self._tooling = tooling
        self._items: list[Wire] = []
        self._texts: list[tuple[Wire, list[str]]] = []
        """The items that are text, each with its pieces: joined once, as each time copies all."""
        self._wrapped_items: dict[str, Wire] = {}
        self._joins_text = False
        self._drew_image = False

    def add_turn(self, blocks: list[BlockAtPath]) -> None:
        """The next turn of the run."""
        self._joins_text = False
        for _, block in blocks:
            call, envelope = call_and_signature(block)
            item = wrapped_items.unwrap_item(envelope, self._target.spec.id)
            if item is not None:
                self._wrapped_items[call] = item
        for at, block in blocks:
            if getattr(block, "cache_control", None):
                self._target.diagnostics.note_dropped(CACHED)
            if isinstance(block, TextBlock):
                self._drew_image = False
                if block.citations:
                    self._target.diagnostics.note_dropped("messages[*].content[*].citations")
                self._add_text(block.text)
                continue
            self._joins_text = False
            if self._drew_image and isinstance(block, ImageBlock):
                continue  # the item of the code execution has it
            self._drew_image = False
            if isinstance(block, ToolUseBlock):
                self._add_call(block, at)
            elif isinstance(block, ThinkingBlock | RedactedThinkingBlock):
                self._add_reasoning(block)
            elif isinstance(block, ImageBlock):
                self._add_image(block, at)
            elif is_server_tool_block(block):
                self._add_server_tool_block(block)
            else:
                what = "cannot be sent to {} as the assistant's"
                refuse_block(block, at, self._target.diagnostics, what=what)

    def finish_items(self) -> list[Wire]:
        """All items of the run."""
        self._drop_trailing_reasoning()
        for item, pieces in self._texts:
            item["content"] = "".join(pieces)
        if self._target.traits.labels_commentary:
            phase = "final_answer"
            for item in reversed(self._items):
                if item.get("role") == "assistant":
                    item.setdefault("phase", phase)
                if "role" in item or item.get("type") in _CALL_TYPES:
                    phase = "commentary"
        else:
            for item in self._items:
                item.pop("phase", None)
        return self._items

    def _add_text(self, text: str) -> None:
        if not text:
            return
        if self._joins_text:  # neighbours are one text, cut by citations
            self._texts[-1][1].append(text)
            return
        self._joins_text = True
        item: Wire = {"role": "assistant", "content": text}
        self._texts.append((item, [text]))
        self._items.append(item)

    def _add_call(self, block: ToolUseBlock, at: str) -> None:
        kind = self._tooling.item_type(block)
        item: Wire = {"type": kind, "call_id": to_upstream_id(block.id, self._target.spec.id)}
        if kind == "computer_call":
            item |= {"id": f"cu_{_digest_text(block.id)}", "status": "completed"}
            item["pending_safety_checks"] = block.input.get("pending_safety_checks") or []
            item["actions"] = block.input["actions"]
        elif kind == "custom_tool_call":
            item |= {"name": legal_tool_name(block.name), "input": block.input["input"]}
        else:
            arguments = msgspec.json.encode(block.input).decode()
            item |= {"name": legal_tool_name(block.name), "arguments": arguments}
        add_pending_call(self.calls, block, at, self._target.diagnostics, kind)
        self._items.append(item)

    def _add_reasoning(self, block: ThinkingBlock | RedactedThinkingBlock) -> None:
        envelope = block.data if isinstance(block, RedactedThinkingBlock) else block.signature
        item = wrapped_items.unwrap_item(envelope or "", self._target.spec.id)
        if item is None:
            self._target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
        elif item["type"] != "message":
            self._items.append(item)
        elif self._items and self._items[-1].get("role") == "assistant":
            self._items[-1]["phase"] = "commentary"

    def _add_image(self, block: ImageBlock, at: str) -> None:
        """An image of the model's: in this format a call of its own tool."""
        data = block.source.data
        if block.source.type != "base64" or not data:
            what = "expected an image of the assistant as base64"
            self._target.diagnostics.note_refused(at, what, "unsupported_content_block")
            return
        call = {"type": "image_generation_call", "id": f"ig_{_digest_text(data)}"}
        self._items.append({**call, "status": "completed", "result": data})

    def _add_server_tool_block(self, block: Block) -> None:
        """A block of a tool that a server ran: this server's own goes back as one item."""
        call, envelope = call_and_signature(block)
        if envelope and call in self._wrapped_items:
            item = self._wrapped_items.pop(call)
            self._drew_image = item["type"] == "code_interpreter_call"
            self._items.append(item)
        elif _block_id(block) not in self._wrapped_items:
            self._target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
            self._drop_trailing_reasoning()

    def _drop_trailing_reasoning(self) -> None:
        """Drop reasoning at the end: the item that followed it is missing."""
        while self._items and self._items[-1].get("type") == "reasoning":
            self._items.pop()


def _block_id(block: Block) -> str:
    block_id = (
        block.raw.get("id") if isinstance(block, UnknownBlock) else getattr(block, "id", None)
    )
    return str(block_id)


def _digest_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


_PICTURE: Final = ("image_url", "file_id")


def input_from_request(
    request: MessageRequest, target: OpenaiTarget, tools: RequestTools, *, chained: bool
) -> tuple[str | None, list[Wire]]:
    """The instructions and the items.

    Args:
        chained: the server holds the turns before these, so results may belong to calls that are
            not among them.
    """
    instructions, items = _instructions_from_system(request.system, target)
    calls: dict[str, PendingCall] = {}
    for is_assistant, run in group_turns(request):
        if is_assistant:
            assistant = AssistantItems(target, tools)
            for at, turn in run:
                assistant.add_turn(blocks_with_paths(at, turn))
            items += assistant.finish_items()
            calls = assistant.calls
        else:
            for at, block in match_results(run, calls, target.diagnostics, chained=chained):
                call = calls.get(block.tool_use_id)
                items.append(
                    _item_from_result(block, at, call.note if call else "function_call", target)
                )
            calls = {}
            for at, turn in run:
                items += _items_from_turn(turn, at, target)
    check_last_turn(request, target.diagnostics)
    return instructions, items


def _instructions_from_system(
    system: str | list[Block] | None, target: OpenaiTarget
) -> tuple[str | None, list[Wire]]:
    """Plain instructions, or a leading message where the request caches a part of them."""
    if not system:
        return None, []
    if isinstance(system, str):
        return system, []
    content: list[Part] = []
    for index, block in enumerate(system):
        at = f"system[{index}]"
        if isinstance(block, TextBlock):
            content += mark_cached(
                input_parts_from_block(block, at, target), block, "system[*].cache_control", target
            )
        else:
            target.diagnostics.note_refused(
                at, "expected a text block: instructions must be text", "unsupported_content_block"
            )
    if any("prompt_cache_breakpoint" in part for part in content):
        return None, _items_from_parts("developer", content)
    return "\n\n".join(part["text"] for part in content) or None, []


def _item_from_result(block: ToolResultBlock, at: str, kind: str, target: OpenaiTarget) -> Wire:
    content = [
        part
        for item, made in translate_result(block, at, target, input_parts_from_block, _text_part)
        for part in mark_cached(made, item, CACHED, target)
    ]
    content = mark_cached(content, block, CACHED, target)
    item: Wire = {
        "type": f"{kind}_output",
        "call_id": to_upstream_id(block.tool_use_id, target.spec.id),
    }
    if kind == "computer_call":
        item["output"] = _screenshot_from_parts(content, at, target)
    elif all(part.keys() == {"type", "text"} for part in content):
        text = "\n".join(part["text"] for part in content)
        item["output"] = f"Error: {text}" if block.is_error else text
    else:
        mark: list[Part] = [{"type": "input_text", "text": "Error:"}] if block.is_error else []
        item["output"] = mark + content
    return item


def _text_part(words: str) -> Part:
    return {"type": "input_text", "text": words}


def _screenshot_from_parts(content: list[Part], at: str, target: OpenaiTarget) -> Wire:
    for part in content:
        if part["type"] == "input_image":
            shown: Wire = {"type": "computer_screenshot"}
            return shown | {name: part[name] for name in _PICTURE if name in part}
    target.diagnostics.note_refused(
        f"{at}.content", "expected a screenshot in the computer's result"
    )
    return {}


def _items_from_turn(turn: InputMessage, at: str, target: OpenaiTarget) -> list[Wire]:
    """The message with all of a turn except tool results."""
    content: list[Part] = []
    for path, block in blocks_with_paths(at, turn):
        if isinstance(block, ToolResultBlock):
            continue
        if turn.role == "system" and not isinstance(block, TextBlock):
            target.diagnostics.note_refused(
                path,
                "expected a text block: instructions must be text",
                "unsupported_content_block",
            )
        elif is_server_tool_block(block):
            target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
        else:
            content += mark_cached(
                input_parts_from_block(block, path, target), block, CACHED, target
            )
    return _items_from_parts("developer" if turn.role == "system" else "user", content)


def _items_from_parts(role: str, content: list[Part]) -> list[Wire]:
    """A message of these parts, if there are any. A lone text is a plain string."""
    if not content:
        return []
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        return [{"role": role, "content": content[0]["text"]}]
    return [{"role": role, "content": content}]

"""The conversation -> `input` and `instructions` of Responses.

Invariants: order carries meaning. Texts and calls of an assistant's turn stay
where they were; of a user's turn the results of calls go first, in the order of the calls,
then everything else.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.decode.call_ids import sent
from vai.providers.responses.assistant import CACHED, AssistantItems
from vai.providers.responses.parts import Part, marked, parts
from vai.providers.responses.tools import RequestTools
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.texts import is_server_tool_block, kind_of
from vai.providers.translate.tool_results import (
    PendingCall,
    blocks_with_paths,
    check_last_turn,
    group_turns,
    match_results,
    translate_result,
)
from vai.types.blocks import Block, TextBlock, ToolResultBlock
from vai.types.request import InputMessage, MessageRequest

__all__ = ["conversation"]

Wire = dict[str, Any]

_PICTURE: Final = ("image_url", "file_id")


def conversation(
    request: MessageRequest, target: OpenaiTarget, tooling: RequestTools, *, chained: bool
) -> tuple[str | None, list[Wire]]:
    """The instructions and the items.

    Args:
        chained: the server holds the turns before these, so that results may answer calls
            that are not among them.
    """
    instructions, found = _instructions(request.system, target)
    calls: dict[str, PendingCall] = {}
    for is_assistant, run in group_turns(request):
        if is_assistant:
            said = AssistantItems(target, tooling)
            for at, turn in run:
                said.turn(blocks_with_paths(at, turn))
            found += said.finished()
            calls = said.calls
        else:
            for at, block in match_results(run, calls, target.diagnostics, chained=chained):
                call = calls.get(block.tool_use_id)
                found.append(_output(block, at, call.note if call else "function_call", target))
            calls = {}
            for at, turn in run:
                found += _said(turn, at, target)
    check_last_turn(request, target.diagnostics)
    return instructions, found


def _instructions(
    system: str | list[Block] | None, target: OpenaiTarget
) -> tuple[str | None, list[Wire]]:
    """Plain instructions, or a leading message where a part of them is to be cached."""
    if not system:
        return None, []
    if isinstance(system, str):
        return system, []
    found: list[Part] = []
    for index, block in enumerate(system):
        at = f"system[{index}]"
        if isinstance(block, TextBlock):
            found += marked(parts(block, at, target), block, "system[*].cache_control", target)
        else:
            target.diagnostics.note_refused(
                at, "expected a text block: instructions must be text", "unsupported_content_block"
            )
    if any("prompt_cache_breakpoint" in part for part in found):
        return None, _message("developer", found)
    return "\n\n".join(part["text"] for part in found) or None, []


def _output(block: ToolResultBlock, at: str, kind: str, target: OpenaiTarget) -> Wire:
    found = [
        part
        for item, made in translate_result(block, at, target, parts, _text)
        for part in marked(made, item, CACHED, target)
    ]
    found = marked(found, block, CACHED, target)
    item: Wire = {"type": f"{kind}_output", "call_id": sent(block.tool_use_id, target.spec.id)}
    if kind == "computer_call":
        item["output"] = _screenshot(found, at, target)
    elif all(part.keys() == {"type", "text"} for part in found):
        text = "\n".join(part["text"] for part in found)
        item["output"] = f"Error: {text}" if block.is_error else text
    else:
        mark: list[Part] = [{"type": "input_text", "text": "Error:"}] if block.is_error else []
        item["output"] = mark + found
    return item


def _text(words: str) -> Part:
    return {"type": "input_text", "text": words}


def _screenshot(found: list[Part], at: str, target: OpenaiTarget) -> Wire:
    for part in found:
        if part["type"] == "input_image":
            shown: Wire = {"type": "computer_screenshot"}
            return shown | {name: part[name] for name in _PICTURE if name in part}
    target.diagnostics.note_refused(
        f"{at}.content", "expected a screenshot in the computer's result"
    )
    return {}


def _said(turn: InputMessage, at: str, target: OpenaiTarget) -> list[Wire]:
    """The message with all of a turn that is no tool's result."""
    found: list[Part] = []
    for place, block in blocks_with_paths(at, turn):
        if isinstance(block, ToolResultBlock):
            continue
        if turn.role == "system" and not isinstance(block, TextBlock):
            target.diagnostics.note_refused(
                place,
                "expected a text block: instructions must be text",
                "unsupported_content_block",
            )
        elif is_server_tool_block(block):
            target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
        else:
            found += marked(parts(block, place, target), block, CACHED, target)
    return _message("developer" if turn.role == "system" else "user", found)


def _message(role: str, found: list[Part]) -> list[Wire]:
    """A message of these parts, if there are any. A lone text is a plain string."""
    if not found:
        return []
    if len(found) == 1 and found[0].keys() == {"type", "text"}:
        return [{"role": role, "content": found[0]["text"]}]
    return [{"role": role, "content": found}]

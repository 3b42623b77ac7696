"""The conversation -> `input` and `instructions` of Responses.

The law of this module: order carries meaning. Texts and calls of an assistant's turn stay
where they were; of a user's turn the results of calls go first, in the order of the calls,
then everything else.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from vai.providers.names import call_id
from vai.providers.responses.assistant import CACHED, Assistant, Call, Placed
from vai.providers.responses.parts import Part, marked, parts
from vai.providers.responses.tools import Tooling
from vai.providers.target import Target
from vai.providers.texts import is_foreign_tool, kind_of
from vai.types.blocks import Block, TextBlock, ToolResultBlock
from vai.types.request import InputMessage, MessageRequest

__all__ = ["conversation"]

Wire = dict[str, Any]

_PICTURE: Final = ("image_url", "file_id")


def conversation(
    request: MessageRequest, target: Target, tooling: Tooling, *, chained: bool
) -> tuple[str | None, list[Wire]]:
    """The instructions and the items.

    Args:
        chained: the server holds the turns before these, so that results may answer calls
            that are not among them.
    """
    instructions, found = _instructions(request.system, target)
    open_calls: dict[str, Call] = {}
    turns = list(enumerate(request.messages))
    for is_assistant, group in groupby(turns, key=lambda turn: turn[1].role == "assistant"):
        run = [(f"messages[{index}]", turn) for index, turn in group]
        if is_assistant:
            said = Assistant(target, tooling)
            for at, turn in run:
                said.turn(_placed(at, turn))
            found += said.finished()
            open_calls = said.calls
        else:
            found += _answers(run, open_calls, target, chained=chained)
            open_calls = {}
            for at, turn in run:
                found += _said(turn, at, target)
    if request.messages[-1].role == "assistant":
        target.findings.refuse(
            f"messages[{len(request.messages) - 1}]",
            f"{target.row.name} cannot continue an assistant message; end with a user message",
            "unsupported_prefill",
        )
    return instructions, found


def _instructions(
    system: str | list[Block] | None, target: Target
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
            target.findings.refuse(at, "instructions must be text", "unsupported_content_block")
    if any("prompt_cache_breakpoint" in part for part in found):
        return None, _message("developer", found)
    return "\n\n".join(part["text"] for part in found) or None, []


def _answers(
    run: list[tuple[str, InputMessage]],
    open_calls: dict[str, Call],
    target: Target,
    *,
    chained: bool,
) -> list[Wire]:
    """The outputs of a run of turns, in the order of the calls."""
    given: dict[str, Wire] = {}
    for at, turn in run:
        for place, block in _placed(at, turn):
            if not isinstance(block, ToolResultBlock):
                continue
            path = f"{place}.tool_use_id"
            call = open_calls.get(block.tool_use_id)
            if call is None and not chained:
                target.findings.refuse(path, "no tool_use of the turn before has this id")
            elif block.tool_use_id in given:
                target.findings.refuse(path, "this tool_use has been answered already")
            else:
                kind = call.kind if call is not None else "function_call"
                given[block.tool_use_id] = _output(block, place, kind, target)
    for known, call in open_calls.items():
        if known not in given:
            target.findings.refuse(call.at, "the turn after it has no tool_result for this call")
    order = [*open_calls, *(known for known in given if known not in open_calls)]
    return [given[known] for known in order if known in given]


def _output(block: ToolResultBlock, at: str, kind: str, target: Target) -> Wire:
    found = [
        part
        for index, item in enumerate(block.blocks)
        for part in marked(parts(item, f"{at}.content[{index}]", target), item, CACHED, target)
    ]
    found = marked(found, block, CACHED, target)
    item: Wire = {"type": f"{kind}_output", "call_id": call_id(block.tool_use_id)}
    if kind == "computer_call":
        item["output"] = _screenshot(found, at, target)
    elif all(part.keys() == {"type", "text"} for part in found):
        text = "\n".join(part["text"] for part in found)
        item["output"] = f"Error: {text}" if block.is_error else text
    else:
        mark: list[Part] = [{"type": "input_text", "text": "Error:"}] if block.is_error else []
        item["output"] = mark + found
    return item


def _screenshot(found: list[Part], at: str, target: Target) -> Wire:
    for part in found:
        if part["type"] == "input_image":
            shown: Wire = {"type": "computer_screenshot"}
            return shown | {name: part[name] for name in _PICTURE if name in part}
    target.findings.refuse(f"{at}.content", "the computer's result must hold a screenshot")
    return {}


def _said(turn: InputMessage, at: str, target: Target) -> list[Wire]:
    """The message with all of a turn that is no tool's result."""
    found: list[Part] = []
    for place, block in _placed(at, turn):
        if isinstance(block, ToolResultBlock):
            continue
        if turn.role == "system" and not isinstance(block, TextBlock):
            target.findings.refuse(place, "instructions must be text", "unsupported_content_block")
        elif is_foreign_tool(block):
            target.findings.drop(f"messages[*].content[*].{kind_of(block)}")
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


def _placed(at: str, turn: InputMessage) -> list[Placed]:
    return [(f"{at}.content[{index}]", block) for index, block in enumerate(turn.blocks)]

"""Turns of a conversation, and the results in them, matched to the calls they answer.

Invariants: every call is answered once, in the turn behind it. What is not so is
refused at its own place: the call that nobody answered, the result that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from vai.providers.translate.diagnostics import Diagnostics
from vai.types.blocks import Block, ToolResultBlock, ToolUseBlock
from vai.types.request import InputMessage, MessageRequest

__all__ = ["PendingCall", "Placed", "Run", "answers", "check_end", "placed", "runs", "waits"]

Placed = tuple[str, Block]
"""A block and its JSON path."""
Run = list[tuple[str, InputMessage]]
"""Neighbouring turns of one side, each with its JSON path."""


class PendingCall(NamedTuple):
    """A call that wants an answer: its JSON path, and what its format must know of it again."""

    at: str
    note: str = ""


def runs(request: MessageRequest) -> Iterator[tuple[bool, Run]]:
    """The turns, those of the assistant (True) and those to it by turns."""
    turns = enumerate(request.messages)
    for is_assistant, group in groupby(turns, key=lambda turn: turn[1].role == "assistant"):
        yield is_assistant, [(f"messages[{index}]", turn) for index, turn in group]


def placed(at: str, turn: InputMessage) -> list[Placed]:
    """The blocks of a turn."""
    return [(f"{at}.content[{index}]", block) for index, block in enumerate(turn.blocks)]


def waits(
    calls: dict[str, PendingCall],
    block: ToolUseBlock,
    at: str,
    findings: Diagnostics,
    note: str = "",
) -> None:
    """Add to `calls` (by id) one that the next turn must answer."""
    if block.id in calls:
        findings.refuse(f"{at}.id", "expected an id that no other tool_use of this turn has")
    calls[block.id] = PendingCall(at, note)


def answers(
    run: Run, calls: Mapping[str, PendingCall], findings: Diagnostics, *, chained: bool = False
) -> list[tuple[str, ToolResultBlock]]:
    """The results of a run, each with its path, in the order of the calls.

    Args:
        chained: the server holds earlier turns, so that there may be results for calls that
            are not among these; they come last.
    """
    given: dict[str, tuple[str, ToolResultBlock]] = {}
    for at, turn in run:
        if isinstance(turn.content, str):
            continue
        for place, block in placed(at, turn):
            if not isinstance(block, ToolResultBlock):
                continue
            if block.tool_use_id not in calls and not chained:
                what = "expected the id of a tool_use of the turn before"
            elif block.tool_use_id in given:
                what = "expected one tool_result for each tool_use; this one is answered"
            else:
                given[block.tool_use_id] = (place, block)
                continue
            findings.refuse(f"{place}.tool_use_id", what)
    for known, call in calls.items():
        if known not in given:
            findings.refuse(call.at, "expected a tool_result for this call in the turn after it")
    if not given:  # nearly every turn of nearly all
        return []
    order = [*calls, *(known for known in given if known not in calls)]
    return [given[known] for known in order if known in given]


def check_end(request: MessageRequest, findings: Diagnostics) -> None:
    """An assistant message at the end is one to be continued, which only Anthropic can."""
    last = len(request.messages) - 1
    if request.messages[last].role == "assistant":
        what = f"{findings.target} cannot continue an assistant message; end with a user message"
        findings.refuse(f"messages[{last}]", what, "unsupported_prefill")

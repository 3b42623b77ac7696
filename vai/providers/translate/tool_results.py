"""Turns of a conversation, the results of tools in them, and the media in those results.

Invariants:

* Every call has one result, in the turn behind it. The request is refused at the path of a call
  without a result, and at the path of a result without a call.
* A tool's result belongs to a session that has to go on, and its next request would hold the same
  block again. So a medium there that the target cannot take becomes a few words, and is named;
  anywhere else in a request it refuses the request, because the question is about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.texts import kind_of
from vai.types.blocks import (
    AudioBlock,
    Block,
    DocumentBlock,
    ImageBlock,
    ToolResultBlock,
    ToolUseBlock,
    VideoBlock,
)
from vai.types.provider import ProviderSpec
from vai.types.request import InputMessage, MessageRequest

__all__ = [
    "MEDIA",
    "PendingCall",
    "Placed",
    "Run",
    "answers",
    "check_end",
    "note_left_out",
    "placed",
    "result_parts",
    "runs",
    "waits",
]

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


MEDIA: Final = (ImageBlock, DocumentBlock, AudioBlock, VideoBlock)


class _MediaTarget(Protocol):
    """What a translation is aimed at, in any format."""

    row: ProviderSpec
    model: str
    findings: Diagnostics


A = TypeVar("A", bound=_MediaTarget)
Part = dict[str, Any]


def result_parts(
    block: ToolResultBlock,
    at: str,
    target: A,
    make: Callable[[Block, str, A], list[Part]],
    words: Callable[[str], Part],
) -> list[tuple[Block, list[Part]]]:
    """Translate what is in a result: each of its blocks with its parts.

    Args:
        make: translates one block, and refuses it in the target's findings.
        words: makes the part that is a text.
    """
    found: list[tuple[Block, list[Part]]] = []
    for index, item in enumerate(block.blocks):
        place = f"{at}.content[{index}]"
        if not isinstance(item, MEDIA):
            found.append((item, make(item, place, target)))
            continue
        notes, target.findings = target.findings, Diagnostics(target.findings.target)
        parts = make(item, place, target)
        trial, target.findings = target.findings, notes
        if trial.refused:
            parts = [words(note_left_out(item, notes, target.model))]
        else:
            notes.adopt(trial)
        found.append((item, parts))
    return found


def note_left_out(item: Block, findings: Diagnostics, model: str) -> str:
    """Name the medium that is left out, and return the words that take its place."""
    kind = kind_of(item)
    findings.drop(f"messages[*].content[*].content[*].{kind}")
    return f"[{kind} left out: {model} at {findings.target} cannot take it]"

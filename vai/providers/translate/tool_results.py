"""Turns of a conversation, the results of tools in them, and the media in those results.

Invariants:

* Every call has one result, in the turn after it. VAI refuses the request at the path of a call
  without a result, and at the path of a result without a call.
* A tool's result belongs to a session that must continue, and its next request would contain the
  same block again. So VAI replaces a medium there that the target does not accept by a short text,
  and names it; elsewhere VAI refuses the request, because the medium is part of the question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    "BlockAtPath",
    "PendingCall",
    "TurnGroup",
    "add_pending_call",
    "blocks_with_paths",
    "check_last_turn",
    "group_turns",
    "match_results",
    "note_left_out",
    "translate_result",
]

BlockAtPath = tuple[str, Block]
"""A block and its JSON path."""
TurnGroup = list[tuple[str, InputMessage]]
"""Neighbouring turns, all of the assistant or all of other roles, each with its JSON path."""


class PendingCall(NamedTuple):
    """A call that still lacks its result: its JSON path, and a note for its wire format."""

    at: str
    note: str = ""


def group_turns(request: MessageRequest) -> list[tuple[bool, TurnGroup]]:
    """The turns in alternating groups: those of the assistant (True) and all others (False)."""
    groups: list[tuple[bool, TurnGroup]] = []
    for index, turn in enumerate(request.messages):
        is_assistant = turn.role == "assistant"
        if not groups or groups[-1][0] is not is_assistant:
            groups.append((is_assistant, []))
        groups[-1][1].append((f"messages[{index}]", turn))
    return groups


def blocks_with_paths(at: str, turn: InputMessage) -> list[BlockAtPath]:
    """The blocks of a turn, with their paths."""
    return [(f"{at}.content[{index}]", block) for index, block in enumerate(turn.blocks)]


def add_pending_call(
    calls: dict[str, PendingCall],
    block: ToolUseBlock,
    at: str,
    diagnostics: Diagnostics,
    note: str = "",
) -> None:
    """Add to `calls` (by id) a call that needs a result in the next turn."""
    if block.id in calls:
        diagnostics.note_refused(
            f"{at}.id", "expected an id that no other tool_use of this turn has"
        )
    calls[block.id] = PendingCall(at, note)


def match_results(
    turns: TurnGroup,
    calls: Mapping[str, PendingCall],
    diagnostics: Diagnostics,
    *,
    chained: bool = False,
) -> list[tuple[str, ToolResultBlock]]:
    """The results in `turns`, each with its path, in the order of the calls.

    Args:
        chained: the server stores earlier turns, so that `turns` may have results for calls that
            are not in `calls`; they come last.
    """
    results: dict[str, tuple[str, ToolResultBlock]] = {}
    for at, turn in turns:
        if isinstance(turn.content, str):
            continue
        for path, block in blocks_with_paths(at, turn):
            if not isinstance(block, ToolResultBlock):
                continue
            if block.tool_use_id not in calls and not chained:
                what = "expected the id of a tool_use of the turn before"
            elif block.tool_use_id in results:
                what = "expected one tool_result for each tool_use; this one is answered"
            else:
                results[block.tool_use_id] = (path, block)
                continue
            diagnostics.note_refused(f"{path}.tool_use_id", what)
    for call_id, call in calls.items():
        if call_id not in results:
            diagnostics.note_refused(
                call.at, "expected a tool_result for this call in the turn after it"
            )
    if not results:  # nearly every turn
        return []
    order = [*calls, *(call_id for call_id in results if call_id not in calls)]
    return [results[call_id] for call_id in order if call_id in results]


def check_last_turn(request: MessageRequest, diagnostics: Diagnostics) -> None:
    """Refuse an assistant message at the end: only Anthropic can continue one."""
    last = len(request.messages) - 1
    if request.messages[last].role == "assistant":
        what = f"{diagnostics.target} cannot continue an assistant message; end with a user message"
        diagnostics.note_refused(f"messages[{last}]", what, "unsupported_prefill")


MEDIA: Final = (ImageBlock, DocumentBlock, AudioBlock, VideoBlock)


class _MediaTarget(Protocol):
    """The target of a translation into any wire format."""

    spec: ProviderSpec
    model: str
    diagnostics: Diagnostics


A = TypeVar("A", bound=_MediaTarget)
Part = dict[str, Any]


def translate_result(
    block: ToolResultBlock,
    at: str,
    target: A,
    make: Callable[[Block, str, A], list[Part]],
    make_text: Callable[[str], Part],
) -> list[tuple[Block, list[Part]]]:
    """Translate the content of a result: each of its blocks with its parts.

    Args:
        make: translates one block, or refuses it in the target's diagnostics.
        make_text: makes a text part.
    """
    translated: list[tuple[Block, list[Part]]] = []
    for index, item in enumerate(block.blocks):
        path = f"{at}.content[{index}]"
        if not isinstance(item, MEDIA):
            translated.append((item, make(item, path, target)))
            continue
        notes, target.diagnostics = target.diagnostics, Diagnostics(target.diagnostics.target)
        parts = make(item, path, target)
        trial, target.diagnostics = target.diagnostics, notes
        if trial.has_refusals:
            parts = [make_text(note_left_out(item, notes, target.model))]
        else:
            notes.merge_dropped(trial)
        translated.append((item, parts))
    return translated


def note_left_out(item: Block, diagnostics: Diagnostics, model: str) -> str:
    """Note a medium as dropped, and return the text that replaces it."""
    kind = kind_of(item)
    diagnostics.note_dropped(f"messages[*].content[*].content[*].{kind}")
    return f"[{kind} left out: {model} at {diagnostics.target} cannot take it]"

"""Images, documents, sound and film in the results of tools.

Invariants: a tool's result belongs to a session that has to go on, and its next request would
hold the same block again. So a medium there that the target cannot take becomes a few words, and
is named; anywhere else in a request it refuses the request, because the question is about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.texts import kind_of
from vai.types.blocks import (
    AudioBlock,
    Block,
    DocumentBlock,
    ImageBlock,
    ToolResultBlock,
    VideoBlock,
)
from vai.types.provider import ProviderSpec

__all__ = ["MEDIA", "note_left_out", "result_parts"]

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

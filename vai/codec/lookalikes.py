"""Characters that people take for spaces, quotes or signs, and that no parser takes for them.

They come with text that is pasted from a page or a word processor. Invariants: pure; a character
that cannot be seen is named by its number, and nothing else of a text is quoted.
"""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["describe_lookalike", "describe_odd_character"]

_TYPOGRAPHIC: Final = frozenset(
    "`\u00ab\u00b4\u00bb\u2018\u2019\u201a\u201c\u201d\u201e\u2039\u203a"
)
_MINUS: Final = "\u2212"


def describe_odd_character(character: str) -> str | None:
    """Why a quote or a space is none; None for every other character."""
    if character in _TYPOGRAPHIC:
        return "expected straight quotes, not typographic ones"
    if character.isascii():
        is_odd = character < " " and character not in "\t\n"
    else:
        is_odd = unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cf", "Cc")
    if is_odd:
        return (
            f"an invisible character (U+{ord(character):04X}) stands here; "
            "delete it, or write a plain space"
        )
    return None


def describe_lookalike(rest: str) -> str | None:
    """Why a parser stopped before `rest`, where that begins with what only looks right."""
    if not rest:
        return None
    if odd := describe_odd_character(rest[0]):
        return odd
    if unicodedata.normalize("NFKC", rest[0]) != rest[0] or rest[0] == _MINUS:
        return "expected a plain ASCII character here, not one that looks like it"
    return None

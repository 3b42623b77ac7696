"""What a translation could not carry over, and the sentences in which an adapter says so.

Invariants:

* Nothing is lost in silence. What changes the meaning of a request refuses it, and all such
  problems are named at once; an optional parameter is left out and listed.
* A client chooses the names of members and their number, so each note takes the same time however
  many there are, and a report stays short: the first names, each of a bounded length, and the
  number of the others.
* A type that the Messages API does not know is a mistake of the request's, and the types that it
  knows are listed; one of those is named as what this provider cannot take. A type that the
  client chose freely is never repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from vai.errors import InvalidRequest
from vai.providers.translate.texts import kind_of
from vai.types.blocks import BLOCK_TYPES, OTHER_BLOCK_TYPES, SOURCE_TYPES, Block, Source

__all__ = ["MAX_DROPPED", "Diagnostics", "refuse_block", "refuse_source", "refuse_tool"]

MAX_DROPPED: Final = 32
"""Dropped members that are named at most; the others are counted."""
_MAX_HEADER_CHARACTERS: Final = 900
"""Characters of these names together: they travel in one header field."""
_MAX_COUNTED: Final = 10_000
"""Distinct dropped members that are counted exactly."""
_MAX_PROBLEMS: Final = 20
"""Problems that are named; the others are counted."""
_MAX_NAME: Final = 128
"""Characters of a path."""
_MAX_SENTENCE: Final = 512
"""Characters of what was expected at a path."""


class Diagnostics:
    """Collects the problems and the dropped parameters of one request.

    Args:
        target: what the request is translated for, as a human would name it.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self._dropped: dict[str, None] = {}
        self._problems: list[tuple[str, str, str | None]] = []
        self._refused = 0

    @property
    def has_refusals(self) -> bool:
        """Whether there are problems."""
        return self._refused > 0

    def merge_dropped(self, other: Diagnostics) -> None:
        """Take over the dropped paths of `other`."""
        for path in other._dropped:
            self.note_dropped(path)

    @property
    def dropped_paths(self) -> list[str]:
        """The paths of what was left out, in the order of the notes.

        `MAX_DROPPED` are named; an entry of the form ``and 7 more`` stands for the others.
        """
        names: list[str] = []
        left = _MAX_HEADER_CHARACTERS
        for name in islice(self._dropped, MAX_DROPPED):
            shown = _shorten_text(name, _MAX_NAME)
            left -= len(shown)
            if left < 0:
                break
            names.append(shown)
        more = len(self._dropped) - len(names)
        if more:
            at_least = "+" if len(self._dropped) >= _MAX_COUNTED else ""
            names.append(f"and {more}{at_least} more")
        return names

    def note_dropped(self, path: str) -> None:
        """Note the optional parameter at `path` as left out. ``[*]`` stands for every index."""
        if len(self._dropped) < _MAX_COUNTED:
            self._dropped[path] = None

    def note_refused(self, path: str, what: str, code: str | None = None) -> None:
        """Refuse the request for what is at `path`. `what` says what was expected."""
        self._refused += 1
        if len(self._problems) < _MAX_PROBLEMS:
            problem = _shorten_text(path, _MAX_NAME), _shorten_text(what, _MAX_SENTENCE), code
            self._problems.append(problem)

    def raise_if_refused(self) -> None:
        """Refuse the request if a problem was noted.

        Raises:
            InvalidRequest: there are problems. The first ones are named; `param` and `code`
                are those of the first.
        """
        if not self._problems:
            return
        shown = [f"{path}: {what}" for path, what, _ in self._problems]
        if self._refused > len(shown):
            shown.append(f"and {self._refused - len(shown)} more")
        first, _, code = self._problems[0]
        raise InvalidRequest("; ".join(shown), param=first, code=code)


def _shorten_text(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


_CONTENT: Final = "unsupported_content_block"
_OF_DOCUMENTS: Final = ("text", "content")
"""Types of sources that documents alone have."""
_CALLERS: Final = ("custom", "bash", "text_editor", "memory")
"""Types of tools that the client runs, so that every provider has them."""


def refuse_block(
    block: Block, at: str, diagnostics: Diagnostics, *, what: str = "cannot be sent to {}"
) -> None:
    """Refuse a block at `at`. `what` says what cannot be done with it, ``{}`` being the target."""
    kind = kind_of(block)
    if kind in BLOCK_TYPES or kind in OTHER_BLOCK_TYPES or kind.endswith("_tool_result"):
        reason = what.replace("{}", diagnostics.target)
        name = kind if len(kind) <= _MAX_TYPE and kind.isidentifier() else "hosted tool's result"
        diagnostics.note_refused(at, f"a {name} block {reason}", _CONTENT)
    else:
        block_types = ", ".join(BLOCK_TYPES)
        diagnostics.note_refused(
            f"{at}.type", f"unknown block type; expected one of {block_types}", _CONTENT
        )


_MAX_TYPE: Final = 64
"""Characters of a block's type that is repeated."""


def refuse_source(
    source: Source, at: str, diagnostics: Diagnostics, what: str, *, is_document: bool = False
) -> None:
    """Refuse the medium at `at` for its source; `what` says what its target takes."""
    if source.type in SOURCE_TYPES:
        diagnostics.note_refused(at, what.replace("{}", diagnostics.target), _CONTENT)
        return
    source_types = [kind for kind in SOURCE_TYPES if is_document or kind not in _OF_DOCUMENTS]
    words = f"unknown source type; expected one of {', '.join(source_types)}"
    diagnostics.note_refused(f"{at}.source.type", words, _CONTENT)


def refuse_tool(
    at: str, diagnostics: Diagnostics, provider_name: str, hosted: Iterable[str]
) -> None:
    """Refuse a tool of a type that the provider does not have.

    Args:
        provider_name: the provider, or the model at it.
        hosted: the types of tools that it runs itself.
    """
    tool_types = ", ".join(dict.fromkeys((*_CALLERS, *sorted(hosted))))
    words = f"{provider_name} has no tool of this type; expected one of {tool_types}"
    diagnostics.note_refused(at, words, "unsupported_tool_type")

"""Collects what a translation drops or refuses, and writes the messages for the client.

Invariants:

* The translation loses nothing silently. It refuses the request for a part that changes its
  meaning, and names all such problems at once; it drops and lists an optional parameter.
* A client chooses the names of members and their number, so each note takes constant time,
  and a report stays short: the first names, each of a bounded length, and the
  number of the others.
* A type that the Messages API does not have is an error of the request, and the message lists the
  valid types. A valid type is named as one that this provider does not accept. The message never
  repeats a type that the client chose freely.
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
"""The most dropped members that are named; the others are counted."""
_MAX_HEADER_CHARACTERS: Final = 900
"""Characters of these names together: the gateway sends them in one header field."""
_MAX_COUNTED: Final = 10_000
"""Distinct dropped members that are counted exactly."""
_MAX_PROBLEMS: Final = 20
"""The most problems that are named; the others are counted."""
_MAX_NAME: Final = 128
"""Characters of a path."""
_MAX_SENTENCE: Final = 512
"""Characters of what was expected at a path."""


class Diagnostics:
    """Collects the problems and the dropped parameters of one request.

    Args:
        target: the display name of the provider that the request is translated for.
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
        """Add the dropped paths of `other`."""
        for path in other._dropped:
            self.note_dropped(path)

    @property
    def dropped_paths(self) -> list[str]:
        """The paths of dropped members, in the order of the notes.

        `MAX_DROPPED` are named; an entry of the form ``and 7 more`` stands for the others.
        """
        names: list[str] = []
        if not self._dropped:
            return names
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
        """Note the optional parameter at `path` as dropped. ``[*]`` stands for every index."""
        if len(self._dropped) < _MAX_COUNTED:
            self._dropped[path] = None

    def note_refused(self, path: str, what: str, code: str | None = None) -> None:
        """Refuse the request for the value at `path`. `what` states what was expected."""
        self._refused += 1
        if len(self._problems) < _MAX_PROBLEMS:
            problem = _shorten_text(path, _MAX_NAME), _shorten_text(what, _MAX_SENTENCE), code
            self._problems.append(problem)

    def raise_if_refused(self) -> None:
        """Refuse the request if there are problems.

        Raises:
            InvalidRequest: there are problems. It names the first ones; `param` and `code`
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
"""Types of sources that only documents have."""
_CLIENT_TOOLS: Final = ("custom", "bash", "text_editor", "memory")
"""Types of tools that the client runs, so that every provider accepts them."""


def refuse_block(
    block: Block, at: str, diagnostics: Diagnostics, *, what: str = "cannot be sent to {}"
) -> None:
    """Refuse a block at `at` with the reason `what`, in which ``{}`` stands for the target."""
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
"""The most characters of a block's type that a message repeats."""


def refuse_source(
    source: Source, at: str, diagnostics: Diagnostics, what: str, *, is_document: bool = False
) -> None:
    """Refuse the medium at `at` for its source; `what` states what the target accepts."""
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
        provider_name: the name of the provider, or of the model at it.
        hosted: the types of the provider's server tools.
    """
    tool_types = ", ".join(dict.fromkeys((*_CLIENT_TOOLS, *sorted(hosted))))
    words = f"{provider_name} has no tool of this type; expected one of {tool_types}"
    diagnostics.note_refused(at, words, "unsupported_tool_type")

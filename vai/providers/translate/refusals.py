"""What an adapter says of a block, a source or a tool that its format has no form for.

Invariants: a type that the Messages API does not know is a mistake of the request's, and the
known ones are listed; a known one is named as what this provider cannot be sent. A type that the
caller chose freely is never repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.texts import kind_of
from vai.types.blocks import BLOCK_TYPES, OTHER_BLOCK_TYPES, SOURCE_TYPES, Block, Source

__all__ = ["refuse_block", "refuse_source", "refuse_tool"]

_CONTENT: Final = "unsupported_content_block"
_OF_DOCUMENTS: Final = ("text", "content")
"""Types of sources that documents alone have."""
_CALLERS: Final = ("custom", "bash", "text_editor", "memory")
"""Types of tools that the caller runs, so that every provider has them."""


def refuse_block(
    block: Block, at: str, findings: Diagnostics, *, what: str = "cannot be sent to {}"
) -> None:
    """Refuse a block at `at`. `what` says what cannot be done with it, ``{}`` being the target."""
    kind = kind_of(block)
    if kind in BLOCK_TYPES or kind in OTHER_BLOCK_TYPES or kind.endswith("_tool_result"):
        said = what.replace("{}", findings.target)
        name = kind if len(kind) <= _MAX_NAME and kind.isidentifier() else "hosted tool's result"
        findings.refuse(at, f"a {name} block {said}", _CONTENT)
    else:
        known = ", ".join(BLOCK_TYPES)
        findings.refuse(f"{at}.type", f"unknown block type; expected one of {known}", _CONTENT)


_MAX_NAME: Final = 64
"""Characters of a block's type that is repeated."""


def refuse_source(
    source: Source, at: str, findings: Diagnostics, what: str, *, is_document: bool = False
) -> None:
    """Refuse the medium at `at` for its source; `what` says what its target takes."""
    if source.type in SOURCE_TYPES:
        findings.refuse(at, what.replace("{}", findings.target), _CONTENT)
        return
    known = [kind for kind in SOURCE_TYPES if is_document or kind not in _OF_DOCUMENTS]
    words = f"unknown source type; expected one of {', '.join(known)}"
    findings.refuse(f"{at}.source.type", words, _CONTENT)


def refuse_tool(at: str, findings: Diagnostics, who: str, hosted: Iterable[str]) -> None:
    """Refuse a tool of a type that the provider does not have.

    Args:
        who: the provider, or the model at it.
        hosted: the types of tools that it runs itself.
    """
    known = ", ".join(dict.fromkeys((*_CALLERS, *sorted(hosted))))
    words = f"{who} has no tool of this type; expected one of {known}"
    findings.refuse(at, words, "unsupported_tool_type")

"""Names in a form that the server accepts.

They are pure functions of the client's names, so a conversation keeps its bytes from turn to
turn. The adapter keeps a table for each request, which restores the client's names.
For ids of calls see `vai.providers.decode.call_ids`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["MAX_NAME", "anonymous_user_id", "legal_tool_name"]

MAX_NAME: Final = 64
"""https://github.com/openai/openai-openapi (2026-08-21)."""
_LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_DIGITS: Final = 8


def legal_tool_name(name: str) -> str:
    """A tool's name, changed only if the server would refuse it."""
    return name if _LEGAL.fullmatch(name) else _hash_name(name)


def anonymous_user_id(user_id: str) -> str:
    """An id that identifies no person: the digest of any id that may be an address or a name."""
    if _LEGAL.fullmatch(user_id):
        return user_id
    return hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:MAX_NAME]


def _hash_name(text: str) -> str:
    # "surrogatepass": a lone surrogate in a name must not raise here.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{_ILLEGAL.sub('_', text)[: MAX_NAME - _DIGITS - 1]}_{digest}"

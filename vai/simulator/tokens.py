"""The simulator's tokens: a token is a short run of letters with the blank before it.

Invariants: the tokens of a text, joined, are the text. Output tokens are counted exactly, because
a stream is cut into them. Input tokens are estimated by length, because splitting a 100 KB prompt
costs more than serving it.
"""

from __future__ import annotations

import re

__all__ = ["estimate_tokens", "split_tokens"]

_TOKEN = re.compile(r"\s*\w{1,5}|\s*[^\w\s]|\s+")


def split_tokens(text: str) -> list[str]:
    """Cut `text` into tokens; ``"".join`` of them gives `text` again."""
    return _TOKEN.findall(text)


def estimate_tokens(size: int) -> int:
    """Tokens of an input of `size` bytes: a quarter, rounded up."""
    return (size + 3) // 4

"""What was written in place of a key, or around it.

Invariants: pure; the text names the mistake and never quotes the key. Only what no key can be is a
fault: a key that a server makes up may hold every visible character.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["key_fault"]

_FAULTS: Final = (
    (
        re.compile(r"(['\"]).*\1", re.DOTALL),
        "expected no quotes around the key; files of variables keep those that are written there",
    ),
    (re.compile(r"bearer\s.*", re.IGNORECASE), "expected the key alone, without Bearer before it"),
    (
        re.compile(r"\$[A-Za-z_]\w*|%[A-Za-z_]\w*%|\$\([^)]*\)"),
        "expected the key, or ${NAME} in place of which the variable NAME is put",
    ),
    (
        re.compile(r"file:.*|(?:~|\.\.?)/.*|/(?:run|etc|var|home|root|secrets)/.*", re.IGNORECASE),
        "expected the key, or ${file:/path/of/the/file} in place of which that file's text is put",
    ),
)


def key_fault(key: str) -> str | None:
    """Why `key` cannot be one; None where it may be."""
    return next((text for pattern, text in _FAULTS if pattern.fullmatch(key)), None)

"""A line for the operator of the group, on standard error."""

from __future__ import annotations

import sys

__all__ = ["write_line"]


def write_line(text: str) -> None:
    """Write `text` at once, with the program's name before it.

    It bypasses the log, so that the operator sees it when nothing else works.
    """
    sys.stderr.write(f"vai: {text}\n")
    sys.stderr.flush()

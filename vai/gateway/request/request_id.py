"""The name of a request, in its answer, its log line and every error about it."""

from __future__ import annotations

import os
import re

__all__ = ["new_request_id", "safe_request_id"]

_SAFE = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def new_request_id() -> str:
    """A name nobody else has: ``req_`` and 20 hexadecimal digits."""
    return "req_" + os.urandom(10).hex()


def safe_request_id(offered: str | None) -> str | None:
    """The caller's own name for its request, where it is safe to repeat."""
    return offered if offered is not None and _SAFE.fullmatch(offered) else None

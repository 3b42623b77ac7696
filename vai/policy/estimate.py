"""Tokens nobody has counted yet.

Used for reservations before an answer and for exchanges whose usage never came. About
four bytes of text are a token in the languages and tokenizers in use; an estimate is
always marked as one.
"""

from __future__ import annotations

__all__ = ["BYTES_PER_TOKEN", "FRAME_OVERHEAD", "input_tokens", "output_tokens"]

BYTES_PER_TOKEN = 4
FRAME_OVERHEAD = 110
"""Bytes of an SSE frame of the Messages API that are not the model's text."""


def input_tokens(body_bytes: int) -> int:
    """Tokens of a request body of this many bytes."""
    return max(1, body_bytes // BYTES_PER_TOKEN)


def output_tokens(forwarded_bytes: int, frames: int) -> int:
    """Tokens of what was streamed to the caller, given its bytes and its frames."""
    return max(frames, (forwarded_bytes - frames * FRAME_OVERHEAD) // BYTES_PER_TOKEN)

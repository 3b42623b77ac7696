"""Whose reasoning a block is.

A signature means something only to the provider that made it. Reasoning of a provider
without portable signatures carries an envelope, ``vai1.<provider>.<kind>.<payload>``,
so that its own adapter can send it back and every other leaves it out. Anthropic's
signatures travel without an envelope: histories stay usable at the real API.
"""

from __future__ import annotations

from typing import Final

from vai.types.blocks import RedactedThinkingBlock, ThinkingBlock

__all__ = ["made_by", "payload", "seal"]

_MARK: Final = "vai1"


def seal(provider: str, kind: str, payload: str = "") -> str:
    """The envelope around an upstream's `payload`, which is kept untouched."""
    return f"{_MARK}.{provider}.{kind}.{payload}"


def payload(signature: str) -> str | None:
    """What `seal` was given, or None without an envelope."""
    parts = signature.split(".", 3)
    return parts[3] if len(parts) == 4 and parts[0] == _MARK else None


def made_by(block: ThinkingBlock | RedactedThinkingBlock) -> str | None:
    """The provider in the block's envelope.

    A signature without an envelope is Anthropic's; no signature at all is nobody's.
    """
    text = block.data if isinstance(block, RedactedThinkingBlock) else block.signature
    if not text:
        return None
    mark, _, rest = text.partition(".")
    if mark == _MARK and "." in rest:
        return rest.partition(".")[0]
    return "anthropic"

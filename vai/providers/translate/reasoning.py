"""Reasoning in the history of a request: its provider, and the request without it.

Invariants:

* VAI may always leave reasoning out. It is bound to its provider, its model and
  sometimes to every word before it; where a provider refuses it, the request works without.
  All text, calls and results stay.
* A signature is valid only at the provider that made it. Reasoning of a provider without
  portable signatures has a wrapper, ``vai1.<provider>.<kind>.<payload>``, so that its own
  adapter can send it back and every other adapter leaves it out. Anthropic's signatures have no
  wrapper: histories stay usable at the real API.
"""

from __future__ import annotations

from typing import Final

import msgspec

from vai.types.blocks import Block, RedactedThinkingBlock, ThinkingBlock
from vai.types.request import InputMessage, MessageRequest

__all__ = ["origin_of", "unwrap_signature", "without_reasoning", "wrap_signature"]


def without_reasoning(request: MessageRequest) -> MessageRequest | None:
    """`request` without thinking blocks in its messages; None if it has none.

    It also removes a message with only reasoning, because every provider refuses an empty
    message. It returns None if no message would remain.
    """
    messages = [_drop_reasoning(message) for message in request.messages]
    if all(after is before for after, before in zip(messages, request.messages, strict=True)):
        return None
    remaining = [message for message in messages if message is not None]
    return msgspec.structs.replace(request, messages=remaining) if remaining else None


def _drop_reasoning(message: InputMessage) -> InputMessage | None:
    if isinstance(message.content, str) or not any(map(_is_reasoning, message.content)):
        return message
    remaining = [block for block in message.content if not _is_reasoning(block)]
    return msgspec.structs.replace(message, content=remaining) if remaining else None


def _is_reasoning(block: Block) -> bool:
    return isinstance(block, ThinkingBlock | RedactedThinkingBlock)


_WRAPPER_MARK: Final = "vai1"


def wrap_signature(provider: str, kind: str, payload: str = "") -> str:
    """A provider's `payload`, unchanged, in a wrapper."""
    return f"{_WRAPPER_MARK}.{provider}.{kind}.{payload}"


def unwrap_signature(signature: str) -> str | None:
    """The payload that `wrap_signature` wrapped; None without a wrapper."""
    parts = signature.split(".", 3)
    return parts[3] if len(parts) == 4 and parts[0] == _WRAPPER_MARK else None


def origin_of(block: ThinkingBlock | RedactedThinkingBlock) -> str | None:
    """The provider in the block's wrapper.

    A signature without a wrapper is Anthropic's; a block without a signature has no origin.
    """
    text = block.data if isinstance(block, RedactedThinkingBlock) else block.signature
    if not text:
        return None
    mark, _, rest = text.partition(".")
    if mark == _WRAPPER_MARK and "." in rest:
        return rest.partition(".")[0]
    return "anthropic"

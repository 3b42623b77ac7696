"""A request without the reasoning its history holds.

Invariants: reasoning may always be left out. It is bound to its maker, its
model and sometimes to every word before it; where a provider refuses it, the request
works without. Everything that was said, called or answered stays.
"""

from __future__ import annotations

import msgspec

from vai.types.blocks import Block, RedactedThinkingBlock, ThinkingBlock
from vai.types.request import InputMessage, MessageRequest

__all__ = ["without_reasoning"]


def without_reasoning(request: MessageRequest) -> MessageRequest | None:
    """`request` without thinking blocks in its messages; None if it has none.

    A message that was nothing but reasoning goes too: an empty one is refused
    everywhere. Where that would leave no message at all, the answer is None.
    """
    messages = [_without(message) for message in request.messages]
    if all(after is before for after, before in zip(messages, request.messages, strict=True)):
        return None
    kept = [message for message in messages if message is not None]
    return msgspec.structs.replace(request, messages=kept) if kept else None


def _without(message: InputMessage) -> InputMessage | None:
    if isinstance(message.content, str) or not any(map(_is_reasoning, message.content)):
        return message
    said = [block for block in message.content if not _is_reasoning(block)]
    return msgspec.structs.replace(message, content=said) if said else None


def _is_reasoning(block: Block) -> bool:
    return isinstance(block, ThinkingBlock | RedactedThinkingBlock)

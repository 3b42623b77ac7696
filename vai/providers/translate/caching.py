"""What keeps a caller's requests on servers that have seen their beginning before."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from vai.types.base import to_wire
from vai.types.request import MessageRequest

__all__ = ["cache_key"]

_LENGTH: Final = 32


def cache_key(request: MessageRequest) -> str | None:
    """A name for the beginning of `request`: its user, instructions and tools.

    None where the caller has not asked for caching anywhere: a key gathers requests on
    few servers, which is a disadvantage where nothing is shared.
    """
    if not _asks(request):
        return None
    user = (request.metadata or {}).get("user_id")
    beginning = [user, to_wire(request.system), to_wire(request.tools)]
    return hashlib.sha256(msgspec.json.encode(beginning)).hexdigest()[:_LENGTH]


def _asks(request: MessageRequest) -> bool:
    if request.cache_control:
        return True
    blocks = [*request.system] if isinstance(request.system, list) else []
    for turn in request.messages:
        if not isinstance(turn.content, str):
            blocks += turn.content
    marked = [*blocks, *(request.tools or ())]
    return any(getattr(item, "cache_control", None) for item in marked)

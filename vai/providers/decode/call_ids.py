"""Ids of tool calls, from the server to the client and back.

The Messages API allows `^[a-zA-Z0-9_-]+$` and requires every id of a conversation to be unique.
Servers send empty ids, ids with dots and colons, and the same id in every turn. VAI encodes an
unsuitable id as ``toolu_vai_<server>_<number>_<the id in base64url>``. It keeps no table: the
history that the client sends back is enough to restore the server's own id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from vai.types.blocks import ToolUseBlock
from vai.types.request import InputMessage

__all__ = ["MARK", "CallIds", "collect_call_ids", "decode_call_id", "is_legal", "to_upstream_id"]

MARK: Final = "toolu_vai_"
"""The prefix of ids that encode a server's id."""

_LEGAL: Final = re.compile(r"[a-zA-Z0-9_-]+")
_PLAIN: Final = re.compile(r"[a-zA-Z0-9_-]{1,40}")
"""Ids that clients receive unchanged: some APIs refuse longer ones."""
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")
_SHOWN: Final = re.compile(rf"{MARK}([a-z2-7]{{6}})_\d+_([a-zA-Z0-9_-]+)")
_HASHED: Final = 8
_SHORT: Final = 9
_SHORT_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class CallIds:
    """The ids of the calls in one response.

    Args:
        provider: the id of the provider that sends the response.
        exchange: calls without an id get one that derives from this.
        taken: the ids in the history.
    """

    def __init__(self, provider: str, exchange: str, taken: Iterable[str] = ()) -> None:
        self._provider = provider
        self._exchange = exchange
        self._taken = set(taken)
        self._count = 0

    def to_client_id(self, upstream_id: Any) -> str:
        """The client's id for the next call.

        Args:
            upstream_id: the server's id, of any type.
        """
        number, self._count = self._count, self._count + 1
        shown = _as_text(upstream_id)
        if not shown:
            shown = f"toolu_{self._exchange}_{number}"
        elif not is_legal(shown) or shown in self._taken:
            shown = self._encode_id(shown)
        self._taken.add(shown)
        return shown

    def _encode_id(self, id: str) -> str:
        text = base64.urlsafe_b64encode(id.encode("utf-8", "surrogatepass")).decode().rstrip("=")
        # The number of ids taken so far is nearly always a free number.
        number = len(self._taken)
        while (shown := f"{MARK}{_provider_tag(self._provider)}_{number}_{text}") in self._taken:
            number += 1
        return shown


def collect_call_ids(messages: Iterable[InputMessage]) -> set[str]:
    """The ids of all calls in a history."""
    return {
        block.id
        for turn in messages
        if turn.role == "assistant" and not isinstance(turn.content, str)
        for block in turn.content
        if isinstance(block, ToolUseBlock)
    }


def is_legal(id: Any) -> bool:
    """Whether every API accepts `id` unchanged, and it encodes no other id."""
    return isinstance(id, str) and bool(_PLAIN.fullmatch(id)) and not id.startswith(MARK)


def decode_call_id(id: str, provider: str) -> str | None:
    """The id of `provider` that the client's `id` encodes.

    None if `id` encodes no other id, or one of another provider.
    """
    match = _SHOWN.fullmatch(id) if id.startswith(MARK) else None
    if match is None or match[1] != _provider_tag(provider):
        return None
    text = match[2]
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return data.decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def to_upstream_id(id: str, provider: str, most: int = 64, *, short: bool = False) -> str:
    """A call id that `provider` accepts: its own, or one within its rules.

    Args:
        most: the maximum length of an id, in characters.
        short: ids must be nine letters and digits, as Mistral's are.
    """
    if id.startswith(MARK) and (original := decode_call_id(id, provider)) is not None:
        return original
    if short:
        return id if _SHORT_ID.fullmatch(id) else _short_id(id)
    if len(id) <= most and _LEGAL.fullmatch(id):
        return id
    digest = hashlib.sha256(_to_bytes(id)).hexdigest()[:_HASHED]
    return f"{_ILLEGAL.sub('_', id)[: most - _HASHED - 1]}_{digest}"


def _short_id(id: str) -> str:
    number = int.from_bytes(hashlib.sha256(_to_bytes(id)).digest(), "big")
    digits = []
    for _ in range(_SHORT):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def _to_bytes(id: str) -> bytes:
    return id.encode("utf-8", "surrogatepass")


def _provider_tag(provider: str) -> str:
    digest = hashlib.sha256(provider.encode()).digest()
    return base64.b32encode(digest)[:6].decode().lower()


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""

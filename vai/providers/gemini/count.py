"""Counting with Gemini and with Code Assist: ``:countTokens`` in place of the generation.

Gemini's counter takes the whole request. That of Code Assist takes contents alone, so the
system's words are put in front of them, and tools are left to the caller to estimate.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.types.provider import WireRequest

__all__ = ["to_count", "to_count_contents"]


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Content(msgspec.Struct):
    parts: list[msgspec.Raw] = []


class _Request(msgspec.Struct, rename="camel"):
    contents: list[msgspec.Raw] = []
    system_instruction: _Content | None = None


class _Wrapped(msgspec.Struct):
    request: _Request


_unwrap: Final = msgspec.json.Decoder(_Wrapped).decode


def to_count(wire: WireRequest, model: str) -> WireRequest:
    """The question to Gemini's counter, given the request for an answer."""
    request: dict[str, Any] = {"model": f"models/{model}", **_members(wire.body)}
    return _asked(wire, {"generateContentRequest": request})


def to_count_contents(wire: WireRequest, model: str) -> WireRequest:
    """The question to Code Assist's counter. It leaves the tools out."""
    asked = _unwrap(wire.body).request
    contents: list[Any] = list(asked.contents)
    if asked.system_instruction is not None and asked.system_instruction.parts:
        contents.insert(0, {"role": "user", "parts": asked.system_instruction.parts})
    return _asked(wire, {"request": {"model": f"models/{model}", "contents": contents}})


def _asked(wire: WireRequest, body: dict[str, Any]) -> WireRequest:
    # The method stands behind the last colon; a model's name may hold others.
    path = wire.target.partition("?")[0].rpartition(":")[0]
    return msgspec.structs.replace(
        wire, target=f"{path}:countTokens", body=msgspec.json.encode(body), streams=False
    )

"""Counting with Gemini and with Code Assist: ``:countTokens`` in place of the generation.

Gemini's counter takes the complete request. That of Code Assist takes contents alone, so the
system's words are put in front of them, and the gateway estimates the tools.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.types.provider import WireRequest

__all__ = ["to_code_assist_count_request", "to_count_request"]


_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Content(msgspec.Struct):
    parts: list[msgspec.Raw] = []


class _Request(msgspec.Struct, rename="camel"):
    contents: list[msgspec.Raw] = []
    system_instruction: _Content | None = None


class _Wrapped(msgspec.Struct):
    request: _Request


_decode_wrapped: Final = msgspec.json.Decoder(_Wrapped).decode


def to_count_request(wire: WireRequest, model: str) -> WireRequest:
    """The request to Gemini's counter, from the request for an answer."""
    request: dict[str, Any] = {"model": f"models/{model}", **_decode_members(wire.body)}
    return _replace_body(wire, {"generateContentRequest": request})


def to_code_assist_count_request(wire: WireRequest, model: str) -> WireRequest:
    """The request to Code Assist's counter. It leaves the tools out."""
    request = _decode_wrapped(wire.body).request
    contents: list[Any] = list(request.contents)
    if request.system_instruction is not None and request.system_instruction.parts:
        contents.insert(0, {"role": "user", "parts": request.system_instruction.parts})
    return _replace_body(wire, {"request": {"model": f"models/{model}", "contents": contents}})


def _replace_body(wire: WireRequest, body: dict[str, Any]) -> WireRequest:
    # The method stands behind the last colon; a model's name may hold others.
    path = wire.target.partition("?")[0].rpartition(":")[0]
    return msgspec.structs.replace(
        wire, target=f"{path}:countTokens", body=msgspec.json.encode(body), streams=False
    )

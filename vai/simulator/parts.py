"""The parts of a response, before a wire format renders them.

Invariants: a part states what a model does, independent of how a provider writes it. A wire format
that has no form for a part leaves it out. Scripts name the parts by these tags.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final, Literal

import msgspec
import orjson

__all__ = [
    "CallPart",
    "CitedPage",
    "CodeRunPart",
    "DictatedUsage",
    "ImagePart",
    "Part",
    "RefusalPart",
    "SearchPart",
    "SimulatedResponse",
    "Stop",
    "TextPart",
    "ThoughtPart",
    "is_signature",
    "make_signature",
]

Stop = Literal["end", "length", "stop", "tool", "refusal", "pause", "failed", "continue"]

_PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
"""A PNG of one pixel."""
_HALF: Final = 24
"""Bytes of each half of a signature."""


class CitedPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page that a search found."""

    url: str
    title: str = ""


class ThoughtPart(msgspec.Struct, tag="thinking", forbid_unknown_fields=True):
    """Reasoning before the response; `hidden` sends its signature without its text."""

    text: str
    hidden: bool = False


class TextPart(msgspec.Struct, tag="text", forbid_unknown_fields=True):
    """Plain words, each source cited for the whole of them."""

    text: str
    sources: list[CitedPage] = []


class RefusalPart(msgspec.Struct, tag="refusal", forbid_unknown_fields=True):
    """The words of a model that declines."""

    text: str


class CallPart(msgspec.Struct, tag="tool", forbid_unknown_fields=True):
    """A tool call. The arguments are JSON text, cut at the token limit."""

    name: str
    arguments: str = "{}"
    input_object: dict[str, Any] | None = msgspec.field(default=None, name="input")
    """The arguments as a script states them."""

    def __post_init__(self) -> None:
        if self.input_object is not None:
            self.arguments, self.input_object = orjson.dumps(self.input_object).decode(), None

    @property
    def input(self) -> Any:
        try:
            return orjson.loads(self.arguments)
        except orjson.JSONDecodeError:
            return {}


class SearchPart(msgspec.Struct, tag="search", forbid_unknown_fields=True):
    """A web search as a server tool."""

    query: str
    sources: list[CitedPage] = []


class CodeRunPart(msgspec.Struct, tag="code", forbid_unknown_fields=True):
    """Python code that a server tool ran."""

    code: str
    output: str = ""
    failed: bool = False


class ImagePart(msgspec.Struct, tag="image", forbid_unknown_fields=True):
    """A picture that the model made, in base64."""

    data: str = _PIXEL
    media_type: str = "image/png"


Part = ThoughtPart | TextPart | RefusalPart | CallPart | SearchPart | CodeRunPart | ImagePart


class DictatedUsage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Figures that replace the counted ones. `input` includes tokens of cache reads and writes."""

    input: int | None = None
    output: int | None = None
    thinking: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


class SimulatedResponse(msgspec.Struct):
    """The parts in their order, and why they end."""

    parts: list[Part]
    stop: Stop
    stop_sequence: str | None
    tokens: int
    """All output, reasoning included."""
    thought_tokens: int


def make_signature(text: str) -> str:
    """An opaque value, which `is_signature` recognises."""
    first = hashlib.sha256(text.encode("utf-8", "replace")).digest()[:_HALF]
    return base64.urlsafe_b64encode(first + _second_half(first)).decode()


def is_signature(value: Any) -> bool:
    """Whether `value` is from `make_signature`, complete and unchanged."""
    try:
        raw = base64.urlsafe_b64decode(value)
    except (TypeError, ValueError):
        return False
    return len(raw) == 2 * _HALF and raw[_HALF:] == _second_half(raw[:_HALF])


def _second_half(first: bytes) -> bytes:
    return hashlib.sha256(b"sealed by the simulator\0" + first).digest()[:_HALF]

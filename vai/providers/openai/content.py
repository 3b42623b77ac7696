"""`content` and `images` of a Chat Completions answer: strings, objects and lists of parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from vai.types.blocks import ImageBlock, Source

__all__ = ["Span", "image", "plain", "spans"]

Span = tuple[str, Any]
"""The kind of a part (``text``, ``thinking``, ``refusal``, ``image``), and what it says."""

_DATA_URL: Final = re.compile(r"data:(image/[\w.+-]+);base64,", re.IGNORECASE)
_THOUGHTS: Final = ("thinking", "reasoning")
_IMAGES: Final = ("image", "image_url", "output_image")


def plain(value: Any) -> str:
    """The text of a string, a ``{"text": ...}`` or a list of such parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return plain(value.get("text"))
    if isinstance(value, list):
        return "".join(plain(part) for part in value)
    return ""


def spans(content: Any) -> Iterator[Span]:
    """What `content` says, part by part. A part of nothing, or of an unknown kind, is left out."""
    if isinstance(content, str):
        if content:
            yield "text", content
    elif isinstance(content, list):
        for part in content:
            yield from spans(part)
    elif isinstance(content, dict):
        yield from _span(content)


def _span(part: dict[str, Any]) -> Iterator[Span]:
    kind = part.get("type")
    if kind in _THOUGHTS:
        # Mistral: {"type": "thinking", "thinking": [{"type": "text", "text": ...}]}
        text = plain(part.get("thinking") or part.get("reasoning") or part)
        if text:
            yield "thinking", text
    elif kind in _IMAGES:
        yield "image", part
    elif kind == "refusal" and isinstance(part.get("refusal"), str):
        yield "refusal", part["refusal"]
    elif text := plain(part):
        yield "text", text


def image(item: Any) -> ImageBlock | None:
    """The block for an item of `images`, or for a part that is an image; None if it is neither."""
    if isinstance(item, dict):
        item = item.get("image_url") or item.get("url") or item.get("b64_json") or item
    if isinstance(item, dict):
        item = item.get("url")
    if not isinstance(item, str) or not item:
        return None
    found = _DATA_URL.match(item)
    if found is not None:
        source = Source(
            type="base64", media_type=found[1].lower(), data=item[found.end() :].strip()
        )
    elif item.startswith(("https://", "http://")):
        source = Source(type="url", url=item)
    elif item.startswith("data:"):
        return None
    else:
        source = Source(type="base64", media_type="image/png", data=item)
    return ImageBlock(source=source)

"""Content blocks -> content parts of Responses."""

from __future__ import annotations

from typing import Final

from vai.providers.translate import content_parts as blocks
from vai.providers.translate.content_parts import Part
from vai.providers.translate.target import OpenaiTarget
from vai.types.blocks import Block, Source

__all__ = ["Part", "marked", "parts"]

_BREAKPOINT: Final = {"mode": "explicit", "ttl": "30m"}
"""https://developers.openai.com/api/docs/guides/prompt-caching (2026-11-28)."""
# An hour is asked for in the shortest lifetime there is: the next one is twelve hours, and
# is paid for.


class _Responses:
    text_type = "input_text"

    def make_image(self, source: Source, url: str | None) -> Part | None:
        if url:
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        if source.type == "file" and (source.file_id or "").startswith("file-"):
            return {"type": "input_image", "file_id": source.file_id, "detail": "auto"}
        return None

    def make_file(self, source: Source, name: str | None) -> Part | None:
        if source.type == "base64" and source.media_type == "application/pdf" and source.data:
            data = f"data:application/pdf;base64,{source.data}"
            return {"type": "input_file", "filename": name or "document.pdf", "file_data": data}
        if source.type == "url" and source.url:
            return {"type": "input_file", "file_url": source.url}
        if source.type == "file" and source.file_id:
            return {"type": "input_file", "file_id": source.file_id}
        return None

    def make_audio(self, data: str, form: str) -> Part | None:
        return None


_FORM: Final = _Responses()


def parts(block: Block, at: str, target: OpenaiTarget) -> list[Part]:
    """The parts for a block of a user's turn or of a tool's result."""
    return blocks.parts_from_block(block, at, target, _FORM)


def marked(found: list[Part], block: Block, path: str, target: OpenaiTarget) -> list[Part]:
    """The parts, the last of them with the block's cache breakpoint."""
    if not getattr(block, "cache_control", None):
        return found
    if not (found and target.traits.cache_breakpoints):
        target.diagnostics.note_dropped(path)
        return found
    if "ttl" in (getattr(block, "cache_control", None) or {}):
        target.diagnostics.note_dropped(f"{path}.ttl")
    return [*found[:-1], {**found[-1], "prompt_cache_breakpoint": dict(_BREAKPOINT)}]

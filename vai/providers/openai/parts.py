"""Content blocks -> content parts of Chat Completions."""

from __future__ import annotations

from typing import Final

from vai.providers.translate import content_parts as blocks
from vai.providers.translate.content_parts import Part
from vai.providers.translate.target import OpenaiTarget
from vai.types.blocks import Block, Source

__all__ = ["Part", "parts"]


class _Chat:
    text_type = "text"

    def make_image(self, source: Source, url: str | None) -> Part | None:
        return {"type": "image_url", "image_url": {"url": url}} if url else None

    def make_file(self, source: Source, name: str | None) -> Part | None:
        if source.type == "base64" and source.media_type == "application/pdf" and source.data:
            data = f"data:application/pdf;base64,{source.data}"
            return {"type": "file", "file": {"filename": name or "document.pdf", "file_data": data}}
        if source.type == "file" and source.file_id:
            return {"type": "file", "file": {"file_id": source.file_id}}
        return None

    def make_audio(self, data: str, form: str) -> Part | None:
        return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


_FORM: Final = _Chat()


def parts(block: Block, at: str, target: OpenaiTarget) -> list[Part]:
    """The parts for a block of a user's turn or of a tool's result."""
    return blocks.parts_from_block(block, at, target, _FORM)

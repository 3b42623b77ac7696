"""Content blocks -> content parts of Chat Completions.

Every function gives the parts for one block, and notes what cannot be a part: media are
never left out in silence, because an answer about an unseen image looks like a right one.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.target import Target
from vai.providers.texts import document_text, kind_of, search_result, tagged
from vai.types.blocks import (
    AudioBlock,
    Block,
    DocumentBlock,
    ImageBlock,
    Source,
    TextBlock,
    UnknownBlock,
    VideoBlock,
)

__all__ = ["Part", "parts"]

Part = dict[str, Any]

_AUDIO: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
}


def parts(block: Block, at: str, target: Target) -> list[Part]:
    """The parts for a block of a user's turn or of a tool's result."""
    if isinstance(block, TextBlock):
        return [{"type": "text", "text": block.text}] if block.text else []
    if isinstance(block, ImageBlock):
        return _image(block.source, at, target)
    if isinstance(block, DocumentBlock):
        return _document(block, at, target)
    if isinstance(block, AudioBlock):
        return _audio(block.source, at, target)
    if isinstance(block, UnknownBlock) and block.raw.get("type") == "search_result":
        return [{"type": "text", "text": search_result(block.raw)}]
    if isinstance(block, VideoBlock):
        return _refused(at, target, "video cannot be sent to {}")
    return _refused(at, target, f"a {kind_of(block)} block cannot be sent to {{}}")


def _image(source: Source, at: str, target: Target) -> list[Part]:
    if not target.can.images:
        return _refused(at, target, "images cannot be sent to {}")
    if source.type == "base64" and source.data:
        url = f"data:{source.media_type or 'image/png'};base64,{source.data}"
    elif source.type == "url" and source.url:
        if not target.can.image_urls and not source.url.startswith("data:"):
            return _refused(at, target, "images for {} must be base64")
        url = source.url
    else:
        return _refused(at, target, "an image for {} must be base64 or a URL")
    return [{"type": "image_url", "image_url": {"url": url}}]


def _audio(source: Source, at: str, target: Target) -> list[Part]:
    if not target.can.audio:
        return _refused(at, target, "audio cannot be sent to {}")
    form = _AUDIO.get((source.media_type or "").partition(";")[0])
    if source.type != "base64" or form is None or not source.data:
        return _refused(at, target, "audio for {} must be base64 wav or mp3")
    return [{"type": "input_audio", "input_audio": {"data": source.data, "format": form}}]


def _document(block: DocumentBlock, at: str, target: Target) -> list[Part]:
    source, title = block.source, block.title or block.filename
    text = document_text(source)
    if text is not None:
        if block.context:
            text = f"{block.context}\n\n{text}"
        return [{"type": "text", "text": tagged("document", text, title)}]
    if source.type == "content":
        return _flattened(source.content, at, target, title)
    if not target.can.documents:
        return _refused(at, target, "documents other than text cannot be sent to {}")
    if source.type == "base64" and source.media_type == "application/pdf" and source.data:
        name = title or "document.pdf"
        data = f"data:application/pdf;base64,{source.data}"
        return [{"type": "file", "file": {"filename": name, "file_data": data}}]
    if source.type == "file" and source.file_id:
        return [{"type": "file", "file": {"file_id": source.file_id}}]
    return _refused(at, target, "a document for {} must be text or a base64 PDF")


def _flattened(content: Any, at: str, target: Target, title: str | None) -> list[Part]:
    if isinstance(content, str):
        return [{"type": "text", "text": tagged("document", content, title)}]
    found: list[Part] = []
    for index, item in enumerate(content if isinstance(content, list) else []):
        place = f"{at}.source.content[{index}]"
        if isinstance(item, dict) and isinstance(item.get("text"), str):
            found.append({"type": "text", "text": tagged("document", item["text"], title)})
        elif isinstance(item, dict) and isinstance(item.get("source"), dict):
            source = item["source"]
            known = {name: source.get(name) for name in ("media_type", "data", "url")}
            found += _image(Source(type=str(source.get("type")), **known), place, target)
        else:
            found += _refused(place, target, "this content cannot be sent to {}")
    return found


def _refused(at: str, target: Target, what: str) -> list[Part]:
    target.findings.refuse(at, what.format(target.row.name), "unsupported_content_block")
    return []

"""Content blocks -> the content parts of OpenAI's wire formats.

The meaning of a block, and whether a server accepts it, are the same in these formats;
only the form of a part differs. The translation never drops media silently, because a response
about an unseen image looks correct.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from vai.providers.translate.diagnostics import refuse_block, refuse_source
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.texts import (
    document_text,
    search_result_text,
    tool_reference_text,
    wrap_in_tag,
)
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

__all__ = ["Part", "PartFormat", "parts_from_block"]

Part = dict[str, Any]

_AUDIO: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
}
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""


class PartFormat(Protocol):
    """How one format writes a part; a method returns None if the format has no such part."""

    text_type: str

    def make_image(self, source: Source, url: str | None) -> Part | None:
        """An image at a URL (also a ``data:`` one), or in the server's own store."""
        ...

    def make_file(self, source: Source, name: str | None) -> Part | None:
        """A document that is not text."""
        ...

    def make_audio(self, data: str, form: str) -> Part | None:
        """Sound: base64, ``wav`` or ``mp3``."""
        ...


def parts_from_block(block: Block, at: str, target: OpenaiTarget, form: PartFormat) -> list[Part]:
    """The parts for a block of a user turn or of a tool's result."""
    if isinstance(block, TextBlock):
        return [_text_part(block.text, form)] if block.text else []
    if isinstance(block, ImageBlock):
        return _image_parts(block.source, at, target, form)
    if isinstance(block, DocumentBlock):
        return _document_parts(block, at, target, form)
    if isinstance(block, AudioBlock):
        return _audio_parts(block, at, target, form)
    if isinstance(block, UnknownBlock) and block.raw.get("type") == "search_result":
        return [_text_part(search_result_text(block.raw), form)]
    if isinstance(block, UnknownBlock) and block.raw.get("type") == "tool_reference":
        return [_text_part(tool_reference_text(block.raw), form)]
    if isinstance(block, VideoBlock):
        return _refuse_part(at, target, "video cannot be sent to {}")
    refuse_block(block, at, target.diagnostics)
    return []


def _text_part(text: str, form: PartFormat) -> Part:
    return {"type": form.text_type, "text": text}


def _image_parts(source: Source, at: str, target: OpenaiTarget, form: PartFormat) -> list[Part]:
    if not target.capabilities.images:
        return _refuse_part(at, target, f"images cannot be sent to {target.model} at {{}}")
    url = None
    if source.type == "base64" and source.data:
        url = f"data:{source.media_type or 'image/png'};base64,{source.data}"
    elif source.type == "url" and source.url:
        url = source.url
        if not target.capabilities.image_urls and not url.startswith("data:"):
            return _refuse_part(at, target, "expected images as base64 for {}")
    part = form.make_image(source, url)
    if part is None:
        refuse_source(source, at, target.diagnostics, "expected an image as base64 or a URL for {}")
    return [part] if part else []


def _audio_parts(block: AudioBlock, at: str, target: OpenaiTarget, form: PartFormat) -> list[Part]:
    source = block.source
    if not target.capabilities.audio:
        if not block.transcript:
            return _refuse_part(at, target, "audio cannot be sent to {}")
        target.diagnostics.note_dropped("messages[*].content[*].audio")
        return [_text_part(block.transcript, form)]
    kind = _AUDIO.get((source.media_type or "").partition(";")[0])
    part = None
    if source.type == "base64" and kind is not None and source.data:
        part = form.make_audio(source.data, kind)
    if part is None:
        refuse_source(source, at, target.diagnostics, "expected audio as base64 wav or mp3 for {}")
    return [part] if part else []


def _document_parts(
    block: DocumentBlock, at: str, target: OpenaiTarget, form: PartFormat
) -> list[Part]:
    source, title = block.source, block.title or block.filename
    if (block.citations or {}).get("enabled"):
        target.diagnostics.note_dropped("messages[*].content[*].citations")
    text = document_text(source)
    if text is not None:
        if block.context:
            text = f"{block.context}\n\n{text}"
        return [_text_part(wrap_in_tag("document", text, title), form)]
    if source.type == "content":
        return _nested_parts(source.content, at, target, title, form)
    if not target.capabilities.documents:
        what = f"documents other than text cannot be sent to {target.model} at {{}}"
        return _refuse_part(at, target, what)
    part = form.make_file(source, title)
    if part is None:
        what = "expected a document of text or a PDF for {}"
        refuse_source(source, at, target.diagnostics, what, is_document=True)
        return []
    return [part, _text_part(block.context, form)] if block.context else [part]


def _nested_parts(
    content: Any, at: str, target: OpenaiTarget, title: str | None, form: PartFormat
) -> list[Part]:
    if isinstance(content, str):
        return [_text_part(wrap_in_tag("document", content, title), form)]
    parts: list[Part] = []
    for index, item in enumerate(content if isinstance(content, list) else []):
        path = f"{at}.source.content[{index}]"
        if isinstance(item, dict) and isinstance(item.get("text"), str):
            parts.append(_text_part(wrap_in_tag("document", item["text"], title), form))
        elif isinstance(item, dict) and isinstance(item.get("source"), dict):
            source = item["source"]
            members = {name: source.get(name) for name in ("media_type", "data", "url")}
            parts += _image_parts(
                Source(type=str(source.get("type")), **members), path, target, form
            )
        else:
            parts += _refuse_part(
                path,
                target,
                "expected text or images; other content of a document cannot be sent to {}",
            )
    return parts


def _refuse_part(at: str, target: OpenaiTarget, what: str) -> list[Part]:
    target.diagnostics.note_refused(
        at, what.replace("{}", target.spec.name), "unsupported_content_block"
    )
    return []

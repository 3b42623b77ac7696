"""Content blocks -> parts of a generateContent turn.

Every function gives the parts for one block, and notes what cannot be a part: media are
never left out in silence. Nothing is fetched here on a caller's word: a URL is handed on, and
Google reads it (see `links`).
"""

from __future__ import annotations

import re
from typing import Any, Final

from vai.providers.gemini.links import FILES, Unfetchable, data_url, is_googles, linked
from vai.providers.gemini.target import GeminiTarget
from vai.providers.translate.diagnostics import refuse_block, refuse_source
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

__all__ = ["Part", "parts"]

Part = dict[str, Any]

_FILE_ID: Final = re.compile(r"files/[A-Za-z0-9_-]{1,64}")


def parts(block: Block, at: str, target: GeminiTarget) -> list[Part]:
    """The parts for a block of a turn or of a tool's result."""
    if isinstance(block, TextBlock):
        return [{"text": block.text}] if block.text else []
    if isinstance(block, ImageBlock):
        if not target.spec.capabilities.images:
            what = f"images cannot be sent to {target.model} at {{}}"
            return _refused(at, target, what)
        return _media(block.source, "image", at, target, default="image/png")
    if isinstance(block, AudioBlock):
        return _media(block.source, "audio", at, target)
    if isinstance(block, VideoBlock):
        return _media(block.source, "video", at, target)
    if isinstance(block, DocumentBlock):
        return _document(block, at, target)
    if isinstance(block, UnknownBlock) and block.raw.get("type") == "search_result":
        return [{"text": search_result_text(block.raw)}]
    if isinstance(block, UnknownBlock) and block.raw.get("type") == "tool_reference":
        return [{"text": tool_reference_text(block.raw)}]
    refuse_block(block, at, target.diagnostics)
    return []


def _media(
    source: Source, what: str, at: str, target: GeminiTarget, default: str | None = None
) -> list[Part]:
    kind = source.media_type or default
    if source.type == "base64" and source.data:
        if kind is None:
            expected = f"expected the MIME type of the {what}"
            return _refused(f"{at}.source.media_type", target, expected)
        return [{"inlineData": {"mimeType": kind, "data": source.data}}]
    if source.type == "url" and source.url:
        return _linked(source.url, source.media_type, what, at, target)
    if source.type == "file" and source.file_id:
        return _filed(source.file_id, source.media_type, at, target)
    expected = f"expected {_ARTICLES[what]} {what} as base64, a file or a URL for {{}}"
    refuse_source(source, at, target.diagnostics, expected, is_document=what == "document")
    return []


_ARTICLES: Final = {"image": "an", "audio": "an", "video": "a", "document": "a"}


def _linked(url: str, kind: str | None, what: str, at: str, target: GeminiTarget) -> list[Part]:
    inline = data_url(url)
    if inline is not None:
        return [{"inlineData": {"mimeType": inline[0], "data": inline[1]}}]
    found = linked(url, kind, what, target)
    if not isinstance(found, Unfetchable):
        return [{"fileData": found}]
    place = f"{at}.{found.member}" if found.member else at
    return _refused(place, target, found.expected)


def _filed(file_id: str, kind: str | None, at: str, target: GeminiTarget) -> list[Part]:
    uri = FILES + file_id if _FILE_ID.fullmatch(file_id) else file_id
    if uri is file_id and not is_googles(uri):
        return _refused(at, target, "expected a file named files/... for {}")
    return [{"fileData": {"mimeType": kind, "fileUri": uri} if kind else {"fileUri": uri}}]


def _document(block: DocumentBlock, at: str, target: GeminiTarget) -> list[Part]:
    source, title = block.source, block.title or block.filename
    if (block.citations or {}).get("enabled"):
        target.diagnostics.note_dropped("messages[*].content[*].citations")
    text = document_text(source)
    if text is not None:
        if block.context:
            text = f"{block.context}\n\n{text}"
        return [{"text": wrap_in_tag("document", text, title)}]
    if source.type == "content":
        return _flattened(source.content, at, target, title)
    if not target.spec.capabilities.documents:
        what = f"documents other than text cannot be sent to {target.model} at {{}}"
        return _refused(at, target, what)
    found = _media(source, "document", at, target, default="application/pdf")
    about = "\n".join(line for line in (title, block.context) if line)
    return [*found, {"text": wrap_in_tag("about_document", about)}] if found and about else found


def _flattened(content: Any, at: str, target: GeminiTarget, title: str | None) -> list[Part]:
    if isinstance(content, str):
        return [{"text": wrap_in_tag("document", content, title)}]
    found: list[Part] = []
    for index, item in enumerate(content if isinstance(content, list) else []):
        place = f"{at}.source.content[{index}]"
        if isinstance(item, dict) and isinstance(item.get("text"), str):
            found.append({"text": wrap_in_tag("document", item["text"], title)})
        elif isinstance(item, dict) and isinstance(item.get("source"), dict):
            given = item["source"]
            names = ("media_type", "data", "url", "file_id")
            known = {name: given[name] for name in names if isinstance(given.get(name), str)}
            source = Source(type=str(given.get("type")), **known)
            found += _media(source, "image", place, target, default="image/png")
        else:
            found += _refused(
                place,
                target,
                "expected text or images; other content of a document cannot be sent to {}",
            )
    return found


def _refused(at: str, target: GeminiTarget, what: str) -> list[Part]:
    target.diagnostics.note_refused(
        at, what.replace("{}", target.spec.name), "unsupported_content_block"
    )
    return []

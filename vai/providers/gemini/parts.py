"""Content blocks -> parts of a generateContent turn, and media named by URL -> `fileData`.

Every function returns the parts for one block, and notes what cannot be a part: VAI never leaves
media out silently.

The Gemini API accepts Files API and Cloud Storage URIs, YouTube links and, from models 2.5 on, any
public https URL of at most 100 MB, signed ones included:
https://ai.google.dev/gemini-api/docs/file-input-methods#external-urls (announced 2026-01-12,
read 2026-11-28). The page lists text, JSON, PDF, images and video, calls the list incomplete, and
requires the MIME type of each URL. No such page exists for Code Assist, and Google's own client
sends it none (gemini-cli, 2026-08-21), so its requests use only the older forms.

Invariants: VAI fetches nothing; Google reads the URL while it generates. VAI refuses a URL that
Google cannot reach, with what was expected, before a request costs anything; only Google resolves
names.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from vai.providers.gemini.models import GeminiTarget
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

__all__ = [
    "FILES",
    "Part",
    "Unfetchable",
    "file_data_from_url",
    "is_google_file",
    "parse_data_url",
    "parts_from_block",
]

Part = dict[str, Any]

_FILE_ID: Final = re.compile(r"files/[A-Za-z0-9_-]{1,64}")


def parts_from_block(block: Block, at: str, target: GeminiTarget) -> list[Part]:
    """The parts for a block of a turn or of a tool's result."""
    if isinstance(block, TextBlock):
        return [{"text": block.text}] if block.text else []
    if isinstance(block, ImageBlock):
        if not target.spec.capabilities.images:
            what = f"images cannot be sent to {target.model} at {{}}"
            return _refuse_part(at, target, what)
        return _media_parts(block.source, "image", at, target, default="image/png")
    if isinstance(block, AudioBlock):
        return _media_parts(block.source, "audio", at, target)
    if isinstance(block, VideoBlock):
        return _media_parts(block.source, "video", at, target)
    if isinstance(block, DocumentBlock):
        return _document_parts(block, at, target)
    if isinstance(block, UnknownBlock) and block.raw.get("type") == "search_result":
        return [{"text": search_result_text(block.raw)}]
    if isinstance(block, UnknownBlock) and block.raw.get("type") == "tool_reference":
        return [{"text": tool_reference_text(block.raw)}]
    refuse_block(block, at, target.diagnostics)
    return []


def _media_parts(
    source: Source, what: str, at: str, target: GeminiTarget, default: str | None = None
) -> list[Part]:
    kind = source.media_type or default
    if source.type == "base64" and source.data:
        if kind is None:
            expected = f"expected the MIME type of the {what}"
            return _refuse_part(f"{at}.source.media_type", target, expected)
        return [{"inlineData": {"mimeType": kind, "data": source.data}}]
    if source.type == "url" and source.url:
        return _url_parts(source.url, source.media_type, what, at, target)
    if source.type == "file" and source.file_id:
        return _file_parts(source.file_id, source.media_type, at, target)
    expected = f"expected {_ARTICLES[what]} {what} as base64, a file or a URL for {{}}"
    refuse_source(source, at, target.diagnostics, expected, is_document=what == "document")
    return []


_ARTICLES: Final = {"image": "an", "audio": "an", "video": "a", "document": "a"}


def _url_parts(url: str, kind: str | None, what: str, at: str, target: GeminiTarget) -> list[Part]:
    inline = parse_data_url(url)
    if inline is not None:
        return [{"inlineData": {"mimeType": inline[0], "data": inline[1]}}]
    file_data = file_data_from_url(url, kind, what, target)
    if not isinstance(file_data, Unfetchable):
        return [{"fileData": file_data}]
    path = f"{at}.{file_data.member}" if file_data.member else at
    return _refuse_part(path, target, file_data.expected)


def _file_parts(file_id: str, kind: str | None, at: str, target: GeminiTarget) -> list[Part]:
    uri = FILES + file_id if _FILE_ID.fullmatch(file_id) else file_id
    if uri is file_id and not is_google_file(uri):
        return _refuse_part(at, target, "expected a file named files/... for {}")
    return [{"fileData": {"mimeType": kind, "fileUri": uri} if kind else {"fileUri": uri}}]


def _document_parts(block: DocumentBlock, at: str, target: GeminiTarget) -> list[Part]:
    source, title = block.source, block.title or block.filename
    if (block.citations or {}).get("enabled"):
        target.diagnostics.note_dropped("messages[*].content[*].citations")
    text = document_text(source)
    if text is not None:
        if block.context:
            text = f"{block.context}\n\n{text}"
        return [{"text": wrap_in_tag("document", text, title)}]
    if source.type == "content":
        return _nested_parts(source.content, at, target, title)
    if not target.spec.capabilities.documents:
        what = f"documents other than text cannot be sent to {target.model} at {{}}"
        return _refuse_part(at, target, what)
    media = _media_parts(source, "document", at, target, default="application/pdf")
    about = "\n".join(line for line in (title, block.context) if line)
    return [*media, {"text": wrap_in_tag("about_document", about)}] if media and about else media


def _nested_parts(content: Any, at: str, target: GeminiTarget, title: str | None) -> list[Part]:
    if isinstance(content, str):
        return [{"text": wrap_in_tag("document", content, title)}]
    nested: list[Part] = []
    for index, item in enumerate(content if isinstance(content, list) else []):
        path = f"{at}.source.content[{index}]"
        if isinstance(item, dict) and isinstance(item.get("text"), str):
            nested.append({"text": wrap_in_tag("document", item["text"], title)})
        elif isinstance(item, dict) and isinstance(item.get("source"), dict):
            raw_source = item["source"]
            names = ("media_type", "data", "url", "file_id")
            members = {
                name: raw_source[name] for name in names if isinstance(raw_source.get(name), str)
            }
            source = Source(type=str(raw_source.get("type")), **members)
            nested += _media_parts(source, "image", path, target, default="image/png")
        else:
            nested += _refuse_part(
                path,
                target,
                "expected text or images; other content of a document cannot be sent to {}",
            )
    return nested


def _refuse_part(at: str, target: GeminiTarget, what: str) -> list[Part]:
    target.diagnostics.note_refused(
        at, what.replace("{}", target.spec.name), "unsupported_content_block"
    )
    return []


FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"
_FILES_HOST: Final = "generativelanguage.googleapis.com"
_GOOGLE_FILE: Final = re.compile(
    r"gs://\S+"
    r"|https://(?:www\.|m\.)?youtube\.com/\S+"
    r"|https://youtu\.be/\S+"
    r"|https://generativelanguage\.googleapis\.com/(?:v1|v1beta)/files/[A-Za-z0-9_-]+"
)
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,")
_MIME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}/[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_PRIVATE: Final = (
    *("localhost", "local", "internal", "lan", "home.arpa", "onion"),
    *("test", "invalid"),
)
"""Names under these are in no public DNS (RFC 6761, 6762, 7686, 8375)."""
_MAX_URL: Final = 8192
"""Characters of a URL; Google states no limit, and its servers accept no longer request line."""

_TYPES: Final = {
    "image": {
        **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif"), "image/jpeg"),
        **{kind: f"image/{kind}" for kind in ("png", "webp", "bmp", "gif", "heic", "heif")},
    },
    "document": {
        "pdf": "application/pdf",
        "json": "application/json",
        **dict.fromkeys(("txt", "text", "md", "log"), "text/plain"),
        **dict.fromkeys(("html", "htm"), "text/html"),
        **dict.fromkeys(("js", "mjs"), "text/javascript"),
        **{kind: f"text/{kind}" for kind in ("css", "xml", "csv", "rtf")},
    },
    "audio": {
        **{kind: f"audio/{kind}" for kind in ("wav", "aac", "flac", "aiff")},
        **dict.fromkeys(("mp3", "mpga"), "audio/mp3"),
        **dict.fromkeys(("ogg", "oga", "opus"), "audio/ogg"),
        **dict.fromkeys(("m4a",), "audio/m4a"),
    },
    "video": {
        **dict.fromkeys(("mp4", "m4v"), "video/mp4"),
        **dict.fromkeys(("mpeg", "mpg"), "video/mpeg"),
        **dict.fromkeys(("mov", "qt"), "video/quicktime"),
        "avi": "video/avi",
        "flv": "video/x-flv",
        "webm": "video/webm",
        "wmv": "video/wmv",
        **dict.fromkeys(("3gp", "3gpp"), "video/3gpp"),
    },
}
"""Kind of a block -> the ending of a URL's path -> the MIME type as Google writes it.
https://ai.google.dev/gemini-api/docs/file-input-methods#supported-content-types (2026-11-28);
heic, heif and sound:
https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/3-5-flash-lite
(2026-11-28). VAI sends types in neither list (gif) too, and Google checks them."""
_DEFAULT_TYPES: Final = {"document": "application/pdf"}
"""The type where the ending is unknown: the Messages API's documents by URL are PDFs.
Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""


class Unfetchable(NamedTuple):
    """Why VAI cannot send a URL: the member it is about, and what was expected of it."""

    member: str
    expected: str


def is_google_file(uri: str) -> bool:
    """Whether `uri` names a file that Google holds."""
    return _GOOGLE_FILE.fullmatch(uri) is not None


def parse_data_url(url: str) -> tuple[str, str] | None:
    """The MIME type and the base64 text of a ``data:`` URL; None for any other."""
    inline = _DATA_URL.match(url)
    return None if inline is None else (inline[1], url[inline.end() :])


def file_data_from_url(
    url: str, declared: str | None, kind: str, target: GeminiTarget
) -> dict[str, Any] | Unfetchable:
    """The `fileData` of a medium at a URL, or why there is none.

    Args:
        declared: the block's own `media_type`; it has priority over the URL's ending.
        kind: ``image``, ``document``, ``audio`` or ``video``.
    """
    if is_google_file(url):
        return {"fileUri": url} if declared is None else {"mimeType": declared, "fileUri": url}
    if target.is_code_assist or not target.traits.fetches_urls:
        what = "expected base64, or a URL of the Files API, Cloud Storage or YouTube"
        return Unfetchable("", f"{what}: {_fetcher_name(target)} fetches no others")
    expected = _url_objection(url)
    if expected is not None:
        return Unfetchable("source.url", expected)
    if declared is not None and not _MIME.fullmatch(declared):
        return Unfetchable(
            "source.media_type", f"expected a MIME type such as {_example_type(kind)}"
        )
    mime = declared or _type_of(url, kind)
    if mime is None:
        what = f"expected the MIME type of the {kind}, such as {_example_type(kind)}"
        return Unfetchable("source.media_type", f"{what}: the URL's ending does not tell it")
    return {"mimeType": mime, "fileUri": url}


def _fetcher_name(target: GeminiTarget) -> str:
    return target.spec.name if target.is_code_assist else f"{target.model} at {target.spec.name}"


def _example_type(kind: str) -> str:
    return next(iter(_TYPES[kind].values()))


def _type_of(url: str, kind: str) -> str | None:
    last = urlsplit(url).path.rpartition("/")[2]
    ending = last.rpartition(".")[2].lower() if "." in last else ""
    return _TYPES[kind].get(ending, _DEFAULT_TYPES.get(kind))


def _url_objection(url: str) -> str | None:
    """What was expected of a URL that Google cannot fetch; None where it may."""
    if len(url) > _MAX_URL or not url.isprintable() or " " in url:
        return f"expected an https URL of at most {_MAX_URL} characters, without blanks"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "expected a well-formed https URL"
    if parts.scheme != "https" or not host:
        return "expected an https URL; Google fetches no other"
    if host == _FILES_HOST:
        return "expected https://generativelanguage.googleapis.com/v1beta/files/..."
    if parts.username is not None or port == 0:
        return "expected an https URL without a user and a password; a signed URL works"
    if not _is_public(host.rstrip(".")):
        return "expected a public address, which Google can reach; send what is private as base64"
    return None


def _is_public(host: str) -> bool:
    """Whether a host can be one of the public Internet, derived from its name alone."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        # Multicast groups and the site-local addresses of RFC 3879 count as global in the registry.
        local = address.version == 6 and address.is_site_local
        return address.is_global and not address.is_multicast and not local
    *_, last = host.split(".")
    if (
        "." not in host
        or ".." in host
        or host.startswith(".")
        or last.isdecimal()
        or last.startswith("0x")
    ):
        return False  # a name of one part, or an odd spelling of an address
    return not host.endswith(tuple(f".{name}" for name in _PRIVATE))

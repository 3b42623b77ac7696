"""Media that a request names by URL -> `fileData`, which Google fetches while it answers.

The Gemini API takes Files API and Cloud Storage URIs, YouTube links and, from models 2.5 on, any
public https URL of at most 100 MB, signed ones included:
https://ai.google.dev/gemini-api/docs/file-input-methods#external-urls (announced 2026-01-12,
read 2026-11-28). The page lists text, JSON, PDF, images and video, calls the list incomplete, and
asks for the MIME type of each URL. Of Code Assist no such page exists, and Google's own client
sends it none (gemini-cli, 2026-08-21), so that its requests keep to the older forms.

Invariants: VAI fetches nothing. A URL that Google cannot reach is refused here, with what was
expected, before a request is paid for; only Google sees what a name resolves to.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from vai.providers.gemini.target import GeminiTarget

__all__ = ["FILES", "Unfetchable", "data_url", "is_googles", "linked"]

FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"
_FILES_HOST: Final = "generativelanguage.googleapis.com"
_GOOGLES: Final = re.compile(
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
"""Characters of a URL; Google states no limit, and its servers take no longer request line."""

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
(2026-11-28). What is in neither list (gif) goes along, and Google judges it."""
_USUAL: Final = {"document": "application/pdf"}
"""The type of what has no known ending: the Messages API's documents by URL are PDFs.
Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""


class Unfetchable(NamedTuple):
    """Why a URL cannot be sent: the member it is about, and what was expected of it."""

    member: str
    expected: str


def is_googles(uri: str) -> bool:
    """Whether `uri` names a file that Google holds."""
    return _GOOGLES.fullmatch(uri) is not None


def data_url(url: str) -> tuple[str, str] | None:
    """The MIME type and the base64 text of a ``data:`` URL; None for any other."""
    inline = _DATA_URL.match(url)
    return None if inline is None else (inline[1], url[inline.end() :])


def linked(
    url: str, declared: str | None, kind: str, target: GeminiTarget
) -> dict[str, Any] | Unfetchable:
    """The `fileData` of a medium at a URL, or why there is none.

    Args:
        declared: the block's own `media_type`; it goes before the URL's ending.
        kind: ``image``, ``document``, ``audio`` or ``video``.
    """
    if is_googles(url):
        return {"fileUri": url} if declared is None else {"mimeType": declared, "fileUri": url}
    if target.assists or not target.traits.fetches:
        what = "expected base64, or a URL of the Files API, Cloud Storage or YouTube"
        return Unfetchable("", f"{what}: {_whom(target)} fetches no others")
    refusal = _unreachable(url)
    if refusal is not None:
        return Unfetchable("source.url", refusal)
    if declared is not None and not _MIME.fullmatch(declared):
        return Unfetchable("source.media_type", f"expected a MIME type such as {_example(kind)}")
    mime = declared or _type_of(url, kind)
    if mime is None:
        what = f"expected the MIME type of the {kind}, such as {_example(kind)}"
        return Unfetchable("source.media_type", f"{what}: the URL's ending does not tell it")
    return {"mimeType": mime, "fileUri": url}


def _whom(target: GeminiTarget) -> str:
    return target.spec.name if target.assists else f"{target.model} at {target.spec.name}"


def _example(kind: str) -> str:
    return next(iter(_TYPES[kind].values()))


def _type_of(url: str, kind: str) -> str | None:
    last = urlsplit(url).path.rpartition("/")[2]
    ending = last.rpartition(".")[2].lower() if "." in last else ""
    return _TYPES[kind].get(ending, _USUAL.get(kind))


def _unreachable(url: str) -> str | None:
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
    """Whether a host can be one of the public Internet, told from its name alone."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        # Groups and the site-local addresses of RFC 3879 count as global in the registry.
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

"""What an answer rests on: sources -> citations, and the search as a call and its result.

Google tells the sources once, at the end, and where in the text they belong by offsets in
UTF-8 bytes. A stream cannot go back, so all citations are given to the text that is open.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["citations", "fetched", "is_search", "queries", "recitations", "results"]

Wire = dict[str, Any]

_KINDS: Final = ("web", "retrievedContext", "maps")


def citations(grounding: Wire, text: bytes) -> list[Wire]:
    """The sources of pieces of `text`, which is the answer's text in UTF-8."""
    chunks = _dicts(grounding.get("groundingChunks"))
    found = []
    for support in _dicts(grounding.get("groundingSupports")):
        segment = support.get("segment")
        cited = _cited(segment if isinstance(segment, dict) else {}, text)
        for number in _list(support.get("groundingChunkIndices")):
            if isinstance(number, int) and 0 <= number < len(chunks):
                uri, title = _source(chunks[number])
                if uri:
                    found.append(_citation(uri, title, cited))
    return found


def recitations(metadata: Wire, text: bytes) -> list[Wire]:
    """The works that the answer repeats."""
    return [
        _citation(item["uri"], item.get("title"), _cited(item, text))
        for item in _dicts(metadata.get("citations"))
        if isinstance(item.get("uri"), str)
    ]


def queries(grounding: Wire) -> list[str]:
    """What was searched for."""
    return [query for query in _list(grounding.get("webSearchQueries")) if isinstance(query, str)]


def is_search(grounding: Wire) -> bool:
    """Whether the web was searched."""
    found = _dicts(grounding.get("groundingChunks"))
    return bool(queries(grounding)) or any(isinstance(item.get("web"), dict) for item in found)


def results(grounding: Wire) -> list[Wire]:
    """What the search found."""
    found = [_source(chunk) for chunk in _dicts(grounding.get("groundingChunks"))]
    return [
        {
            "type": "web_search_result",
            "url": uri,
            "title": title or "",
            "encrypted_content": "",
            "page_age": None,
        }
        for uri, title in found
        if uri
    ]


def fetched(metadata: Wire) -> list[tuple[str, Wire]]:
    """The pages that were read: URL, and the content of its result block."""
    return [
        (item["retrievedUrl"], _page(item["retrievedUrl"], item.get("urlRetrievalStatus")))
        for item in _dicts(metadata.get("urlMetadata"))
        if isinstance(item.get("retrievedUrl"), str)
    ]


def _page(url: str, status: Any) -> Wire:
    if status != "URL_RETRIEVAL_STATUS_SUCCESS":
        return {"type": "web_fetch_tool_result_error", "error_code": "url_not_accessible"}
    # What stood there is not told.
    source = {"type": "text", "media_type": "text/plain", "data": ""}
    document = {"type": "document", "source": source, "title": None, "citations": None}
    return {"type": "web_fetch_result", "url": url, "retrieved_at": None, "content": document}


def _source(chunk: Wire) -> tuple[str, str | None]:
    for kind in _KINDS:
        found = chunk.get(kind)
        if isinstance(found, dict) and isinstance(found.get("uri"), str):
            title = found.get("title")
            return found["uri"], title if isinstance(title, str) else None
    return "", None


def _cited(segment: Wire, text: bytes) -> str:
    if isinstance(segment.get("text"), str):
        return str(segment["text"])
    start, end = segment.get("startIndex", 0), segment.get("endIndex", 0)
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end:
        return text[start:end].decode(errors="ignore")
    return ""


def _citation(uri: str, title: Any, cited: str) -> Wire:
    return {
        "type": "web_search_result_location",
        "url": uri,
        "title": title if isinstance(title, str) else None,
        "cited_text": cited,
        "encrypted_index": "",
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: Any) -> list[Wire]:
    return [item for item in _list(value) if isinstance(item, dict)]

"""Tools that Google ran -> pairs of `server_tool_use` and its result, and the sources they found.

Google reports these tools in three forms: parts for code, parts for any tool where the request
demands them, and metadata behind the response. VAI uses the metadata only where the parts are
missing.

Google sends the sources once, at the end, and their places in the text as offsets in UTF-8 bytes.
A stream cannot go back, so VAI adds all citations to the text that is open.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.decode.emitter import Emitter
from vai.types.blocks import Block, ServerToolUseBlock, UnknownBlock, WebSearchToolResultBlock
from vai.types.message import Usage

__all__ = [
    "GoogleServerTools",
    "citations_from_grounding",
    "citations_from_recitation",
    "fetched_pages",
    "has_searched_web",
    "part_from_block",
    "search_queries",
    "search_results",
]

Wire = dict[str, Any]

_NAMES: Final = {
    "GOOGLE_SEARCH_WEB": "web_search",
    "GOOGLE_SEARCH_IMAGE": "web_search",
    "URL_CONTEXT": "web_fetch",
}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_RETURN_CODES: Final = {"OUTCOME_OK": 0, "OUTCOME_DEADLINE_EXCEEDED": 124}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_OUTCOMES: Final = {0: "OUTCOME_OK", 124: "OUTCOME_DEADLINE_EXCEEDED"}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""


def part_from_block(block: Block, provider: str) -> Wire | None:
    """The part that `block` came from, if `provider` accepts the results of its own tools.

    Only code and its outcome: for searches and pages the response has the relevant content.
    """
    id_prefix = f"srvtoolu_{_id_part(provider)}_"
    if isinstance(block, ServerToolUseBlock):
        if block.name == "code_execution" and block.id.startswith(id_prefix):
            code = str(block.input.get("code") or "")
            return {"executableCode": {"language": "PYTHON", "code": code}}
        return None
    raw = block.raw if isinstance(block, UnknownBlock) else {}
    content = raw.get("content")
    if raw.get("type") != "code_execution_tool_result" or not isinstance(content, dict):
        return None
    if not str(raw.get("tool_use_id")).startswith(id_prefix):
        return None
    output = f"{content.get('stdout') or ''}{content.get('stderr') or ''}"
    return_code = content.get("return_code")
    outcome = _OUTCOMES.get(return_code if isinstance(return_code, int) else 1, "OUTCOME_FAILED")
    return {"codeExecutionResult": {"outcome": outcome, "output": output}}


def _id_part(provider: str) -> str:
    return provider.replace("-", "_")


class GoogleServerTools:
    """Emits the pairs. Their ids name the provider, and derive from the exchange's."""

    def __init__(self, emitter: Emitter, provider: str, exchange_id: str) -> None:
        self._emitter = emitter
        self._ids = f"{_id_part(provider)}_{_id_part(exchange_id)}"
        self._count = 0
        self._searched = self._fetched = 0
        self._open: list[tuple[str, str, str]] = []

    def emit_code(self, code: Wire) -> None:
        """Code that the model wrote to be run."""
        self._open_use("code_execution", {"code": str(code.get("code") or "")}, code.get("id"))

    def emit_code_result(self, result: Wire) -> None:
        """The result of the code."""
        used = self._close_use("code_execution", result.get("id"))
        if used is None:
            return
        outcome, output = result.get("outcome"), str(result.get("output") or "")
        code = _RETURN_CODES.get(str(outcome), 1)
        content = {
            "type": "code_execution_result",
            "stdout": "" if code else output,
            "stderr": output if code else "",
            "return_code": code,
            "content": [],
        }
        self._emit_result("code_execution_tool_result", used, content)

    def emit_call(self, call: Wire) -> None:
        """A use of a tool that has parts. Tools without a name in the Messages API are left out."""
        name = _NAMES.get(str(call.get("toolType")))
        args = call.get("args")
        if name is None:
            return
        self._open_use(name, args if isinstance(args, dict) else {}, call.get("id"))
        self._count_uses(searched=name == "web_search", fetched=name == "web_fetch")

    def emit_response(self, response: Wire) -> None:
        """The result of the tool. The sources follow with the response's metadata."""
        name = _NAMES.get(str(response.get("toolType")))
        used = self._close_use(name, response.get("id"))
        if used is None:
            return
        if name == "web_search":
            self._emitter.add_block(WebSearchToolResultBlock(tool_use_id=used, content=[]))
        else:
            content = {"type": "web_fetch_tool_result_error", "error_code": "unavailable"}
            self._emit_result("web_fetch_tool_result", used, content)

    def emit_search(self, metadata: Wire) -> None:
        """The sources of the response."""
        if self._searched or not has_searched_web(metadata):
            return
        queries = search_queries(metadata)
        arguments: Wire = {"query": queries[0]} if queries else {}
        if len(queries) > 1:
            arguments["queries"] = queries
        used = self._emit_use("web_search", arguments)
        results = search_results(metadata)
        self._emitter.add_block(WebSearchToolResultBlock(tool_use_id=used, content=results))
        self._count_uses(searched=max(len(queries), 1))

    def emit_fetches(self, metadata: Wire) -> None:
        """The pages that Google read."""
        if self._fetched:
            return
        pages = fetched_pages(metadata)
        for url, page in pages:
            used = self._emit_use("web_fetch", {"url": url})
            self._emit_result("web_fetch_tool_result", used, page)
        self._count_uses(fetched=len(pages))

    def _emit_use(self, name: str, arguments: Wire) -> str:
        """Emit a use; returns its id."""
        self._count += 1
        use_id = f"srvtoolu_{self._ids}_{self._count}"
        self._emitter.add_block(ServerToolUseBlock(id=use_id, name=name, input=arguments))
        return use_id

    def _open_use(self, name: str, arguments: Wire, upstream: Any) -> None:
        """Emit a use whose result will come as a part of its own."""
        self._open.append((self._emit_use(name, arguments), name, str(upstream or "")))

    def _close_use(self, name: str | None, upstream: Any) -> str | None:
        """The use that a result belongs to: by Google's id, else the last one by this name."""
        for use in reversed(self._open):
            if use[1] == name and (not upstream or use[2] in ("", str(upstream))):
                self._open.remove(use)
                return use[0]
        return None

    def _emit_result(self, kind: str, used: str, content: Wire) -> None:
        raw = {"type": kind, "tool_use_id": used, "content": content}
        self._emitter.add_block(UnknownBlock(raw=raw))

    def _count_uses(self, *, searched: int = 0, fetched: int = 0) -> None:
        self._searched += searched
        self._fetched += fetched
        counts = {"web_search_requests": self._searched, "web_fetch_requests": self._fetched}
        self._emitter.report_usage(Usage(extra={"server_tool_use": counts}))


_KINDS: Final = ("web", "retrievedContext", "maps")


def citations_from_grounding(grounding: Wire, text: bytes) -> list[Wire]:
    """The sources of pieces of `text`, which is the response's text in UTF-8."""
    chunks = _objects_in(grounding.get("groundingChunks"))
    citations = []
    for support in _objects_in(grounding.get("groundingSupports")):
        segment = support.get("segment")
        cited = _cited_text(segment if isinstance(segment, dict) else {}, text)
        for number in _as_list(support.get("groundingChunkIndices")):
            if isinstance(number, int) and 0 <= number < len(chunks):
                uri, title = _source_of_chunk(chunks[number])
                if uri:
                    citations.append(_make_citation(uri, title, cited))
    return citations


def citations_from_recitation(metadata: Wire, text: bytes) -> list[Wire]:
    """The works that the response repeats."""
    return [
        _make_citation(item["uri"], item.get("title"), _cited_text(item, text))
        for item in _objects_in(metadata.get("citations"))
        if isinstance(item.get("uri"), str)
    ]


def search_queries(grounding: Wire) -> list[str]:
    """The queries of the search."""
    return [
        query for query in _as_list(grounding.get("webSearchQueries")) if isinstance(query, str)
    ]


def has_searched_web(grounding: Wire) -> bool:
    """Whether Google searched the web."""
    chunks = _objects_in(grounding.get("groundingChunks"))
    return bool(search_queries(grounding)) or any(
        isinstance(item.get("web"), dict) for item in chunks
    )


def search_results(grounding: Wire) -> list[Wire]:
    """The results of the search."""
    sources = [_source_of_chunk(chunk) for chunk in _objects_in(grounding.get("groundingChunks"))]
    return [
        {
            "type": "web_search_result",
            "url": uri,
            "title": title or "",
            "encrypted_content": "",
            "page_age": None,
        }
        for uri, title in sources
        if uri
    ]


def fetched_pages(metadata: Wire) -> list[tuple[str, Wire]]:
    """The pages that Google read: URL, and the content of its result block."""
    return [
        (item["retrievedUrl"], _page_content(item["retrievedUrl"], item.get("urlRetrievalStatus")))
        for item in _objects_in(metadata.get("urlMetadata"))
        if isinstance(item.get("retrievedUrl"), str)
    ]


def _page_content(url: str, status: Any) -> Wire:
    if status != "URL_RETRIEVAL_STATUS_SUCCESS":
        return {"type": "web_fetch_tool_result_error", "error_code": "url_not_accessible"}
    # Google does not report the content of the page.
    source = {"type": "text", "media_type": "text/plain", "data": ""}
    document = {"type": "document", "source": source, "title": None, "citations": None}
    return {"type": "web_fetch_result", "url": url, "retrieved_at": None, "content": document}


def _source_of_chunk(chunk: Wire) -> tuple[str, str | None]:
    for kind in _KINDS:
        source = chunk.get(kind)
        if isinstance(source, dict) and isinstance(source.get("uri"), str):
            title = source.get("title")
            return source["uri"], title if isinstance(title, str) else None
    return "", None


def _cited_text(segment: Wire, text: bytes) -> str:
    if isinstance(segment.get("text"), str):
        return str(segment["text"])
    start, end = segment.get("startIndex", 0), segment.get("endIndex", 0)
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end:
        return text[start:end].decode(errors="ignore")
    return ""


def _make_citation(uri: str, title: Any, cited: str) -> Wire:
    return {
        "type": "web_search_result_location",
        "url": uri,
        "title": title if isinstance(title, str) else None,
        "cited_text": cited,
        "encrypted_index": "",
    }


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects_in(value: Any) -> list[Wire]:
    return [item for item in _as_list(value) if isinstance(item, dict)]

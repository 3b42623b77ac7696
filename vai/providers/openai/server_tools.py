"""What a server's tools did, and the sources it names: their canonical form.

A use is a pair of blocks, the call and its result, followed by the images it drew.
Sources are citations of the text before them; offsets count characters of the response's
complete text.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.decode.emitter import Emitter
from vai.providers.decode.tool_call import decode_object
from vai.types.blocks import (
    Block,
    ImageBlock,
    ServerToolUseBlock,
    Source,
    UnknownBlock,
    WebSearchToolResultBlock,
)
from vai.types.message import Usage

__all__ = ["MAX_SERVER_TOOL_USES", "GroqServerTools", "citation_from_annotation"]

Wire = dict[str, Any]

MAX_SERVER_TOOL_USES: Final = 256
"""Runs in one response; those beyond are left out."""
_RESULTS: Final = ("output", "search_results", "code_results", "browser_results")


class GroqServerTools:
    """The runs of one response, which may come in pieces: the call first, its result later."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._open: dict[int, Wire] = {}
        self._count = 0
        self._searches = 0

    def add_pieces(self, pieces: list[Any]) -> None:
        """The `executed_tools` of a chunk or of a whole response."""
        for number, piece in enumerate(pieces):
            if not isinstance(piece, dict):
                continue
            index = piece.get("index")
            key = index if isinstance(index, int) else number
            members = {name: value for name, value in piece.items() if value}
            use = {**self._open.pop(key, {}), **members}
            if any(use.get(name) for name in _RESULTS):
                self._emit_use(use)
            elif len(self._open) < MAX_SERVER_TOOL_USES:
                self._open[key] = use

    def emit_pending(self) -> None:
        """The response is over: runs that had no result are shown without."""
        for use in self._open.values():
            self._emit_use(use)
        self._open = {}

    def _emit_use(self, use: Wire) -> None:
        if self._count >= MAX_SERVER_TOOL_USES:
            return
        named = f"run_{self._count}"
        self._count += 1
        raw_arguments = use.get("arguments")
        arguments = (
            raw_arguments
            if isinstance(raw_arguments, dict)
            else decode_object(str(raw_arguments or "")) or {}
        )
        for block in _blocks_from_use(named, use, arguments):
            self._emitter.add_block(block)
        if not _is_code_execution(use):
            self._searches += 1
            counted = {"web_search_requests": self._searches, "web_fetch_requests": 0}
            self._emitter.report_usage(Usage(extra={"server_tool_use": counted}))


def _is_code_execution(use: Wire) -> bool:
    kind = str(use.get("type")).lower()
    return bool(use.get("code_results")) or "python" in kind or "code" in kind


def _blocks_from_use(id: str, use: Wire, arguments: Wire) -> list[Block]:
    if _is_code_execution(use):
        return [
            ServerToolUseBlock(id=id, name="code_execution", input=arguments),
            _code_result(id, use),
            *_images_from_use(use),
        ]
    return [
        ServerToolUseBlock(id=id, name="web_search", input=arguments),
        WebSearchToolResultBlock(tool_use_id=id, content=_pages_from_use(use)),
    ]


def _pages_from_use(use: Wire) -> list[Wire]:
    results = use.get("search_results")
    pages = _to_objects(results.get("results") if isinstance(results, dict) else results)
    return [
        {
            "type": "web_search_result",
            "url": page["url"],
            "title": str(page.get("title") or page["url"]),
            "encrypted_content": "",
            "page_age": None,
        }
        for page in [*pages, *_to_objects(use.get("browser_results"))]
        if isinstance(page.get("url"), str)
    ]


def _code_result(id: str, use: Wire) -> UnknownBlock:
    texts = [
        result["text"]
        for result in _to_objects(use.get("code_results"))
        if isinstance(result.get("text"), str)
    ]
    output = use.get("output")
    return UnknownBlock(
        raw={
            "type": "code_execution_tool_result",
            "tool_use_id": id,
            "content": {
                "type": "code_execution_result",
                "stdout": output if isinstance(output, str) else "\n".join(texts),
                "stderr": "",
                "return_code": 0,
                "content": [],
            },
        }
    )


def _images_from_use(use: Wire) -> list[Block]:
    return [
        ImageBlock(source=Source(type="base64", media_type="image/png", data=result["png"]))
        for result in _to_objects(use.get("code_results"))
        if isinstance(result.get("png"), str) and result["png"]
    ]


def _to_objects(value: Any) -> list[Wire]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def citation_from_annotation(annotation: Any, text: str) -> Wire | None:
    """The citation that an annotation of `text` stands for; None if it is of no known kind."""
    if not isinstance(annotation, dict):
        return None
    for kind in ("url_citation", "document_citation", "function_citation"):
        source = annotation.get(kind)
        if isinstance(source, dict):
            quoted = _quote_text(text, source.get("start_index"), source.get("end_index"))
            return (
                _web_citation(source, quoted)
                if kind == "url_citation"
                else _client_citation(source, quoted)
            )
    return None


def _web_citation(source: Wire, quoted: str) -> Wire | None:
    if not isinstance(source.get("url"), str):
        return None
    return {
        "type": "web_search_result_location",
        "url": source["url"],
        "title": source.get("title") if isinstance(source.get("title"), str) else None,
        "cited_text": quoted,
        "encrypted_index": "",
    }


def _client_citation(source: Wire, quoted: str) -> Wire:
    """A source that the client sent: a document, or what one of its tools answered."""
    return {
        "type": "search_result_location",
        "source": str(source.get("document_id") or source.get("tool_call_id") or ""),
        "title": None,
        "cited_text": quoted,
        "search_result_index": 0,
        "start_block_index": 0,
        "end_block_index": 0,
    }


def _quote_text(text: str, start: Any, end: Any) -> str:
    if isinstance(start, int) and isinstance(end, int) and 0 <= start <= end:
        return text[start:end]
    return ""

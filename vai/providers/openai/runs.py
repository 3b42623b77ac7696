"""What a server's own tools did, and the sources it names: their canonical form.

A run is a pair of blocks, the call and its result, followed by the pictures it drew.
Sources are citations of the text before them; offsets count characters of the whole
answer's text.
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

__all__ = ["MAX_RUNS", "GroqToolRuns", "citation"]

Wire = dict[str, Any]

MAX_RUNS: Final = 256
"""Runs in one answer; those beyond are left out."""
_RESULTS: Final = ("output", "search_results", "code_results", "browser_results")


class GroqToolRuns:
    """The runs of one answer, which may come in pieces: the call first, its result later."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._open: dict[int, Wire] = {}
        self._count = 0
        self._searches = 0

    def pieces(self, pieces: list[Any]) -> None:
        """The `executed_tools` of a chunk or of a whole answer."""
        for place, piece in enumerate(pieces):
            if not isinstance(piece, dict):
                continue
            index = piece.get("index")
            key = index if isinstance(index, int) else place
            known = {name: value for name, value in piece.items() if value}
            run = {**self._open.pop(key, {}), **known}
            if any(run.get(name) for name in _RESULTS):
                self._emit(run)
            elif len(self._open) < MAX_RUNS:
                self._open[key] = run

    def flush(self) -> None:
        """The answer is over: runs that had no result are shown without."""
        for run in self._open.values():
            self._emit(run)
        self._open = {}

    def _emit(self, run: Wire) -> None:
        if self._count >= MAX_RUNS:
            return
        named = f"run_{self._count}"
        self._count += 1
        given = run.get("arguments")
        arguments = given if isinstance(given, dict) else decode_object(str(given or "")) or {}
        for block in _blocks(named, run, arguments):
            self._emitter.add_block(block)
        if not _is_code(run):
            self._searches += 1
            counted = {"web_search_requests": self._searches, "web_fetch_requests": 0}
            self._emitter.report_usage(Usage(extra={"server_tool_use": counted}))


def _is_code(run: Wire) -> bool:
    kind = str(run.get("type")).lower()
    return bool(run.get("code_results")) or "python" in kind or "code" in kind


def _blocks(id: str, run: Wire, arguments: Wire) -> list[Block]:
    if _is_code(run):
        return [
            ServerToolUseBlock(id=id, name="code_execution", input=arguments),
            _code_result(id, run),
            *_pictures(run),
        ]
    return [
        ServerToolUseBlock(id=id, name="web_search", input=arguments),
        WebSearchToolResultBlock(tool_use_id=id, content=_pages(run)),
    ]


def _pages(run: Wire) -> list[Wire]:
    found = run.get("search_results")
    rows = _list(found.get("results") if isinstance(found, dict) else found)
    return [
        {
            "type": "web_search_result",
            "url": row["url"],
            "title": str(row.get("title") or row["url"]),
            "encrypted_content": "",
            "page_age": None,
        }
        for row in [*rows, *_list(run.get("browser_results"))]
        if isinstance(row.get("url"), str)
    ]


def _code_result(id: str, run: Wire) -> UnknownBlock:
    texts = [
        row["text"] for row in _list(run.get("code_results")) if isinstance(row.get("text"), str)
    ]
    output = run.get("output")
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


def _pictures(run: Wire) -> list[Block]:
    return [
        ImageBlock(source=Source(type="base64", media_type="image/png", data=row["png"]))
        for row in _list(run.get("code_results"))
        if isinstance(row.get("png"), str) and row["png"]
    ]


def _list(value: Any) -> list[Wire]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def citation(annotation: Any, text: str) -> Wire | None:
    """The citation that an annotation of `text` stands for; None if it is of no known kind."""
    if not isinstance(annotation, dict):
        return None
    for kind in ("url_citation", "document_citation", "function_citation"):
        found = annotation.get(kind)
        if isinstance(found, dict):
            quoted = _slice(text, found.get("start_index"), found.get("end_index"))
            return _web(found, quoted) if kind == "url_citation" else _given(found, quoted)
    return None


def _web(found: Wire, quoted: str) -> Wire | None:
    if not isinstance(found.get("url"), str):
        return None
    return {
        "type": "web_search_result_location",
        "url": found["url"],
        "title": found.get("title") if isinstance(found.get("title"), str) else None,
        "cited_text": quoted,
        "encrypted_index": "",
    }


def _given(found: Wire, quoted: str) -> Wire:
    """A source that the caller sent: a document, or what one of its tools answered."""
    return {
        "type": "search_result_location",
        "source": str(found.get("document_id") or found.get("tool_call_id") or ""),
        "title": None,
        "cited_text": quoted,
        "search_result_index": 0,
        "start_block_index": 0,
        "end_block_index": 0,
    }


def _slice(text: str, start: Any, end: Any) -> str:
    if isinstance(start, int) and isinstance(end, int) and 0 <= start <= end:
        return text[start:end]
    return ""

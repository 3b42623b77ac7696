"""Which tool call a piece of a stream belongs to, and the results of the server's own tools.

OpenAI numbers its calls. Servers that imitate it reuse number 0 for every call, leave out the
number, the id, or both, or repeat id and name on every piece. So a piece starts a new call when
it has another id, or when it cannot be a continuation (it has a name, and the call it would
continue is already complete).
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.decode.emitter import Emitter
from vai.providers.decode.tool_call import as_json, decode_object, parse_arguments
from vai.providers.openai.chunk import CallDelta, FunctionDelta
from vai.types.blocks import (
    Block,
    ImageBlock,
    ServerToolUseBlock,
    Source,
    UnknownBlock,
    WebSearchToolResultBlock,
)
from vai.types.message import Usage

__all__ = [
    "MAX_SERVER_TOOL_USES",
    "ChatCalls",
    "GroqServerTools",
    "citation_from_annotation",
    "has_call_content",
]


class _SeenCall:
    """A call as its pieces identified it."""

    __slots__ = ("chunk", "has_begun", "id", "key", "name")

    def __init__(self, key: int, id: Any, name: str | None, chunk: int) -> None:
        self.key = key
        self.id = id
        self.name = name
        self.chunk = chunk
        self.has_begun = False
        """Whether any of its arguments have arrived."""


class ChatCalls:
    """Passes every piece of a tool call to the emitter under the call's own key."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._by_index: dict[int, _SeenCall] = {}
        self._order: list[_SeenCall] = []
        self._last: _SeenCall | None = None
        self._chunk = 0

    def add_pieces(self, pieces: list[CallDelta]) -> None:
        """The tool calls of one chunk."""
        self._chunk += 1
        for piece in pieces:
            self._add_piece(piece.index, piece.id or None, _function_of(piece))

    def add_legacy_call(self, function: FunctionDelta) -> None:
        """The one call of the older `function_call` member."""
        self._chunk += 1
        self._add_piece(0, None, function)

    def complete_calls(self, calls: list[CallDelta]) -> None:
        """All calls of the response: emit what the pieces left out."""
        for number, call in enumerate(calls):
            function = _function_of(call)
            if number < len(self._order):
                seen = self._order[number]
                self._open_call(seen, call.id, function.name)
            else:
                seen = self._add_call(call.id or None, function.name)
            self._emitter.complete_arguments(seen.key, as_json(function.arguments))

    def _add_piece(self, index: int | None, id: Any, function: FunctionDelta) -> None:
        seen = self._last if index is None else self._by_index.get(index)
        text = as_json(function.arguments)
        if seen is None or self._starts_call(seen, index, id, function.name, text):
            if not (id or function.name or text):
                return  # a member that the server always writes
            seen = self._add_call(id, function.name)
            if index is not None:
                self._by_index[index] = seen
        elif (function.name and not seen.name) or (id and not seen.id):
            self._open_call(seen, id, function.name)
        self._last = seen
        if text:
            seen.has_begun = True
            self._emitter.add_arguments(seen.key, text)

    def _add_call(self, id: Any, name: str | None) -> _SeenCall:
        seen = _SeenCall(len(self._order), id, name, self._chunk)
        self._order.append(seen)
        self._open_call(seen, id, name)
        return seen

    def _open_call(self, seen: _SeenCall, id: Any, name: str | None) -> None:
        seen.id, seen.name = seen.id or id, seen.name or name
        self._emitter.open_tool_call(seen.key, id, name)

    def _starts_call(
        self, seen: _SeenCall, index: int | None, id: Any, name: str | None, text: str
    ) -> bool:
        if id is not None and seen.id is not None and id != seen.id:
            return index is None or not self._continues_call(seen, name, text)
        if not name or not seen.name:
            return False
        if name != seen.name or (index is None and seen.chunk == self._chunk):
            return True
        if id is None:
            return self._emitter.has_complete_arguments(seen.key)
        # With the same id on every piece, only a further object is a further call.
        return text[:1] == "{" and self._emitter.is_another_call(seen.key, text)

    def _continues_call(self, seen: _SeenCall, name: str | None, text: str) -> bool:
        """Whether a piece with another id still continues a call.

        vLLM sets a new id on every piece, and the name as well where the request demands one tool.
        """
        if not seen.name or (name and name != seen.name):
            return False
        if self._emitter.has_complete_arguments(seen.key):
            return False
        has_text = bool(text.strip())
        if name and has_text and parse_arguments(text) is not None:
            return False
        return seen.has_begun or has_text or not name


def has_call_content(call: FunctionDelta | CallDelta) -> bool:
    """Whether it is a call, and not a member that the server always writes."""
    if isinstance(call, CallDelta) and call.id:
        return True
    function = _function_of(call) if isinstance(call, CallDelta) else call
    return bool(function.name or function.arguments)


def _function_of(piece: CallDelta) -> FunctionDelta:
    return piece.function or FunctionDelta(piece.name, piece.arguments)


Wire = dict[str, Any]

MAX_SERVER_TOOL_USES: Final = 256
"""Uses in one response; VAI leaves out those beyond."""
_RESULTS: Final = ("output", "search_results", "code_results", "browser_results")


class GroqServerTools:
    """The server tools that ran in one response; the call may come first, its result later.

    A use becomes a pair of blocks, the call and its result, followed by the images it drew.
    Sources become citations of the text before them; offsets count characters of the response's
    complete text.
    """

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
        """The response has ended: emit uses without a result."""
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
    """A source that the client sent: a document, or the result of one of its tools."""
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

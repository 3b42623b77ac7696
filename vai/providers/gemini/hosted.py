"""Tools that Google ran -> pairs of `server_tool_use` and its result.

Google tells of them in three ways: parts for code, parts for any tool where they were asked
for, and metadata behind the answer. The last is used only where the parts were not there.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.decode.emitter import Emitter
from vai.providers.gemini import grounding
from vai.types.blocks import Block, ServerToolUseBlock, UnknownBlock, WebSearchToolResultBlock
from vai.types.message import Usage

__all__ = ["GoogleServerTools", "replayed"]

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


def replayed(block: Block, provider: str) -> Wire | None:
    """The part that `block` came from, if `provider` can be told what it did itself.

    Only code and its outcome: of searches and pages the answer holds what mattered.
    """
    own = f"srvtoolu_{_mark(provider)}_"
    if isinstance(block, ServerToolUseBlock):
        if block.name == "code_execution" and block.id.startswith(own):
            code = str(block.input.get("code") or "")
            return {"executableCode": {"language": "PYTHON", "code": code}}
        return None
    raw = block.raw if isinstance(block, UnknownBlock) else {}
    told = raw.get("content")
    if raw.get("type") != "code_execution_tool_result" or not isinstance(told, dict):
        return None
    if not str(raw.get("tool_use_id")).startswith(own):
        return None
    output = f"{told.get('stdout') or ''}{told.get('stderr') or ''}"
    ended = told.get("return_code")
    outcome = _OUTCOMES.get(ended if isinstance(ended, int) else 1, "OUTCOME_FAILED")
    return {"codeExecutionResult": {"outcome": outcome, "output": output}}


def _mark(provider: str) -> str:
    return provider.replace("-", "_")


class GoogleServerTools:
    """Emits the pairs. Their ids say who made them, and derive from the exchange's."""

    def __init__(self, emitter: Emitter, provider: str, exchange_id: str) -> None:
        self._emitter = emitter
        self._ids = f"{_mark(provider)}_{_mark(exchange_id)}"
        self._count = 0
        self._searched = self._fetched = 0
        self._open: list[tuple[str, str, str]] = []

    def code(self, code: Wire) -> None:
        """Code that the model wrote to be run."""
        self._open_use("code_execution", {"code": str(code.get("code") or "")}, code.get("id"))

    def code_result(self, result: Wire) -> None:
        """What came of it."""
        used = self._opened("code_execution", result.get("id"))
        if used is None:
            return
        outcome, output = result.get("outcome"), str(result.get("output") or "")
        code = _RETURN_CODES.get(str(outcome), 1)
        told = {
            "type": "code_execution_result",
            "stdout": "" if code else output,
            "stderr": output if code else "",
            "return_code": code,
            "content": [],
        }
        self._result("code_execution_tool_result", used, told)

    def call(self, call: Wire) -> None:
        """A use of a tool that has parts of its own. Tools without a name of ours are left out."""
        name = _NAMES.get(str(call.get("toolType")))
        args = call.get("args")
        if name is None:
            return
        self._open_use(name, args if isinstance(args, dict) else {}, call.get("id"))
        self._report(searched=name == "web_search", fetched=name == "web_fetch")

    def response(self, response: Wire) -> None:
        """What came of it. The sources follow with the answer's metadata."""
        name = _NAMES.get(str(response.get("toolType")))
        used = self._opened(name, response.get("id"))
        if used is None:
            return
        if name == "web_search":
            self._emitter.add_block(WebSearchToolResultBlock(tool_use_id=used, content=[]))
        else:
            told = {"type": "web_fetch_tool_result_error", "error_code": "unavailable"}
            self._result("web_fetch_tool_result", used, told)

    def searched(self, metadata: Wire) -> None:
        """The sources of the answer."""
        if self._searched or not grounding.is_search(metadata):
            return
        asked = grounding.queries(metadata)
        given: Wire = {"query": asked[0]} if asked else {}
        if len(asked) > 1:
            given["queries"] = asked
        used = self._use("web_search", given)
        found = grounding.results(metadata)
        self._emitter.add_block(WebSearchToolResultBlock(tool_use_id=used, content=found))
        self._report(searched=max(len(asked), 1))

    def fetched(self, metadata: Wire) -> None:
        """The pages that were read."""
        if self._fetched:
            return
        pages = grounding.fetched(metadata)
        for url, page in pages:
            used = self._use("web_fetch", {"url": url})
            self._result("web_fetch_tool_result", used, page)
        self._report(fetched=len(pages))

    def _use(self, name: str, given: Wire) -> str:
        """Emit a use; its id."""
        self._count += 1
        made = f"srvtoolu_{self._ids}_{self._count}"
        self._emitter.add_block(ServerToolUseBlock(id=made, name=name, input=given))
        return made

    def _open_use(self, name: str, given: Wire, upstream: Any) -> None:
        """Emit a use whose result will come as a part of its own."""
        self._open.append((self._use(name, given), name, str(upstream or "")))

    def _opened(self, name: str | None, upstream: Any) -> str | None:
        """The use that a result belongs to: by Google's id, else the last one by this name."""
        for found in reversed(self._open):
            if found[1] == name and (not upstream or found[2] in ("", str(upstream))):
                self._open.remove(found)
                return found[0]
        return None

    def _result(self, kind: str, used: str, content: Wire) -> None:
        raw = {"type": kind, "tool_use_id": used, "content": content}
        self._emitter.add_block(UnknownBlock(raw=raw))

    def _report(self, *, searched: int = 0, fetched: int = 0) -> None:
        self._searched += searched
        self._fetched += fetched
        counts = {"web_search_requests": self._searched, "web_fetch_requests": self._fetched}
        self._emitter.report_usage(Usage(extra={"server_tool_use": counts}))

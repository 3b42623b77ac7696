"""generateContent responses -> canonical events.

One decoder for chunks and for whole responses, so that both result in the same message. A chunk
may hold anything: thoughts, text, calls, the end. Usage and sources come last and more than
once; the last ones count.

A response may come in several bodies (`CONTINUATION`): the decoder continues where it was, and
adds up the usage of each body.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.emitter import MAX_CALLS, Emitter
from vai.providers.decode.lenient import LenientDecoder, is_error
from vai.providers.decode.stream_decoder import StreamDecoder
from vai.providers.decode.text_filter import TextFilter
from vai.providers.decode.tool_call import as_json
from vai.providers.decode.tool_names import ToolNames
from vai.providers.gemini import faults
from vai.providers.gemini.body import (
    Blob,
    Candidate,
    FunctionCall,
    GeminiChunk,
    Part,
    UsageTotals,
    decode_chunks,
)
from vai.providers.gemini.conversation import FOLLOWING, PRECEDING, THOUGHT
from vai.providers.gemini.faults import (
    CONTINUATION,
    STOP_REASONS,
    UNUSABLE_CALL_REASONS,
    fault_from_reason,
    refusal_details,
)
from vai.providers.gemini.server_tools import (
    GoogleServerTools,
    citations_from_grounding,
    citations_from_recitation,
    search_results,
)
from vai.providers.translate.reasoning import wrap_signature
from vai.types.blocks import AudioBlock, ImageBlock, Source

__all__ = ["MAX_AWAITING", "MAX_CITED", "GeminiStreamDecoder"]

_DONE: Final = b"[DONE]"
MAX_CITED: Final = 1 << 20
"""Characters of the response that VAI keeps to cite from."""
MAX_AWAITING: Final = 4096
"""Characters of text that wait for the sources, in a response that may be grounded."""


class GeminiStreamDecoder(StreamDecoder):
    """Reads one response into an emitter.

    Args:
        exchange_id: ids of tools that Google ran derive from it.
        names: the names of the client's tools.
        text: the filter between the upstream's text and the client's, if any.
        grounds: whether Google may search for this response and report it only behind the
            text. The search precedes the text it was for, so the text waits for it, up to
            `MAX_AWAITING` characters; behind a longer text VAI only cites the
            search.
    """

    def __init__(
        self,
        emitter: Emitter,
        provider: str,
        title: str,
        *,
        exchange_id: str,
        names: ToolNames,
        text: TextFilter | None = None,
        grounds: bool = False,
    ) -> None:
        self.token: str | None = None
        self.totals = UsageTotals()
        super().__init__(provider, title, text)
        self.sink = self._emitter = emitter
        self._names = names
        self._server_tools = GoogleServerTools(emitter, provider, exchange_id)
        self._calls: dict[str, set[int]] = {}
        """Id of a call in an earlier chunk -> hashes of names and arguments under that id."""
        self._new_calls: list[tuple[str, int]] = []
        self._count = 0
        self._usable = False
        self._lenient = LenientDecoder()
        self._number: int | None = None
        self._content = False
        self._thinking = False
        self._text_signature = ""
        self._holds_text = True
        self._max_awaiting = MAX_AWAITING if grounds else 0
        self._awaiting: list[str] = []
        self._awaiting_length = 0
        self._citable: list[str] = []
        self._citable_length = 0
        self._grounding: dict[str, Any] | None = None
        self._pages: dict[str, Any] | None = None
        self._citation_metadata: dict[str, Any] | None = None
        self._reason: str | None = None
        self._message: str | None = None

    def read_event(self, text: bytes) -> None:
        """One JSON text of the body."""
        if text.strip() == _DONE:
            self.read_done_marker()
            return
        try:
            chunks = None if self._lenient.waits else decode_chunks(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            chunks = None
        if chunks is None:
            chunks = self._lenient.read_objects(text, GeminiChunk)
        if chunks is None and text.strip():
            self._emitter.fail_unusable(
                "a part of it is not the JSON that was expected", "malformed"
            )
        for chunk in chunks or ():
            self._read_chunk(chunk)
        if any(map(_is_odd, chunks or ())):
            fault = failure.fault_from_object(self._provider, self._title, text)
            if fault is not None:
                self._emitter.fail(fault)

    def read_done_marker(self) -> None:
        """A proxy marks the end of the stream in OpenAI's way."""
        if self._reason is None and self._content:
            self._reason = "STOP"

    def report_usage(self) -> None:
        """Report the usage so far to the emitter."""
        self._emitter.report_usage(self.totals.total)

    def start_next_body(self) -> None:
        """A further body follows, requested with `token`."""
        self.token = self._reason = None
        self.totals.close_body()

    def read_body(self, data: bytes) -> None:
        """A JSON response: one event, for this service."""
        self.read_event(data)

    def end_stream(self) -> None:
        """The response has ended."""
        self.end_body()

    def end_body(self, *, goes_on: bool = False) -> None:
        """The body has ended. `goes_on`: VAI will request a further one."""
        self.report_usage()
        if goes_on:
            return
        self._emit_awaiting()
        if self._reason is not None and not self._emitter.has_stop_reason:
            self._end_text(self._collect_citations())
            self._close_reasoning()
            self._emit_grounding()
            self._finish_message(self._reason)
        self._emitter.end_message()

    @property
    def goes_on(self) -> bool:
        """Whether the body that ended announced a further one."""
        failed = self._emitter.is_complete or self._emitter.fault is not None
        return self._reason == CONTINUATION and self.token is not None and not failed

    def _read_chunk(self, chunk: GeminiChunk) -> None:
        error = chunk.error
        chunk = chunk.response or chunk
        error = error or chunk.error
        if chunk.usage_metadata is not None:
            self.totals.read_usage(chunk.usage_metadata)
        model = (chunk.model_version or "").removeprefix("models/")
        if chunk.candidates:
            candidate = chunk.candidates[0]
            number = candidate.index or 0
            if self._number is None:
                self._number = number
            if number == self._number:
                if not self._emitter.has_started:
                    self.report_usage()
                    self._emitter.start_message(model)
                self._read_candidate(candidate)
        elif chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            feedback = chunk.prompt_feedback
            self.report_usage()
            self._emitter.start_message(model)
            why = feedback.block_reason_message or feedback.block_reason or ""
            self._emitter.set_stop_reason("refusal", refusal_details(why))
        if isinstance(error, dict) and is_error(error):
            self._emit_awaiting()
            self._emitter.fail(faults.fault_from_event(self._provider, self._title, error))

    def _read_candidate(self, candidate: Candidate) -> None:
        self._grounding = candidate.grounding_metadata or self._grounding
        self._pages = candidate.url_context_metadata or self._pages
        content = candidate.content
        for part in (content.parts if content is not None else None) or ():
            self._read_part(part)
        if self._awaiting and self._knows_sources():
            self._emit_awaiting()
        for call_id, content_hash in self._new_calls:
            self._calls.setdefault(call_id, set()).add(content_hash)
        self._new_calls.clear()
        self._citation_metadata = candidate.citation_metadata or self._citation_metadata
        self.token = candidate.continuation_token or self.token
        if candidate.finish_reason and candidate.finish_reason != "FINISH_REASON_UNSPECIFIED":
            self._reason = candidate.finish_reason
            self._message = candidate.finish_message

    def _read_part(self, part: Part) -> None:
        signed = part.thought_signature or ""
        if part.text and not part.thought:  # nearly every part of nearly all responses
            self._close_reasoning()
            self._read_text(part.text)
            self._text_signature = signed or self._text_signature
            if part.function_call is not None:
                self._read_call(part.function_call, "")
        elif part.function_call is not None:
            self._read_call(part.function_call, signed)
        elif part.thought:
            self._read_thought(part.text or "", signed)
        elif part.inline_data is not None:
            self._end_before(signed)
            self._emit_medium(part.inline_data)
        elif part.executable_code is not None:
            self._end_before(signed)
            self._server_tools.emit_code(part.executable_code)
        elif part.code_execution_result is not None:
            self._end_before(signed)
            self._server_tools.emit_code_result(part.code_execution_result)
        elif part.tool_call is not None:
            self._end_before(signed)
            self._server_tools.emit_call(part.tool_call)
        elif part.tool_response is not None:
            self._end_before(signed)
            self._server_tools.emit_response(part.tool_response)
        elif signed:
            # A part that is only a signature signs the text that has ended.
            self._text_signature = signed
            return
        else:
            return
        self._content = True

    def _read_thought(self, text: str, signed: str) -> None:
        if text:
            self._end_text()
            self._thinking = True
            self._emitter.add_thinking(text)
        if signed and self._thinking:
            self._close_reasoning(signed)

    def _end_before(self, signed: str) -> None:
        """End text and reasoning before a part that is no text; `signed` is its signature."""
        self._end_text()
        if signed:
            self._thinking = False
            self._emitter.add_signature(wrap_signature(self._provider, FOLLOWING, signed))
        else:
            self._close_reasoning()

    def _close_reasoning(self, signed: str = "") -> None:
        """The reasoning before this point is complete: sign it with its provider."""
        if self._thinking:
            self._thinking = False
            self._emitter.add_signature(wrap_signature(self._provider, THOUGHT, signed))

    def _read_call(self, call: FunctionCall, signed: str) -> None:
        if not (call.id or call.name or call.args):
            return  # a member that a proxy always writes
        name, arguments = call.name or None, as_json(call.args) or "{}"
        content_hash = hash((name, arguments))
        if isinstance(call.id, str) and call.id:
            if content_hash in self._calls.get(call.id, ()):
                return  # a chunk repeats a call of an earlier one
            self._new_calls.append((call.id, content_hash))
        self._end_before(signed)
        key, self._count = self._count, self._count + 1
        self._usable = self._usable or (name is not None and self._names.is_declared(name))
        self._emitter.open_tool_call(key, call.id, name)
        # Empty arguments too: they show that the call is complete.
        if key < MAX_CALLS:
            self._emitter.add_arguments(key, arguments)

    def _emit_medium(self, blob: Blob) -> None:
        source = Source(type="base64", media_type=blob.mime_type, data=blob.data)
        if blob.mime_type.startswith("audio/"):
            self._emitter.add_block(AudioBlock(source=source))
        else:
            self._emitter.add_block(ImageBlock(source=source))

    def _read_text(self, text: str) -> None:
        if self._citable_length < MAX_CITED:
            self._citable.append(text)
            self._citable_length += len(text)
        if self._filter is None:
            self._emit_text(text)
            return
        shown = self._filter.filter_text(text)
        if shown:
            self._emit_text(shown)
        if self._filter.stop_sequence is not None:
            self._emit_awaiting()
            self.report_usage()
            self._emitter.set_stop_reason("stop_sequence", sequence=self._filter.stop_sequence)
            self._emitter.end_message()

    def _emit_text(self, text: str) -> None:
        """Pass text to the client, behind the search that it was for where that is known."""
        if not self._holds_text:
            self._emitter.add_text(text)
            return
        self._awaiting.append(text)
        self._awaiting_length += len(text)
        if self._awaiting_length > self._max_awaiting or self._knows_sources():
            self._emit_awaiting()

    def _emit_awaiting(self) -> None:
        """Emit the text that waited for the sources."""
        if self._awaiting:
            self._holds_text = False
            text, self._awaiting = "".join(self._awaiting), []
            self._emit_grounding()
            self._emitter.add_text(text)

    def _knows_sources(self) -> bool:
        results = search_results(self._grounding) if self._grounding is not None else ()
        return bool(results or self._pages)

    def _end_text(self, cited: list[dict[str, Any]] | None = None) -> None:
        """The text before this point is complete: show what was held back, cite, sign."""
        rest = self._filter.flush_text() if self._filter is not None else ""
        if rest:
            self._emit_text(rest)
        self._emit_awaiting()
        for citation in cited or ():
            self._emitter.add_citation(citation)
        if self._text_signature:
            signature = wrap_signature(self._provider, PRECEDING, self._text_signature)
            self._text_signature = ""
            self._close_reasoning()
            self._emitter.add_redacted_thinking(signature)

    def _collect_citations(self) -> list[dict[str, Any]]:
        if self._grounding is None and self._citation_metadata is None:
            return []
        text = "".join(self._citable).encode("utf-8", "replace")
        return [
            *citations_from_grounding(self._grounding or {}, text),
            *citations_from_recitation(self._citation_metadata or {}, text),
        ]

    def _emit_grounding(self) -> None:
        if self._grounding is not None:
            self._server_tools.emit_search(self._grounding)
        if self._pages is not None:
            self._server_tools.emit_fetches(self._pages)

    def _finish_message(self, reason: str) -> None:
        fault = fault_from_reason(reason, self._message, self._provider)
        if self._usable and reason in UNUSABLE_CALL_REASONS:
            # The reason concerns another call than the one emitted.
            self._emitter.set_stop_reason("tool_use")
        elif fault is not None:
            self._emitter.fail(fault)
        elif reason == CONTINUATION:
            # What would follow was not requested: the client's limit, or VAI's, is reached.
            self._emitter.set_stop_reason("max_tokens")
        elif reason in STOP_REASONS:
            stop_reason = STOP_REASONS[reason]
            details = refusal_details(self._message or reason) if stop_reason == "refusal" else None
            self._emitter.set_stop_reason(stop_reason, details)
        elif reason == "STOP" or self._content:
            # The call may have arrived long before the STOP at the end.
            self._emitter.set_stop_reason(
                "tool_use" if self._emitter.has_tool_calls else "end_turn"
            )
        else:
            self._emitter.fail_unusable(
                f"it ended without content ({_shorten_reason(reason)})", "no_content"
            )


def _shorten_reason(reason: str) -> str:
    """An upstream's reason, shortened; a fixed text where it is no word."""
    return reason[:40] if reason.replace("_", "").isalnum() else "for an unknown reason"


def _is_odd(chunk: GeminiChunk) -> bool:
    """Whether an object has no member of a response, or an error that is not in Google's form; it
    may report one in another."""
    if is_error(chunk.error):
        return not isinstance(chunk.error, dict)
    members = (chunk.candidates, chunk.prompt_feedback, chunk.usage_metadata, chunk.response)
    return all(member is None for member in members)

"""From a request to its response.

Invariants: this module decides by the request and the simulator's state (scripts, failure counts,
prompt cache, threads); it sends nothing and waits for nothing.

Each wire format has a function that parses a request, and two that render a response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
import orjson

from vai.simulator import (
    auxiliary,
    chat,
    chat_check,
    google,
    google_check,
    messages,
    messages_check,
    responses,
    responses_check,
)
from vai.simulator.composer import compose_response, dictated_response
from vai.simulator.faults import fault_body, fault_headers
from vai.simulator.journal import Journal, JournalEntry
from vai.simulator.knobs import FailureCounter, Knobs, KnobsUnreadable, parse_knobs
from vai.simulator.parsed_request import ParsedRequest, SimulatedError
from vai.simulator.parts import SimulatedResponse
from vai.simulator.profiles import (
    MatchedEndpoint,
    ProviderProfile,
    SimulatedFormat,
    answer_headers,
    check_credential,
    match_endpoint,
    request_id_of,
)
from vai.simulator.scripts import Script, Scripts
from vai.simulator.threads import PromptCache, ThreadStore
from vai.simulator.timed_response import TimedPiece, TimedResponse, single_piece_response

__all__ = [
    "WRITERS",
    "SimulatedProviders",
    "count_tokens",
    "model_of",
    "parse_request",
    "plain_request",
]

_BENCH: Final = "bench"
_MISREAD: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""The checks find the frequent mistakes of clients. A member of another wrong type raises one of
these where it is read, and is the client's fault too."""


class _Writer(msgspec.Struct, frozen=True):
    body: Callable[[ParsedRequest, SimulatedResponse, str], bytes]
    """The response to a request without a stream; the string is the request's id."""
    events: Callable[[ParsedRequest, SimulatedResponse, str], Iterator[TimedPiece]]
    """The response as a stream, paced by the knobs."""


WRITERS: Final[Mapping[SimulatedFormat, _Writer]] = {
    "messages": _Writer(messages.render_body, messages.render_events),
    "chat": _Writer(chat.render_body, chat.render_events),
    "responses": _Writer(responses.render_body, responses.render_events),
    "google": _Writer(google.render_body, google.render_events),
}


def model_of(target: MatchedEndpoint, body: dict[str, Any]) -> Any:
    """The model that a request names, in its path or in its body; of any type."""
    return body.get("model") if target.model is None else target.model


def parse_request(
    target: MatchedEndpoint,
    body: Any,
    headers: Mapping[str, str],
    knobs: Knobs,
    prefixes: PromptCache,
) -> ParsedRequest:
    """Read a request into a `ParsedRequest`.

    Raises:
        SimulatedError: the provider's refusal.
    """
    match target.profile.wire_format:
        case "messages":
            return messages_check.parse_request(body, headers, knobs, prefixes)
        case "chat":
            return chat_check.parse_request(body, target.profile.name, knobs)
        case "responses":
            return responses_check.parse_request(body, target.profile.name, knobs)
        case "google":
            request = google_check.parse_request(body, target.profile.name, target.model, knobs)
            request.stream, request.framed = bool(target.stream), target.framed
            return request


def count_tokens(target: MatchedEndpoint, body: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    """The response of the provider's own token counter.

    Raises:
        SimulatedError: the provider's refusal.
    """
    match target.profile.wire_format:
        case "messages":
            request = messages_check.parse_request(
                body, headers, Knobs(), PromptCache(), counting=True
            )
            return {"input_tokens": request.tokens}
        case "responses":
            request = responses_check.parse_request(
                body, target.profile.name, Knobs(), counting=True
            )
            return {"object": "response.input_tokens", "input_tokens": request.tokens}
        case "google":
            counted = google_check.count_tokens(body, target.profile.name, target.model)
            details = [{"modality": "TEXT", "tokenCount": counted}]
            return {"totalTokens": counted, "promptTokensDetails": details}
    raise SimulatedError(404, f"Invalid URL ({target.path})")


def plain_request(target: MatchedEndpoint, model: str, stream: bool) -> dict[str, Any]:
    """The simplest request to `target`."""
    match target.profile.wire_format:
        case "google":
            body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
            return body if target.model else {"model": model, "request": body}
        case "responses":
            return {"model": model, "stream": stream, "input": "Hello", "max_output_tokens": 40}
    messages = [{"role": "user", "content": "Hello"}]
    return {"model": model, "max_tokens": 40, "stream": stream, "messages": messages}


class SimulatedProviders:
    """The providers and their state."""

    def __init__(self, pace: Knobs, journal: Journal) -> None:
        self.pace = pace
        self.journal = journal
        self.scripts = Scripts()
        self.tries = FailureCounter()
        self._prefixes = PromptCache()
        self._threads = ThreadStore()
        self._bench: dict[tuple[str, bool, bool], TimedResponse] = {}

    def respond(self, entry: JournalEntry, headers: Mapping[str, str]) -> TimedResponse:
        """The response to a request outside the control paths."""
        target = match_endpoint(entry.target)
        profile = target.profile
        entry.provider = profile.name
        entry.request_id = request_id_of(profile, entry.n)
        try:
            check_credential(profile, headers)
            if target.action == "complete":
                if entry.method != "POST":
                    raise SimulatedError(405, "Method Not Allowed")
                return self._respond_with_completion(target, entry, headers)
            auxiliary = self._auxiliary_response(target, entry, headers)
        except SimulatedError as fault:
            return _error_response(profile, fault, entry.request_id)
        response_headers = answer_headers(profile, entry.request_id, stream=False)
        return single_piece_response(200, response_headers, orjson.dumps(auxiliary))

    def _respond_with_completion(
        self, target: MatchedEndpoint, entry: JournalEntry, headers: Mapping[str, str]
    ) -> TimedResponse:
        profile, body = target.profile, _parse_json(entry.body)
        model = model_of(target, body)
        entry.model = model if isinstance(model, str) else ""
        script = self.scripts.take_script(entry.model)
        if script is not None and script.answer is None:
            return script.scripted_response()
        if entry.model == _BENCH:
            return self._bench_response(target, body)
        try:
            knobs = parse_knobs(entry.model, self.pace)
        except KnobsUnreadable as why:
            raise SimulatedError(400, f"model: {why}") from None
        knobs = self.tries.apply_failures(f"{profile.name}/{entry.model}", knobs)
        if knobs.status != 200:
            fault = SimulatedError(knobs.status, "", code=knobs.code)
            return _error_response(profile, fault, entry.request_id, knobs)
        try:
            threaded = profile.wire_format == "messages" and body.get("thread") is not None
            if threaded:
                body = self._threads.complete_thread(body, headers)
            request = parse_request(target, body, headers, knobs, self._prefixes)
            answer = _compose_or_dictate(request, script)
            if threaded:
                message_id, content = messages.thread_entry(request, answer)
                self._threads.keep_thread(body, len(entry.body), message_id, content)
            return _render_response(profile, request, answer, entry.request_id)
        except _MISREAD:
            raise SimulatedError(400, "A member of the request has the wrong type.") from None

    def _bench_response(self, target: MatchedEndpoint, body: Any) -> TimedResponse:
        """The same bytes for every request to `bench`, so that a load test measures the gateway."""
        stream = body.get("stream") is True if target.stream is None else target.stream
        key = (target.path, stream, target.framed)
        prepared = self._bench.get(key)
        if prepared is None:
            plain, headers = (
                plain_request(target, _BENCH, stream),
                {"anthropic-version": "1"},
            )
            request = parse_request(target, plain, headers, Knobs(), self._prefixes)
            prepared = _render_response(
                target.profile, request, compose_response(request), "req_bench"
            )
            prepared.body = list(prepared.body)
            self._bench[key] = prepared
        return msgspec.structs.replace(prepared)

    def _auxiliary_response(
        self, target: MatchedEndpoint, entry: JournalEntry, headers: Mapping[str, str]
    ) -> Any:
        """The response of an endpoint beside completions."""
        if target.action != "count":
            return auxiliary.answer_auxiliary(target, entry.method, entry.body)
        body = _parse_json(entry.body)
        entry.model = str(model_of(target, body) or "")
        try:
            return count_tokens(target, body, headers)
        except _MISREAD:
            raise SimulatedError(400, "A member of the request has the wrong type.") from None


def _compose_or_dictate(request: ParsedRequest, script: Script | None) -> SimulatedResponse:
    if script is None or script.answer is None:
        return compose_response(request)
    dictated = script.answer
    return dictated_response(request, list(dictated.parts), dictated.stop, dictated.usage)


def _parse_json(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise SimulatedError(400, "The request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise SimulatedError(400, "The request body is not a JSON object")
    return body


def _render_response(
    profile: ProviderProfile, request: ParsedRequest, answer: SimulatedResponse, request_id: str
) -> TimedResponse:
    knobs = request.knobs
    writer = WRITERS[profile.wire_format]
    headers = answer_headers(profile, request_id, stream=request.stream and request.framed)
    if request.stream:
        opening = knobs.ttft if knobs.head is None else knobs.head
        body = writer.events(request, answer, request_id)
        reply = TimedResponse(
            status=200, headers=headers, body=body, head_at=opening, framing="chunked", knobs=knobs
        )
    else:
        at = knobs.ttft + (answer.tokens / knobs.tps if knobs.tps else 0.0)
        data = writer.body(request, answer, request_id)
        reply = single_piece_response(200, headers, data, at=at, tokens=answer.tokens)
        reply.knobs = knobs
    reply.input_tokens, reply.output_tokens = request.tokens, answer.tokens
    return reply


def _error_response(
    profile: ProviderProfile,
    fault: SimulatedError,
    request_id: str,
    knobs: Knobs = Knobs(),  # noqa: B008
) -> TimedResponse:
    headers = fault_headers(profile, fault, request_id, knobs.retry_after)
    if 300 <= fault.status < 400:
        headers.append(("location", "https://elsewhere.example/v1/messages"))
    data = orjson.dumps(fault_body(profile, fault, request_id, knobs.retry_after))
    reply = single_piece_response(fault.status, headers, data, at=knobs.ttft)
    reply.knobs = knobs
    return reply

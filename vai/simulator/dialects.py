"""The wire formats by name, behind one pair of doors: read a request, write an answer.

Invariants: it knows which module speaks for a dialect and what that one needs
to be told; it looks into no request but for its model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from vai.simulator import (
    chat,
    chat_check,
    google,
    google_check,
    messages,
    messages_check,
    responses,
    responses_check,
)
from vai.simulator.knobs import Knobs
from vai.simulator.parsed_request import ParsedRequest, SimulatedError
from vai.simulator.parts import SimulatedResponse
from vai.simulator.profiles import Dialect, MatchedEndpoint
from vai.simulator.threads import PromptCache
from vai.simulator.timed_response import TimedPiece

__all__ = ["DIALECTS", "count_tokens", "model_of", "parse_request", "plain_request"]


class _Writer(msgspec.Struct, frozen=True):
    body: Callable[[ParsedRequest, SimulatedResponse, str], bytes]
    """The answer to a request without a stream; the string is the request's id."""
    events: Callable[[ParsedRequest, SimulatedResponse, str], Iterator[TimedPiece]]
    """The answer as a stream, paced by the knobs."""


DIALECTS: Final[Mapping[Dialect, _Writer]] = {
    "messages": _Writer(messages.render_body, messages.render_events),
    "chat": _Writer(chat.render_body, chat.render_events),
    "responses": _Writer(responses.render_body, responses.render_events),
    "google": _Writer(google.render_body, google.render_events),
}


def model_of(target: MatchedEndpoint, body: dict[str, Any]) -> Any:
    """The model a request names, in its path or in its body, whatever it is."""
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
        Refused: as the provider refuses it.
    """
    match target.profile.dialect:
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
    """What the provider's own counting of a prompt says.

    Raises:
        Refused: as the provider refuses it.
    """
    match target.profile.dialect:
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
    """The simplest request there is."""
    match target.profile.dialect:
        case "google":
            body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
            return body if target.model else {"model": model, "request": body}
        case "responses":
            return {"model": model, "stream": stream, "input": "Hello", "max_output_tokens": 40}
    messages = [{"role": "user", "content": "Hello"}]
    return {"model": model, "max_tokens": 40, "stream": stream, "messages": messages}

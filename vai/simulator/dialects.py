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
from vai.simulator.ask import Ask, Refused
from vai.simulator.caches import Prefixes
from vai.simulator.faces import Dialect, Target
from vai.simulator.knobs import Knobs
from vai.simulator.parts import Answer
from vai.simulator.reply import Piece

__all__ = ["DIALECTS", "count", "model_of", "plain", "read"]


class _Writer(msgspec.Struct, frozen=True):
    body: Callable[[Ask, Answer, str], bytes]
    """The answer to a request without a stream; the string is the request's id."""
    events: Callable[[Ask, Answer, str], Iterator[Piece]]
    """The answer as a stream, paced by the knobs."""


DIALECTS: Final[Mapping[Dialect, _Writer]] = {
    "messages": _Writer(messages.body, messages.events),
    "chat": _Writer(chat.body, chat.events),
    "responses": _Writer(responses.body, responses.events),
    "google": _Writer(google.body, google.events),
}


def model_of(target: Target, body: dict[str, Any]) -> Any:
    """The model a request names, in its path or in its body, whatever it is."""
    return body.get("model") if target.model is None else target.model


def read(
    target: Target, body: Any, headers: Mapping[str, str], knobs: Knobs, prefixes: Prefixes
) -> Ask:
    """Read a request into an `Ask`.

    Raises:
        Refused: as the provider refuses it.
    """
    match target.face.dialect:
        case "messages":
            return messages_check.read(body, headers, knobs, prefixes)
        case "chat":
            return chat_check.read(body, target.face.name, knobs)
        case "responses":
            return responses_check.read(body, target.face.name, knobs)
        case "google":
            ask = google_check.read(body, target.face.name, target.model, knobs)
            ask.stream, ask.framed = bool(target.stream), target.framed
            return ask


def count(target: Target, body: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    """What the provider's own counting of a prompt says.

    Raises:
        Refused: as the provider refuses it.
    """
    match target.face.dialect:
        case "messages":
            ask = messages_check.read(body, headers, Knobs(), Prefixes(), counting=True)
            return {"input_tokens": ask.tokens}
        case "responses":
            ask = responses_check.read(body, target.face.name, Knobs(), counting=True)
            return {"object": "response.input_tokens", "input_tokens": ask.tokens}
        case "google":
            counted = google_check.count(body, target.face.name, target.model)
            details = [{"modality": "TEXT", "tokenCount": counted}]
            return {"totalTokens": counted, "promptTokensDetails": details}
    raise Refused(404, f"Invalid URL ({target.path})")


def plain(target: Target, model: str, stream: bool) -> dict[str, Any]:
    """The simplest request there is."""
    match target.face.dialect:
        case "google":
            said = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
            return said if target.model else {"model": model, "request": said}
        case "responses":
            return {"model": model, "stream": stream, "input": "Hello", "max_output_tokens": 40}
    messages = [{"role": "user", "content": "Hello"}]
    return {"model": model, "max_tokens": 40, "stream": stream, "messages": messages}

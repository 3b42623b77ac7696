"""How a row of the contract is written: one thing a caller can say, and what each provider hears.

Invariants: an expectation names a place in the bytes that would be sent, a path
that is refused, or a path that is reported as left out. Nothing else counts as an answer, so
that "ignored in silence" cannot be written down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from vai.errors import InvalidRequest
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

MODELS = {name: spec.example_model for name, spec in PROVIDER_SPECS.items()} | {
    "anthropic": "claude-sonnet-4-5",
    "openai": "gpt-4o",
    "oai-resp": "gpt-5.6-sol",
    "gemini": "gemini-3.8-flash",
}
"""The model that stands for a provider where a row names no other."""

USER = {"role": "user", "content": "go"}
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = "JVBERi0xLjQK"


class Sent(NamedTuple):
    """What would go to the provider."""

    body: dict[str, Any]
    dropped: list[str]


Expectation = Callable[[Sent | InvalidRequest], None]


class Row(NamedTuple):
    """One thing that can be said. `fields` are members of the request."""

    name: str
    fields: dict[str, Any]
    expected: dict[str, list[Expectation]]
    models: dict[str, str] = {}  # noqa: RUF012 - a tuple field, never written to


def send(provider: str, model: str, fields: dict[str, Any]) -> Sent | InvalidRequest:
    """What the adapter of `provider` makes of a request."""
    adapter = make_adapter(PROVIDER_SPECS[provider], "01CONTRACT")
    ask = parse.parse_request({"messages": [USER], "max_tokens": 1000, **fields, "model": model})
    try:
        wire = adapter.build_request(ask)
    except InvalidRequest as refusal:
        return refusal
    body = orjson.loads(wire.body)
    if PROVIDER_SPECS[provider].kind == "code-assist":
        body = body["request"]
    return Sent(body, adapter.dropped)


def _found(body: Any, path: str) -> Any:
    """The value at a dotted path; numbers are positions, `-1` is the last one."""
    for step in path.split("."):
        body = body[int(step)] if isinstance(body, list) else body[step]
    return body


def has(path: str, value: Any) -> Expectation:
    """The body has `value` at `path`; an ellipsis asks only that something is there."""

    def check(sent: Sent | InvalidRequest) -> None:
        assert isinstance(sent, Sent), sent
        found = _found(sent.body, path)
        assert value is ... or found == value, found

    return check


def lacks(path: str) -> Expectation:
    """There is nothing at `path`."""

    def check(sent: Sent | InvalidRequest) -> None:
        assert isinstance(sent, Sent), sent
        try:
            found = _found(sent.body, path)
        except (KeyError, IndexError):
            return
        raise AssertionError(found)

    return check


def says(text: str) -> Expectation:
    """`text` is somewhere in what is sent."""

    def check(sent: Sent | InvalidRequest) -> None:
        assert isinstance(sent, Sent), sent
        assert text in orjson.dumps(sent.body).decode()

    return check


def hides(text: str) -> Expectation:
    """`text` is nowhere in what is sent."""

    def check(sent: Sent | InvalidRequest) -> None:
        assert isinstance(sent, Sent), sent
        assert text not in orjson.dumps(sent.body).decode()

    return check


def drops(path: str) -> Expectation:
    """The request is sent, and `path` is reported as left out or changed."""

    def check(sent: Sent | InvalidRequest) -> None:
        assert isinstance(sent, Sent), sent
        assert path in sent.dropped, sent.dropped

    return check


def refuses(path: str) -> Expectation:
    """The request is refused before anything is sent, and `path` is named."""

    def check(sent: Sent | InvalidRequest) -> None:
        assert isinstance(sent, InvalidRequest), sent
        assert path in f"{sent.param} {sent.message}", (sent.param, sent.message)

    return check


def on(providers: str, *expectations: Expectation) -> dict[str, list[Expectation]]:
    """The same expectations for several providers, named with blanks between."""
    return {provider: list(expectations) for provider in providers.split()}

"""Which provider can count a request's tokens, and what it is asked.

Invariants: only a provider's own counter counts exactly. A server that merely
speaks a provider's language is not asked for what that language does not promise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from vai.errors import UpstreamBroken, UpstreamFault
from vai.providers.anthropic.count import to_count as ask_anthropic
from vai.providers.factory import make_adapter
from vai.providers.gemini.request import to_code_assist_count_request
from vai.providers.gemini.request import to_count_request as ask_gemini
from vai.providers.registry import other_endpoint
from vai.providers.responses.request import to_count_request as ask_openai
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["CountRequest", "question"]

_NEVER_SHORT = 1 << 20
"""Tokens to answer with, so that no budget of thinking is refused as too large for them. It
is left out of every question."""


class CountRequest(msgspec.Struct, frozen=True):
    """A question to a provider's counter, and where its answer stands.

    `error` makes a fault of an answer with an error status. `whole` says that the counter is
    told all that weighs; else its answer is too low.
    """

    wire: WireRequest
    error: Callable[[int, Mapping[str, str], bytes], UpstreamFault]
    member: str = "input_tokens"
    whole: bool = True

    def read(self, body: bytes) -> int:
        """The count that an answer tells.

        Raises:
            UpstreamBroken: it tells none.
        """
        try:
            value: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        found = value.get(self.member) if isinstance(value, dict) else None
        if type(found) is not int or found < 0:
            raise UpstreamBroken("The provider's response is no count of tokens")
        return found


def question(
    spec: ProviderSpec, ask: MessageRequest, exchange_id: str, headers: Mapping[str, str]
) -> CountRequest | None:
    """What to ask the provider of `spec`; None where it has no counter.

    Args:
        headers: the caller's ``anthropic-version`` and ``anthropic-beta``.

    Raises:
        InvalidRequest: the request cannot be said to this provider.
    """
    counter = _counter(spec)
    if counter is None:
        return None
    ask = msgspec.structs.replace(ask, stream=False, max_tokens=_NEVER_SHORT)
    adapter = make_adapter(counter, exchange_id, headers=headers)
    wire, error = adapter.build_request(ask), adapter.parse_error
    if counter.kind == "anthropic":
        return CountRequest(ask_anthropic(wire), error)
    if counter.kind == "responses":
        return CountRequest(ask_openai(wire), error)
    if counter.kind == "gemini":
        return CountRequest(ask_gemini(wire, ask.model), error, "totalTokens")
    contents = to_code_assist_count_request(wire, ask.model)
    return CountRequest(contents, error, "totalTokens", whole=not ask.tools)


def _counter(spec: ProviderSpec) -> ProviderSpec | None:
    """The row to ask: OpenAI counts for Chat Completions in the words of Responses."""
    if spec.kind in ("anthropic", "gemini", "code-assist") or spec.id == "oai-resp":
        return spec
    return other_endpoint(spec)

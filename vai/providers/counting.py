"""The request that makes a provider count a request's tokens, where the provider can.

Invariants: only a provider's own counter counts exactly. VAI sends no count request to other
servers of the same wire format, because the format does not guarantee a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from vai.errors import UpstreamBroken, UpstreamFault
from vai.providers.anthropic.count import to_count_request as anthropic_count_request
from vai.providers.factory import make_adapter
from vai.providers.gemini.request import to_code_assist_count_request
from vai.providers.gemini.request import to_count_request as gemini_count_request
from vai.providers.registry import other_endpoint
from vai.providers.responses.request import to_count_request as openai_count_request
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["CountRequest", "build_count_request"]

_NEVER_SHORT = 1 << 20
"""`max_tokens`, so that no thinking budget is refused as larger. No count request has it."""


class CountRequest(msgspec.Struct, frozen=True):
    """A request to a provider's counter, and which member of the response holds the count.

    `parse_error` converts a response with an error status into a fault. `is_exact` says that the
    request carries everything that counts; otherwise the count is too low.
    """

    wire: WireRequest
    parse_error: Callable[[int, Mapping[str, str], bytes], UpstreamFault]
    member: str = "input_tokens"
    is_exact: bool = True

    def read_count(self, body: bytes) -> int:
        """The count in a response.

        Raises:
            UpstreamBroken: the response holds no count.
        """
        try:
            value: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        count = value.get(self.member) if isinstance(value, dict) else None
        if type(count) is not int or count < 0:
            raise UpstreamBroken("The provider's response is no count of tokens")
        return count


def build_count_request(
    spec: ProviderSpec, request: MessageRequest, exchange_id: str, headers: Mapping[str, str]
) -> CountRequest | None:
    """The count request for the provider of `spec`; None if the provider has no counter.

    Args:
        headers: the client's ``anthropic-version`` and ``anthropic-beta``.

    Raises:
        InvalidRequest: the provider's wire format cannot express the request.
    """
    counter = _counting_spec(spec)
    if counter is None:
        return None
    request = msgspec.structs.replace(request, stream=False, max_tokens=_NEVER_SHORT)
    adapter = make_adapter(counter, exchange_id, headers=headers)
    wire, error = adapter.build_request(request), adapter.parse_error
    if counter.kind == "anthropic":
        return CountRequest(anthropic_count_request(wire), error)
    if counter.kind == "responses":
        return CountRequest(openai_count_request(wire), error)
    if counter.kind == "gemini":
        return CountRequest(gemini_count_request(wire, request.model), error, "totalTokens")
    contents = to_code_assist_count_request(wire, request.model)
    return CountRequest(contents, error, "totalTokens", is_exact=not request.tools)


def _counting_spec(spec: ProviderSpec) -> ProviderSpec | None:
    """The spec of the counter: OpenAI counts Chat Completions requests in the Responses format."""
    if spec.kind in ("anthropic", "gemini", "code-assist") or spec.id == "oai-resp":
        return spec
    return other_endpoint(spec)

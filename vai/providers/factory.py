"""Makes the adapter for a provider's wire format."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vai.providers.adapter import Adapter
from vai.providers.anthropic.adapter import AnthropicAdapter
from vai.providers.gemini.adapter import GeminiAdapter
from vai.providers.openai.adapter import ChatAdapter
from vai.providers.registry import has_other_endpoint, other_endpoint
from vai.providers.responses.adapter import ResponsesAdapter, needs_responses
from vai.types.provider import ProviderSpec
from vai.types.request import MessageRequest

__all__ = ["make_adapter"]


def make_adapter(
    spec: ProviderSpec,
    exchange_id: str,
    *,
    input_estimate: int | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    request: MessageRequest | None = None,
) -> Adapter:
    """A fresh adapter for one exchange.

    Args:
        exchange_id: ids of the response derive from it; letters, digits, ``_`` and ``-``.
        input_estimate: input tokens to show in `message_start` until the provider has
            counted them.
        headers: the client's headers that belong to the Messages API
            (``anthropic-version``, ``anthropic-beta``), with lower-case names.
        request: the request to send, if it is known: some requests to OpenAI need its
            other endpoint.
    """
    if spec.kind == "anthropic":
        return AnthropicAdapter(spec, exchange_id, headers=headers)
    if spec.kind in ("gemini", "code-assist"):
        return GeminiAdapter(spec, exchange_id, input_estimate=input_estimate)
    if spec.kind == "responses":
        return ResponsesAdapter(spec, exchange_id, input_estimate=input_estimate)
    if (
        request is not None
        and has_other_endpoint(spec)
        and needs_responses(request, request.model)
        and (other := other_endpoint(spec)) is not None
    ):
        return ResponsesAdapter(other, exchange_id, input_estimate=input_estimate)
    return ChatAdapter(spec, exchange_id, input_estimate=input_estimate)

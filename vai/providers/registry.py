"""The providers: one row each, and the adapter a row's kind stands for.

A further server that speaks Chat Completions is a row and no code. Model ids keep their
own slashes: the provider is what stands before the first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from vai.providers.adapter import Adapter
from vai.providers.anthropic.adapter import AnthropicAdapter
from vai.providers.gemini.adapter import GeminiAdapter
from vai.providers.openai.adapter import ChatAdapter
from vai.types.provider import Capabilities, ProviderRow

__all__ = ["ROWS", "make_adapter"]

_ANTHROPIC = ProviderRow(
    id="anthropic",
    name="Anthropic",
    kind="anthropic",
    base_url="https://api.anthropic.com",
    path="/v1/messages",
    auth="x-api-key",
    env=("ANTHROPIC_API_KEY",),
    bare_prefixes=("claude-",),
    capabilities=Capabilities(
        images=True,
        image_urls=True,
        documents=True,
        native_tools=frozenset(
            {
                "bash",
                "code_execution",
                "computer",
                "memory",
                "text_editor",
                "web_fetch",
                "web_search",
            }
        ),
        tool_result_images=True,
        citations=True,
        cache_control=True,
        top_k=True,
        thinking=True,
        prefill=True,
    ),
)

_OPENAI = ProviderRow(
    id="openai",
    name="OpenAI",
    kind="openai",
    base_url="https://api.openai.com/v1",
    path="/chat/completions",
    auth="bearer",
    env=("OPENAI_API_KEY",),
    capabilities=Capabilities(
        images=True,
        image_urls=True,
        audio=True,
        documents=True,
        native_tools=frozenset({"web_search"}),
        citations=True,
        cache_control=True,
        thinking=True,
        audio_output=True,
    ),
    quirks=frozenset({"fast_tier"}),
)

_GROQ = ProviderRow(
    id="groq",
    name="Groq",
    kind="openai",
    base_url="https://api.groq.com/openai/v1",
    path="/chat/completions",
    auth="bearer",
    env=("GROQ_API_KEY",),
    capabilities=Capabilities(
        images=True,
        image_urls=True,
        native_tools=frozenset({"code_execution", "web_search"}),
        tool_result_images=True,
        structured_output_with_tools=False,
        citations=True,
        thinking=True,
    ),
    quirks=frozenset(
        {
            "no_nulls",
            "on_demand_tier",
            "plain_system",
            "reasoning_text",
            "schema_unstreamed",
            "user",
        }
    ),
)

_CEREBRAS = ProviderRow(
    id="cerebras",
    name="Cerebras",
    kind="openai",
    base_url="https://api.cerebras.ai/v1",
    path="/chat/completions",
    auth="bearer",
    env=("CEREBRAS_API_KEY",),
    capabilities=Capabilities(images=True, thinking=True),
    quirks=frozenset({"no_nulls", "plain_system", "reasoning_text", "user"}),
)

_GEMINI_CAPABILITIES = Capabilities(
    images=True,
    audio=True,
    video=True,
    documents=True,
    native_tools=frozenset(
        {"code_execution", "computer", "file_search", "image_generation", "web_fetch", "web_search"}
    ),
    parallel_tools=False,
    tool_result_images=True,
    citations=True,
    top_k=True,
    thinking=True,
    image_output=True,
)

_GEMINI = ProviderRow(
    id="gemini",
    name="Google Gemini",
    kind="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    path="",
    auth="x-goog-api-key",
    env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    capabilities=_GEMINI_CAPABILITIES,
)

_GEMINI_OAUTH = ProviderRow(
    id="gemini-oauth",
    name="Gemini Code Assist",
    kind="code-assist",
    base_url="https://cloudcode-pa.googleapis.com",
    path="",
    auth="bearer",
    capabilities=_GEMINI_CAPABILITIES,
)

ROWS: Final[Mapping[str, ProviderRow]] = MappingProxyType(
    {row.id: row for row in (_ANTHROPIC, _OPENAI, _GROQ, _CEREBRAS, _GEMINI, _GEMINI_OAUTH)}
)
"""Provider id -> row."""


def make_adapter(
    row: ProviderRow,
    exchange_id: str,
    *,
    input_estimate: int | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Adapter:
    """A fresh adapter for one exchange.

    Args:
        exchange_id: ids of the answer derive from it; letters, digits, ``_`` and ``-``.
        input_estimate: input tokens to show in `message_start` until the provider has
            counted them.
        headers: the caller's headers that belong to the Messages API
            (``anthropic-version``, ``anthropic-beta``), with lower-case names.
    """
    if row.kind == "anthropic":
        return AnthropicAdapter(row, headers=headers)
    if row.kind in ("gemini", "code-assist"):
        return GeminiAdapter(row, exchange_id, input_estimate=input_estimate)
    return ChatAdapter(row, exchange_id, input_estimate=input_estimate)

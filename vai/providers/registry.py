"""The built-in providers, one spec each.

Invariants: a spec is all that declares a built-in provider that speaks Chat Completions: the
settings, the key variables, `vai check`, the simulator and the generated pages read it here
(docs/howto/provider.md). The module imports no adapter, so that each of them can import it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import msgspec

from vai.types.provider import Capabilities, ProviderSpec, WireFormat

__all__ = [
    "PROVIDER_SPECS",
    "SHARED_KEYS",
    "capabilities_of_kind",
    "has_other_endpoint",
    "is_at_openai",
    "other_endpoint",
    "provider_id",
    "simulated_path",
    "spec_for_input",
]

_ANTHROPIC = ProviderSpec(
    id="anthropic",
    name="Anthropic",
    kind="anthropic",
    base_url="https://api.anthropic.com",
    path="/v1/messages",
    auth="x-api-key",
    env=("ANTHROPIC_API_KEY",),
    example_model="claude-haiku-4-5",
    bare_prefixes=("claude-",),
    capabilities=Capabilities(
        images=True,
        image_urls=True,
        documents=True,
        server_tools=frozenset(
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
"""Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""

_OPENAI = ProviderSpec(
    id="openai",
    name="OpenAI",
    kind="openai",
    base_url="https://api.openai.com/v1",
    path="/chat/completions",
    auth="bearer",
    env=("OPENAI_API_KEY",),
    example_model="gpt-5.4-mini",
    capabilities=Capabilities(
        images=True,
        image_urls=True,
        audio=True,
        documents=True,
        server_tools=frozenset({"web_search"}),
        citations=True,
        cache_control=True,
        thinking=True,
        audio_output=True,
    ),
    quirks=frozenset({"fast_tier"}),
)
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""

_OAI_RESP = ProviderSpec(
    id="oai-resp",
    name="OpenAI Responses",
    kind="responses",
    base_url="https://api.openai.com/v1",
    path="/responses",
    auth="bearer",
    env=("OPENAI_API_KEY",),
    shares_key_of="openai",
    example_model="gpt-5.4-mini",
    capabilities=Capabilities(
        images=True,
        image_urls=True,
        documents=True,
        server_tools=frozenset(
            {
                "code_execution",
                "computer",
                "file_search",
                "image_generation",
                "mcp",
                "tool_search",
                "web_search",
            }
        ),
        tool_result_images=True,
        citations=True,
        cache_control=True,
        stop_sequences=False,
        thinking=True,
        image_output=True,
    ),
)
"""Types of openai 3.54.0, https://github.com/openai/openai-python (2026-11-17)."""

_GROQ = ProviderSpec(
    id="groq",
    name="Groq",
    kind="openai",
    base_url="https://api.groq.com/openai/v1",
    path="/chat/completions",
    auth="bearer",
    env=("GROQ_API_KEY",),
    example_model="openai/gpt-oss-120b",
    capabilities=Capabilities(
        images=True,
        image_urls=True,
        server_tools=frozenset({"code_execution", "web_search"}),
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
"""Types of groq 1.7.0, https://github.com/groq/groq-python (2026-08-25)."""

_CEREBRAS = ProviderSpec(
    id="cerebras",
    name="Cerebras",
    kind="openai",
    base_url="https://api.cerebras.ai/v1",
    path="/chat/completions",
    auth="bearer",
    env=("CEREBRAS_API_KEY",),
    example_model="gpt-oss-120b",
    capabilities=Capabilities(images=True, thinking=True),
    quirks=frozenset({"no_nulls", "plain_system", "reasoning_text", "user"}),
)
"""Types of cerebras-cloud-sdk 1.91.0, https://github.com/Cerebras/cerebras-cloud-sdk-python
(2026-07-08)."""

_GEMINI_CAPABILITIES = Capabilities(
    images=True,
    audio=True,
    video=True,
    documents=True,
    server_tools=frozenset(
        {"code_execution", "computer", "file_search", "image_generation", "web_fetch", "web_search"}
    ),
    parallel_tools=False,
    tool_result_images=True,
    citations=True,
    top_k=True,
    thinking=True,
    image_output=True,
)
"""Capabilities of both Gemini providers; only the Gemini API fetches public URLs (gemini/parts).
Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""

_GEMINI = ProviderSpec(
    id="gemini",
    name="Google Gemini",
    kind="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    path="",
    auth="x-goog-api-key",
    env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    other_names=("google",),
    example_model="gemini-3.5-flash",
    capabilities=msgspec.structs.replace(_GEMINI_CAPABILITIES, image_urls=True),
)
"""https://ai.google.dev/gemini-api/docs/file-input-methods (2026-11-28), types of google-genai
3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""

_GEMINI_OAUTH = ProviderSpec(
    id="gemini-oauth",
    name="Gemini Code Assist",
    kind="code-assist",
    base_url="https://cloudcode-pa.googleapis.com",
    path="",
    auth="bearer",
    example_model="gemini-3.5-flash",
    capabilities=_GEMINI_CAPABILITIES,
)
"""Google's own client, https://github.com/google-gemini/gemini-cli (2026-08-21)."""

_OPENAI_HOST: Final = re.compile(r"https://([a-z]+\.)?api\.openai\.com\.?(?:[:/]|$)", re.IGNORECASE)
"""The base URLs of OpenAI, regional hosts (us.api.openai.com) included."""

_SPECS: Final = (
    _ANTHROPIC,
    _OPENAI,
    _OAI_RESP,
    _GROQ,
    _CEREBRAS,
    _GEMINI,
    _GEMINI_OAUTH,
)
PROVIDER_SPECS: Final[Mapping[str, ProviderSpec]] = MappingProxyType(
    {spec.id: spec for spec in _SPECS}
)
"""Provider id -> spec."""
SHARED_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {spec.id: spec.shares_key_of for spec in PROVIDER_SPECS.values() if spec.shares_key_of}
)
"""Provider without a key of its own -> the provider whose key it uses."""
_IDS: Final = {name: spec.id for spec in PROVIDER_SPECS.values() for name in spec.other_names}


def provider_id(name: str) -> str:
    """A provider's id: lower case, with hyphens, `gemini` for `google`."""
    plain = name.lower().replace("_", "-")
    return _IDS.get(plain, plain)


def simulated_path(spec: ProviderSpec) -> str:
    """The base path of a provider in the simulator, such as `/groq/openai/v1`."""
    return f"/{spec.id}{urlsplit(spec.base_url).path.rstrip('/')}"


def capabilities_of_kind(kind: WireFormat) -> frozenset[str]:
    """The names of all capabilities that servers of this kind may have; no server tools."""
    all_listed = [spec.capabilities for spec in PROVIDER_SPECS.values() if spec.kind == kind]
    return frozenset(
        name
        for name in Capabilities.__struct_fields__
        if name != "server_tools" and any(getattr(listed, name) for listed in all_listed)
    )


def spec_for_input(spec: ProviderSpec, modalities: Collection[str] | None) -> ProviderSpec:
    """The spec without the images and documents that one of its models does not accept.

    Args:
        modalities: what the model accepts (`ModelCard.input`); None if that is not known.
    """
    if modalities is None:
        return spec
    capabilities = spec.capabilities
    images = capabilities.images and "image" in modalities
    documents = capabilities.documents and "document" in modalities
    if (images, documents) == (capabilities.images, capabilities.documents):
        return spec
    capabilities = msgspec.structs.replace(capabilities, images=images, documents=documents)
    return msgspec.structs.replace(spec, capabilities=capabilities)


@lru_cache(maxsize=64)  # asked for each request to OpenAI
def is_at_openai(base_url: str) -> bool:
    """Whether a base URL is OpenAI's own server, in any region."""
    return _OPENAI_HOST.match(base_url) is not None


def has_other_endpoint(spec: ProviderSpec) -> bool:
    """Whether the server also has Responses: servers that imitate OpenAI have no other endpoint."""
    return spec.id == _OPENAI.id and is_at_openai(spec.base_url)


def other_endpoint(spec: ProviderSpec) -> ProviderSpec | None:
    """The spec of Responses at OpenAI, made from the spec of Chat Completions at OpenAI.

    None for every other spec.
    """
    if not has_other_endpoint(spec):
        return None
    capabilities = msgspec.structs.replace(
        _OAI_RESP.capabilities,
        images=spec.capabilities.images,
        documents=spec.capabilities.documents,
    )
    return msgspec.structs.replace(
        _OAI_RESP, id=spec.id, name=spec.name, base_url=spec.base_url, capabilities=capabilities
    )

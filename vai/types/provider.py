"""What VAI knows of a provider before the first request, and the request it sends."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["AuthStyle", "Capabilities", "ProviderSpec", "WireFormat", "WireRequest"]

AuthStyle = str
"""How the I/O ring sends the credential: ``bearer`` for ``Authorization: Bearer K``, else the
name of the header that holds the bare key, such as ``x-api-key``."""

WireFormat = Literal["anthropic", "openai", "responses", "gemini", "code-assist"]
"""A wire format: Messages, Chat Completions, Responses, generateContent, Code Assist."""


class WireRequest(msgspec.Struct, frozen=True):
    """An HTTP request to the upstream, without host and without credential.

    `target` is the path below the provider's base URL, `headers` are complete except for
    Host, Content-Length, Accept-Encoding and the credential, which the I/O ring adds.
    `streams`: the request wants an event stream, so that the response's headers come before
    the response is complete.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    streams: bool = False


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """The features of a provider's wire format; a model may have fewer.

    Attributes:
        image_urls: requests may name images by URL instead of including them.
        documents: PDF documents; VAI can send text ones to every provider.
        server_tools: tools the provider runs or describes itself, without version:
            ``web_search``, ``code_execution``, ``bash``, ...
        parallel_tools: a request can switch parallel calls off.
        forced_tool: a request can make the model call a tool.
        tool_result_images: a tool's result may hold images.
        structured_output_with_tools: a JSON Schema and tools go together.
        citations: the response can name the sources of its text.
        cache_control: a request can set a cache breakpoint on a content block.
        stop_sequences: the server ends at them; for others VAI searches the text for them.
        prefill: the model continues an assistant message at the end.
        audio_output: the response can be spoken.
        image_output: the response can hold images that the request wants.
    """

    images: bool = False
    image_urls: bool = False
    audio: bool = False
    video: bool = False
    documents: bool = False
    tools: bool = True
    server_tools: frozenset[str] = frozenset()
    parallel_tools: bool = True
    forced_tool: bool = True
    tool_result_images: bool = False
    structured_output: bool = True
    structured_output_with_tools: bool = True
    citations: bool = False
    cache_control: bool = False
    stop_sequences: bool = True
    top_k: bool = False
    thinking: bool = False
    prefill: bool = False
    audio_output: bool = False
    image_output: bool = False


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One provider: its address, its wire format, and how it differs from others of its kind.

    `kind` names the wire format, i.e. the adapter. A further OpenAI-compatible server is a spec
    and no code; `quirks` are names that its kind's adapter understands. `env` are the variables
    that hold its key, `shares_key_of` is the provider whose key it uses where it has none of its
    own, and `other_names` are ids that clients and settings may write instead of its own.
    `example_model` is a model for a first request, which the catalogue lists with its price.
    `path` is empty where the model is part of it. `project` is the Google Cloud project that Code
    Assist reads from the body. `has_capability_override`: the settings state `capabilities` for
    this server, and VAI checks requests against them. `described_as` is the ``provider/model``
    whose prices and abilities all models of this server have, "" where each model has its
    own.
    """

    id: str
    name: str
    kind: WireFormat
    base_url: str
    path: str
    auth: AuthStyle
    env: tuple[str, ...] = ()
    shares_key_of: str = ""
    other_names: tuple[str, ...] = ()
    example_model: str = ""
    bare_prefixes: tuple[str, ...] = ()
    capabilities: Capabilities = Capabilities()
    quirks: frozenset[str] = frozenset()
    project: str = ""
    has_capability_override: bool = False
    described_as: str = ""

    def find_catalogue_key(self, model: str) -> tuple[str, str]:
        """The provider and the model whose facts hold for `model` of this server."""
        if not self.described_as:
            return self.id, model
        provider, _, name = self.described_as.partition("/")
        return provider, name

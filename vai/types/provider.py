"""What VAI knows of a provider before it speaks to it, and what it sends."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["AuthStyle", "Capabilities", "Kind", "ProviderRow", "WireRequest"]

AuthStyle = Literal["x-api-key", "bearer", "x-goog-api-key"]
"""How the I/O ring presents the credential: ``Authorization: Bearer K``, or in the named header."""

Kind = Literal["anthropic", "openai", "responses", "gemini", "code-assist"]
"""A wire format: Messages, Chat Completions, Responses, generateContent, Code Assist."""


class WireRequest(msgspec.Struct, frozen=True):
    """An HTTP request to the upstream, without host and without credential.

    `target` is the path below the provider's base URL, `headers` are complete but for
    Host, Content-Length, Accept-Encoding and the credential, which the I/O ring adds.
    `streams` says that the answer is asked for as an event stream, so that its headers
    come before it is complete.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    streams: bool = False


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's wire format can carry; a model may be able to do less."""

    images: bool = False
    image_urls: bool = False
    audio: bool = False
    video: bool = False
    documents: bool = False
    tools: bool = True
    tool_result_images: bool = False
    structured_output: bool = True
    structured_output_with_tools: bool = True
    stop_sequences: bool = True
    top_k: bool = False
    thinking: bool = False
    prefill: bool = False


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One provider: where it is, what it speaks, and how it differs from its kind.

    `kind` names the wire format, i.e. the adapter. A further OpenAI-compatible server
    is a row and no code; `quirks` are the names its kind's adapter understands.
    `path` is empty where the model is part of it. `project` is the Google Cloud project
    that Code Assist asks for in the body.
    """

    id: str
    name: str
    kind: Kind
    base_url: str
    path: str
    auth: AuthStyle
    env: tuple[str, ...] = ()
    bare_prefixes: tuple[str, ...] = ()
    capabilities: Capabilities = Capabilities()
    quirks: frozenset[str] = frozenset()
    project: str = ""

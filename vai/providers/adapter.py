"""What a provider's adapter is: a pure translator between VAI's words and one wire format.

The law of this ring: no sockets, no clock, no environment, no logging, no randomness
and no credential. An adapter is built for one exchange, fed, and dropped, so a decoder
may keep state between chunks. Folders of providers never import each other; what they
share lies beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from vai.errors import UpstreamFault
from vai.types.events import Event
from vai.types.message import Message, Usage
from vai.types.request import MessageRequest

__all__ = ["Adapter", "AuthStyle", "Capabilities", "ProviderRow", "WireRequest"]

AuthStyle = Literal["x-api-key", "bearer"]
"""How the I/O ring presents the credential: ``x-api-key: K`` or ``Authorization: Bearer K``."""


class WireRequest(msgspec.Struct, frozen=True):
    """An HTTP request to the upstream, without host and without credential.

    `target` is the path below the provider's base URL, `headers` are complete but for
    Host, Content-Length, Accept-Encoding and the credential, which the I/O ring adds.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


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
    """

    id: str
    name: str
    kind: Literal["anthropic", "openai"]
    base_url: str
    path: str
    auth: AuthStyle
    env: tuple[str, ...] = ()
    bare_prefixes: tuple[str, ...] = ()
    capabilities: Capabilities = Capabilities()
    quirks: frozenset[str] = frozenset()


class Adapter(Protocol):
    """Translate one exchange with one provider.

    Failures of a stream are values, not exceptions: `feed` and `end` return what was
    complete before the failure and set `fault`; after that they return nothing.
    """

    usage: Usage
    """What the upstream has reported so far; running totals."""

    dropped: list[str]
    """JSON paths of optional request fields that the target cannot express."""

    done: bool
    """Whether the answer is complete: its closing events have been returned."""

    fault: UpstreamFault | None
    """Why the stream failed, once it has."""

    def request(self, request: MessageRequest, /) -> WireRequest:
        """The upstream request.

        Raises:
            InvalidRequest: something that matters cannot be expressed; all problems are named.
        """
        ...

    def message(self, body: bytes, /) -> Message:
        """The answer of a request that was not streamed.

        Raises:
            UpstreamFault: the body is an error, or not an answer.
        """
        ...

    def feed(self, data: bytes, /) -> list[Event]:
        """More bytes of the streamed answer: the events that are complete now.

        Any chop of the bytes gives the same events.
        """
        ...

    def end(self) -> list[Event]:
        """The upstream closed the body: the closing events, or a fault if it was cut."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        ...

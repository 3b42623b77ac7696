"""Content blocks: what messages are made of, in both directions.

Audio and video are VAI's own; all others are the Messages API's. VAI does not decode media
here: base64 stays text until a translation needs its bytes.
"""

from __future__ import annotations

from typing import Any, Final

from vai.types.base import OpenStruct, Unknown

__all__ = [
    "BLOCK_TYPES",
    "OTHER_BLOCK_TYPES",
    "SOURCE_TYPES",
    "AudioBlock",
    "Block",
    "DocumentBlock",
    "ImageBlock",
    "RedactedThinkingBlock",
    "ServerToolUseBlock",
    "Source",
    "TextBlock",
    "ThinkingBlock",
    "ToolResultBlock",
    "ToolUseBlock",
    "UnknownBlock",
    "VideoBlock",
    "WebSearchToolResultBlock",
]

BLOCK_TYPES: Final = (
    *("text", "image", "document", "audio", "video", "tool_use", "tool_result"),
    *("thinking", "redacted_thinking", "search_result"),
)
"""The types of blocks that clients use in requests."""
OTHER_BLOCK_TYPES: Final = frozenset(
    {
        *("advisor_tool_result", "browser_state", "compaction", "connector_text", "fallback"),
        *("container_upload", "mcp_tool_use", "server_tool_use", "tool_reference"),
    }
)
"""Further ones of the Messages API, which come back from a response or belong to Anthropic's own
services, without those that end with ``_tool_result``.
Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""
SOURCE_TYPES: Final = ("base64", "url", "file", "text", "content")
"""Where the bytes of a medium can be; see `Source`."""


class Source(OpenStruct, frozen=True, kw_only=True):
    """Where the bytes of a medium are.

    `type` is ``base64`` (`media_type`, `data`), ``url`` (`url`), ``file`` (`file_id`),
    ``text`` (`media_type`, `data`) or ``content`` (`content`).
    """

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: Any = None


class TextBlock(OpenStruct, frozen=True, kw_only=True, tag="text"):
    """Text; `citations` are the sources that the model named for it."""

    text: str
    citations: list[dict[str, Any]] | None = None
    cache_control: dict[str, Any] | None = None


class ImageBlock(OpenStruct, frozen=True, kw_only=True, tag="image"):
    """An image: png, jpeg, gif or webp.

    In a response, where it is always complete base64, it is a VAI extension: a picture that
    the request wants, or that a server tool drew.
    """

    source: Source
    cache_control: dict[str, Any] | None = None


class AudioBlock(OpenStruct, frozen=True, kw_only=True, tag="audio"):
    """Sound, with its transcript where there is one. VAI extension.

    In a request: input for the model. In a response: the model's speech; its words are the
    `transcript`, and a stream opens it with both empty (see `AudioDelta`). In a history VAI sends
    these words wherever it cannot send sound.
    """

    source: Source
    transcript: str | None = None
    cache_control: dict[str, Any] | None = None


class VideoBlock(OpenStruct, frozen=True, kw_only=True, tag="video"):
    """A film. VAI extension."""

    source: Source
    cache_control: dict[str, Any] | None = None


class DocumentBlock(OpenStruct, frozen=True, kw_only=True, tag="document"):
    """A PDF or text document. `filename` is VAI's older name for `title`."""

    source: Source
    title: str | None = None
    filename: str | None = None
    context: str | None = None
    citations: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


class ToolUseBlock(OpenStruct, frozen=True, kw_only=True, tag="tool_use"):
    """The model calls a tool; `input` is always an object."""

    id: str
    name: str
    input: dict[str, Any]
    cache_control: dict[str, Any] | None = None


class ThinkingBlock(OpenStruct, frozen=True, kw_only=True, tag="thinking"):
    """Reasoning. `signature` is opaque and byte-exact: only its provider can read it."""

    thinking: str
    signature: str | None = None
    summary: str | None = None


class RedactedThinkingBlock(OpenStruct, frozen=True, kw_only=True, tag="redacted_thinking"):
    """Reasoning that only its provider can read."""

    data: str


class ServerToolUseBlock(OpenStruct, frozen=True, kw_only=True, tag="server_tool_use"):
    """A tool call that the provider runs itself."""

    id: str
    name: str
    input: dict[str, Any]


class WebSearchToolResultBlock(OpenStruct, frozen=True, kw_only=True, tag="web_search_tool_result"):
    """The results of a provider's search, or its error object."""

    tool_use_id: str
    content: Any


class UnknownBlock(Unknown, frozen=True, kw_only=True, tag="?"):
    """A block of a type VAI does not know, unchanged."""


class ToolResultBlock(OpenStruct, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool returned: a string, or blocks (text, image, document)."""

    tool_use_id: str
    content: str | list[Block] | None = None
    is_error: bool | None = None
    cache_control: dict[str, Any] | None = None

    @property
    def blocks(self) -> list[Block]:
        """The content as blocks; a string is one text block, None is an empty list."""
        if isinstance(self.content, str):
            return [TextBlock(text=self.content)] if self.content else []
        return self.content or []


Block = (
    TextBlock
    | ImageBlock
    | AudioBlock
    | VideoBlock
    | DocumentBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ServerToolUseBlock
    | WebSearchToolResultBlock
    | UnknownBlock
)

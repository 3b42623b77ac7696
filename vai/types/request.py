"""The request of ``POST /v1/messages``, as VAI understands it.

A request names its model as ``provider/model``; when one of these values exists, the route has
chosen the provider and `model` is the provider's own name for it. Provider keys are never part of
it: the gateway removes them from the body before it parses a request.
"""

from __future__ import annotations

from typing import Any, Literal

from vai.types.base import OpenStruct
from vai.types.blocks import Block, TextBlock

__all__ = [
    "InputMessage",
    "MessageRequest",
    "OutputConfig",
    "OutputFormat",
    "Thinking",
    "Tool",
    "ToolChoice",
]


class InputMessage(OpenStruct, frozen=True, kw_only=True):
    """One turn. A string is one text block."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        """The content as blocks; an empty string is no block."""
        if isinstance(self.content, str):
            return [TextBlock(text=self.content)] if self.content else []
        return self.content


class Tool(OpenStruct, frozen=True, kw_only=True):
    """A tool the model may use.

    No `type`, ``custom`` or ``function``: the client runs it and `input_schema`
    describes it, an unchanged JSON Schema. Any other `type` is a provider's own tool.
    """

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    config: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None

    @property
    def is_function(self) -> bool:
        """Whether the client runs it."""
        return self.type in (None, "custom", "function")


class ToolChoice(OpenStruct, frozen=True, kw_only=True):
    """Whether and which tool must be used; `name` goes with ``tool``."""

    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(OpenStruct, frozen=True, kw_only=True):
    """How the model may reason before it responds."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = None
    display: str | None = None
    """How to show it: a hint, so an unknown value is no error."""


class OutputFormat(OpenStruct, frozen=True, kw_only=True):
    """The JSON Schema that the response must satisfy."""

    type: Literal["json_schema"]
    schema: dict[str, Any]
    name: str | None = None


class OutputConfig(OpenStruct, frozen=True, kw_only=True):
    """Effort and form of the response."""

    effort: str | None = None
    format: OutputFormat | None = None


class MessageRequest(OpenStruct, frozen=True, kw_only=True):
    """A validated request. Optional fields are None when the client left them out."""

    model: str
    messages: list[InputMessage]
    max_tokens: int | None = None
    system: str | list[Block] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    stream: bool = False
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output: dict[str, Any] | None = None
    voice: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    cache_control: dict[str, Any] | None = None

    @property
    def output_format(self) -> OutputFormat | None:
        """The JSON Schema that the response must satisfy, if any."""
        return self.output_config.format if self.output_config else None

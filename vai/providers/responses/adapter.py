"""The adapter for OpenAI's Responses, and which requests for Chat Completions need it.

From gpt-5.4 on, Chat Completions accepts function tools only while the model does not reason. VAI
keeps the reasoning and sends such a request to the other endpoint of the same server. It does so
too with a tool that OpenAI runs and that only Responses has: file search, code, computer use,
images, MCP servers, tool search, and web search except for the search models, which only Chat
Completions has (https://platform.openai.com/docs/guides/tools, 2026-11-27).
"""

from __future__ import annotations

import re
from typing import Final

from vai.providers.decode.base_adapter import BaseAdapter, TranslatedRequest
from vai.providers.responses import extensions
from vai.providers.responses.request import translate_request
from vai.providers.responses.stream import ResponsesStreamDecoder
from vai.providers.translate.openai_models import traits_of_model
from vai.providers.translate.options import clamp_effort, requested_effort
from vai.providers.translate.tools import is_tool_search, to_client_tool, tool_family
from vai.types.request import MessageRequest

__all__ = ["ResponsesAdapter", "needs_responses"]


_CHAT_ALONE: Final = re.compile(r"-search|-audio")
"""Names of models that Responses does not have."""
_RESPONSES_ALONE: Final = re.compile(r"(?:gpt-\d|o\d).*-(?:pro|codex|deep-research)\b")
"""Names of models that Chat Completions does not have.
litellm 1.110.2, https://github.com/BerriAI/litellm (2026-11-28)"""
_SERVER_TOOLS: Final = frozenset(
    {
        "code_execution",
        "computer",
        "file_search",
        "image_generation",
        "mcp_toolset",
        "web_search",
    }
)


def needs_responses(request: MessageRequest, model: str) -> bool:
    """Whether only Responses has OpenAI's `model` or a tool of `request`, or accepts its function
    tools while the model reasons."""
    if _RESPONSES_ALONE.match(model):
        return True
    if _CHAT_ALONE.search(model) is None and _has_server_tool(request):
        return True
    traits = traits_of_model("openai", model)
    if not traits.tools_forbid_reasoning:
        return False
    if not any(tool.is_function or to_client_tool(tool) for tool in request.tools or ()):
        return False
    effort = extensions.extension_effort(request) or requested_effort(request)[0]
    if effort is not None:
        return clamp_effort(effort, traits.efforts) != "none"
    thinking = request.thinking
    wanted = thinking is not None and thinking.type in ("enabled", "adaptive")
    return wanted or not traits.reasoning_off_by_default


def _has_server_tool(request: MessageRequest) -> bool:
    if request.extra.get("mcp_servers"):
        return True
    return bool(request.tools) and any(
        not tool.is_function and (tool_family(tool.type) in _SERVER_TOOLS or is_tool_search(tool))
        for tool in request.tools or ()
    )


class ResponsesAdapter(BaseAdapter[ResponsesStreamDecoder]):
    """One exchange with a Responses server."""

    def _translate_request(self, request: MessageRequest) -> TranslatedRequest:
        return translate_request(request, self._spec)

    def _make_decoder(
        self, translation: TranslatedRequest, request: MessageRequest | None
    ) -> ResponsesStreamDecoder:
        return ResponsesStreamDecoder(
            self._make_emitter(translation, request),
            self._spec.id,
            self._spec.name,
            names=translation.names,
            text=translation.text,
        )

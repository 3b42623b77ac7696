"""Which requests for Chat Completions have to go to Responses.

From gpt-5.4 on, Chat Completions takes function tools only while the model does not reason.
Rather than take the reasoning away, such a request is sent to the other endpoint of the
same server.
"""

from __future__ import annotations

from vai.providers.clienttools import as_function
from vai.providers.effort import asked, clamp
from vai.providers.models import traits
from vai.providers.responses import extensions
from vai.types.request import MessageRequest

__all__ = ["needs_responses"]


def needs_responses(request: MessageRequest, model: str) -> bool:
    """Whether `request` to OpenAI's `model` has function tools and lets it reason."""
    ways = traits("openai", model)
    if not ways.quiet_tools:
        return False
    if not any(tool.is_function or as_function(tool) for tool in request.tools or ()):
        return False
    effort = extensions.effort(request) or asked(request)[0]
    if effort is not None:
        return clamp(effort, ways.efforts) != "none"
    thinking = request.thinking
    wanted = thinking is not None and thinking.type in ("enabled", "adaptive")
    return wanted or not ways.idle_by_default

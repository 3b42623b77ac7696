"""The official SDK's types as judges of what is sent.

The SDK declares requests as typed dicts, which pydantic can check; members it does not
declare are errors here. Iterables are checked only while they are read, so all of the
checked value is read.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import openai.types
from anthropic.types import message_create_params
from google.genai import types as google
from openai.types.chat import completion_create_params
from openai.types.responses import Response, ResponseStreamEvent, response_create_params
from pydantic import BaseModel, ConfigDict, TypeAdapter
from typing_extensions import is_typeddict

__all__ = [
    "check_anthropic",
    "check_chat",
    "check_gemini",
    "check_gemini_answer",
    "check_responses",
    "check_responses_answer",
]


def _forbid_extra(package: Any) -> None:
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if ".beta" in found.name:
            continue
        for value in vars(importlib.import_module(found.name)).values():
            if is_typeddict(value):
                value.__pydantic_config__ = ConfigDict(extra="forbid")


def _read(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _read(item)
    elif hasattr(value, "__iter__") and not isinstance(value, str | bytes):
        for item in value:
            _read(item)


_forbid_extra(openai.types)
_RESPONSES = TypeAdapter(response_create_params.ResponseCreateParams)
_RESPONSES_EVENT = TypeAdapter(ResponseStreamEvent)
_CHAT = TypeAdapter(completion_create_params.CompletionCreateParams)
_MESSAGES = TypeAdapter(message_create_params.MessageCreateParams)


def check_chat(body: dict[str, Any]) -> None:
    """Raises pydantic.ValidationError unless `body` is a Chat Completions request."""
    _read(_CHAT.validate_python(body))


def check_responses(body: dict[str, Any]) -> None:
    """Raises pydantic.ValidationError unless `body` is a Responses request."""
    _read(_RESPONSES.validate_python(body))


def check_responses_answer(answer: dict[str, Any]) -> None:
    """Raises pydantic.ValidationError unless `answer` is one of Responses, or one of its events."""
    if answer.get("object") == "response":
        Response.model_validate(answer)
    else:
        _RESPONSES_EVENT.validate_python(answer)


def check_anthropic(body: dict[str, Any]) -> None:
    """Raises pydantic.ValidationError unless `body` is a Messages request."""
    _read(_MESSAGES.validate_python(body))


class _Generation(google.GenerationConfig):
    """The SDK puts this member in itself, from a configuration of its own."""

    imageConfig: google.ImageConfig | None = None  # noqa: N815


class _Generate(BaseModel):
    """The members of generateContent's body; their types forbid what they do not know."""

    model_config = ConfigDict(extra="forbid")

    contents: list[google.Content]
    systemInstruction: google.Content | None = None  # noqa: N815
    tools: list[google.Tool] | None = None
    toolConfig: google.ToolConfig | None = None  # noqa: N815
    generationConfig: _Generation | None = None  # noqa: N815
    safetySettings: list[google.SafetySetting] | None = None  # noqa: N815
    cachedContent: str | None = None  # noqa: N815
    continuationToken: str | None = None  # noqa: N815
    labels: dict[str, str] | None = None
    serviceTier: google.ServiceTier | None = None  # noqa: N815
    store: bool | None = None


def check_gemini(body: dict[str, Any]) -> None:
    """Raises pydantic.ValidationError unless `body` is a generateContent request."""
    _Generate.model_validate(body)


def check_gemini_answer(chunk: dict[str, Any]) -> None:
    """Raises pydantic.ValidationError unless `chunk` is a generateContent answer."""
    google.GenerateContentResponse.model_validate(chunk)

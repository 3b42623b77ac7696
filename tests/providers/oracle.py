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
from openai.types.chat import completion_create_params
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import is_typeddict

__all__ = ["check_anthropic", "check_chat"]


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
_CHAT = TypeAdapter(completion_create_params.CompletionCreateParams)
_MESSAGES = TypeAdapter(message_create_params.MessageCreateParams)


def check_chat(body: dict[str, Any]) -> None:
    """Raises pydantic.ValidationError unless `body` is a Chat Completions request."""
    _read(_CHAT.validate_python(body))


def check_anthropic(body: dict[str, Any]) -> None:
    """Raises pydantic.ValidationError unless `body` is a Messages request."""
    _read(_MESSAGES.validate_python(body))

"""The checks of each Chat Completions endpoint, with the wording of its refusals.

Invariants: the check refuses a field that the provider does not document, as the real ones do, so
a field that a gateway invents or forgets to remove becomes visible here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.knobs import Knobs
from vai.simulator.parsed_request import (
    OfferedTool,
    ParsedRequest,
    SimulatedError,
    read_question,
    seed_of,
)
from vai.simulator.pictures import Picture
from vai.simulator.request_errors import (
    invalid_value,
    missing_member,
    picture_of_url,
    split_names,
    unknown_member,
)

__all__ = ["parse_request"]


_COMMON: Final = split_names(
    "messages model max_tokens max_completion_tokens temperature top_p stop n seed tools"
    " tool_choice parallel_tool_calls response_format reasoning_effort service_tier stream"
    " stream_options user"
)
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "openai": _COMMON
    | split_names(
        "logprobs top_logprobs presence_penalty frequency_penalty logit_bias verbosity"
        " modalities audio prediction web_search_options metadata safety_identifier"
        " prompt_cache_key prompt_cache_options prompt_cache_retention moderation store"
        " function_call functions"
    ),
    "groq": _COMMON
    | split_names(
        "reasoning_format include_reasoning documents citation_options disable_tool_validation"
        " search_settings exclude_domains include_domains compound_custom metadata store"
        " presence_penalty frequency_penalty"
    ),
    "cerebras": _COMMON
    | split_names(
        "clear_thinking disable_reasoning min_completion_tokens model_parameters prediction"
        " prompt_cache_key reasoning_format logprobs top_logprobs logit_bias"
    ),
}
_EFFORTS: Final[Mapping[str, frozenset[str]]] = {
    "openai": frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"}),
    "groq": frozenset({"none", "default", "low", "medium", "high"}),
    "cerebras": frozenset({"none", "low", "medium", "high"}),
}
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"text"}),
    "developer": frozenset({"text"}),
    "user": frozenset({"text", "image_url", "input_audio", "file"}),
    "assistant": frozenset({"text", "refusal"}),
    "tool": frozenset({"text"}),
}
_MEMBERS: Final = frozenset({"role", "content", "name"})
_ASSISTANT: Final = _MEMBERS | {"tool_calls", "refusal", "audio", "function_call"}
_FUNCTION_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NO_TOOLS_WHILE_REASONING: Final = re.compile(r"gpt-(5\.[4-9]|[6-9])")
_REASONING_MODEL: Final = re.compile(r"gpt-[5-9]|o[134](-|$)")
_PICTURE: Final = 800
"""Tokens of a picture."""


def parse_request(body: Any, provider: str, knobs: Knobs) -> ParsedRequest:
    """Read a request body into a `ParsedRequest`.

    Raises:
        SimulatedError: 400, in the provider's words.
    """
    for name in body:
        if name not in _FIELDS.get(provider, _FIELDS["openai"]):
            raise _unknown_member(provider, name)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise SimulatedError(400, "you must provide a model parameter")
    _check_settings(body, provider)
    messages = _check_messages(body, provider)
    _check_call_results(messages)
    tools = _parse_tools(body, provider)
    _check_format(body, provider)
    request = ParsedRequest(
        provider=provider,
        model=body["model"],
        knobs=knobs,
        seed=seed_of(body),
        tools=tools,
        choice=_parse_tool_choice(body, tools),
        parallel=body.get("parallel_tool_calls") is not False,
        max_tokens=_token_limit(body),
        stop=_parse_stops(body),
        stream=body.get("stream") is True,
        usage_chunk=(body.get("stream_options") or {}).get("include_usage") is True,
        schema=_response_schema(body),
    )
    _parse_reasoning(body, request)
    pictures = _last_turn(messages, request)
    size = len(orjson.dumps([messages, body.get("tools") or 0]))
    request.tokens = 3 + tokens.estimate_tokens(size - pictures) + _PICTURE * len(request.pictures)
    request.cache_read = min(knobs.cached, request.tokens)
    request.cache_write = min(knobs.cache_write, request.tokens - request.cache_read)
    return request


def _unknown_member(provider: str, name: str) -> SimulatedError:
    if provider == "openai":
        return unknown_member(name)
    if provider == "groq":
        return SimulatedError(400, f"property '{name}' is unsupported")
    message = f"body.{name}: property 'body.{name}' is unsupported"
    return SimulatedError(400, message, param="validation_error", code="wrong_api_format")


def _check_settings(body: dict[str, Any], provider: str) -> None:
    for name, most in (("temperature", 2.0), ("top_p", 1.0)):
        value = body.get(name)
        if value is not None and (not isinstance(value, int | float) or not 0 <= value <= most):
            raise invalid_value(name, f"Expected a value between 0 and {most:g}")
    if body.get("n") not in (None, 1):
        if provider == "openai":
            raise invalid_value("n", "the simulator gives one choice")
        raise SimulatedError(400, "'n' : number must be at most 1", param="n")
    if body.get("stream_options") is not None and body.get("stream") is not True:
        words = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise SimulatedError(400, words, param="stream_options")
    effort = body.get("reasoning_effort")
    if effort is not None and effort not in _EFFORTS[provider]:
        raise invalid_value(
            "reasoning_effort",
            "Supported values are: " + ", ".join(sorted(_EFFORTS[provider])),
            "unsupported_value",
        )
    if provider == "groq" and None not in (
        body.get("reasoning_format"),
        body.get("include_reasoning"),
    ):
        raise SimulatedError(400, "cannot specify both 'include_reasoning' and 'reasoning_format'")
    tooled = bool(body.get("tools")) and effort not in (None, "none")
    if provider == "openai" and tooled and _NO_TOOLS_WHILE_REASONING.match(body["model"]):
        words = "Function tools with reasoning_effort are not supported for this model in "
        words += "/v1/chat/completions. Please use /v1/responses or reasoning_effort 'none'."
        raise SimulatedError(400, words, param="reasoning_effort")
    if provider == "openai" and _REASONING_MODEL.match(body["model"]):
        for name in ("max_tokens", "stop", "presence_penalty", "frequency_penalty", "logit_bias"):
            if body.get(name) is not None:
                hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
                words = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
                raise SimulatedError(400, words, param=name, code="unsupported_parameter")


def _empty_array(name: str) -> SimulatedError:
    words = "empty array. Expected an array with minimum length 1, but got an empty array instead."
    return SimulatedError(400, f"Invalid '{name}': {words}", param=name, code="empty_array")


def _token_limit(body: dict[str, Any]) -> int | None:
    present = [n for n in ("max_completion_tokens", "max_tokens") if body.get(n) is not None]
    if len(present) == 2:
        words = (
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        )
        raise SimulatedError(400, words, code="invalid_parameter_combination")
    if not present:
        return None
    limit = body[present[0]]
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise SimulatedError(
            400,
            f"Invalid '{present[0]}': integer below minimum value. Expected a value >= 1.",
            param=present[0],
            code="integer_below_min_value",
        )
    return limit


def _check_messages(body: dict[str, Any], provider: str) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise missing_member("messages")
    if not messages:
        raise _empty_array("messages")
    for at, message in enumerate(messages):
        _check_message(message, f"messages[{at}]", provider)
    return messages


def _check_message(message: Any, where: str, provider: str) -> None:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in _ROLES:
        raise invalid_value(f"{where}.role", f"Supported values are: {', '.join(sorted(_ROLES))}")
    allowed = _ASSISTANT if role == "assistant" else _MEMBERS
    if role == "assistant" and provider != "openai":
        allowed = allowed | {"reasoning"}
    if role == "tool":
        allowed = _MEMBERS | {"tool_call_id"}
    for name, value in message.items():
        if name not in allowed:
            raise _unknown_member(provider, f"{where}.{name}")
        if provider == "groq" and value is None and name != "content":
            raise SimulatedError(400, f"'{where}.{name}' : value must not be null")
    content = message.get("content")
    if content is None:
        if role != "assistant" or not (message.get("tool_calls") or message.get("refusal")):
            raise SimulatedError(
                400,
                "Invalid value for 'content': expected a string, got null.",
                param=f"{where}.content",
            )
    elif isinstance(content, list):
        for at, part in enumerate(content):
            _check_part(part, role, f"{where}.content[{at}]", provider)
    elif not isinstance(content, str):
        raise invalid_value(f"{where}.content", "expected a string or an array", "invalid_type")
    if "tool_calls" in message:
        _check_calls(message["tool_calls"], f"{where}.tool_calls")


def _check_part(part: Any, role: str, where: str, provider: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    allowed = _PARTS[role]
    if role == "tool" and provider == "groq":
        allowed = allowed | {"image_url", "document"}
    if kind not in allowed:
        raise invalid_value(f"{where}.type", f"Supported values are: {', '.join(sorted(allowed))}")
    members = {"type", kind, "prompt_cache_breakpoint"}
    for name in part:
        if name not in members:
            raise _unknown_member(provider, f"{where}.{name}")
    if kind == "text" and not isinstance(part.get("text"), str):
        raise invalid_value(f"{where}.text", "expected a string", "invalid_type")
    if kind == "image_url":
        link = part.get("image_url")
        if not isinstance(link, dict) or not isinstance(link.get("url"), str):
            raise invalid_value(f"{where}.image_url", "expected an object", "invalid_type")
        if link["url"].startswith("data:") and picture_of_url(link["url"]) is None:
            words = "You uploaded an unsupported image. Please make sure your image is valid."
            raise SimulatedError(400, words, param=where, code="image_parse_error")


def _check_calls(calls: Any, where: str) -> None:
    if not isinstance(calls, list) or not calls:
        raise _empty_array(where)
    for at, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str):
            raise invalid_value(f"{where}[{at}]", "expected an id and a function", "invalid_type")
        if call.get("type") != "function":
            raise SimulatedError(
                400, f"Missing required parameter: '{where}[{at}].type'.", param=where
            )
        for name in ("name", "arguments"):
            if not isinstance(function.get(name), str):
                raise invalid_value(
                    f"{where}[{at}].function.{name}", "expected a string", "invalid_type"
                )


def _check_call_results(messages: list[dict[str, Any]]) -> None:
    """Check that every call has its tool message right after it, every tool message its call."""
    waiting: list[str] = []
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise SimulatedError(
                    400,
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'.",
                    param=f"messages.[{at}].role",
                )
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            break
        waiting = [call["id"] for call in message.get("tool_calls") or []]
    if waiting:
        raise SimulatedError(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages "
            "responding to each 'tool_call_id'. The following tool_call_ids did not have "
            f"response messages: {', '.join(waiting)}",
            param="messages",
        )


def _parse_tools(body: dict[str, Any], provider: str) -> list[OfferedTool]:
    tools = body.get("tools")
    if tools is None:
        return []
    if not isinstance(tools, list) or not tools:
        raise _empty_array("tools")
    offered: list[OfferedTool] = []
    for at, tool in enumerate(tools):
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            raise SimulatedError(
                400, f"Missing required parameter: 'tools[{at}].type'.", param=f"tools[{at}].type"
            )
        if tool["type"] != "function":
            continue
        function = tool.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise SimulatedError(
                400,
                f"Missing required parameter: 'tools[{at}].function'.",
                param=f"tools[{at}].function",
            )
        for name in function:
            if name not in ("name", "description", "parameters", "strict"):
                raise _unknown_member(provider, f"tools[{at}].function.{name}")
        if not _FUNCTION_NAME.fullmatch(function["name"]):
            raise SimulatedError(
                400,
                f"Invalid 'tools[{at}].function.name': string does not match pattern. Expected "
                "a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
                param=f"tools[{at}].function.name",
                code="invalid_value",
            )
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        if parameters.get("type") != "object":
            raise SimulatedError(
                400,
                f"Invalid schema for function '{function['name']}': schema must be a JSON Schema "
                "of 'type: \"object\"'.",
                param=f"tools[{at}].function.parameters",
                code="invalid_function_parameters",
            )
        offered.append(OfferedTool(function["name"], parameters))
    return offered


def _parse_tool_choice(body: dict[str, Any], tools: list[OfferedTool]) -> str:
    choice = body.get("tool_choice")
    for name in ("tool_choice", "parallel_tool_calls"):
        if body.get(name) not in (None, "none") and not body.get("tools"):
            words = (
                f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
            )
            raise SimulatedError(400, words, param=name)
    if choice is None:
        return "auto"
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise invalid_value("tool_choice", "Supported values are: none, auto, required")
        return "any" if choice == "required" else choice
    wanted = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else None
    if all(tool.name != wanted for tool in tools):
        raise SimulatedError(
            400, f"Tool choice '{wanted}' not found in 'tools' parameter.", param="tool_choice"
        )
    return f"={wanted}"


def _parse_stops(body: dict[str, Any]) -> list[str]:
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else stop
    if stops is None:
        return []
    if not isinstance(stops, list) or not 1 <= len(stops) <= 4:
        raise SimulatedError(
            400, "Invalid 'stop': expected between 1 and 4 sequences.", param="stop"
        )
    if not all(isinstance(one, str) for one in stops):
        raise invalid_value("stop", "expected strings", "invalid_type")
    return stops


def _check_format(body: dict[str, Any], provider: str) -> None:
    wanted = body.get("response_format")
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise invalid_value(
            "response_format.type", "Supported values are: json_object, json_schema, text"
        )
    if kind == "json_schema":
        json_schema = wanted.get("json_schema")
        if not isinstance(json_schema, dict) or not isinstance(json_schema.get("name"), str):
            raise missing_member("response_format.json_schema.name")
        if provider == "groq" and (body.get("stream") or body.get("tools")):
            what = "streaming" if body.get("stream") else "tool use"
            raise SimulatedError(400, f"json_schema response format does not support {what}")


def _response_schema(body: dict[str, Any]) -> Any:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return wanted["json_schema"].get("schema") or {"type": "object"}
    if wanted.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return None


def _parse_reasoning(body: dict[str, Any], request: ParsedRequest) -> None:
    effort = body.get("reasoning_effort")
    shown = body.get("reasoning_format")
    request.thinks = effort not in (None, "none") or shown in ("parsed", "raw", "text_parsed")
    request.thinks = request.thinks or body.get("include_reasoning") is True
    request.shows_thought = shown != "hidden" and body.get("include_reasoning") is not False


def _last_turn(messages: list[dict[str, Any]], request: ParsedRequest) -> int:
    """Read the last turn into `request`; returns the bytes of its pictures."""
    tail = len(messages)
    while tail and messages[tail - 1]["role"] != "assistant":
        tail -= 1
    words: list[str] = []
    taken = 0
    for message in messages[tail:]:
        content = message["content"]
        parts: list[Any] = (
            [{"type": "text", "text": content}] if isinstance(content, str) else content
        )
        texts = [part["text"] for part in parts if part["type"] == "text"]
        if message["role"] == "tool":
            request.results.append("\n".join(texts))
        elif message["role"] == "user":
            words += texts
        for part in parts:
            if part["type"] == "image_url":
                url = part["image_url"]["url"]
                request.pictures.append(picture_of_url(url) or Picture())
                taken += len(url) if url.startswith("data:") else 0
    request.question = read_question(words)
    return taken

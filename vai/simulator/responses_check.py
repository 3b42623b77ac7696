"""The checks of the Responses endpoint, with the wording of its refusals.

Invariants: the check refuses a field that OpenAI does not document, as the real endpoint does, so
a field that a gateway invents or forgets to remove becomes visible here. Every call has its output
and every output its call; the check accepts a reasoning item only with a complete
`encrypted_content` of the simulator.
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
from vai.simulator.parts import is_signature
from vai.simulator.pictures import Picture
from vai.simulator.request_errors import (
    expected_one_of,
    invalid_value,
    missing_member,
    picture_of_url,
    split_names,
    unknown_member,
)

__all__ = ["parse_request"]


_FIELDS: Final = split_names(
    "access_programs background background_options context_management conversation image include"
    " input instructions max_output_tokens max_tool_calls metadata model moderation"
    " parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options"
    " prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options"
    " temperature text tool_choice tools top_logprobs top_p truncation user"
)
_TOOLS: Final[Mapping[str, frozenset[str]]] = {
    "function": split_names(
        "name parameters strict description defer_loading async allowed_callers output_schema"
    ),
    "custom": split_names("name description format defer_loading async allowed_callers"),
    "web_search": split_names("filters search_context_size user_location external_web_access"),
    "file_search": split_names("vector_store_ids filters max_num_results ranking_options"),
    "code_interpreter": split_names("container allowed_callers"),
}
_OTHER_TOOLS: Final = split_names(
    "web_search_preview web_search_2025_08_26 image_generation computer computer_use_preview mcp"
    " shell local_shell apply_patch namespace tool_search programmatic_tool_calling"
)
_INCLUDE: Final = split_names(
    "reasoning.encrypted_content web_search_call.action.sources web_search_call.results"
    " file_search_call.results code_interpreter_call.outputs"
    " computer_call_output.output.image_url message.input_image.image_url"
    " message.output_text.logprobs"
)
_EFFORTS: Final = split_names("none minimal low medium high xhigh max")
_LEAST_TOKENS: Final = 16
_PICTURE: Final = 800
"""Tokens of a picture."""
_ECHOED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


_MESSAGE: Final = split_names("type role content status id phase")
_ITEMS: Final[Mapping[str, frozenset[str]]] = {
    "message": _MESSAGE,
    "reasoning": split_names("id summary content encrypted_content status"),
    "function_call": split_names("id call_id name arguments namespace status caller async"),
    "function_call_output": split_names("id call_id output status name namespace caller"),
    "custom_tool_call": split_names("id call_id name input namespace caller async"),
    "custom_tool_call_output": split_names("id call_id output caller"),
    "web_search_call": split_names("id action status"),
    "file_search_call": split_names("id queries results status"),
    "code_interpreter_call": split_names("id code container_id outputs status"),
    "image_generation_call": split_names(
        "id action background error output_format quality result revised_prompt size status"
    ),
    "item_reference": split_names("id"),
}
_OTHER_ITEMS: Final = re.compile(
    r"(local_)?shell_call(_output)?|apply_patch_call(_output)?|computer_call(_output)?|mcp_[a-z_]+"
    r"|compaction(_trigger)?|tool_search_(call|output)|additional_tools|program(_output)?"
)
_CONTENT: Final[Mapping[str, frozenset[str]]] = {
    "input_text": split_names("text prompt_cache_breakpoint"),
    "input_image": split_names("image_url file_id detail prompt_cache_breakpoint"),
    "input_file": split_names("file_data file_id file_url filename detail prompt_cache_breakpoint"),
    "output_text": split_names("text annotations logprobs"),
    "refusal": split_names("refusal"),
}
_INPUT: Final = ("input_text", "input_image", "input_file")
_OUTPUT_PARTS: Final = ("output_text", "refusal")
NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def items_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The input as items, checked one by one and together.

    Raises:
        SimulatedError: 400, or 404 for a reasoning item without its `encrypted_content`.
    """
    items_or_text = body.get("input")
    if isinstance(items_or_text, str) and items_or_text:
        return [{"role": "user", "content": items_or_text, "type": "message"}]
    if not isinstance(items_or_text, list) or not items_or_text:
        raise missing_member("input")
    for at, item in enumerate(items_or_text):
        where = f"input[{at}]"
        if not isinstance(item, dict):
            raise invalid_value(
                where, "expected an input item, but got another type", "invalid_type"
            )
        kind = str(item.get("type", "message" if "role" in item else ""))
        if _OTHER_ITEMS.fullmatch(kind):
            continue
        if kind not in _ITEMS:
            raise expected_one_of(f"{where}.type", _ITEMS)
        for name in item:
            if name != "type" and name not in _ITEMS[kind]:
                raise unknown_member(f"{where}.{name}")
        _check_item(item, kind, where)
    _check_call_results(items_or_text)
    return items_or_text


def _check_item(item: dict[str, Any], kind: str, where: str) -> None:
    match kind:
        case "message":
            _check_message(item, where)
        case "reasoning":
            _check_reasoning(item, where)
        case "function_call":
            _check_strings(item, where, "call_id", "name", "arguments")
            if not NAME.fullmatch(item["name"]):
                raise pattern_mismatch(f"{where}.name")
        case "custom_tool_call":
            _check_strings(item, where, "call_id", "name", "input")
        case "function_call_output" | "custom_tool_call_output":
            _check_strings(item, where, "call_id")
            output = item.get("output")
            if isinstance(output, list):
                _check_parts(output, f"{where}.output", _INPUT)
            elif not isinstance(output, str):
                raise missing_member(f"{where}.output")
        case _:
            _check_strings(item, where, "id")
    if len(item.get("call_id") or "") > 64:
        raise invalid_value(
            f"{where}.call_id", "expected at most 64 characters", "string_above_max_length"
        )


def _check_strings(item: dict[str, Any], where: str, *names: str) -> None:
    for name in names:
        if name not in item:
            raise missing_member(f"{where}.{name}")
        if not isinstance(item[name], str):
            raise invalid_value(f"{where}.{name}", "expected a string", "invalid_type")
        if name in ("call_id", "id", "name") and not item[name]:
            raise invalid_value(f"{where}.{name}", "empty string", "empty_string")


def pattern_mismatch(where: str) -> SimulatedError:
    """The error for a name with a character that is not allowed."""
    words = "string does not match pattern. Expected a string that matches '^[a-zA-Z0-9_-]+$'"
    return SimulatedError(400, f"Invalid '{where}': {words}.", param=where, code="invalid_value")


def _check_message(item: dict[str, Any], where: str) -> None:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise expected_one_of(f"{where}.role", ("user", "assistant", "system", "developer"))
    if item.get("phase") not in (None, "commentary", "final_answer"):
        raise expected_one_of(f"{where}.phase", ("commentary", "final_answer"))
    if isinstance(content, list):
        _check_parts(content, f"{where}.content", _OUTPUT_PARTS if role == "assistant" else _INPUT)
    elif not isinstance(content, str):
        raise missing_member(f"{where}.content")
    if "id" in item and not str(item["id"]).startswith("msg_"):
        raise invalid_value(f"{where}.id", "Expected an ID that begins with 'msg'")


def _check_parts(parts: list[Any], where: str, allowed: tuple[str, ...]) -> None:
    for at, part in enumerate(parts):
        path = f"{where}[{at}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in allowed:
            raise expected_one_of(f"{path}.type", allowed)
        for name in part:
            if name != "type" and name not in _CONTENT[kind]:
                raise unknown_member(f"{path}.{name}")
        if kind in ("input_text", "output_text"):
            _check_strings(part, path, "text")
        url = part.get("image_url")
        if kind == "input_image" and not isinstance(url or part.get("file_id"), str):
            raise missing_member(f"{path}.image_url")
        if (
            kind == "input_image"
            and url
            and url.startswith("data:")
            and picture_of_url(url) is None
        ):
            words = "The image data you provided does not represent a valid image."
            raise SimulatedError(400, words, param=path, code="invalid_image")


def _check_reasoning(item: dict[str, Any], where: str) -> None:
    if not isinstance(item.get("summary"), list):
        raise missing_member(f"{where}.summary")
    for at, part in enumerate(item["summary"]):
        if part.get("type") != "summary_text" or not isinstance(part.get("text"), str):
            raise invalid_value(f"{where}.summary[{at}]", "expected a summary text", "invalid_type")
    name = item.get("id")
    if name is not None and not str(name).startswith("rs_"):
        raise invalid_value(f"{where}.id", "Expected an ID that begins with 'rs'")
    sealed = item.get("encrypted_content")
    if sealed is None:
        raise SimulatedError(404, f"Item with id '{name}' not found. Items are not persisted.")
    if not is_signature(sealed):
        words = f"The encrypted content for item {name} could not be verified."
        raise SimulatedError(400, words, code="invalid_encrypted_content")


def _check_call_results(items: list[dict[str, Any]]) -> None:
    """Check that every output has its call before it, and every call an output after it."""
    waiting: dict[str, None] = {}
    for item in items:
        kind = item.get("type", "message")
        if kind in ("function_call", "custom_tool_call"):
            waiting[item["call_id"]] = None
        elif kind in ("function_call_output", "custom_tool_call_output"):
            if item["call_id"] not in waiting:
                words = (
                    f"No tool call found for function call output with call_id {item['call_id']}."
                )
                raise SimulatedError(400, words, param="input")
            del waiting[item["call_id"]]
    if waiting:
        words = f"No tool output found for function call {next(iter(waiting))}."
        raise SimulatedError(400, words, param="input")
    if items[-1].get("type") == "reasoning":
        words = f"Item '{items[-1].get('id')}' of type 'reasoning' was provided without its "
        raise SimulatedError(400, words + "required following item.", param="input")


def last_turn(items: list[dict[str, Any]], request: ParsedRequest) -> int:
    """Read the last turn into `request`; returns the bytes of its pictures."""
    tail = len(items)
    while tail and _is_from_client(items[tail - 1]):
        tail -= 1
    words: list[str] = []
    taken = 0
    for item in items[tail:]:
        content: Any = item.get("output", item.get("content"))
        parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
        texts = [part["text"] for part in parts if part["type"] == "input_text"]
        if "output" in item:
            request.results.append("\n".join(texts))
        elif item["role"] == "user":
            words += texts
        for url in (part.get("image_url") for part in parts if part["type"] == "input_image"):
            request.pictures.append(picture_of_url(url or "") or Picture())
            taken += len(url) if url and url.startswith("data:") else 0
    request.question = read_question(words)
    return taken


def _is_from_client(item: dict[str, Any]) -> bool:
    kind = item.get("type", "message")
    return (
        kind.endswith("tool_call_output")
        or kind == "function_call_output"
        or (kind == "message" and item.get("role") != "assistant")
    )


def parse_request(
    body: Any, provider: str, knobs: Knobs, *, counting: bool = False
) -> ParsedRequest:
    """Read a request body into a `ParsedRequest`.

    Raises:
        SimulatedError: 400, in the endpoint's words; 404 as in `items_of`.
    """
    for name in body:
        if name not in _FIELDS:
            raise unknown_member(name)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise missing_member("model")
    _check_settings(body)
    items = items_of(body)
    tools = _parse_tools(body)
    reasoning = body.get("reasoning") or {}
    request = ParsedRequest(
        provider=provider,
        model=body["model"],
        knobs=knobs,
        seed=seed_of(body),
        tools=tools,
        choice=_parse_tool_choice(body),
        parallel=body.get("parallel_tool_calls") is not False,
        max_tokens=body.get("max_output_tokens"),
        stream=body.get("stream") is True,
        thinks=reasoning.get("effort") not in (None, "none") or bool(reasoning.get("summary")),
        shows_thought=bool(reasoning.get("summary")) or bool(knobs.think),
        schema=_response_schema(body),
        include=frozenset(body.get("include") or ()),
        echo=_echoed_settings(body),
    )
    offered = {tool["type"] for tool in body.get("tools") or []}
    request.searches = any(kind.startswith("web_search") for kind in offered)
    request.runs, request.draws = "code_interpreter" in offered, "image_generation" in offered
    pictures = last_turn(items, request)
    size = len(orjson.dumps([items, body.get("instructions") or 0, body.get("tools") or 0]))
    request.tokens = 3 + tokens.estimate_tokens(size - pictures) + _PICTURE * len(request.pictures)
    request.cache_read = min(knobs.cached, request.tokens)
    request.cache_write = min(knobs.cache_write, request.tokens - request.cache_read)
    return request


def _check_settings(body: dict[str, Any]) -> None:
    for name, most in (("temperature", 2.0), ("top_p", 1.0)):
        value = body.get(name)
        if value is not None and (not isinstance(value, int | float) or not 0 <= value <= most):
            raise invalid_value(name, f"Expected a value between 0 and {most:g}")
    limit = body.get("max_output_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < _LEAST_TOKENS):
        words = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16"
        code = "integer_below_min_value"
        raise SimulatedError(
            400, f"{words}, but got {limit} instead.", param="max_output_tokens", code=code
        )
    if body.get("stream_options") is not None and body.get("stream") is not True:
        words = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise SimulatedError(400, words, param="stream_options")
    before = body.get("previous_response_id")
    if before is not None:
        words = f"Previous response with id '{before}' not found."
        code = "previous_response_not_found"
        raise SimulatedError(400, words, param="previous_response_id", code=code)
    reasoning = body.get("reasoning") or {}
    for name in reasoning:
        if name not in ("effort", "summary", "generate_summary", "context", "mode"):
            raise unknown_member(f"reasoning.{name}")
    if reasoning.get("effort") not in (None, *_EFFORTS):
        raise expected_one_of("reasoning.effort", _EFFORTS)
    if reasoning.get("summary") not in (None, "auto", "concise", "detailed"):
        raise expected_one_of("reasoning.summary", ("auto", "concise", "detailed"))
    for at, name in enumerate(body.get("include") or []):
        if name not in _INCLUDE:
            raise expected_one_of(f"include[{at}]", _INCLUDE)
    for name, value in (body.get("metadata") or {}).items():
        if not isinstance(value, str) or len(value) > 512 or len(name) > 64:
            raise invalid_value(f"metadata.{name}", "expected a string of at most 512 characters")
    if len(body.get("safety_identifier") or "") > 64:
        raise invalid_value("safety_identifier", "expected at most 64 characters")


def _parse_tools(body: dict[str, Any]) -> list[OfferedTool]:
    offered: list[OfferedTool] = []
    for at, tool in enumerate(body.get("tools") or []):
        where = f"tools[{at}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind is None:
            raise missing_member(f"{where}.type")
        if kind in _OTHER_TOOLS:
            continue
        if kind not in _TOOLS:
            raise expected_one_of(f"{where}.type", _OTHER_TOOLS | set(_TOOLS))
        for name in tool:
            if name != "type" and name not in _TOOLS[kind]:
                raise unknown_member(f"{where}.{name}")
        if kind == "code_interpreter" and "container" not in tool:
            raise missing_member(f"{where}.container")
        if kind == "function":
            offered.append(_parse_function(tool, where))
    return offered


def _parse_function(tool: dict[str, Any], where: str) -> OfferedTool:
    for name in ("name", "parameters", "strict"):
        if name not in tool:
            raise missing_member(f"{where}.{name}")
    if not isinstance(tool["name"], str) or not NAME.fullmatch(tool["name"]):
        raise pattern_mismatch(f"{where}.name")
    if tool["strict"] not in (True, False, None):
        raise invalid_value(f"{where}.strict", "expected a boolean", "invalid_type")
    schema = tool["parameters"] or {"type": "object", "properties": {}}
    if schema.get("type") != "object":
        words = (
            f"Invalid schema for function '{tool['name']}': schema must be of 'type: \"object\"'."
        )
        code = "invalid_function_parameters"
        raise SimulatedError(400, words, param=f"{where}.parameters", code=code)
    if tool["strict"]:
        _check_strict_schema(schema, tool["name"], f"{where}.parameters")
    return OfferedTool(tool["name"], schema)


def _check_strict_schema(schema: dict[str, Any], name: str, where: str) -> None:
    """Check strict mode: every property is required, and no other is allowed."""
    required = set(schema.get("required") or [])
    missing = set(schema.get("properties") or {}) - required
    if schema.get("additionalProperties") is not False or missing:
        words = f"Invalid schema for function '{name}': 'additionalProperties' must be false and "
        code = "invalid_function_parameters"
        raise SimulatedError(
            400, words + "'required' must name every property.", param=where, code=code
        )


def _parse_tool_choice(body: dict[str, Any]) -> str:
    choice = body.get("tool_choice")
    if choice is None:
        return "auto"
    tools = body.get("tools") or []
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise expected_one_of("tool_choice", ("none", "auto", "required"))
        if choice == "required" and not tools:
            words = "Tool choice 'required' must be specified with 'tools' parameter."
            raise SimulatedError(400, words, param="tool_choice")
        return "any" if choice == "required" else choice
    kind = choice.get("type")
    if kind == "allowed_tools":
        return "any" if choice.get("mode") == "required" else "auto"
    if kind not in ("function", "custom", "mcp"):
        return "auto"
    if all(tool.get("name") != choice.get("name") for tool in tools):
        words = f"Tool choice '{choice.get('name')}' not found in 'tools' parameter."
        raise SimulatedError(400, words, param="tool_choice")
    return f"={choice['name']}"


def _response_schema(body: dict[str, Any]) -> Any:
    text = body.get("text") or {}
    for name in text:
        if name not in ("format", "verbosity"):
            raise unknown_member(f"text.{name}")
    wanted = text.get("format") or {"type": "text"}
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "object", "properties": {"answer": {"type": "string"}}}
        case "json_schema":
            for name in ("name", "schema"):
                if name not in wanted:
                    raise missing_member(f"text.format.{name}")
            return wanted["schema"]
    raise expected_one_of("text.format.type", ("text", "json_object", "json_schema"))


def _echoed_settings(body: dict[str, Any]) -> dict[str, Any]:
    """The settings that a response repeats: those of the request, or the defaults."""
    echo = {name: body.get(name) for name in _ECHOED}
    echo = {name: _ECHOED[name] if value is None else value for name, value in echo.items()}
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    echo["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    echo["text"] = {"format": {"type": "text"}, "verbosity": "medium"} | text
    return echo

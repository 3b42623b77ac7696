"""What the Responses endpoint accepts, and how it words a refusal.

The law of this module: a field OpenAI does not document is refused, as the real endpoint
does; a reasoning item is taken back only with the `encrypted_content` that was given out.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.ask import Ask, Refused, Tool, seed_of
from vai.simulator.knobs import Knobs
from vai.simulator.parts import is_sealed
from vai.simulator.pictures import Picture, measure

__all__ = ["read"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FIELDS: Final = _names(
    "access_programs background background_options context_management conversation image include"
    " input instructions max_output_tokens max_tool_calls metadata model moderation"
    " parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options"
    " prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options"
    " temperature text tool_choice tools top_logprobs top_p truncation user"
)
_MESSAGE: Final = _names("type role content status id phase")
_ITEMS: Final[Mapping[str, frozenset[str]]] = {
    "message": _MESSAGE,
    "reasoning": _names("id summary content encrypted_content status"),
    "function_call": _names("id call_id name arguments namespace status caller async"),
    "function_call_output": _names("id call_id output status name namespace caller"),
    "custom_tool_call": _names("id call_id name input namespace caller async"),
    "custom_tool_call_output": _names("id call_id output caller"),
    "web_search_call": _names("id action status"),
    "file_search_call": _names("id queries results status"),
    "code_interpreter_call": _names("id code container_id outputs status"),
    "image_generation_call": _names(
        "id action background error output_format quality result revised_prompt size status"
    ),
    "item_reference": _names("id"),
}
_OTHER_ITEMS: Final = re.compile(
    r"(local_)?shell_call(_output)?|apply_patch_call(_output)?|computer_call(_output)?|mcp_[a-z_]+"
    r"|compaction(_trigger)?|tool_search_(call|output)|additional_tools|program(_output)?"
)
_CONTENT: Final[Mapping[str, frozenset[str]]] = {
    "input_text": _names("text prompt_cache_breakpoint"),
    "input_image": _names("image_url file_id detail prompt_cache_breakpoint"),
    "input_file": _names("file_data file_id file_url filename detail prompt_cache_breakpoint"),
    "output_text": _names("text annotations logprobs"),
    "refusal": _names("refusal"),
}
_INPUT: Final = ("input_text", "input_image", "input_file")
_SAID: Final = ("output_text", "refusal")
_TOOLS: Final[Mapping[str, frozenset[str]]] = {
    "function": _names(
        "name parameters strict description defer_loading async allowed_callers output_schema"
    ),
    "custom": _names("name description format defer_loading async allowed_callers"),
    "web_search": _names("filters search_context_size user_location external_web_access"),
    "file_search": _names("vector_store_ids filters max_num_results ranking_options"),
    "code_interpreter": _names("container allowed_callers"),
}
_OTHER_TOOLS: Final = _names(
    "web_search_preview web_search_2025_08_26 image_generation computer computer_use_preview mcp"
    " shell local_shell apply_patch namespace tool_search programmatic_tool_calling"
)
_INCLUDE: Final = _names(
    "reasoning.encrypted_content web_search_call.action.sources web_search_call.results"
    " file_search_call.results code_interpreter_call.outputs"
    " computer_call_output.output.image_url message.input_image.image_url"
    " message.output_text.logprobs"
)
_EFFORTS: Final = _names("none minimal low medium high xhigh max")
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
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


def read(body: Any, provider: str, knobs: Knobs, *, counting: bool = False) -> Ask:
    """Read a request body into an `Ask`.

    Raises:
        Refused: 400, worded as the endpoint words it.
    """
    for name in body:
        if name not in _FIELDS:
            raise _unknown(name)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise _missing("model")
    _settings(body)
    items = _items(body)
    _pairs(items)
    tools = _tools(body)
    reasoning = body.get("reasoning") or {}
    ask = Ask(
        provider=provider,
        model=body["model"],
        knobs=knobs,
        seed=seed_of(body),
        tools=tools,
        choice=_choice(body),
        parallel=body.get("parallel_tool_calls") is not False,
        max_tokens=body.get("max_output_tokens"),
        stream=body.get("stream") is True,
        thinks=reasoning.get("effort") not in (None, "none") or bool(reasoning.get("summary")),
        shows_thought=bool(reasoning.get("summary")) or bool(knobs.think),
        schema=_schema(body),
        include=frozenset(body.get("include") or ()),
        echo=_echo(body),
    )
    offered = {tool["type"] for tool in body.get("tools") or []}
    ask.searches = any(kind.startswith("web_search") for kind in offered)
    ask.runs, ask.draws = "code_interpreter" in offered, "image_generation" in offered
    pictures = _last_turn(items, ask)
    size = len(orjson.dumps([items, body.get("instructions") or 0, body.get("tools") or 0]))
    ask.tokens = 3 + tokens.estimate(size - pictures) + _PICTURE * len(ask.pictures)
    ask.cache_read = min(knobs.cached, ask.tokens)
    ask.cache_write = min(knobs.cache_write, ask.tokens - ask.cache_read)
    return ask


def _unknown(name: str) -> Refused:
    return Refused(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def _missing(name: str) -> Refused:
    words = f"Missing required parameter: '{name}'."
    return Refused(400, words, param=name, code="missing_required_parameter")


def _invalid(name: str, expected: str, code: str = "invalid_value") -> Refused:
    return Refused(400, f"Invalid value for '{name}': {expected}.", param=name, code=code)


def _of(name: str, allowed: Any) -> Refused:
    return _invalid(name, f"Supported values are: {', '.join(sorted(allowed))}")


def _settings(body: dict[str, Any]) -> None:
    for name, most in (("temperature", 2.0), ("top_p", 1.0)):
        value = body.get(name)
        if value is not None and (not isinstance(value, int | float) or not 0 <= value <= most):
            raise _invalid(name, f"Expected a value between 0 and {most:g}")
    limit = body.get("max_output_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < _LEAST_TOKENS):
        words = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16"
        code = "integer_below_min_value"
        raise Refused(
            400, f"{words}, but got {limit} instead.", param="max_output_tokens", code=code
        )
    if body.get("stream_options") is not None and body.get("stream") is not True:
        words = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise Refused(400, words, param="stream_options")
    reasoning = body.get("reasoning") or {}
    for name in reasoning:
        if name not in ("effort", "summary", "generate_summary", "context", "mode"):
            raise _unknown(f"reasoning.{name}")
    if reasoning.get("effort") not in (None, *_EFFORTS):
        raise _of("reasoning.effort", _EFFORTS)
    if reasoning.get("summary") not in (None, "auto", "concise", "detailed"):
        raise _of("reasoning.summary", ("auto", "concise", "detailed"))
    for at, name in enumerate(body.get("include") or []):
        if name not in _INCLUDE:
            raise _of(f"include[{at}]", _INCLUDE)
    for name, value in (body.get("metadata") or {}).items():
        if not isinstance(value, str) or len(value) > 512 or len(name) > 64:
            raise _invalid(f"metadata.{name}", "expected a string of at most 512 characters")
    if len(body.get("safety_identifier") or "") > 64:
        raise _invalid("safety_identifier", "expected at most 64 characters")


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    given = body.get("input")
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given, "type": "message"}]
    if not isinstance(given, list) or not given:
        raise _missing("input")
    for at, item in enumerate(given):
        where = f"input[{at}]"
        if not isinstance(item, dict):
            raise _invalid(where, "expected an input item, but got another type", "invalid_type")
        kind = item.get("type", "message" if "role" in item else None)
        if isinstance(kind, str) and _OTHER_ITEMS.fullmatch(kind):
            continue
        if kind not in _ITEMS:
            raise _of(f"{where}.type" if kind else where, _ITEMS)
        for name in item:
            if name != "type" and name not in _ITEMS[kind]:
                raise _unknown(f"{where}.{name}")
        _item(item, kind, where)
    return given


def _item(item: dict[str, Any], kind: str, where: str) -> None:
    match kind:
        case "message":
            _message(item, where)
        case "reasoning":
            _reasoning(item, where)
        case "function_call":
            _strings(item, where, "call_id", "name", "arguments")
            if not _NAME.fullmatch(item["name"]):
                raise _pattern(f"{where}.name")
        case "custom_tool_call":
            _strings(item, where, "call_id", "name", "input")
        case "function_call_output" | "custom_tool_call_output":
            _strings(item, where, "call_id")
            output = item.get("output")
            if isinstance(output, list):
                _parts(output, f"{where}.output", _INPUT)
            elif not isinstance(output, str):
                raise _missing(f"{where}.output")
        case _:
            _strings(item, where, "id")
    if len(item.get("call_id") or "") > 64:
        raise _invalid(
            f"{where}.call_id", "expected at most 64 characters", "string_above_max_length"
        )


def _strings(item: dict[str, Any], where: str, *names: str) -> None:
    for name in names:
        if name not in item:
            raise _missing(f"{where}.{name}")
        if not isinstance(item[name], str):
            raise _invalid(f"{where}.{name}", "expected a string", "invalid_type")
        if name in ("call_id", "id", "name") and not item[name]:
            raise _invalid(f"{where}.{name}", "empty string", "empty_string")


def _pattern(where: str) -> Refused:
    words = "string does not match pattern. Expected a string that matches '^[a-zA-Z0-9_-]+$'"
    return Refused(400, f"Invalid '{where}': {words}.", param=where, code="invalid_value")


def _message(item: dict[str, Any], where: str) -> None:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise _of(f"{where}.role", ("user", "assistant", "system", "developer"))
    if item.get("phase") not in (None, "commentary", "final_answer"):
        raise _of(f"{where}.phase", ("commentary", "final_answer"))
    if isinstance(content, list):
        _parts(content, f"{where}.content", _SAID if role == "assistant" else _INPUT)
    elif not isinstance(content, str):
        raise _missing(f"{where}.content")
    if "id" in item and not str(item["id"]).startswith("msg_"):
        raise _invalid(f"{where}.id", "Expected an ID that begins with 'msg'")


def _parts(parts: list[Any], where: str, allowed: tuple[str, ...]) -> None:
    for at, part in enumerate(parts):
        place = f"{where}[{at}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in allowed:
            raise _of(f"{place}.type", allowed)
        for name in part:
            if name != "type" and name not in _CONTENT[kind]:
                raise _unknown(f"{place}.{name}")
        if kind in ("input_text", "output_text"):
            _strings(part, place, "text")
        url = part.get("image_url")
        if kind == "input_image" and not isinstance(url or part.get("file_id"), str):
            raise _missing(f"{place}.image_url")
        if kind == "input_image" and url and url.startswith("data:") and _pictured(url) is None:
            words = "The image data you provided does not represent a valid image."
            raise Refused(400, words, param=place, code="invalid_image")


def _reasoning(item: dict[str, Any], where: str) -> None:
    if not isinstance(item.get("summary"), list):
        raise _missing(f"{where}.summary")
    for at, part in enumerate(item["summary"]):
        if part.get("type") != "summary_text" or not isinstance(part.get("text"), str):
            raise _invalid(f"{where}.summary[{at}]", "expected a summary text", "invalid_type")
    name = item.get("id")
    if name is not None and not str(name).startswith("rs_"):
        raise _invalid(f"{where}.id", "Expected an ID that begins with 'rs'")
    sealed = item.get("encrypted_content")
    if sealed is None:
        raise Refused(404, f"Item with id '{name}' not found. Items are not persisted.")
    if not is_sealed(sealed):
        words = f"The encrypted content for item {name} could not be verified."
        raise Refused(400, words, code="invalid_encrypted_content")


def _pairs(items: list[dict[str, Any]]) -> None:
    """Every output has its call before it, every call an output somewhere behind it."""
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
                raise Refused(400, words, param="input")
            del waiting[item["call_id"]]
    if waiting:
        words = f"No tool output found for function call {next(iter(waiting))}."
        raise Refused(400, words, param="input")
    if items[-1].get("type") == "reasoning":
        words = f"Item '{items[-1].get('id')}' of type 'reasoning' was provided without its "
        raise Refused(400, words + "required following item.", param="input")


def _tools(body: dict[str, Any]) -> list[Tool]:
    found: list[Tool] = []
    for at, tool in enumerate(body.get("tools") or []):
        where = f"tools[{at}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind is None:
            raise _missing(f"{where}.type")
        if kind in _OTHER_TOOLS:
            continue
        if kind not in _TOOLS:
            raise _of(f"{where}.type", _OTHER_TOOLS | set(_TOOLS))
        for name in tool:
            if name != "type" and name not in _TOOLS[kind]:
                raise _unknown(f"{where}.{name}")
        if kind == "code_interpreter" and "container" not in tool:
            raise _missing(f"{where}.container")
        if kind == "function":
            found.append(_function(tool, where))
    return found


def _function(tool: dict[str, Any], where: str) -> Tool:
    for name in ("name", "parameters", "strict"):
        if name not in tool:
            raise _missing(f"{where}.{name}")
    if not isinstance(tool["name"], str) or not _NAME.fullmatch(tool["name"]):
        raise _pattern(f"{where}.name")
    if tool["strict"] not in (True, False, None):
        raise _invalid(f"{where}.strict", "expected a boolean", "invalid_type")
    schema = tool["parameters"] or {"type": "object", "properties": {}}
    if schema.get("type") != "object":
        words = (
            f"Invalid schema for function '{tool['name']}': schema must be of 'type: \"object\"'."
        )
        code = "invalid_function_parameters"
        raise Refused(400, words, param=f"{where}.parameters", code=code)
    if tool["strict"]:
        _strictly(schema, tool["name"], f"{where}.parameters")
    return Tool(tool["name"], schema)


def _strictly(schema: dict[str, Any], name: str, where: str) -> None:
    """Strict mode: every property is required and none may be added."""
    required = set(schema.get("required") or [])
    missing = set(schema.get("properties") or {}) - required
    if schema.get("additionalProperties") is not False or missing:
        words = f"Invalid schema for function '{name}': 'additionalProperties' must be false and "
        code = "invalid_function_parameters"
        raise Refused(400, words + "'required' must name every property.", param=where, code=code)


def _choice(body: dict[str, Any]) -> str:
    choice = body.get("tool_choice")
    if choice is None:
        return "auto"
    tools = body.get("tools") or []
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise _of("tool_choice", ("none", "auto", "required"))
        if choice == "required" and not tools:
            words = "Tool choice 'required' must be specified with 'tools' parameter."
            raise Refused(400, words, param="tool_choice")
        return "any" if choice == "required" else choice
    kind = choice.get("type")
    if kind == "allowed_tools":
        return "any" if choice.get("mode") == "required" else "auto"
    if kind not in ("function", "custom", "mcp"):
        return "auto"
    if all(tool.get("name") != choice.get("name") for tool in tools):
        words = f"Tool choice '{choice.get('name')}' not found in 'tools' parameter."
        raise Refused(400, words, param="tool_choice")
    return f"={choice['name']}"


def _schema(body: dict[str, Any]) -> Any:
    text = body.get("text") or {}
    for name in text:
        if name not in ("format", "verbosity"):
            raise _unknown(f"text.{name}")
    wanted = text.get("format") or {"type": "text"}
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "object", "properties": {"answer": {"type": "string"}}}
        case "json_schema":
            for name in ("name", "schema"):
                if name not in wanted:
                    raise _missing(f"text.format.{name}")
            return wanted["schema"]
    raise _of("text.format.type", ("text", "json_object", "json_schema"))


def _echo(body: dict[str, Any]) -> dict[str, Any]:
    """The settings that a response repeats, each as asked for or by default."""
    echo = {name: body.get(name) for name in _ECHOED}
    echo = {name: _ECHOED[name] if value is None else value for name, value in echo.items()}
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    echo["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    echo["text"] = {"format": {"type": "text"}, "verbosity": "medium"} | text
    return echo


def _last_turn(items: list[dict[str, Any]], ask: Ask) -> int:
    """Note what the conversation ends with; the bytes its pictures take up are returned."""
    tail = len(items)
    while tail and _is_given(items[tail - 1]):
        tail -= 1
    words: list[str] = []
    taken = 0
    for item in items[tail:]:
        said = item.get("output", item.get("content"))
        parts: list[Any] = [{"type": "input_text", "text": said}] if isinstance(said, str) else said
        text = "\n".join(part["text"] for part in parts if part["type"] == "input_text")
        (ask.results if "output" in item else words).append(text)
        for url in (part.get("image_url") for part in parts if part["type"] == "input_image"):
            ask.pictures.append(_pictured(url or "") or Picture())
            taken += len(url) if url and url.startswith("data:") else 0
    ask.question = words[-1] if words else ""
    return taken


def _is_given(item: dict[str, Any]) -> bool:
    kind = item.get("type", "message")
    return (
        kind.endswith("tool_call_output")
        or kind == "function_call_output"
        or (kind == "message" and item.get("role") == "user")
    )


def _pictured(url: str) -> Picture | None:
    head, _, data = url.partition(",")
    if not head.endswith(";base64"):
        return None
    try:
        return measure(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None

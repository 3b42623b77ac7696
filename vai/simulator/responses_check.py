"""What the Responses endpoint accepts, and how it words a refusal.

Invariants: a field OpenAI does not document is refused, as the real endpoint
does, so whatever a gateway invents or forgets to strip becomes visible here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from vai.simulator import tokens
from vai.simulator.ask import Ask, Refused, Tool, seed_of
from vai.simulator.knobs import Knobs
from vai.simulator.reading import invalid, missing, names, one_of, unknown
from vai.simulator.responses_items import NAME, items_of, last_turn, pattern

__all__ = ["read"]


_FIELDS: Final = names(
    "access_programs background background_options context_management conversation image include"
    " input instructions max_output_tokens max_tool_calls metadata model moderation"
    " parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options"
    " prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options"
    " temperature text tool_choice tools top_logprobs top_p truncation user"
)
_TOOLS: Final[Mapping[str, frozenset[str]]] = {
    "function": names(
        "name parameters strict description defer_loading async allowed_callers output_schema"
    ),
    "custom": names("name description format defer_loading async allowed_callers"),
    "web_search": names("filters search_context_size user_location external_web_access"),
    "file_search": names("vector_store_ids filters max_num_results ranking_options"),
    "code_interpreter": names("container allowed_callers"),
}
_OTHER_TOOLS: Final = names(
    "web_search_preview web_search_2025_08_26 image_generation computer computer_use_preview mcp"
    " shell local_shell apply_patch namespace tool_search programmatic_tool_calling"
)
_INCLUDE: Final = names(
    "reasoning.encrypted_content web_search_call.action.sources web_search_call.results"
    " file_search_call.results code_interpreter_call.outputs"
    " computer_call_output.output.image_url message.input_image.image_url"
    " message.output_text.logprobs"
)
_EFFORTS: Final = names("none minimal low medium high xhigh max")
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
            raise unknown(name)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise missing("model")
    _settings(body)
    items = items_of(body)
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
    pictures = last_turn(items, ask)
    size = len(orjson.dumps([items, body.get("instructions") or 0, body.get("tools") or 0]))
    ask.tokens = 3 + tokens.estimate(size - pictures) + _PICTURE * len(ask.pictures)
    ask.cache_read = min(knobs.cached, ask.tokens)
    ask.cache_write = min(knobs.cache_write, ask.tokens - ask.cache_read)
    return ask


def _settings(body: dict[str, Any]) -> None:
    for name, most in (("temperature", 2.0), ("top_p", 1.0)):
        value = body.get(name)
        if value is not None and (not isinstance(value, int | float) or not 0 <= value <= most):
            raise invalid(name, f"Expected a value between 0 and {most:g}")
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
    before = body.get("previous_response_id")
    if before is not None:
        words = f"Previous response with id '{before}' not found."
        code = "previous_response_not_found"
        raise Refused(400, words, param="previous_response_id", code=code)
    reasoning = body.get("reasoning") or {}
    for name in reasoning:
        if name not in ("effort", "summary", "generate_summary", "context", "mode"):
            raise unknown(f"reasoning.{name}")
    if reasoning.get("effort") not in (None, *_EFFORTS):
        raise one_of("reasoning.effort", _EFFORTS)
    if reasoning.get("summary") not in (None, "auto", "concise", "detailed"):
        raise one_of("reasoning.summary", ("auto", "concise", "detailed"))
    for at, name in enumerate(body.get("include") or []):
        if name not in _INCLUDE:
            raise one_of(f"include[{at}]", _INCLUDE)
    for name, value in (body.get("metadata") or {}).items():
        if not isinstance(value, str) or len(value) > 512 or len(name) > 64:
            raise invalid(f"metadata.{name}", "expected a string of at most 512 characters")
    if len(body.get("safety_identifier") or "") > 64:
        raise invalid("safety_identifier", "expected at most 64 characters")


def _tools(body: dict[str, Any]) -> list[Tool]:
    found: list[Tool] = []
    for at, tool in enumerate(body.get("tools") or []):
        where = f"tools[{at}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind is None:
            raise missing(f"{where}.type")
        if kind in _OTHER_TOOLS:
            continue
        if kind not in _TOOLS:
            raise one_of(f"{where}.type", _OTHER_TOOLS | set(_TOOLS))
        for name in tool:
            if name != "type" and name not in _TOOLS[kind]:
                raise unknown(f"{where}.{name}")
        if kind == "code_interpreter" and "container" not in tool:
            raise missing(f"{where}.container")
        if kind == "function":
            found.append(_function(tool, where))
    return found


def _function(tool: dict[str, Any], where: str) -> Tool:
    for name in ("name", "parameters", "strict"):
        if name not in tool:
            raise missing(f"{where}.{name}")
    if not isinstance(tool["name"], str) or not NAME.fullmatch(tool["name"]):
        raise pattern(f"{where}.name")
    if tool["strict"] not in (True, False, None):
        raise invalid(f"{where}.strict", "expected a boolean", "invalid_type")
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
            raise one_of("tool_choice", ("none", "auto", "required"))
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
            raise unknown(f"text.{name}")
    wanted = text.get("format") or {"type": "text"}
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "object", "properties": {"answer": {"type": "string"}}}
        case "json_schema":
            for name in ("name", "schema"):
                if name not in wanted:
                    raise missing(f"text.format.{name}")
            return wanted["schema"]
    raise one_of("text.format.type", ("text", "json_object", "json_schema"))


def _echo(body: dict[str, Any]) -> dict[str, Any]:
    """The settings that a response repeats, each as asked for or by default."""
    echo = {name: body.get(name) for name in _ECHOED}
    echo = {name: _ECHOED[name] if value is None else value for name, value in echo.items()}
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    echo["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    echo["text"] = {"format": {"type": "text"}, "verbosity": "medium"} | text
    return echo

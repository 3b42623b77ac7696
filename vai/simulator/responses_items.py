"""The input items of a Responses request, one by one and as a conversation.

Invariants: every call has its output and every output its call; a reasoning item
is taken back only with the `encrypted_content` that was given out, whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from vai.simulator.ask import Ask, Refused, read_question
from vai.simulator.parts import is_sealed
from vai.simulator.pictures import Picture
from vai.simulator.reading import invalid, missing, names, one_of, pictured, unknown

__all__ = ["NAME", "items_of", "last_turn", "pattern"]

_MESSAGE: Final = names("type role content status id phase")
_ITEMS: Final[Mapping[str, frozenset[str]]] = {
    "message": _MESSAGE,
    "reasoning": names("id summary content encrypted_content status"),
    "function_call": names("id call_id name arguments namespace status caller async"),
    "function_call_output": names("id call_id output status name namespace caller"),
    "custom_tool_call": names("id call_id name input namespace caller async"),
    "custom_tool_call_output": names("id call_id output caller"),
    "web_search_call": names("id action status"),
    "file_search_call": names("id queries results status"),
    "code_interpreter_call": names("id code container_id outputs status"),
    "image_generation_call": names(
        "id action background error output_format quality result revised_prompt size status"
    ),
    "item_reference": names("id"),
}
_OTHER_ITEMS: Final = re.compile(
    r"(local_)?shell_call(_output)?|apply_patch_call(_output)?|computer_call(_output)?|mcp_[a-z_]+"
    r"|compaction(_trigger)?|tool_search_(call|output)|additional_tools|program(_output)?"
)
_CONTENT: Final[Mapping[str, frozenset[str]]] = {
    "input_text": names("text prompt_cache_breakpoint"),
    "input_image": names("image_url file_id detail prompt_cache_breakpoint"),
    "input_file": names("file_data file_id file_url filename detail prompt_cache_breakpoint"),
    "output_text": names("text annotations logprobs"),
    "refusal": names("refusal"),
}
_INPUT: Final = ("input_text", "input_image", "input_file")
_SAID: Final = ("output_text", "refusal")
NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def items_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The input as items, checked one by one and together.

    Raises:
        Refused: 400, or 404 for an item that only its id names.
    """
    given = body.get("input")
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given, "type": "message"}]
    if not isinstance(given, list) or not given:
        raise missing("input")
    for at, item in enumerate(given):
        where = f"input[{at}]"
        if not isinstance(item, dict):
            raise invalid(where, "expected an input item, but got another type", "invalid_type")
        kind = str(item.get("type", "message" if "role" in item else ""))
        if _OTHER_ITEMS.fullmatch(kind):
            continue
        if kind not in _ITEMS:
            raise one_of(f"{where}.type", _ITEMS)
        for name in item:
            if name != "type" and name not in _ITEMS[kind]:
                raise unknown(f"{where}.{name}")
        _item(item, kind, where)
    _pairs(given)
    return given


def _item(item: dict[str, Any], kind: str, where: str) -> None:
    match kind:
        case "message":
            _message(item, where)
        case "reasoning":
            _reasoning(item, where)
        case "function_call":
            _strings(item, where, "call_id", "name", "arguments")
            if not NAME.fullmatch(item["name"]):
                raise pattern(f"{where}.name")
        case "custom_tool_call":
            _strings(item, where, "call_id", "name", "input")
        case "function_call_output" | "custom_tool_call_output":
            _strings(item, where, "call_id")
            output = item.get("output")
            if isinstance(output, list):
                _parts(output, f"{where}.output", _INPUT)
            elif not isinstance(output, str):
                raise missing(f"{where}.output")
        case _:
            _strings(item, where, "id")
    if len(item.get("call_id") or "") > 64:
        raise invalid(
            f"{where}.call_id", "expected at most 64 characters", "string_above_max_length"
        )


def _strings(item: dict[str, Any], where: str, *names: str) -> None:
    for name in names:
        if name not in item:
            raise missing(f"{where}.{name}")
        if not isinstance(item[name], str):
            raise invalid(f"{where}.{name}", "expected a string", "invalid_type")
        if name in ("call_id", "id", "name") and not item[name]:
            raise invalid(f"{where}.{name}", "empty string", "empty_string")


def pattern(where: str) -> Refused:
    """A name with a character that is not allowed."""
    words = "string does not match pattern. Expected a string that matches '^[a-zA-Z0-9_-]+$'"
    return Refused(400, f"Invalid '{where}': {words}.", param=where, code="invalid_value")


def _message(item: dict[str, Any], where: str) -> None:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise one_of(f"{where}.role", ("user", "assistant", "system", "developer"))
    if item.get("phase") not in (None, "commentary", "final_answer"):
        raise one_of(f"{where}.phase", ("commentary", "final_answer"))
    if isinstance(content, list):
        _parts(content, f"{where}.content", _SAID if role == "assistant" else _INPUT)
    elif not isinstance(content, str):
        raise missing(f"{where}.content")
    if "id" in item and not str(item["id"]).startswith("msg_"):
        raise invalid(f"{where}.id", "Expected an ID that begins with 'msg'")


def _parts(parts: list[Any], where: str, allowed: tuple[str, ...]) -> None:
    for at, part in enumerate(parts):
        place = f"{where}[{at}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in allowed:
            raise one_of(f"{place}.type", allowed)
        for name in part:
            if name != "type" and name not in _CONTENT[kind]:
                raise unknown(f"{place}.{name}")
        if kind in ("input_text", "output_text"):
            _strings(part, place, "text")
        url = part.get("image_url")
        if kind == "input_image" and not isinstance(url or part.get("file_id"), str):
            raise missing(f"{place}.image_url")
        if kind == "input_image" and url and url.startswith("data:") and pictured(url) is None:
            words = "The image data you provided does not represent a valid image."
            raise Refused(400, words, param=place, code="invalid_image")


def _reasoning(item: dict[str, Any], where: str) -> None:
    if not isinstance(item.get("summary"), list):
        raise missing(f"{where}.summary")
    for at, part in enumerate(item["summary"]):
        if part.get("type") != "summary_text" or not isinstance(part.get("text"), str):
            raise invalid(f"{where}.summary[{at}]", "expected a summary text", "invalid_type")
    name = item.get("id")
    if name is not None and not str(name).startswith("rs_"):
        raise invalid(f"{where}.id", "Expected an ID that begins with 'rs'")
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


def last_turn(items: list[dict[str, Any]], ask: Ask) -> int:
    """Note what the conversation ends with; the bytes its pictures take up are returned."""
    tail = len(items)
    while tail and _is_given(items[tail - 1]):
        tail -= 1
    words: list[str] = []
    taken = 0
    for item in items[tail:]:
        said: Any = item.get("output", item.get("content"))
        parts = [{"type": "input_text", "text": said}] if isinstance(said, str) else said
        texts = [part["text"] for part in parts if part["type"] == "input_text"]
        if "output" in item:
            ask.results.append("\n".join(texts))
        elif item["role"] == "user":
            words += texts
        for url in (part.get("image_url") for part in parts if part["type"] == "input_image"):
            ask.pictures.append(pictured(url or "") or Picture())
            taken += len(url) if url and url.startswith("data:") else 0
    ask.question = read_question(words)
    return taken


def _is_given(item: dict[str, Any]) -> bool:
    kind = item.get("type", "message")
    return (
        kind.endswith("tool_call_output")
        or kind == "function_call_output"
        or (kind == "message" and item.get("role") != "assistant")
    )

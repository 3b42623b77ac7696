"""The conversation -> `contents` of generateContent.

The law of this module: Gemini wants strict alternation. Contents begin and end with the
user's, neighbours of one role are one content, and every function call is answered in the
very next one: responses first, in the order of the calls, then everything else of the turn
in its own order. The name that a response must carry is that of the call it answers.

A thought signature goes back on the part it came on. It travels in the reasoning block
beside that part, in an envelope whose kind says where it belongs.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

import msgspec

from vai.providers import signature
from vai.providers.gemini.hosted import replayed
from vai.providers.gemini.names import alias
from vai.providers.gemini.parts import Part, parts
from vai.providers.gemini.target import Target
from vai.providers.texts import is_foreign_tool, kind_of, tagged
from vai.types.blocks import (
    Block,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from vai.types.request import InputMessage, MessageRequest

__all__ = ["FOLLOWING", "PRECEDING", "THOUGHT", "UNSIGNED", "contents", "instructions"]

THOUGHT: Final = "thought"
"""Kind of the envelope on reasoning itself: need not go back."""
FOLLOWING: Final = "part"
"""Kind of the envelope whose signature belongs to the part that follows."""
PRECEDING: Final = "text"
"""Kind of the envelope whose signature belongs to the text before it."""
UNSIGNED: Final = "skip_thought_signature_validator"
"""What a call carries whose genuine signature does not exist, in a history from elsewhere."""

_CACHED: Final = "messages[*].content[*].cache_control"
_BLANK: Final[Part] = {"text": " "}

Content = dict[str, Any]
Run = list[tuple[str, InputMessage]]


class _Call(msgspec.Struct):
    """A call that waits for its result."""

    at: str
    name: str
    parts: list[Part] | None = None


def instructions(request: MessageRequest, target: Target) -> Content | None:
    """`systemInstruction`, one part per block."""
    system = request.system
    if isinstance(system, str):
        return {"parts": [{"text": system}]} if system else None
    found: list[Part] = []
    for index, block in enumerate(system or ()):
        if isinstance(block, TextBlock):
            found += parts(block, f"system[{index}]", target)
            if block.cache_control:
                target.findings.drop("system[*].cache_control")
        else:
            _not_text(f"system[{index}]", target)
    return {"parts": found} if found else None


def contents(request: MessageRequest, target: Target) -> list[Content]:
    """All turns, alternating, the user's first and last."""
    found: list[Content] = []
    open_calls: dict[str, _Call] = {}
    turns = list(enumerate(request.messages))
    for is_assistant, group in groupby(turns, key=lambda turn: turn[1].role == "assistant"):
        run = [(f"messages[{index}]", turn) for index, turn in group]
        if is_assistant:
            _add(found, "model", _answered(run, open_calls, target))
        else:
            _add(found, "user", _responses(run, open_calls, target) + _said(run, target))
            open_calls = {}
    last = len(request.messages) - 1
    if request.messages[last].role == "assistant":
        what = f"{target.row.name} cannot continue an assistant message; end with a user message"
        target.findings.refuse(f"messages[{last}]", what, "unsupported_prefill")
    if not found or found[0]["role"] != "user":
        found.insert(0, {"role": "user", "parts": [_BLANK]})
    if found[-1]["role"] != "user":
        found.append({"role": "user", "parts": [_BLANK]})
    if target.traits.signs:
        _mark_unsigned(found)
    return found


def _add(found: list[Content], role: str, added: list[Part]) -> None:
    """A further content, or more of the last one. Turns without parts do not exist."""
    if not added:
        return
    if found and found[-1]["role"] == role:
        found[-1]["parts"] += added
    else:
        found.append({"role": role, "parts": added})


def _answered(run: Run, open_calls: dict[str, _Call], target: Target) -> list[Part]:
    """What the model said; its calls are noted in `open_calls`."""
    found: list[Part] = []
    signed: str | None = None
    for at, block in _placed(run):
        _note_cache(block, target)
        if isinstance(block, ThinkingBlock | RedactedThinkingBlock):
            kind, payload = _sealed(block, target)
            if kind == FOLLOWING:
                signed = payload
            elif kind == PRECEDING and payload:
                _sign_text(found, payload)
            continue
        if isinstance(block, ToolUseBlock):
            if block.id in open_calls:
                target.findings.refuse(f"{at}.id", "another tool_use of this turn has this id")
            name = alias(block.name)
            call = {"id": block.id, "name": name, "args": block.input}
            added: list[Part] = [{"functionCall": call}]
            open_calls[block.id] = _Call(at, name)
        elif isinstance(block, TextBlock | ImageBlock):
            added = parts(block, at, target)
        elif (part := replayed(block, target.row.id)) is not None:
            added = [part]
        elif is_foreign_tool(block):
            target.findings.drop(f"messages[*].content[*].{kind_of(block)}")
            signed = None
            continue
        else:
            what = f"a {kind_of(block)} block cannot be the assistant's at {target.row.name}"
            target.findings.refuse(at, what, "unsupported_content_block")
            continue
        if signed and added:
            added[0]["thoughtSignature"] = signed
            signed = None
        found += added
    return found


def _sealed(block: ThinkingBlock | RedactedThinkingBlock, target: Target) -> tuple[str, str | None]:
    """The kind and the payload of the block's envelope; ("", None) if it is not Gemini's."""
    if signature.made_by(block) != target.row.id:
        target.findings.drop(f"messages[*].content[*].{kind_of(block)}")
        return "", None
    text = block.data if isinstance(block, RedactedThinkingBlock) else block.signature or ""
    return text.split(".", 3)[2], signature.payload(text)


def _sign_text(found: list[Part], payload: str) -> None:
    if found and "text" in found[-1] and "thoughtSignature" not in found[-1]:
        found[-1]["thoughtSignature"] = payload
    else:
        found.append({"text": "", "thoughtSignature": payload})


def _responses(run: Run, open_calls: dict[str, _Call], target: Target) -> list[Part]:
    """The function responses of a run of turns, in the order of the calls."""
    for at, block in _placed(run):
        if not isinstance(block, ToolResultBlock):
            continue
        call = open_calls.get(block.tool_use_id)
        if call is None:
            what = "no tool_use of the turn before has this id"
            target.findings.refuse(f"{at}.tool_use_id", what)
        elif call.parts is not None:
            what = "this tool_use has been answered already"
            target.findings.refuse(f"{at}.tool_use_id", what)
        else:
            call.parts = _response(block, call.name, at, target)
    for call in open_calls.values():
        if call.parts is None:
            target.findings.refuse(call.at, "this tool_use has no tool_result")
    answered = [call.parts for call in open_calls.values() if call.parts]
    responses = [found[0] for found in answered]
    return responses + [part for found in answered for part in found[1:]]


def _response(block: ToolResultBlock, name: str, at: str, target: Target) -> list[Part]:
    """The response, and behind it what it cannot hold."""
    texts: list[str] = []
    media: list[Part] = []
    attached: list[Part] = []
    for index, item in enumerate(block.blocks):
        for part in parts(item, f"{at}.content[{index}]", target):
            if "text" in part:
                texts.append(part["text"])
            elif target.traits.result_media and "inlineData" in part:
                media.append(part)
            else:
                attached.append(part)
                texts.append(f"[attachment {len(attached)} below]")
    _note_cache(block, target)
    said = "\n".join(texts)
    response: Part = {"id": block.tool_use_id, "name": name}
    response["response"] = {"error": said} if block.is_error else {"output": _value(said)}
    if media:
        response["parts"] = media
    label = [{"text": f"[Attached to the result of {name}]"}] if attached else []
    return [{"functionResponse": response}, *label, *attached]


def _value(said: str) -> Any:
    """A result that is JSON as the value it is, digit for digit; any other as the string."""
    try:
        msgspec.json.decode(said)
    except (msgspec.DecodeError, RecursionError):
        return said
    return msgspec.Raw(said.encode())


def _said(run: Run, target: Target) -> list[Part]:
    """All of a run of turns that is no tool's result. Instructions are marked as such."""
    found: list[Part] = []
    for at, turn in run:
        for place, block in _placed([(at, turn)]):
            if isinstance(block, ToolResultBlock):
                continue
            _note_cache(block, target)
            if turn.role == "system":
                if not isinstance(block, TextBlock):
                    _not_text(place, target)
                elif block.text:
                    found.append({"text": tagged("system", block.text)})
            elif is_foreign_tool(block):
                target.findings.drop(f"messages[*].content[*].{kind_of(block)}")
            else:
                found += parts(block, place, target)
    return found


def _mark_unsigned(found: list[Content]) -> None:
    """The first call of each model turn must be signed.

    Only the running tool loop is checked. All turns are marked all the same: a mark that
    went away with the end of its loop would change bytes that the prompt cache has seen.
    """
    for content in found:
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls:
            calls[0].setdefault("thoughtSignature", UNSIGNED)


def _placed(run: Run) -> list[tuple[str, Block]]:
    return [
        (f"{at}.content[{index}]", block)
        for at, turn in run
        for index, block in enumerate(turn.blocks)
    ]


def _not_text(at: str, target: Target) -> None:
    target.findings.refuse(at, "instructions must be text", "unsupported_content_block")


def _note_cache(block: Block, target: Target) -> None:
    if getattr(block, "cache_control", None):
        target.findings.drop(_CACHED)

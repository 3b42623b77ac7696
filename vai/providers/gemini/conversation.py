"""The conversation -> `contents` of generateContent.

Invariants: Gemini requires strict alternation. Contents begin and end with the user's, neighbours
of one role are one content, and every function call has its response in the very next one:
responses first, in the order of the calls, then everything else of the turn in its own order. A
response must carry the name of the call it belongs to.

A thought signature goes back on the part it came on. The reasoning block beside that part
carries it, in a wrapper whose kind states where it belongs.
"""

from __future__ import annotations

from itertools import chain, starmap
from typing import Any, Final

import msgspec

from vai.providers.decode.call_ids import to_upstream_id
from vai.providers.gemini.models import GeminiTarget
from vai.providers.gemini.parts import Part, parts_from_block
from vai.providers.gemini.server_tools import part_from_block
from vai.providers.gemini.tools import gemini_tool_name
from vai.providers.translate.diagnostics import refuse_block
from vai.providers.translate.reasoning import origin_of, unwrap_signature
from vai.providers.translate.texts import AS_USER, is_server_tool_block, kind_of, wrap_in_tag
from vai.providers.translate.tool_results import (
    PendingCall,
    TurnGroup,
    add_pending_call,
    blocks_with_paths,
    check_last_turn,
    group_turns,
    match_results,
    translate_result,
)
from vai.types.blocks import (
    Block,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from vai.types.request import MessageRequest

__all__ = [
    "FOLLOWING",
    "PRECEDING",
    "THOUGHT",
    "UNSIGNED",
    "system_instruction",
    "translate_contents",
]

THOUGHT: Final = "thought"
"""Kind of the wrapper on reasoning itself, which need not go back."""
FOLLOWING: Final = "part"
"""Kind of the wrapper whose signature belongs to the part that follows."""
PRECEDING: Final = "text"
"""Kind of the wrapper whose signature belongs to the text before it."""
UNSIGNED: Final = "skip_thought_signature_validator"
"""The signature for a call without a genuine one, in a history from another provider."""

_CACHE_MARK: Final = "messages[*].content[*].cache_control"
_BLANK: Final[Part] = {"text": " "}

Content = dict[str, Any]


def system_instruction(request: MessageRequest, target: GeminiTarget) -> Content | None:
    """`systemInstruction`, one part per block."""
    system = request.system
    if isinstance(system, str):
        return {"parts": [{"text": system}]} if system else None
    text_parts: list[Part] = []
    for index, block in enumerate(system or ()):
        if isinstance(block, TextBlock):
            text_parts += parts_from_block(block, f"system[{index}]", target)
            if block.cache_control:
                target.diagnostics.note_dropped("system[*].cache_control")
        else:
            _refuse_non_text(f"system[{index}]", target)
    return {"parts": text_parts} if text_parts else None


def translate_contents(request: MessageRequest, target: GeminiTarget) -> list[Content]:
    """All turns, alternating, the user's first and last."""
    contents: list[Content] = []
    calls: dict[str, PendingCall] = {}
    for is_assistant, turns in group_turns(request):
        if is_assistant:
            _append_parts(contents, "model", _model_parts(turns, calls, target))
        else:
            _append_parts(
                contents,
                "user",
                _function_responses(turns, calls, target) + _user_parts(turns, target),
            )
            calls = {}
    check_last_turn(request, target.diagnostics)
    if not contents or contents[0]["role"] != "user":
        contents.insert(0, {"role": "user", "parts": [_BLANK]})
    if contents[-1]["role"] != "user":
        contents.append({"role": "user", "parts": [_BLANK]})
    if target.traits.calls_need_signature:
        _mark_unsigned(contents)
    return contents


def _append_parts(contents: list[Content], role: str, added: list[Part]) -> None:
    """A further content, or more of the last one. Turns without parts do not exist."""
    if not added:
        return
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += added
    else:
        contents.append({"role": role, "parts": added})


def _model_parts(
    turns: TurnGroup, calls: dict[str, PendingCall], target: GeminiTarget
) -> list[Part]:
    """The parts of the model's turns; this notes its calls in `calls`, with their names."""
    model_parts: list[Part] = []
    signed: str | None = None
    for at, block in chain.from_iterable(starmap(blocks_with_paths, turns)):
        _note_cache_mark(block, target)
        if isinstance(block, ThinkingBlock | RedactedThinkingBlock):
            kind, payload = _unwrap_block(block, target)
            if kind == FOLLOWING:
                signed = payload
            elif kind == PRECEDING and payload:
                _sign_text(model_parts, payload)
            continue
        if isinstance(block, ToolUseBlock):
            name = gemini_tool_name(block.name)
            call = {
                "id": to_upstream_id(block.id, target.spec.id),
                "name": name,
                "args": block.input,
            }
            added: list[Part] = [{"functionCall": call}]
            add_pending_call(calls, block, at, target.diagnostics, name)
        elif isinstance(block, TextBlock | ImageBlock):
            if isinstance(block, TextBlock) and block.citations:
                target.diagnostics.note_dropped("messages[*].content[*].citations")
            added = parts_from_block(block, at, target)
        elif (part := part_from_block(block, target.spec.id)) is not None:
            added = [part]
        elif is_server_tool_block(block):
            target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
            signed = None
            continue
        else:
            refuse_block(block, at, target.diagnostics, what="cannot be the assistant's at {}")
            continue
        if signed and added:
            added[0]["thoughtSignature"] = signed
            signed = None
        model_parts += added
    return model_parts


def _unwrap_block(
    block: ThinkingBlock | RedactedThinkingBlock, target: GeminiTarget
) -> tuple[str, str | None]:
    """The kind and the payload of the block's wrapper; ("", None) if it is not Gemini's."""
    if origin_of(block) != target.spec.id:
        target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
        return "", None
    text = block.data if isinstance(block, RedactedThinkingBlock) else block.signature or ""
    return text.split(".", 3)[2], unwrap_signature(text)


def _sign_text(parts: list[Part], payload: str) -> None:
    if parts and "text" in parts[-1] and "thoughtSignature" not in parts[-1]:
        parts[-1]["thoughtSignature"] = payload
    else:
        parts.append({"text": "", "thoughtSignature": payload})


def _function_responses(
    turns: TurnGroup, calls: dict[str, PendingCall], target: GeminiTarget
) -> list[Part]:
    """The function responses of a run of turns, in the order of the calls."""
    answered = [
        _response_parts(block, calls[block.tool_use_id].note, at, target)
        for at, block in match_results(turns, calls, target.diagnostics)
    ]
    responses = [parts[0] for parts in answered]
    return responses + [part for parts in answered for part in parts[1:]]


def _response_parts(block: ToolResultBlock, name: str, at: str, target: GeminiTarget) -> list[Part]:
    """The response, followed by the parts that it cannot hold."""
    texts: list[str] = []
    media: list[Part] = []
    attached: list[Part] = []
    for item, made in translate_result(block, at, target, parts_from_block, _text_part):
        _note_cache_mark(item, target)
        for part in made:
            if "text" in part:
                texts.append(part["text"])
            elif target.traits.results_hold_media and "inlineData" in part:
                media.append(part)
            else:
                attached.append(part)
                texts.append(f"[attachment {len(attached)} below]")
    _note_cache_mark(block, target)
    text = "\n".join(texts)
    response: Part = {"id": to_upstream_id(block.tool_use_id, target.spec.id), "name": name}
    response["response"] = {"error": text} if block.is_error else {"output": _result_value(text)}
    if media:
        response["parts"] = media
    label = [{"text": f"[Attached to the result of {name}]"}] if attached else []
    return [{"functionResponse": response}, *label, *attached]


def _text_part(text: str) -> Part:
    return {"text": text}


def _result_value(text: str) -> Any:
    """A JSON result as its value, digit for digit; any other as the string."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return msgspec.Raw(text.encode())


def _user_parts(turns: TurnGroup, target: GeminiTarget) -> list[Part]:
    """All of a run of turns except tool results, with instructions marked as such."""
    user_parts: list[Part] = []
    for at, turn in turns:
        for path, block in blocks_with_paths(at, turn):
            if isinstance(block, ToolResultBlock):
                continue
            _note_cache_mark(block, target)
            if turn.role == "system":
                target.diagnostics.note_dropped(AS_USER)
                if not isinstance(block, TextBlock):
                    _refuse_non_text(path, target)
                elif block.text:
                    user_parts.append({"text": wrap_in_tag("system", block.text)})
            elif is_server_tool_block(block):
                target.diagnostics.note_dropped(f"messages[*].content[*].{kind_of(block)}")
            else:
                user_parts += parts_from_block(block, path, target)
    return user_parts


def _mark_unsigned(contents: list[Content]) -> None:
    """The first call of each model turn must be signed.

    Google checks only the running tool loop. VAI marks all turns nevertheless: a mark that
    vanished at the end of its loop would change bytes that the prompt cache has stored.
    """
    for content in contents:
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls:
            calls[0].setdefault("thoughtSignature", UNSIGNED)


def _refuse_non_text(at: str, target: GeminiTarget) -> None:
    target.diagnostics.note_refused(
        at, "expected a text block: instructions must be text", "unsupported_content_block"
    )


def _note_cache_mark(block: Block, target: GeminiTarget) -> None:
    if getattr(block, "cache_control", None):
        target.diagnostics.note_dropped(_CACHE_MARK)

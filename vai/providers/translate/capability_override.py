"""A request for a server that its operator says can do less than its kind.

Invariants: it is the operator's word against the format's, and the operator's
counts. What the server cannot do is treated as everywhere: hints are left out and named, what
changes the meaning of a request refuses it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.texts import document_text
from vai.providers.translate.tool_results import MEDIA, Placed, note_left_out, placed
from vai.types.blocks import Block, DocumentBlock, ImageBlock, TextBlock, ToolResultBlock
from vai.types.provider import Capabilities
from vai.types.request import MessageRequest

__all__ = ["check_content", "narrowed", "without_result_media"]


def narrowed(request: MessageRequest, can: Capabilities, findings: Diagnostics) -> MessageRequest:
    """The request without the hints that the server cannot take; a forced tool is refused."""
    changes: dict[str, Any] = {}
    for name in ("thinking", "top_k"):
        if getattr(request, name) is not None and not getattr(can, name):
            changes[name] = None
            findings.drop(name)
    choice = request.tool_choice
    if choice is not None and choice.type in ("any", "tool") and not can.forced_tool:
        findings.refuse(
            "tool_choice", f"expected auto or none: {findings.target} cannot be made to use a tool"
        )
    if choice is not None and choice.disable_parallel_tool_use and not can.parallel_tools:
        changes["tool_choice"] = msgspec.structs.replace(choice, disable_parallel_tool_use=None)
        findings.drop("tool_choice.disable_parallel_tool_use")
    return msgspec.structs.replace(request, **changes) if changes else request


def without_result_media(
    request: MessageRequest, can: Capabilities, findings: Diagnostics
) -> MessageRequest:
    """The request with words in place of what results of tools hold and the server cannot take."""

    def in_words(block: Block) -> Block:
        if isinstance(block, ToolResultBlock) and not isinstance(block.content, str):
            content = [_or_words(item, request.model, can, findings) for item in block.blocks]
            if any(new is not old for new, old in zip(content, block.blocks, strict=True)):
                return msgspec.structs.replace(block, content=content)
        return block

    turns = [
        turn
        if isinstance(turn.content, str)
        else msgspec.structs.replace(turn, content=list(map(in_words, turn.content)))
        for turn in request.messages
    ]
    return msgspec.structs.replace(request, messages=turns)


def _or_words(item: Block, model: str, can: Capabilities, findings: Diagnostics) -> Block:
    if isinstance(item, ImageBlock):
        taken = can.images and can.tool_result_images
        taken = taken and (item.source.type != "url" or can.image_urls)
    elif isinstance(item, DocumentBlock):
        taken = can.documents or not _is_no_text(item)
    else:
        taken = not isinstance(item, MEDIA)
    return item if taken else TextBlock(text=note_left_out(item, findings, model))


def check_content(request: MessageRequest, can: Capabilities, findings: Diagnostics) -> None:
    """Note the blocks, tools and forms that the server cannot take."""
    for index, turn in enumerate(request.messages):
        for one in placed(f"messages[{index}]", turn):
            _check_block(one, can, findings)
    if request.tools and not can.tools:
        findings.refuse("tools", f"{findings.target} takes no tools", "unsupported_tool_type")
    form = request.output_format
    if form is not None and not (
        can.structured_output_with_tools if request.tools else can.structured_output
    ):
        what = f"{findings.target} cannot answer by a JSON Schema"
        what += " beside tools" if can.structured_output else ""
        findings.refuse("output_config.format", what, "unsupported_output_format")
    if request.messages[-1].role == "assistant" and not can.prefill:
        what = f"{findings.target} cannot continue an assistant message; end with a user message"
        findings.refuse(f"messages[{len(request.messages) - 1}]", what, "unsupported_prefill")


def _check_block(one: Placed, can: Capabilities, findings: Diagnostics) -> None:
    at, block = one
    what = ""
    if isinstance(block, ToolResultBlock):
        return  # what is in it has been looked at
    if isinstance(block, ImageBlock) and not can.images:
        what = f"images cannot be sent to {findings.target}"
    elif isinstance(block, ImageBlock) and block.source.type == "url" and not can.image_urls:
        what = f"images for {findings.target} must be base64"
    elif isinstance(block, DocumentBlock) and not can.documents and _is_no_text(block):
        what = f"documents other than text cannot be sent to {findings.target}"
    if what:
        findings.refuse(at, what, "unsupported_content_block")


def _is_no_text(block: DocumentBlock) -> bool:
    return block.source.type != "content" and document_text(block.source) is None

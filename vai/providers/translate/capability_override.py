"""A request for a server whose settings declare fewer capabilities than its wire format has.

Invariants: the settings win over the format. VAI treats a missing capability as in any
translation: it drops and names optional parameters, and refuses the request where the meaning
would change.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.texts import document_text
from vai.providers.translate.tool_results import (
    MEDIA,
    BlockAtPath,
    blocks_with_paths,
    note_left_out,
)
from vai.types.blocks import Block, DocumentBlock, ImageBlock, TextBlock, ToolResultBlock
from vai.types.provider import Capabilities
from vai.types.request import MessageRequest

__all__ = ["check_content", "without_result_media", "without_unsupported_options"]


def without_unsupported_options(
    request: MessageRequest, capabilities: Capabilities, diagnostics: Diagnostics
) -> MessageRequest:
    """The request without options that the server does not accept; refuses a forced tool."""
    changes: dict[str, Any] = {}
    for name in ("thinking", "top_k"):
        if getattr(request, name) is not None and not getattr(capabilities, name):
            changes[name] = None
            diagnostics.note_dropped(name)
    choice = request.tool_choice
    if choice is not None and choice.type in ("any", "tool") and not capabilities.forced_tool:
        diagnostics.note_refused(
            "tool_choice",
            f"expected auto or none: {diagnostics.target} cannot be made to use a tool",
        )
    if choice is not None and choice.disable_parallel_tool_use and not capabilities.parallel_tools:
        changes["tool_choice"] = msgspec.structs.replace(choice, disable_parallel_tool_use=None)
        diagnostics.note_dropped("tool_choice.disable_parallel_tool_use")
    return msgspec.structs.replace(request, **changes) if changes else request


def without_result_media(
    request: MessageRequest, capabilities: Capabilities, diagnostics: Diagnostics
) -> MessageRequest:
    """The request with text in place of media in tool results that the server does not accept."""

    def replace_media(block: Block) -> Block:
        if isinstance(block, ToolResultBlock) and not isinstance(block.content, str):
            content = [
                _replace_unsupported_medium(item, request.model, capabilities, diagnostics)
                for item in block.blocks
            ]
            if any(new is not old for new, old in zip(content, block.blocks, strict=True)):
                return msgspec.structs.replace(block, content=content)
        return block

    turns = [
        turn
        if isinstance(turn.content, str)
        else msgspec.structs.replace(turn, content=list(map(replace_media, turn.content)))
        for turn in request.messages
    ]
    return msgspec.structs.replace(request, messages=turns)


def _replace_unsupported_medium(
    item: Block, model: str, capabilities: Capabilities, diagnostics: Diagnostics
) -> Block:
    if isinstance(item, ImageBlock):
        taken = capabilities.images and capabilities.tool_result_images
        taken = taken and (item.source.type != "url" or capabilities.image_urls)
    elif isinstance(item, DocumentBlock):
        taken = capabilities.documents or not _is_binary_document(item)
    else:
        taken = not isinstance(item, MEDIA)
    return item if taken else TextBlock(text=note_left_out(item, diagnostics, model))


def check_content(
    request: MessageRequest, capabilities: Capabilities, diagnostics: Diagnostics
) -> None:
    """Refuse blocks, tools and output formats that the server does not accept."""
    for index, turn in enumerate(request.messages):
        for block_at_path in blocks_with_paths(f"messages[{index}]", turn):
            _check_block(block_at_path, capabilities, diagnostics)
    if request.tools and not capabilities.tools:
        diagnostics.note_refused(
            "tools", f"{diagnostics.target} takes no tools", "unsupported_tool_type"
        )
    form = request.output_format
    if form is not None and not (
        capabilities.structured_output_with_tools
        if request.tools
        else capabilities.structured_output
    ):
        what = f"{diagnostics.target} cannot respond by a JSON Schema"
        what += " beside tools" if capabilities.structured_output else ""
        diagnostics.note_refused("output_config.format", what, "unsupported_output_format")
    if request.messages[-1].role == "assistant" and not capabilities.prefill:
        what = f"{diagnostics.target} cannot continue an assistant message; end with a user message"
        diagnostics.note_refused(
            f"messages[{len(request.messages) - 1}]", what, "unsupported_prefill"
        )


def _check_block(
    block_at_path: BlockAtPath, capabilities: Capabilities, diagnostics: Diagnostics
) -> None:
    at, block = block_at_path
    what = ""
    if isinstance(block, ToolResultBlock):
        return  # `without_result_media` handles its content
    if isinstance(block, ImageBlock) and not capabilities.images:
        what = f"images cannot be sent to {diagnostics.target}"
    elif (
        isinstance(block, ImageBlock) and block.source.type == "url" and not capabilities.image_urls
    ):
        what = f"expected images as base64 for {diagnostics.target}"
    elif (
        isinstance(block, DocumentBlock)
        and not capabilities.documents
        and _is_binary_document(block)
    ):
        what = f"documents other than text cannot be sent to {diagnostics.target}"
    if what:
        diagnostics.note_refused(at, what, "unsupported_content_block")


def _is_binary_document(block: DocumentBlock) -> bool:
    return block.source.type != "content" and document_text(block.source) is None

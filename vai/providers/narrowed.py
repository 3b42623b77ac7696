"""A request for a server that its operator says can do less than its kind.

The law of this module: it is the operator's word against the format's, and the operator's
counts. What the server cannot do is treated as everywhere: hints are left out and named, what
changes the meaning of a request refuses it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vai.providers.findings import Findings
from vai.providers.results import Placed, placed
from vai.providers.texts import document_text
from vai.types.blocks import DocumentBlock, ImageBlock, ToolResultBlock
from vai.types.provider import Capabilities
from vai.types.request import MessageRequest

__all__ = ["check_content", "narrowed"]


def narrowed(request: MessageRequest, can: Capabilities, findings: Findings) -> MessageRequest:
    """The request without the hints that the server cannot take; a forced tool is refused."""
    changes: dict[str, Any] = {}
    for name in ("thinking", "top_k"):
        if getattr(request, name) is not None and not getattr(can, name):
            changes[name] = None
            findings.drop(name)
    choice = request.tool_choice
    if choice is not None and choice.type in ("any", "tool") and not can.forced_tool:
        findings.refuse("tool_choice", f"{findings.target} cannot be made to use a tool")
    if choice is not None and choice.disable_parallel_tool_use and not can.parallel_tools:
        changes["tool_choice"] = msgspec.structs.replace(choice, disable_parallel_tool_use=None)
        findings.drop("tool_choice.disable_parallel_tool_use")
    return msgspec.structs.replace(request, **changes) if changes else request


def check_content(request: MessageRequest, can: Capabilities, findings: Findings) -> None:
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


def _check_block(one: Placed, can: Capabilities, findings: Findings) -> None:
    at, block = one
    what = ""
    if isinstance(block, ToolResultBlock):
        for index, inner in enumerate(block.blocks):
            place = f"{at}.content[{index}]"
            if isinstance(inner, ImageBlock) and not can.tool_result_images:
                what = f"{findings.target} takes no images in results of tools"
                findings.refuse(place, what, "unsupported_content_block")
            else:
                _check_block((place, inner), can, findings)
        return
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

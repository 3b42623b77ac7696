"""Blocks and tools as text, for a model whose server has no form for them."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

from vai.types.blocks import Block, Source, UnknownBlock
from vai.types.request import Tool

__all__ = [
    "AS_USER",
    "describe_tool",
    "document_text",
    "is_server_tool_block",
    "kind_of",
    "search_result_text",
    "tool_reference_text",
    "wrap_in_tag",
]

AS_USER: Final = "messages[*].role"
"""The path to note where VAI sends instructions among the turns as marked user text."""
_TEXTS: Final = ("text/", "application/json", "application/xml")


def kind_of(block: Block) -> str:
    """The wire type of a block."""
    if isinstance(block, UnknownBlock):
        return str(block.raw.get("type"))
    return str(block.__struct_config__.tag)


def is_server_tool_block(block: Block) -> bool:
    """Whether the block is a call or a result of a server tool."""
    kind = kind_of(block)
    return kind in ("server_tool_use", "mcp_tool_use") or (
        kind.endswith("_tool_result") and kind != "tool_result"
    )


def wrap_in_tag(name: str, text: str, title: str | None = None) -> str:
    """A text inside an XML element, so that the model sees where it begins and ends."""
    attribute = f' title="{title}"' if title else ""
    return f"<{name}{attribute}>\n{text}\n</{name}>"


def document_text(source: Source) -> str | None:
    """The text of a text document; None for any other document."""
    if source.type == "text":
        return source.data
    if source.type == "base64" and (source.media_type or "").startswith(_TEXTS):
        try:
            return base64.b64decode(source.data or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def tool_reference_text(raw: dict[str, Any]) -> str:
    """Text for a tool reference: a search that the client runs has loaded the tool."""
    return f"[The tool {raw.get('tool_name') or ''} is loaded and can be called.]"


def search_result_text(raw: dict[str, Any]) -> str:
    """A search result as text."""
    content = raw.get("content")
    texts = [
        item["text"]
        for item in (content if isinstance(content, list) else [])
        if isinstance(item, dict) and isinstance(item.get("text"), str)
    ]
    source = str(raw.get("source") or "")
    text = "\n".join([source, *texts] if source else texts)
    title = raw.get("title")
    return wrap_in_tag("search_result", text, title if isinstance(title, str) else None)


def describe_tool(tool: Tool) -> str:
    """A tool's description, with its examples of input if it has any."""
    examples = tool.extra.get("input_examples")
    if not isinstance(examples, list) or not examples:
        return tool.description or ""
    lines = [msgspec.json.encode(example).decode() for example in examples]
    return "\n".join([tool.description or "", "Examples of input:", *lines]).strip()

"""The server's own tools: their calls and results as canonical blocks.

A call and its result are a pair; images follow as blocks of their own. A result that the server
does not show is empty, and a failed call has an error as its result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from vai.providers.decode.tool_call import decode_object
from vai.types.blocks import (
    Block,
    ImageBlock,
    RedactedThinkingBlock,
    ServerToolUseBlock,
    Source,
    UnknownBlock,
    WebSearchToolResultBlock,
)

__all__ = ["blocks_from_item", "call_and_signature", "citation_from_annotation"]

Item = dict[str, Any]

_MEMBER: Final = "signature"
"""Member of a result block, with the same name as on a thinking block."""
_FAILED: Final = ("failed", "incomplete")


def blocks_from_item(item: Item, names: dict[str, str], envelope: str | None) -> list[Block]:
    """The blocks for one output item; none if it does not belong to a tool of the server's.

    Args:
        names: alias -> the client's name of an MCP server, where they differ.
        envelope: the signature around the item as it can go back; the result carries it.
    """
    maker = _MAKERS.get(str(item.get("type")))
    if maker is None:
        return [RedactedThinkingBlock(data=envelope)] if envelope else []
    blocks = maker(item, names)
    return [_with_signature(block, envelope) for block in blocks] if envelope else blocks


def call_and_signature(block: Block) -> tuple[str, str]:
    """The id of the call that a result belongs to, and the signature that the result carries."""
    if isinstance(block, WebSearchToolResultBlock):
        return block.tool_use_id, str(block.extra.get(_MEMBER) or "")
    raw = block.raw if isinstance(block, UnknownBlock) else {}
    return str(raw.get("tool_use_id")), str(raw.get(_MEMBER) or "")


def _with_signature(block: Block, envelope: str) -> Block:
    if isinstance(block, WebSearchToolResultBlock):
        return msgspec.structs.replace(block, extra={_MEMBER: envelope})
    if isinstance(block, UnknownBlock) and "tool_use_id" in block.raw:
        return UnknownBlock(raw={**block.raw, _MEMBER: envelope})
    return block


def citation_from_annotation(annotation: Any, text: str) -> Item | None:
    """A citation of `text`; offsets count its characters."""
    if not isinstance(annotation, dict):
        return None
    kind = annotation.get("type")
    start, end = annotation.get("start_index"), annotation.get("end_index")
    title = annotation.get("title") or annotation.get("filename")
    title = title if isinstance(title, str) else None
    has_span = isinstance(start, int) and isinstance(end, int) and 0 <= start < end
    words = text[start:end] if has_span else ""
    if kind == "url_citation" and isinstance(annotation.get("url"), str):
        return {
            "type": "web_search_result_location",
            "url": annotation["url"],
            "title": title,
            "cited_text": words,
            "encrypted_index": "",
        }
    if kind in ("file_citation", "container_file_citation", "file_path"):
        # Files have no pages or passages here: the citation has only their name.
        return {
            "type": "search_result_location",
            "source": str(annotation.get("file_id")),
            "title": title,
            "cited_text": words,
            "search_result_index": 0,
            "start_block_index": 0,
            "end_block_index": 0,
        }
    return None


def _web_search_blocks(item: Item, _: dict[str, str]) -> list[Block]:
    call, action = str(item.get("id")), _to_object(item.get("action"))
    if action.get("type") in ("open_page", "find_in_page"):
        return _web_fetch_blocks(call, item, action)
    arguments: Item = {}
    queries = [query for query in _to_list(action.get("queries")) if isinstance(query, str)]
    if isinstance(action.get("query"), str):
        arguments["query"] = action["query"]
    elif queries:
        arguments["query"] = queries[0]
    if len(queries) > 1:
        arguments["queries"] = queries
    results: Any = [
        {
            "type": "web_search_result",
            "url": source["url"],
            "title": str(source.get("title") or source["url"]),
            "encrypted_content": "",
            "page_age": None,
        }
        for source in _to_list(action.get("sources"))
        if isinstance(source, dict) and isinstance(source.get("url"), str)
    ]
    if item.get("status") in _FAILED:
        results = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    return [
        ServerToolUseBlock(id=call, name="web_search", input=arguments),
        WebSearchToolResultBlock(tool_use_id=call, content=results),
    ]


def _web_fetch_blocks(call: str, item: Item, action: Item) -> list[Block]:
    """A page that the server opened; the server does not show its content."""
    url = str(action.get("url") or "")
    arguments = {"url": url}
    if isinstance(action.get("pattern"), str):
        arguments["pattern"] = action["pattern"]
    page = {"type": "text", "media_type": "text/plain", "data": ""}
    content: Item = {
        "type": "web_fetch_result",
        "url": url,
        "content": {"type": "document", "source": page},
    }
    if item.get("status") in _FAILED:
        content = {"type": "web_fetch_tool_result_error", "error_code": "unavailable"}
    return [
        ServerToolUseBlock(id=call, name="web_fetch", input=arguments),
        _result_block("web_fetch", call, content),
    ]


def _code_execution_blocks(item: Item, _: dict[str, str]) -> list[Block]:
    call, logs, pictures = str(item.get("id")), [], []
    for output in _to_list(item.get("outputs")):
        if isinstance(output, dict) and output.get("type") == "logs":
            logs.append(str(output.get("logs") or ""))
        elif isinstance(output, dict) and isinstance(output.get("url"), str):
            pictures.append(ImageBlock(source=_source_from_url(output["url"])))
    content: Item = {
        "type": "code_execution_result",
        "stdout": "\n".join(logs),
        "stderr": "",
        "return_code": 0,
        "content": [],
    }
    if item.get("status") in _FAILED:
        content = {"type": "code_execution_tool_result_error", "error_code": "unavailable"}
    code = {"code": str(item.get("code") or "")}
    return [
        ServerToolUseBlock(id=call, name="code_execution", input=code),
        _result_block("code_execution", call, content),
        *pictures,
    ]


def _file_search_blocks(item: Item, _: dict[str, str]) -> list[Block]:
    call = str(item.get("id"))
    queries = [query for query in _to_list(item.get("queries")) if isinstance(query, str)]
    names = ("file_id", "filename", "score", "text")
    results: Any = [
        {"type": "file_search_result"} | {name: one.get(name) for name in names}
        for one in _to_list(item.get("results"))
        if isinstance(one, dict)
    ]
    if item.get("status") in _FAILED:
        results = {"type": "file_search_tool_result_error", "error_code": "unavailable"}
    return [
        ServerToolUseBlock(id=call, name="file_search", input={"queries": queries}),
        _result_block("file_search", call, results),
    ]


def _mcp_blocks(item: Item, names: dict[str, str]) -> list[Block]:
    call, server = str(item.get("id")), str(item.get("server_label"))
    error = item.get("error")
    text = item.get("output")
    if error:
        text = error if isinstance(error, str) else _to_object(error).get("message")
    use = {
        "type": "mcp_tool_use",
        "id": call,
        "name": str(item.get("name")),
        "server_name": names.get(server, server),
        "input": decode_object(str(item.get("arguments") or "")) or {},
    }
    content = [{"type": "text", "text": text}] if isinstance(text, str) and text else []
    result = {"type": "mcp_tool_result", "tool_use_id": call, "is_error": bool(error)}
    return [UnknownBlock(raw=use), UnknownBlock(raw=result | {"content": content})]


def _image_blocks(item: Item, _: dict[str, str]) -> list[Block]:
    data = item.get("result")
    if not isinstance(data, str) or not data:
        return []
    form = str(item.get("output_format") or "png")
    media_type = "image/svg+xml" if form == "svg" else f"image/{form}"
    return [ImageBlock(source=Source(type="base64", media_type=media_type, data=data))]


_MAKERS: Final[dict[str, Callable[[Item, dict[str, str]], list[Block]]]] = {
    "code_interpreter_call": _code_execution_blocks,
    "file_search_call": _file_search_blocks,
    "image_generation_call": _image_blocks,
    "mcp_call": _mcp_blocks,
    "web_search_call": _web_search_blocks,
}


def _result_block(tool: str, call: str, content: Any) -> Block:
    raw = {"type": f"{tool}_tool_result", "tool_use_id": call, "content": content}
    return UnknownBlock(raw=raw)


def _source_from_url(url: str) -> Source:
    head, _, data = url.partition(";base64,")
    if data and head.startswith("data:"):
        return Source(type="base64", media_type=head.removeprefix("data:"), data=data)
    return Source(type="url", url=url)


def _to_object(value: Any) -> Item:
    return value if isinstance(value, dict) else {}


def _to_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

"""The parts of an answer as content blocks of the Messages dialect.

Invariants: a block is drawn once, whole; its stream is the same block opened
empty and filled. What the provider's own tools found comes whole in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson

from vai.simulator.answer import signature_of
from vai.simulator.ask import Ask
from vai.simulator.parts import Answer, Call, Part, Refusal, Run, Search, Text, Thought, seal

__all__ = ["Block", "blocks_of"]


class Block(msgspec.Struct, kw_only=True):
    """One content block."""

    whole: dict[str, Any]
    opened: dict[str, Any]
    member: str = "text"
    """The member of the deltas that `text` comes in."""
    text: str = ""
    counted: bool = True
    """Whether `text` is output of the model's that tokens are counted for."""
    tail: list[dict[str, Any]] = []
    """Deltas after the last of the text."""


def blocks_of(ask: Ask, answer: Answer) -> Iterator[Block]:
    """The blocks of `answer`, in order. A picture has no block and is left out."""
    index = 0
    for part in answer.parts:
        for block in _drawn(ask, part, index):
            yield block
            index += 1


def _drawn(ask: Ask, part: Part, index: int) -> list[Block]:
    match part:
        case Thought(text, hidden):
            return [_thought(text if ask.shows_thought else "", text, hidden)]
        case Text() | Refusal():
            return [_text(part)]
        case Call(name, arguments):
            call_id = f"toolu_01Sim{index:02d}{ask.seed:016d}"
            called = {"type": "tool_use", "id": call_id, "name": name}
            return [_called(called, part.input, arguments)]
        case Search(query, sources):
            found = [
                {
                    "type": "web_search_result",
                    "url": source.url,
                    "title": source.title,
                    "encrypted_content": seal(source.url),
                    "page_age": None,
                }
                for source in sources
            ]
            return _hosted(ask, index, "web_search", {"query": query}, found)
        case Run(code, output, failed):
            ran = {
                "type": "code_execution_result",
                "stdout": "" if failed else output,
                "stderr": output if failed else "",
                "return_code": int(failed),
                "content": [],
            }
            return _hosted(ask, index, "code_execution", {"code": code}, ran)
    return []


def _thought(shown: str, text: str, hidden: bool) -> Block:
    """Reasoning; a client that may not read it gets an empty block with a seal."""
    if hidden:
        redacted = {"type": "redacted_thinking", "data": seal(text)}
        return Block(whole=redacted, opened=redacted)
    signature = signature_of(shown)
    return Block(
        whole={"type": "thinking", "thinking": shown, "signature": signature},
        opened={"type": "thinking", "thinking": "", "signature": ""},
        member="thinking",
        text=shown,
        tail=[{"type": "signature_delta", "signature": signature}],
    )


def _text(part: Text | Refusal) -> Block:
    opened: dict[str, Any] = {"type": "text", "text": ""}
    cited = [
        {
            "type": "web_search_result_location",
            "url": source.url,
            "title": source.title,
            "cited_text": part.text[:150],
            "encrypted_index": seal(source.url),
        }
        for source in (part.sources if isinstance(part, Text) else [])
    ]
    whole = opened | {"text": part.text}
    if cited:
        opened, whole = opened | {"citations": []}, whole | {"citations": cited}
    tail = [{"type": "citations_delta", "citation": one} for one in cited]
    return Block(whole=whole, opened=opened, text=part.text, tail=tail)


def _called(called: dict[str, Any], given: Any, arguments: str) -> Block:
    return Block(
        whole=called | {"input": given},
        opened=called | {"input": {}},
        member="partial_json",
        text=arguments,
    )


def _hosted(ask: Ask, index: int, name: str, given: dict[str, Any], found: Any) -> list[Block]:
    """A call of the provider's own tool and, right behind it, what came of it."""
    call_id = f"srvtoolu_01Sim{index:02d}{ask.seed:016d}"
    called = {"type": "server_tool_use", "id": call_id, "name": name}
    call = _called(called, given, orjson.dumps(given).decode())
    call.counted = False
    result = {"type": f"{name}_tool_result", "tool_use_id": call_id, "content": found}
    return [call, Block(whole=result, opened=result)]

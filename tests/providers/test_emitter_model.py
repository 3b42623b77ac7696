"""Any order of operations gives the message that a plain list of blocks would hold.

The expected message is built by a dozen lines that know nothing of events: what is said
is appended, in the order in which it was said. The stream is read twice, by VAI's own
accumulator and by the official SDK's.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.providers.validator import check_events
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.emitter import Emitter
from vai.types.base import to_wire
from vai.types.blocks import ImageBlock, ServerToolUseBlock, Source, WebSearchToolResultBlock

pytestmark = pytest.mark.exhaustive

UNHURRIED = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
"""The same examples in every run: what fails here fails everywhere, busy or not."""
OFFICIAL = TypeAdapter(RawMessageStreamEvent)
WORDS = st.text(st.sampled_from('ab \n{}"é'), min_size=1, max_size=4)
INPUTS = st.dictionaries(st.sampled_from("xyz"), WORDS, max_size=2)
WHOLE = [
    ServerToolUseBlock(id="s", name="web_search", input={"query": "q"}),
    WebSearchToolResultBlock(tool_use_id="s", content=[]),
    ImageBlock(source=Source(type="base64", media_type="image/png", data="aGk=")),
]
CONTENT = {"text", "image", "audio"}
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("text"), WORDS),
        st.tuples(st.just("thinking"), WORDS),
        st.tuples(st.just("signature"), st.sampled_from(["s1", "s2"])),
        st.tuples(st.just("redacted_thinking"), st.just("r")),
        st.tuples(st.just("end_text"), st.none()),
        st.tuples(st.just("citation"), st.sampled_from(["u1", "u2"])),
        st.tuples(st.just("audio"), st.tuples(st.sampled_from(["", "aA==", "aGk="]), WORDS)),
        st.tuples(st.just("block"), st.sampled_from(WHOLE)),
        st.tuples(st.just("call"), st.tuples(INPUTS, st.integers(0, 40), st.booleans())),
    ),
    max_size=14,
)


def cited(url: str) -> dict[str, Any]:
    return {
        "type": "web_search_result_location",
        "url": url,
        "title": "t",
        "cited_text": "c",
        "encrypted_index": "",
    }


class Expected:
    """The blocks, and what may still be added to the last of them."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []
        self.open = ""
        self.blanks = ""
        self.citable: dict[str, Any] | None = None

    def new(self, kind: str, **fields: Any) -> dict[str, Any]:
        self.blanks = ""
        self.open = kind
        self.blocks.append({"type": kind, **fields})
        if kind == "text":
            self.citable = self.blocks[-1]
        elif kind in CONTENT or any(block["type"] == "tool_use" for block in self.blocks):
            self.citable = None
        return self.blocks[-1]

    def last(self, kind: str, **empty: Any) -> dict[str, Any]:
        return self.blocks[-1] if self.open == kind else self.new(kind, **empty)

    def text(self, text: str) -> None:
        text = self.blanks + text
        if self.open != "text" and text.isspace():
            self.blanks = text
        else:
            self.last("text", text="")["text"] += text

    def thinking(self, text: str) -> None:
        if self.open == "thinking" and self.blocks[-1]["signature"]:
            self.open = ""
        self.last("thinking", thinking="", signature="")["thinking"] += text

    def signature(self, signature: str) -> None:
        if self.open == "thinking":
            self.blocks[-1]["signature"] = signature
        else:
            self.redacted_thinking(signature)

    def redacted_thinking(self, data: str) -> None:
        self.new("redacted_thinking", data=data)
        self.open = ""

    def end_text(self, _: None) -> None:
        if self.open == "text":
            self.open = ""
            self.citable = None

    def citation(self, url: str) -> None:
        """To the text it follows, also behind reasoning, which may yet be left out."""
        if self.citable is not None:
            self.citable.setdefault("citations", []).append(cited(url))

    def audio(self, piece: tuple[str, str]) -> None:
        source = {"type": "base64", "media_type": "audio/wav", "data": ""}
        block = self.last("audio", source=source, transcript="")
        heard = base64.b64decode(block["source"]["data"]) + base64.b64decode(piece[0])
        block["source"] = {**block["source"], "data": base64.b64encode(heard).decode()}
        block["transcript"] += piece[1]

    def block(self, block: Any) -> None:
        self.new(**{"kind": block.__struct_config__.tag, **without_type(to_wire(block))})
        self.open = ""

    def call(self, call: tuple[dict[str, Any], int, bool]) -> None:
        number = sum(block["type"] == "tool_use" for block in self.blocks)
        self.new("tool_use", id=f"id{number}", name=f"tool{number}", input=call[0])
        self.open = ""

    def end(self) -> None:
        """An answer without calls ends with its text or its media, if it has any."""
        kinds = [block["type"] for block in self.blocks]
        if "tool_use" in kinds or CONTENT.isdisjoint(kinds):
            if self.blanks or (kinds and "tool_use" not in kinds):
                blanks = self.blanks
                self.last("text", text="")["text"] += blanks
        elif kinds[-1] in CONTENT:
            self.text_at_end()
        else:
            while self.blocks[-1]["type"] not in CONTENT:
                self.blocks.pop()

    def text_at_end(self) -> None:
        blanks = self.blanks
        if blanks:
            self.last("text", text="")["text"] += blanks


def without_type(wire: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wire.items() if name != "type"}


def perform(emitter: Emitter, operations: list[tuple[str, Any]]) -> None:
    """Say it all; arguments of calls that are cut late come after everything else."""
    late = []
    number = 0
    for kind, value in operations:
        if kind == "citation":
            emitter.add_citation(cited(value))
        elif kind == "signature":
            emitter.add_signature(value)
        elif kind == "end_text":
            emitter.end_text()
        elif kind == "audio":
            emitter.add_audio("audio/wav", *value)
        elif kind == "call":
            given_input, at, delayed = value
            text = orjson.dumps(given_input).decode()
            emitter.open_tool_call(number, f"id{number}", f"tool{number}")
            emitter.add_arguments(number, text[:at])
            if delayed:
                late.append((number, text[at:]))
            else:
                emitter.add_arguments(number, text[at:])
            number += 1
        else:
            getattr(emitter, f"add_{kind}")(value)
    for key, rest in late:
        emitter.add_arguments(key, rest)
    emitter.set_stop_reason("tool_use" if number else "end_turn")
    emitter.end_message()


@settings(UNHURRIED, max_examples=400)
@given(OPERATIONS)
def test_any_operations_give_the_expected_message(operations):
    emitter = Emitter("msg_01TEST", "openai/m", "openai")
    perform(emitter, operations)
    assert emitter.fault is None
    events = emitter.take_events()
    expected = Expected()
    for kind, value in operations:
        getattr(expected, kind)(value)
    expected.end()
    assert [to_wire(block) for block in message_from_events(events).content] == expected.blocks
    assert official(check_events(events)) == [
        block for block in expected.blocks if block["type"] not in ("audio", "image")
    ]


def official(wire: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The message as the official SDK accumulates it, without VAI's own blocks."""
    ours = {
        event["index"]
        for event in wire
        if event["type"] == "content_block_start"
        and event["content_block"]["type"] in ("audio", "image")
    }
    snapshot, buffers = None, {}
    shift = 0
    for event in wire:
        if "index" in event:
            if event["index"] in ours:
                shift += event["type"] == "content_block_stop"
                continue
            event = {**event, "index": event["index"] - shift}
        parsed = OFFICIAL.validate_python(event)
        snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    return [cleaned(block.to_dict()) for block in snapshot.content]


def cleaned(block: dict[str, Any]) -> dict[str, Any]:
    """Without what the SDK adds: empty members, and its own parsing state."""
    return {name: value for name, value in block.items() if value is not None}

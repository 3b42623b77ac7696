"""An answer that ends by itself ends with its text or its media, whatever came behind them.

Agents take their result from the last block: reasoning, a seal or a tool's run there is an
empty result.
"""

from __future__ import annotations

import orjson
import pytest

from tests.providers.validator import check_events, check_message
from vai.providers.decode import emitter as module
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.emitter import Emitter
from vai.providers.factory import make_adapter
from vai.providers.gemini.stream import MAX_AWAITING
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.base import to_wire
from vai.types.blocks import ImageBlock, ServerToolUseBlock, Source, UnknownBlock
from vai.types.render import message_to_wire

USE = ("block", ServerToolUseBlock(id="s", name="code_execution", input={}))
OUTCOME = {"type": "code_execution_result", "stdout": "", "stderr": "", "return_code": 0}
OUTCOME |= {"content": []}
RESULT = (
    "block",
    UnknownBlock(
        raw={"type": "code_execution_tool_result", "tool_use_id": "s", "content": OUTCOME}
    ),
)
PICTURE = ("block", ImageBlock(source=Source(type="base64", media_type="image/png", data="aGk=")))
TEXT, MORE, BLANKS = ("text", "Yes."), ("text", "No."), ("text", " \n")
THOUGHT, SEAL, REDACTED = ("thinking", "hm"), ("signature", "s1"), ("redacted_thinking", "r")
RUN = [USE, RESULT]
RUN_TYPES = ["server_tool_use", "code_execution_tool_result"]
BEHIND = {
    "reasoning": [THOUGHT],
    "signed reasoning": [THOUGHT, SEAL],
    "a seal": [REDACTED],
    "a signature of its own": [SEAL],
    "a run": RUN,
    "all": [THOUGHT, SEAL, *RUN, REDACTED, THOUGHT],
    "blanks": [THOUGHT, BLANKS],
    "the end of the text": [("end_text", None), REDACTED, BLANKS],
}


def emitter():
    return Emitter("msg_01TEST", "openai/m", "openai")


def perform(made, operations):
    for name, value in operations:
        if name == "call":
            made.open_tool_call(0, "c", "f")
            made.add_arguments(0, "{}")
        elif name == "end_text":
            made.end_text()
        else:
            getattr(made, f"add_{name}")(value)


def ended(operations, reason="end_turn", sequence=None):
    """The blocks of the answer, in wire form."""
    made = emitter()
    perform(made, operations)
    made.set_stop_reason(reason, sequence=sequence)
    made.end_message()
    events = made.take_events()
    check_events(events)
    return [to_wire(block) for block in message_from_events(events).content]


def types(blocks):
    return [block["type"] for block in blocks]


@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence"])
@pytest.mark.parametrize("last", [TEXT, PICTURE], ids=["text", "picture"])
@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_what_came_behind_the_last_text_is_left_out(reason, last, behind):
    found = ended([THOUGHT, last, *behind], reason)
    assert [kind for kind in types(found) if kind != "thinking"] == types(ended([last], reason))
    if last is TEXT:
        assert found[-1]["text"].strip() == "Yes."


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "pause_turn"])
def test_an_answer_that_was_stopped_keeps_what_came_last(reason):
    assert types(ended([TEXT, THOUGHT, *RUN], reason)) == ["text", "thinking", *RUN_TYPES]


@pytest.mark.parametrize("next_one", [MORE, PICTURE, ("call", None)], ids=["text", "media", "call"])
def test_what_came_between_stays_where_it_was(next_one):
    reason = "tool_use" if next_one[0] == "call" else "end_turn"
    found = types(ended([TEXT, THOUGHT, SEAL, *RUN, BLANKS, next_one], reason))
    assert found[:4] == ["text", "thinking", *RUN_TYPES]
    assert len(found) == 5


def test_reasoning_behind_a_call_is_not_held():
    made = emitter()
    perform(made, [TEXT, ("call", None)])
    made.take_events()
    made.add_thinking("hm")
    assert made.take_events() != []


def test_reasoning_before_the_text_is_not_held():
    made = emitter()
    for piece in ("a", "b"):
        made.take_events()
        made.add_thinking(piece)
        assert made.take_events() != []


@pytest.mark.parametrize("operations", [[THOUGHT], [REDACTED], RUN, [THOUGHT, SEAL, *RUN]])
def test_an_answer_without_text_ends_with_an_empty_text(operations):
    found = ended(operations)
    assert found[-1] == {"type": "text", "text": ""}
    assert types(found[:-1]) == types(ended(operations, "max_tokens"))


def test_an_empty_answer_stays_empty():
    made = emitter()
    made.start_message()
    made.set_stop_reason("end_turn")
    made.end_message()
    assert message_from_events(made.take_events()).content == []


def test_sources_that_come_behind_held_reasoning_are_the_texts():
    source = {"type": "web_search_result_location", "url": "u", "cited_text": "Yes."}
    source |= {"title": "t", "encrypted_index": ""}
    found = ended([TEXT, THOUGHT, ("citation", source)])
    assert found == [{"type": "text", "text": "Yes.", "citations": [source]}]


def test_what_is_held_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD_CHARACTERS", 1000)
    made = emitter()
    perform(made, [TEXT, *[("thinking", "x" * 100)] * 11])
    assert made.fault.code == "upstream_too_large"
    made = emitter()
    perform(made, [TEXT, *[("block", UnknownBlock(raw={"type": "t", "of": "x" * 300}))] * 4])
    assert made.fault.code == "upstream_too_large"


# The same at the adapters: what each wire format puts behind its text.


COUNTED = {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8}


def gemini(*parts, **more):
    """One chunk for each part, and the end with what stands behind the answer."""
    chunks = [{"content": {"role": "model", "parts": [part]}} for part in parts]
    chunks[-1] |= {"finishReason": "STOP", **more}
    found = [{"candidates": [chunk], "modelVersion": "gemini-3.6-flash"} for chunk in chunks]
    found[-1]["usageMetadata"] = COUNTED
    return found


def chat(*deltas):
    chunks = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    chunks[-1]["finish_reason"] = "stop"
    return [{"id": "c", "model": "m", "choices": [chunk]} for chunk in chunks]


def responses(*items):
    done = [
        {"type": "response.output_item.done", "output_index": index, "item": item}
        for index, item in enumerate(items)
    ]
    return [*done, {"type": "response.completed", "response": {"status": "completed"}}]


SIGNED = {"thoughtSignature": "Sig"}
G_THOUGHT, G_TEXT = {"text": "hm", "thought": True}, {"text": "Hello"}
GROUNDING = {
    "webSearchQueries": ["q"],
    "groundingChunks": [{"web": {"uri": "https://a.example", "title": "a"}}],
    "groundingSupports": [{"segment": {"endIndex": 5}, "groundingChunkIndices": [0]}],
}
PAGES = {
    "urlMetadata": [
        {
            "retrievedUrl": "https://a.example",
            "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS",
        }
    ]
}
CODE = {"executableCode": {"language": "PYTHON", "code": "1"}}
RAN = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
REASONING = {
    "type": "reasoning",
    "id": "rs",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "g",
}
SEARCHED = {"type": "web_search_call", "id": "ws", "action": {"type": "search", "query": "q"}}
RAN_AT_GROQ = {"index": 0, "type": "python", "arguments": '{"code":"1"}', "output": "1"}
STREAMS = {
    "gemini: signed text": ("gemini", gemini(G_THOUGHT, G_TEXT | SIGNED)),
    "gemini: a signature alone": ("gemini", gemini(G_THOUGHT, G_TEXT, {"text": ""} | SIGNED)),
    "gemini: a thought last": ("gemini", gemini(G_TEXT, G_THOUGHT)),
    "gemini: a signed thought last": ("gemini", gemini(G_TEXT, G_THOUGHT | SIGNED)),
    "gemini: grounded": ("gemini", gemini(G_THOUGHT, G_TEXT, groundingMetadata=GROUNDING)),
    "gemini: pages": ("gemini", gemini(G_TEXT, urlContextMetadata=PAGES)),
    "gemini: code last": ("gemini", gemini(G_TEXT, CODE | SIGNED, RAN)),
    "gemini: blanks last": ("gemini", gemini(G_TEXT, G_THOUGHT, {"text": "\n"} | SIGNED)),
    "chat: reasoning last": ("openai", chat({"content": "Hello"}, {"reasoning_content": "hm"})),
    "chat: a run last": ("groq", chat({"content": "Hello"}, {"executed_tools": [RAN_AT_GROQ]})),
    "responses: reasoning last": ("oai-resp", responses(MESSAGE, REASONING)),
    "responses: a search last": ("oai-resp", responses(MESSAGE, SEARCHED)),
    "responses: sealed items last": (
        "oai-resp",
        responses(MESSAGE, {"type": "compaction", "id": "c", "encrypted_content": "g"}),
    ),
    "responses: a comment, and nothing": (
        "oai-resp",
        responses(MESSAGE | {"phase": "commentary"}, {"type": "message", "content": []}),
    ),
}


def read_stream(provider, chunks):
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    events = []
    for chunk in chunks:
        events += adapter.feed_bytes(b"data: %b\n\n" % orjson.dumps(chunk))
    events += adapter.end_stream()
    assert adapter.fault is None
    check_events(events)
    return message_to_wire(message_from_events(events))


@pytest.mark.parametrize(("provider", "chunks"), STREAMS.values(), ids=STREAMS)
def test_every_adapter_ends_with_the_text(provider, chunks):
    message = check_message(read_stream(provider, chunks))
    assert message["stop_reason"] == "end_turn"
    assert message["content"][-1]["text"].strip() == "Hello"


@pytest.mark.parametrize("name", [name for name in STREAMS if name.startswith("gemini")])
def test_gemini_says_the_same_without_streaming(name):
    provider, chunks = STREAMS[name]
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    whole = {**chunks[-1]["candidates"][0], "content": {"role": "model", "parts": parts}}
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    body = {"candidates": [whole], "modelVersion": "gemini-3.6-flash", "usageMetadata": COUNTED}
    message = message_to_wire(adapter.parse_message(orjson.dumps(body)))
    assert check_message(message) == read_stream(provider, chunks)


def requested(**fields):
    adapter = make_adapter(PROVIDER_SPECS["gemini"], "01TEST")
    asked = {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": "go"}]}
    adapter.build_request(parse.parse_request({**asked, "stream": True, **fields}))
    return adapter


def fed(adapter, chunks):
    return [adapter.feed_bytes(b"data: %b\n\n" % orjson.dumps(chunk)) for chunk in chunks]


def test_text_waits_for_nothing_where_nothing_was_to_be_searched():
    first, *_ = fed(requested(), gemini(G_TEXT, G_TEXT))
    assert "text_delta" in str(check_events(first, complete=False))


def test_text_waits_for_its_sources_no_longer_than_it_may():
    search = [{"type": "web_search_20250305", "name": "web_search"}]
    long = {"text": "x" * (MAX_AWAITING // 4)}
    adapter = requested(tools=search)
    chunks = gemini(*[long] * 5, G_TEXT, groundingMetadata=GROUNDING)
    batches = fed(adapter, chunks)
    assert [len(batch) > 1 for batch in batches[:5]] == [False] * 4 + [True]
    events = [event for batch in batches for event in batch] + adapter.end_stream()
    check_events(events)
    (text,) = message_to_wire(message_from_events(events))["content"]
    assert text["text"].endswith("Hello")
    assert [cited["url"] for cited in text["citations"]] == ["https://a.example"]
    assert adapter.usage.extra["server_tool_use"]["web_search_requests"] == 1


def test_text_follows_its_sources_as_soon_as_they_are_known():
    search = [{"type": "web_search_20250305", "name": "web_search"}]
    known, *others = gemini(G_TEXT, G_TEXT)
    known["candidates"][0]["groundingMetadata"] = GROUNDING
    first, second = fed(requested(tools=search), [known, *others])
    assert len(types_started(first)) == 3
    assert "text_delta" in str(check_events(first + second, complete=False))


def types_started(events):
    wire = check_events(events, complete=False)
    return [e["content_block"]["type"] for e in wire if e["type"] == "content_block_start"]


def test_text_that_waits_is_not_lost_in_an_error():
    search = [{"type": "web_search_20250305", "name": "web_search"}]
    adapter = requested(tools=search)
    events = adapter.feed_bytes(b"data: %b\n\n" % orjson.dumps(gemini(G_TEXT, G_TEXT)[0]))
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}}
    events += adapter.feed_bytes(b"data: %b\n\n" % orjson.dumps(error))
    assert adapter.fault.type == "overloaded_error"
    assert types_started(events) == ["text"]


def test_what_was_held_stays_before_what_follows_a_call_that_never_got_a_name():
    made = emitter()
    perform(made, [TEXT, THOUGHT, SEAL])
    made.open_tool_call(0, "c", None)
    perform(made, [("thinking", "later")])
    made.set_stop_reason("max_tokens")
    made.end_message()
    found = [to_wire(block) for block in message_from_events(made.take_events()).content]
    assert [block.get("thinking") for block in found] == [None, "hm", "later"]


def test_a_stop_sequence_right_behind_a_call_ends_with_a_text():
    found = ended([TEXT, ("call", None)], "stop_sequence", "w")
    assert types(found) == ["text", "tool_use", "text"]

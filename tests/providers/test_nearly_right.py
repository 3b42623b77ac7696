"""Servers that are nearly right: what arrived is delivered, once, and only damage is an error.

The streams themselves are fixtures, so that every cut of them is tried as well.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.providers.test_streams import HERE, run
from tests.providers.upstreams import OWN_ROWS, ask, body_of, stream_of, told
from vai.errors import UpstreamBroken, UpstreamFault
from vai.providers.decode.accumulate import message_from_events
from vai.types.render import message_to_wire

WEATHER = ("weather", {"city": "Oslo"})
LOOK = ("look", {"x": 1})
PICTURE = "image/png"
EXPECTED: dict[str, list[Any]] = {
    # Said in two places.
    "openai-clone-both-places": ["(Hm, the weather.)", "Looking it up.", WEATHER],
    "openai-clone-whole-at-end": ["(Hm, the)", "Looking it", WEATHER, "( weather.)", " up."],
    "openai-clone-message": ["Whole at once"],
    "openai-clone-message-pieces": ["haha ho"],
    "openai-clone-images": ["Here:", PICTURE],
    "oai-resp-clone-end-alone": ["(Hm.)", "So it is.", LOOK],
    "oai-resp-clone-end-adds": ["(Hm.)", "So it is.", LOOK],
    "oai-resp-clone-longer-done": ["So it is.", LOOK],
    "oai-resp-clone-no-places": ["So it is.", LOOK],
    "gemini-clone-repeated-call": ["So.", LOOK],
    "gemini-clone-text-and-call": ["So.", LOOK],
    # An end that is not said, or said in another way.
    "openai-clone-no-finish": ["Hi there"],
    "openai-clone-no-finish-call": ["So.", WEATHER],
    "openai-clone-usage-last": ["Hi"],
    "oai-resp-clone-no-end": ["So it is."],
    # Members of other types, and members that are always there.
    "openai-clone-fillers": ["Hi there!"],
    "openai-clone-lists-for-objects": ["Hi all."],
    "openai-clone-second-choice": ["Hi"],
    "gemini-clone-lists": ["Hi!"],
    "anthropic-clone-bent": ["So.", LOOK],
    # Halves of characters.
    "openai-clone-split-character": ["a😀b😁\ufffdc"],
    "openai-clone-split-bytes": ["a😀b\ufffdc"],
    # Reasoning as a part of the content.
    "openai-clone-thinking-parts": ["(Hm, so.)", "Yes it is."],
}


def shown(wire: dict[str, Any]) -> list[Any]:
    """The blocks in short: text, (reasoning), (name, input) of calls, the type of media."""
    found: list[Any] = []
    for block in wire["content"]:
        if block["type"] == "text":
            found.append(block["text"])
        elif block["type"] == "thinking":
            found.append(f"({block['thinking']})")
        elif block["type"] == "tool_use":
            found.append((block["name"], block["input"]))
        else:
            found.append(block["source"]["media_type"])
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_everything_is_delivered_once(name):
    path = HERE / f"{name}.sse"
    events, adapter = run(path, [path.read_bytes()])
    assert adapter.fault is None, adapter.fault
    wire = message_to_wire(message_from_events(events))
    assert shown(wire) == EXPECTED[name]
    calls = any(isinstance(one, tuple) for one in EXPECTED[name])
    assert wire["stop_reason"] == ("tool_use" if calls else "end_turn")


def chat(data: bytes, *, stream: bool) -> list[Any]:
    adapter, _ = ask("own")
    return shown(told(adapter, data, stream=stream))


def whole(message: Any = None, delta: Any = None, **more: Any) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", **more}
    if message is not None:
        choice["message"] = message
    if delta is not None:
        choice["delta"] = delta
    return orjson.dumps({"model": "m", "choices": [choice]})


SAID = {"role": "assistant", "content": "Hi"}


@pytest.mark.parametrize(
    "body",
    [
        whole(SAID, {}),
        whole(SAID, {"content": ""}),
        whole(SAID, {"content": "Hi"}),
        whole(SAID, []),
        whole(SAID, SAID),
        whole({}, SAID),
        whole([], SAID),
        whole(None, SAID),
        whole({"content": None}, SAID),
        whole(SAID, {"content": "H"}),
        whole({"content": "Hi", "refusal": ""}),
        whole({"content": [{"type": "text", "text": "H"}, "i"]}),
        whole({"content": {"type": "text", "text": "Hi"}}),
        whole({**SAID, "function_call": {"name": "", "arguments": ""}}),
        whole({**SAID, "tool_calls": {}}),
        whole({**SAID, "tool_calls": [{}, None]}),
        whole(SAID, finish_reason=None),
        whole(SAID, finish_reason=[]),
        whole(SAID, index=None),
        whole(SAID, index="0"),
        whole(SAID, index=3),
        b"\xef\xbb\xbf" + whole(SAID),
        b" \r\n" + whole(SAID),
        orjson.dumps({"choices": {"message": SAID}, "usage": [], "error": [], "model": None}),
        orjson.dumps({"choices": [None, {"message": SAID}], "usage": {"prompt_tokens": "x"}}),
        b"[" + whole(SAID) + b"]",
        whole(text="Hi"),
        whole(SAID, text="Hi"),
    ],
    ids=range(28),
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_chat_answer_is_read_however_it_is_put(body, stream):
    assert chat(body, stream=stream) == ["Hi"]


CHUNK = b'{"model":"m","choices":[{"delta":{"content":"%b"}%b}]}'
FIRST, LAST = CHUNK % (b"H", b""), CHUNK % (b"i", b',"finish_reason":"stop"')


@pytest.mark.parametrize(
    "data",
    [
        b"data:%b\n\ndata:%b\n\n" % (FIRST, LAST),
        b"data: %b\ndata: %b\n\n" % (FIRST, LAST),
        b"data: [%b,%b]\n\n" % (FIRST, LAST),
        b"%b\n%b\n" % (FIRST, LAST),
        b"%b\r\n\r\n%b" % (FIRST, LAST),
        b"[%b,\n%b]" % (FIRST, LAST),
        b"\xef\xbb\xbfdata: %b\n\ndata: %b\n\n" % (FIRST, LAST),
        b": a\n\n: b\n\nretry: 3\n\nid: 1\ndata: %b\n\ndata: %b\n\n" % (FIRST, LAST),
        b"event: x\ndata: %b\n\ndata: %b\n\ndata:  [DONE] \n\nrubbish {" % (FIRST, LAST),
        b'data: null\n\ndata: 0\n\ndata: ""\n\ndata: {}\n\ndata: %b\n\ndata: %b\n\n'
        % (FIRST, LAST),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_chat_stream_is_read_however_it_is_put(data, stream):
    assert chat(data, stream=stream) == ["Hi"]


@pytest.mark.parametrize("asked", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("streams", [False, True], ids=["given json", "given a stream"])
@pytest.mark.parametrize("provider", OWN_ROWS)
def test_the_body_says_what_it_is(provider, streams, asked):
    kind = OWN_ROWS[provider].kind
    given = '{"x":1}' if kind in ("openai", "responses") else {"x": 1}
    make = stream_of if streams else body_of
    adapter, _ = ask(provider, stream=asked)
    assert shown(told(adapter, make(kind, [("c1", "look", given)], "So."), stream=asked)) == [
        "So.",
        LOOK,
    ]


ENDS = {
    "max_tokens": ["length", "MAX_TOKENS", "max_output_tokens", "model_length", "repetition"],
    "refusal": ["content_filter", "SAFETY", "recitation", "sensitive"],
    "end_turn": ["stop", "STOP", "eos", "stop_sequence", "tool_calls", "function_call", "null"],
    "fault": ["error", "abort", "network_error", "insufficient_system_resource", "cancelled"],
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(
    ("meant", "reason"), [(meant, reason) for meant in ENDS for reason in ENDS[meant]]
)
def test_an_answer_that_was_cut_is_not_one_that_ended(meant, reason, stream):
    adapter, _ = ask("own", stream=stream)
    bodies = {False: whole(SAID, finish_reason=reason)}
    bodies[True] = b"data: %b\n\n" % whole(None, SAID, finish_reason=reason)
    if meant == "fault":
        with pytest.raises(UpstreamFault):
            adapter.parse_message(bodies[stream])
        return
    wire = told(adapter, bodies[stream], stream=stream)
    assert (shown(wire), wire["stop_reason"]) == (["Hi"], meant)


def test_a_choice_that_failed_says_why():
    error = {"code": 429, "message": "The tokens of this minute are used up"}
    adapter, _ = ask("own")
    with pytest.raises(UpstreamFault, match="used up") as caught:
        adapter.parse_message(whole({"content": ""}, finish_reason="error", error=error))
    assert caught.value.type == "rate_limit_error"


def test_groqs_code_in_a_stream_is_an_overload():
    """Where it stands, there is no sentence."""
    chunk = {
        "id": "c",
        "model": "m",
        "choices": [],
        "x_groq": {"id": "r", "error": "over_capacity"},
    }
    adapter, _ = ask("groq", stream=True)
    adapter.feed_bytes(b"data: %b\n\n" % orjson.dumps(chunk))
    assert adapter.fault is not None
    assert (adapter.fault.type, adapter.fault.status) == ("overloaded_error", 529)


@pytest.mark.parametrize("content", ["Hi", [{"type": "text", "text": "Hi"}]], ids=["text", "part"])
def test_a_responses_message_is_read_however_its_text_is_put(content):
    item = {"type": "message", "role": "assistant", "content": content}
    adapter, _ = ask("oai-resp")
    body = orjson.dumps({"id": "r", "status": "completed", "output": [item]})
    assert shown(told(adapter, body, stream=False)) == ["Hi"]


DAMAGE = [
    b"",
    b": only comments\n\n",
    b"data: [DONE]\n\n",
    b"<html><body>Bad gateway</body></html>",
    b'{"model":"m","choices":[{"message":{"content":"Hi',
    b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: {"choices":[{"del\n\n',
    b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n',
    b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\ndata: [DONE]\n\n',
    b'{"error":{"message":"no"}}',
    b'data: {"error":{"message":"no"}}\n\n',
    b"data: {not json}\n\ndata: [DONE]\n\n",
]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("data", DAMAGE, ids=range(len(DAMAGE)))
@pytest.mark.parametrize("provider", ["own", "openai", "oai-resp", "own-messages", "gemini"])
def test_real_damage_is_an_error(provider, data, stream):
    adapter, _ = ask(provider, stream=stream)
    with pytest.raises(UpstreamFault) as caught:
        if stream:
            adapter.feed_bytes(data)
            adapter.end_stream()
            assert adapter.fault is not None
            raise adapter.fault
        adapter.parse_message(data)
    if data.startswith(b"<") and provider != "gemini":
        assert isinstance(caught.value, UpstreamBroken)
        assert caught.value.code == "upstream_content_type"


def gemini(*parts: dict[str, Any], reason: str) -> bytes:
    content = {"role": "model", "parts": list(parts)}
    return orjson.dumps({"candidates": [{"content": content, "finishReason": reason}]})


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
@pytest.mark.parametrize("provider", ["gemini", "gemini-oauth"])
def test_a_spoilt_call_does_not_take_the_good_one_with_it(provider, reason):
    tools = [{"name": "look", "input_schema": {"type": "object"}}]

    def answer(*parts: dict[str, Any]) -> dict[str, Any]:
        adapter, _ = ask(provider, tools=tools)
        return told(adapter, gemini(*parts, reason=reason), stream=False)

    good = {"functionCall": {"name": "look", "args": {"x": 1}}}
    wire = answer({"text": "So."}, good)
    assert (shown(wire), wire["stop_reason"]) == (["So.", LOOK], "tool_use")
    for parts in ([], [{"text": "So."}], [{"functionCall": {"name": "other", "args": {}}}]):
        with pytest.raises(UpstreamFault):
            answer(*parts)


@pytest.mark.parametrize("provider", ["gemini", "gemini-oauth"])
def test_googles_answer_may_end_in_openais_way(provider):
    part = {"content": {"parts": [{"text": "Hi"}]}}
    chunk: dict[str, Any] = {"candidates": [part]}
    if provider == "gemini-oauth":
        chunk = {"response": chunk}
    data = b"data: %b\n\n" % orjson.dumps(chunk)
    adapter, _ = ask(provider, stream=True)
    wire = told(adapter, data + b"data: [DONE]\n\n", stream=True)
    assert (shown(wire), wire["stop_reason"]) == (["Hi"], "end_turn")
    adapter, _ = ask(provider, stream=True)
    adapter.feed_bytes(data)
    adapter.end_stream()
    assert adapter.fault is not None


HALVES = [(b"\\ud83d", b"\\ude00"), (b"\xf0\x9f", b"\x98\x80"), (b"\xf0", b"\x9f\x98\x80")]


@pytest.mark.parametrize("halves", HALVES, ids=["escapes", "bytes", "byte"])
@pytest.mark.parametrize("provider", ["own", "oai-resp", "gemini", "gemini-oauth", "own-messages"])
def test_halves_of_a_character_find_each_other(provider, halves):
    kind = OWN_ROWS[provider].kind
    texts = [b"a" + halves[0], halves[1] + b"b" + halves[0], b"c"]
    frames = {
        "openai": b'{"choices":[{"delta":{"content":"%b"}}]}',
        "responses": b'{"type":"response.output_text.delta","delta":"%b"}',
        "gemini": b'{"candidates":[{"content":{"parts":[{"text":"%b"}]}}]}',
        "code-assist": b'{"response":{"candidates":[{"content":{"parts":[{"text":"%b"}]}}]}}',
        "anthropic": b'{"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"%b"}}',
    }
    before = {
        "anthropic": b'data: {"type":"message_start","message":{"content":[]}}\n\n'
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text"}}\n\n'
    }
    after = {
        "openai": b"data: [DONE]\n\n",
        "responses": b'data: {"type":"response.completed"}\n\n',
        "gemini": b'data: {"candidates":[{"finishReason":"STOP"}]}\n\n',
        "code-assist": b'data: {"response":{"candidates":[{"finishReason":"STOP"}]}}\n\n',
        "anthropic": b'data: {"type":"content_block_stop","index":0}\n\n'
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
        b'data: {"type":"message_stop"}\n\n',
    }
    stream = before.get(kind, b"") + b"".join(
        b"data: %b\n\n" % (frames[kind] % text) for text in texts
    )
    adapter, _ = ask(provider, stream=True)
    (text,) = shown(told(adapter, stream + after[kind], stream=True))
    assert text.replace("\ufffd", "") == "a😀bc"
    assert text.count("\ufffd") <= 3


@pytest.mark.parametrize("provider", ["own", "oai-resp", "gemini", "own-messages"])
def test_a_lone_half_in_json_is_a_replacement_character(provider):
    kind = OWN_ROWS[provider].kind
    given = '{"x":1}' if kind in ("openai", "responses") else {"x": 1}
    body = body_of(kind, [("c1", "look", given)], "a~b").replace(b"a~b", b"a\\ud83db")
    adapter, _ = ask(provider)
    assert shown(told(adapter, body, stream=False)) == ["a\ufffdb", LOOK]

"""What is made of Gemini's answers: blocks, endings, usage, and answers in several bodies."""

from __future__ import annotations

import orjson
import pytest

from tests.providers.oracle import check_gemini_answer
from tests.providers.test_streams import HERE
from tests.providers.validator import check_events
from vai.codec.sse import MAX_FRAME
from vai.errors import UpstreamBroken, UpstreamFault
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.emitter import MAX_CALLS
from vai.providers.factory import make_adapter
from vai.providers.gemini import adapter as adapters
from vai.providers.gemini import body as bodies
from vai.providers.gemini import stream
from vai.providers.gemini.body import BodyParser
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.render import message_to_wire

FIXTURES = sorted(
    path for path in HERE.glob("gemini*.*") if not path.stem.startswith("gemini-clone-")
)
"""What Google sends; the others are of servers that imitate it."""
LOOK = {"functionCall": {"name": "look", "args": {"x": 1}}}


def chunk(*parts, finish=None, usage=None, **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, **more}
    if finish:
        candidate["finishReason"] = finish
    found = {"candidates": [candidate], "modelVersion": "gemini-3.6-flash"}
    if usage:
        found["usageMetadata"] = usage
    check_gemini_answer(found)
    return found


def counts(prompt, spoken, **more):
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": spoken,
        "totalTokenCount": prompt + spoken,
        **more,
    }


def sse(*chunks):
    return b"".join(b"data: %b\n\n" % orjson.dumps(item) for item in chunks)


def asked(provider="gemini", **fields):
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    given = {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": "go"}], **fields}
    return adapter, adapter.build_request(parse.parse_request(given))


def read(*chunks, provider="gemini"):
    adapter, _ = asked(provider)
    events = adapter.feed_bytes(sse(*chunks)) + adapter.end_stream()
    check_events(events, complete=adapter.is_complete)
    return adapter, events


def answer(*chunks, **given):
    adapter, events = read(*chunks, **given)
    assert adapter.fault is None
    return message_to_wire(message_from_events(events))


def fault(*chunks):
    adapter, _ = read(*chunks)
    assert adapter.fault is not None
    whole = make_adapter(PROVIDER_SPECS["gemini"], "01TEST")
    if len(chunks) == 1:
        with pytest.raises(UpstreamFault) as caught:
            whole.parse_message(orjson.dumps(chunks[0]))
        assert (caught.value.code, caught.value.status) == (
            adapter.fault.code,
            adapter.fault.status,
        )
    return adapter.fault


def kinds(message):
    return [block["type"] for block in message["content"]]


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def from_fixture(name, **fields):
    adapter, _ = asked(**fields)
    events = adapter.feed_bytes((HERE / f"{name}.sse").read_bytes()) + adapter.end_stream()
    assert adapter.is_complete
    check_events(events)
    return message_to_wire(message_from_events(events))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.name)
def test_the_fixtures_are_truthful(path):
    body = BodyParser()
    for _, text in body.feed_bytes(path.read_bytes()) + body.end_body()[0]:
        found = orjson.loads(text)
        if path.stem.startswith("gemini-oauth-"):
            found = found.get("response", {})
        if isinstance(found, dict) and "error" not in found:
            check_gemini_answer(found)


def test_sources_are_cited_by_their_bytes():
    found = from_fixture("gemini-grounded", tools=[SEARCH])
    use, result, text = found["content"]
    cited = [(item["url"][-1], item["cited_text"]) for item in text["citations"]]
    sunny = "Kölner Dom: sonnig"
    assert cited == [("k", sunny), ("d", sunny), ("d", "It is warm.")]
    assert (use["type"], use["name"]) == ("server_tool_use", "web_search")
    assert use["input"] == {"query": "weather köln"}
    assert result["tool_use_id"] == use["id"]
    assert [item["title"] for item in result["content"]] == ["Wetter", ""]
    assert found["usage"]["server_tool_use"]["web_search_requests"] == 1


@pytest.mark.parametrize(
    "segment",
    [{}, {"endIndex": -1}, {"startIndex": 9, "endIndex": 3}, {"endIndex": "x"}, {"text": 3}, 7],
)
def test_sources_of_no_place_are_still_named(segment):
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://a.example"}}, {"web": {}}, 3],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0, 1, 2, "x"]}, 1],
    }
    candidate = {
        "content": {"parts": [{"text": "ä"}]},
        "finishReason": "STOP",
        "groundingMetadata": grounding,
    }
    (_, _, text) = answer({"candidates": [candidate]})["content"]
    assert [item["cited_text"] for item in text["citations"]] == [""]


def test_recited_works_are_cited():
    works = {"citations": [{"startIndex": 0, "endIndex": 2, "uri": "https://a.example"}, {}]}
    (text,) = answer(chunk({"text": "äbc"}, finish="STOP", citationMetadata=works))["content"]
    assert [item["cited_text"] for item in text["citations"]] == ["ä"]


def test_what_is_kept_to_cite_from_is_bounded(monkeypatch):
    monkeypatch.setattr(stream, "MAX_CITED", 4)
    adapter, _ = asked()
    adapter.feed_bytes(sse(*[chunk({"text": "abc"})] * 50))
    assert sum(map(len, adapter._decoder._citable)) <= 6


def test_code_and_what_came_of_it():
    found = from_fixture("gemini-code")["content"]
    assert [block["type"] for block in found] == [
        "text",
        *["server_tool_use", "code_execution_tool_result"] * 2,
        "redacted_thinking",
        "image",
        "text",
    ]
    assert found[1]["id"] == found[2]["tool_use_id"] != found[3]["id"]
    assert [found[at]["content"]["return_code"] for at in (2, 4)] == [0, 1]
    assert (found[2]["content"]["stdout"], found[4]["content"]["stderr"]) == (
        "42\n",
        "ZeroDivisionError",
    )


def test_tools_that_google_ran():
    found = from_fixture("gemini-hosted", tools=[SEARCH])
    uses = [block for block in found["content"] if block["type"] == "server_tool_use"]
    results = [block for block in found["content"] if block["type"].endswith("_tool_result")]
    assert [use["name"] for use in uses] == ["web_search", "web_fetch", "web_fetch"]
    assert [use["id"] for use in uses] == [result["tool_use_id"] for result in results]
    assert results[2]["content"]["error_code"] == "url_not_accessible"
    counted = {"web_search_requests": 1, "web_fetch_requests": 2}
    assert found["usage"]["server_tool_use"] == counted


def test_spoken_answers_and_drafts_of_pictures():
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}
    draft = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thought": True}
    assert kinds(answer(chunk(draft, sound, finish="STOP"))) == ["audio"]


def test_calls_keep_their_ids_and_never_share_one():
    def ids(*calls):
        parts = [{"functionCall": {"name": "f", **call}} for call in calls]
        return [block["id"] for block in answer(chunk(*parts, finish="STOP"))["content"]]

    assert ids({"id": "a"}, {"id": "b"}) == ["a", "b"]
    assert len(set(ids({}, {}, {"id": "a"}, {"id": "a"}))) == 4


def test_calls_have_a_limit():
    found = fault(chunk(*[LOOK] * (MAX_CALLS + 50), finish="STOP"))
    assert found.code == "upstream_too_large"


def test_signatures_stay_beside_their_parts():
    thought = {"text": "hm", "thought": True}
    signed = {**LOOK, "thoughtSignature": "Sig1"}
    found = answer(
        chunk(thought),
        chunk({**thought, "thoughtSignature": "SigT"}),
        chunk({"text": "so", "thoughtSignature": "Sig2"}),
        chunk(signed),
        chunk(LOOK),
        chunk({"text": "", "thoughtSignature": "Sig3"}, finish="STOP"),
    )["content"]
    assert [(b["type"], b.get("signature") or b.get("data")) for b in found] == [
        ("thinking", "vai1.gemini.thought.SigT"),
        ("text", None),
        ("redacted_thinking", "vai1.gemini.text.Sig2"),
        ("redacted_thinking", "vai1.gemini.part.Sig1"),
        ("tool_use", None),
        ("tool_use", None),
        ("redacted_thinking", "vai1.gemini.text.Sig3"),
    ]
    (plain, _) = answer(chunk(thought), chunk({"text": "so"}, finish="STOP"))["content"]
    assert plain["signature"] == "vai1.gemini.thought."


REASONS = {
    "STOP": "end_turn",
    "MAX_TOKENS": "max_tokens",
    "TOO_MANY_TOOL_CALLS": "pause_turn",
    "OTHER": "end_turn",
    "CONTINUATION": "max_tokens",
    **dict.fromkeys(
        [
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
            *("MODEL_ARMOR", "ESCALATION"),
        ],
        "refusal",
    ),
}


@pytest.mark.parametrize(("reason", "expected"), REASONS.items())
def test_reasons_to_end(reason, expected):
    found = answer(chunk({"text": "x"}, finish=reason))
    assert found["stop_reason"] == expected
    if expected == "refusal":
        assert found["stop_details"]["explanation"] == reason
    kept = {"end_turn": "tool_use"}.get(expected, expected)
    assert answer(chunk(LOOK, finish=reason))["stop_reason"] == kept


@pytest.mark.parametrize(
    "reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "NO_IMAGE"]
)
def test_an_answer_the_model_could_not_finish_is_a_fault(reason):
    for parts in ([], [{"text": "x"}]):
        found = fault(chunk(*parts, finish=reason))
        assert (found.type, found.status, found.code) == ("api_error", 502, reason.lower())
        assert found.should_retry is True


def test_ends_that_no_retry_mends():
    assert fault(chunk(finish="MISSING_THOUGHT_SIGNATURE")).should_retry is False
    disabled = fault(chunk(finish="PUP_LIMITED_DISABLED"))
    assert (disabled.type, disabled.status) == ("permission_error", 403)


def test_an_unknown_reason_needs_content():
    assert (
        answer({"candidates": [{"content": {"parts": [LOOK]}, "finishReason": "FUNCTION_CALL"}]})[
            "stop_reason"
        ]
        == "tool_use"
    )
    for reason in ("OTHER", "NEW\x00\nTHING"):
        found = fault({"candidates": [{"finishReason": reason}]})
        assert found.code == "upstream_no_content"
        assert "\x00" not in found.message


def test_an_answer_without_an_end_is_a_fault():
    assert fault(chunk({"text": "x"})).code == "upstream_truncated"
    assert fault({"usageMetadata": {"promptTokenCount": 3}}).code == "upstream_truncated"
    unspecified = chunk({"text": "x"}, finish="FINISH_REASON_UNSPECIFIED")
    assert fault(unspecified).code == "upstream_truncated"


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"promptTokenCount": 5}, (5, None, None, None)),
        ({"promptTokenCount": 5, "totalTokenCount": 5}, (5, 0, None, None)),
        ({"promptTokenCount": 5, "totalTokenCount": 9, "thoughtsTokenCount": 4}, (5, 4, None, 4)),
        (
            counts(9, 10, thoughtsTokenCount=90, cachedContentTokenCount=4),
            (5, 100, 4, 90),
        ),
        (counts(9, 1, toolUsePromptTokenCount=7), (16, 1, None, None)),
        (counts(3, 1, cachedContentTokenCount=8), (0, 1, 8, None)),
        ({"promptTokenCount": "12", "candidatesTokenCount": "3"}, (12, 3, None, None)),
        ({}, (None, None, None, None)),
    ],
)
def test_usage(wire, expected):
    adapter, _ = asked()
    adapter.feed_bytes(sse({"usageMetadata": wire}))
    found = adapter.usage
    assert (
        found.input_tokens,
        found.output_tokens,
        found.cache_read_input_tokens,
        found.thinking_tokens,
    ) == expected


FIRST = chunk(
    {"text": "one "}, finish="CONTINUATION", usage=counts(5, 10), continuationToken="VG9rMQ=="
)
SECOND = chunk(
    LOOK, {"text": "two "}, finish="CONTINUATION", usage=counts(6, 20), continuationToken="VG9rMg=="
)
LAST = chunk({"text": "three"}, finish="STOP", usage=counts(7, 30))


def test_an_answer_goes_on_in_further_bodies():
    adapter, wire = asked(stream=True, system="s")
    events = []
    for body, token in ((FIRST, b"VG9rMQ=="), (SECOND, b"VG9rMg==")):
        events += adapter.feed_bytes(sse(body)) + adapter.end_stream()
        assert not adapter.is_complete
        assert adapter.fault is None
        following = adapter.next_request
        assert following.target == wire.target
        assert following.streams
        assert following.body == wire.body[:-1] + b',"continuationToken":"%b"}' % token
    events += adapter.feed_bytes(sse(LAST)) + adapter.end_stream()
    assert adapter.is_complete
    assert adapter.next_request is None
    check_events(events)
    whole = message_to_wire(message_from_events(events))
    assert [block.get("text") for block in whole["content"]] == ["one ", None, "two three"]
    assert whole["stop_reason"] == "tool_use"
    assert whole["usage"]["input_tokens"] == 18
    assert whole["usage"]["output_tokens"] == 60

    adapter, _ = asked(system="s")
    assert adapter.parse_message(orjson.dumps(FIRST)) is None
    assert adapter.next_request is not None
    assert adapter.parse_message(orjson.dumps(SECOND)) is None
    assert message_to_wire(adapter.parse_message(orjson.dumps(LAST))) == whole
    assert adapter.next_request is None


def test_the_callers_limit_ends_it():
    adapter, _ = asked(stream=True, max_tokens=10)
    events = adapter.feed_bytes(sse(FIRST)) + adapter.end_stream()
    assert adapter.next_request is None
    assert message_to_wire(message_from_events(events))["stop_reason"] == "max_tokens"
    adapter, _ = asked(max_tokens=30)
    assert adapter.parse_message(orjson.dumps(FIRST)) is None
    assert adapter.parse_message(orjson.dumps(SECOND)).stop_reason == "max_tokens"


def test_hops_are_bounded(monkeypatch):
    monkeypatch.setattr(adapters, "MAX_HOPS", 3)
    adapter, _ = asked()
    answers = [adapter.parse_message(orjson.dumps(FIRST)) for _ in range(4)]
    assert answers[:3] == [None] * 3
    assert answers[3].stop_reason == "max_tokens"


def test_code_assist_cannot_be_asked_to_go_on():
    adapter, _ = asked("gemini-oauth")
    assert adapter.parse_message(orjson.dumps({"response": FIRST})).stop_reason == "max_tokens"
    assert adapter.next_request is None


def test_a_further_body_that_fails_is_the_answers_fault():
    adapter, _ = asked(stream=True)
    adapter.feed_bytes(sse(FIRST))
    adapter.end_stream()
    adapter.feed_bytes(sse(chunk({"text": "half"}, usage=counts(5, 3))))
    assert adapter.end_stream() == []
    assert adapter.fault.code == "upstream_truncated"
    assert adapter.next_request is None
    assert adapter.usage.output_tokens == 13


def test_an_empty_further_body_is_a_fault():
    adapter, _ = asked(stream=True)
    adapter.feed_bytes(sse(FIRST))
    adapter.end_stream()
    adapter.end_stream()
    assert adapter.fault.code == "upstream_truncated"
    adapter, _ = asked()
    adapter.parse_message(orjson.dumps(FIRST))
    with pytest.raises(UpstreamBroken):
        adapter.parse_message(b"")


ERROR = {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}


@pytest.mark.parametrize(
    "tail",
    [
        orjson.dumps(ERROR),
        orjson.dumps([ERROR]),
        orjson.dumps(ERROR, option=orjson.OPT_INDENT_2),
        b"\r\n" + orjson.dumps(ERROR, option=orjson.OPT_INDENT_2).replace(b"\n", b"\r\n"),
        b"  " + orjson.dumps(ERROR) + b"\n\n\n",
    ],
)
@pytest.mark.parametrize("before", [b"", sse(chunk({"text": "x"})), sse(chunk({"text": "x"}))[:-1]])
def test_an_error_in_plain_lines_is_told(before, tail):
    data = before + tail
    for size in (1, 7, len(data)):
        adapter, _ = asked(stream=True)
        for at in range(0, len(data), size):
            adapter.feed_bytes(data[at : at + size])
        adapter.end_stream()
        assert (adapter.fault.type, adapter.fault.status) == ("rate_limit_error", 429)
        assert adapter.fault.message == "Slow down."


def test_an_array_in_answer_to_a_stream_request_is_its_chunks():
    chunks = [chunk({"text": "a"}), chunk({"text": "b"}, finish="STOP")]
    data = orjson.dumps(chunks, option=orjson.OPT_INDENT_2)
    for body in (data, b"\xef\xbb\xbf" + data, b"\n " + data):
        adapter, _ = asked(stream=True)
        events = [
            event for byte in body for event in adapter.feed_bytes(bytes([byte]))
        ] + adapter.end_stream()
        assert message_from_events(events).content[0].text == "ab"
        assert (
            make_adapter(PROVIDER_SPECS["gemini"], "x").parse_message(body.strip()).content[0].text
            == "ab"
        )


def test_plain_json_is_not_held_without_a_bound(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_PLAIN", 100)
    adapter, _ = asked(stream=True)
    for _ in range(30):
        adapter.feed_bytes(b"{         ")
    assert isinstance(adapter.fault, UpstreamBroken)
    assert adapter.fault.provider == "gemini"
    assert adapter.end_stream() == []


def test_a_line_is_not_held_without_a_bound():
    body = BodyParser()
    body.feed_bytes(b"data: " + b"x" * (MAX_FRAME + 2))
    assert body.fault is not None


def test_stop_sequences_end_it_here_but_not_inside_thoughts():
    many = ["1", "2", "3", "4", "5", "END"]
    adapter, _ = asked(stream=True, stop_sequences=many)
    events = adapter.feed_bytes(
        sse(
            chunk({"text": "THE END", "thought": True}),
            chunk({"text": "so E"}),
            chunk({"text": "ND more"}, finish="STOP"),
        )
    )
    assert adapter.is_complete
    assert adapter.ended_early
    found = message_from_events(events)
    assert [getattr(b, "text", None) for b in found.content] == [None, "so "]
    assert (found.stop_reason, found.stop_sequence) == ("stop_sequence", "END")
    adapter, _ = asked(stop_sequences=many)
    found = adapter.parse_message(orjson.dumps(chunk({"text": "so E"}, LOOK, finish="STOP")))
    assert found.content[0].text == "so E"


def test_only_the_first_answer_is_read():
    second = {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "SAFETY"}
    found = answer(chunk({"text": "a"}), {"candidates": [second]}, chunk(finish="STOP"))
    assert found["content"] == [{"type": "text", "text": "a"}]
    assert found["stop_reason"] == "end_turn"


def test_the_model_is_what_the_service_calls_it():
    found = answer({**chunk({"text": "a"}, finish="STOP"), "modelVersion": "models/gemini-x"})
    assert found["model"] == "gemini/gemini-x"
    unnamed = {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}
    assert answer(unnamed)["model"] == "gemini/gemini-3.6-flash"

"""Translation bugs seen in the wild, as Gemini's adapter must not have them.

The numbers are those of `test_known_bugs`, which holds the ones of other formats.
"""

from __future__ import annotations

import orjson
import pytest

from tests.providers.test_gemini_request import (
    IMAGE,
    NEW,
    OLD,
    TOOL,
    USER,
    ask,
    call,
    dropped,
    result,
    sent,
    user,
)
from tests.providers.test_gemini_request import assistant as said_by_model
from tests.providers.test_gemini_stream import LOOK, answer, chunk, counts, fault, read, sse
from vai.providers.decode.accumulate import message_from_events
from vai.providers.factory import make_adapter
from vai.providers.gemini.conversation import UNSIGNED
from vai.providers.registry import PROVIDER_SPECS
from vai.types.events import InputJsonDelta
from vai.types.render import message_to_wire

CHECKS = {}


def bug(number):
    def keep(check):
        CHECKS[number] = check
        return check

    return keep


@bug(3)
def a_turn_of_calls_has_no_empty_text():
    found = answer(chunk({"text": ""}, LOOK), chunk({"text": "\n"}, LOOK, finish="STOP"))
    assert [block["type"] for block in found["content"]] == ["tool_use", "tool_use"]


@bug(5)
def a_call_before_the_chunk_that_says_stop():
    found = answer(chunk(LOOK), chunk({"text": ""}, finish="STOP"))
    assert found["stop_reason"] == "tool_use"


@bug(6)
def all_arguments_in_one_delta():
    _, events = read(
        chunk({"functionCall": {"name": "f", "args": {"a": ["b", {}]}}}, finish="STOP")
    )
    deltas = [
        event.delta.partial_json
        for event in events
        if hasattr(event, "delta") and isinstance(event.delta, InputJsonDelta)
    ]
    assert deltas == ['{"a":["b",{}]}']


@bug(8)
def several_calls_in_one_chunk():
    found = answer(chunk(LOOK, {"text": "between"}, LOOK, finish="STOP"))
    assert [block["type"] for block in found["content"]] == ["tool_use", "text", "tool_use"]


@bug(11)
def a_call_without_arguments():
    (block,) = answer(chunk({"functionCall": {"name": "f"}}, finish="STOP"))["content"]
    assert block["input"] == {}


@bug(15)
def usage_after_the_end():
    found = answer(
        chunk({"text": "x"}, finish="STOP"),
        {"usageMetadata": counts(9, 3, cachedContentTokenCount=2)},
    )
    assert found["usage"]["input_tokens"] == 7
    assert found["usage"]["output_tokens"] == 3


@bug(17)
def thinking_is_part_of_the_output():
    used = counts(5, 10, thoughtsTokenCount=90)
    found = answer(chunk({"text": "x"}, finish="STOP", usage=used))["usage"]
    assert found["output_tokens"] == 100
    assert found["output_tokens_details"] == {"thinking_tokens": 90}


@bug(19)
def a_cut_is_a_fault():
    assert fault(chunk({"text": "half"})).code == "upstream_truncated"


@bug(21)
def an_error_in_plain_lines():
    adapter = make_adapter(PROVIDER_SPECS["gemini"], "01TEST")
    error = {"error": {"code": 500, "message": "m", "status": "INTERNAL"}}
    events = adapter.feed_bytes(
        sse(chunk({"text": "x"})) + orjson.dumps(error, option=orjson.OPT_INDENT_2)
    )
    events += adapter.end_stream()
    assert not adapter.is_complete
    assert (adapter.fault.type, adapter.fault.message) == ("api_error", "m")


@bug(22)
def a_malformed_call_is_no_empty_answer():
    found = fault({"candidates": [{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL"}]})
    assert found.code == "malformed_function_call"


@bug(23)
def a_cut_or_a_refusal_behind_a_call():
    for reason, expected in (("MAX_TOKENS", "max_tokens"), ("SAFETY", "refusal")):
        assert answer(chunk(LOOK), chunk(finish=reason))["stop_reason"] == expected


@bug(24)
def a_refused_prompt():
    refused = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": counts(5, 0)}
    for found in (
        answer(refused),
        message_to_wire(
            make_adapter(PROVIDER_SPECS["gemini"], "x").parse_message(orjson.dumps(refused))
        ),
    ):
        assert (found["content"], found["stop_reason"]) == ([], "refusal")
        assert found["stop_details"]["explanation"] == "SAFETY"


@bug(30)
def a_picture_in_a_result():
    turns = (USER, said_by_model(call()), user(result([IMAGE])))
    assert "inlineData" in sent(*turns)["contents"][2]["parts"][0]["functionResponse"]["parts"][0]
    assert "inlineData" in sent(*turns, model=OLD)["contents"][2]["parts"][-1]


@bug(31)
def a_failed_tool_is_visible():
    found = sent(USER, said_by_model(call()), user(result("no", is_error=True)))
    assert found["contents"][2]["parts"][0]["functionResponse"]["response"] == {"error": "no"}
    found = sent(USER, said_by_model(call()), user(result([], is_error=True)))
    assert found["contents"][2]["parts"][0]["functionResponse"]["response"] == {"error": ""}


@bug(32)
def signatures_go_round_unchanged():
    parts = [
        {"text": "hm", "thought": True},
        {**LOOK, "thoughtSignature": "Af_-/+=="},
        LOOK,
        {"text": "", "thoughtSignature": "Af_-AAAA"},
    ]
    plain = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    adapter = make_adapter(PROVIDER_SPECS["gemini"], "01TEST")
    events = adapter.feed_bytes(sse(plain)) + adapter.end_stream()
    content = message_to_wire(message_from_events(events))["content"]
    answers = [result(id=block["id"]) for block in content if block["type"] == "tool_use"]
    _, wire = ask(USER, said_by_model(*content), user(*answers))
    found = orjson.loads(wire.body)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in found] == ["Af_-/+==", None, "Af_-AAAA"]
    assert [list(part)[:1] for part in found] == [["functionCall"], ["functionCall"], ["text"]]


@bug(35)
def calls_from_elsewhere_carry_the_sentinel():
    thought = {"type": "thinking", "thinking": "x", "signature": "EqSigned"}
    turns = (USER, said_by_model(thought, call(), call("c2")), user(result(), result(id="c2")))
    parts = sent(*turns)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [UNSIGNED, None]
    assert "thoughtSignature" not in str(sent(*turns, model=OLD))


@bug(36)
def schemas_go_as_they_are():
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "default": {"type": ["string", "null"], "const": "a"},
            "$ref": {"$ref": "#/$defs/n"},
            "n": {"exclusiveMinimum": 3, "oneOf": [{"type": "integer"}]},
        },
        "$defs": {"n": {"type": "number"}},
    }
    given = {**TOOL, "input_schema": {"$schema": "https://json-schema.org/x", **schema}}
    found = sent(tools=[given])["tools"][0]["functionDeclarations"][0]
    assert found["parametersJsonSchema"] == schema


@bug(39)
def searches_are_no_calls_of_the_callers():
    search = {"toolCall": {"id": "s", "toolType": "GOOGLE_SEARCH_WEB", "args": {}}}
    found = answer(chunk(search), chunk({"text": "x"}, finish="STOP"))
    assert found["stop_reason"] == "end_turn"
    assert [block["type"] for block in found["content"]] == ["server_tool_use", "text"]


@bug(40)
def a_very_long_line_in_small_pieces():
    data = sse(chunk({"text": "ü" * 1_000_000}, finish="STOP"))
    adapter = make_adapter(PROVIDER_SPECS["gemini"], "01TEST")
    events = []
    for at in range(0, len(data), 4096):
        events += adapter.feed_bytes(data[at : at + 4096])
    events += adapter.end_stream()
    assert len(message_from_events(events).content[0].text) == 1_000_000


@bug(41)
def one_call_at_a_time_is_no_error():
    fields = {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    assert dropped(**fields) == ["tool_choice.disable_parallel_tool_use"]


@bug(43)
def instructions_alone_get_a_user_turn():
    blank = {"role": "user", "parts": [{"text": " "}]}
    assert sent({"role": "user", "content": ""}, system="s")["contents"] == [blank]
    alone = sent({"role": "system", "content": "s"})["contents"]
    assert [content["role"] for content in alone] == ["user"]


@bug(44)
def an_error_page():
    page = b"<html>\n\n<body>Bad gateway</body></html>"
    adapter = make_adapter(PROVIDER_SPECS["gemini"], "01TEST")
    assert adapter.parse_error(502, {}, page).status == 502
    assert adapter.feed_bytes(page) + adapter.end_stream() == []
    assert adapter.fault is not None


@bug(45)
def model_names_are_kept():
    adapter, _ = ask(model="x:thinking")
    found = adapter.parse_message(
        orjson.dumps(chunk({"text": "x"}, finish="STOP") | {"modelVersion": ""})
    )
    assert found.model == "gemini/x:thinking"


@bug(48)
def a_limit_used_up_by_thinking():
    used = {"promptTokenCount": 5, "thoughtsTokenCount": 50, "totalTokenCount": 55}
    found = answer(chunk({"text": "hm", "thought": True}, finish="MAX_TOKENS", usage=used))
    assert found["stop_reason"] == "max_tokens"
    assert found["usage"]["output_tokens"] == 50


@bug(50)
def one_id_for_the_stream():
    adapter, events = read(chunk({"text": "a"}), chunk({"text": "b"}, finish="STOP"))
    assert message_from_events(events).id == "msg_01TEST"
    assert adapter.is_complete
    assert NEW in message_from_events(events).model


@pytest.mark.parametrize("number", sorted(CHECKS))
def test_bug(number):
    CHECKS[number]()

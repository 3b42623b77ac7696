"""What is read from OpenAI's Responses."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import orjson
import pytest
from openai.types.responses import ResponseError

from tests.providers.oracle import check_responses, check_responses_answer
from tests.providers.validator import check_events
from vai.errors import UpstreamBroken, UpstreamRejected
from vai.providers.decode.accumulate import message_from_events
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.responses import output_items as said
from vai.providers.responses import wrapped_items as kept
from vai.types import parse
from vai.types.base import to_wire
from vai.types.render import message_to_wire

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"
USER = {"role": "user", "content": "go"}


def adapter(**asked):
    made = make_adapter(PROVIDER_SPECS["oai-resp"], "01TEST")
    if asked:
        made.build_request(
            parse.parse_request({"model": "gpt-5.6-sol", "messages": [USER], **asked})
        )
    return made


def read(*events, **asked):
    """The message of a stream, which must be complete."""
    made = adapter(**asked)
    found = made.feed_bytes(b"".join(b"data: %b\n\n" % orjson.dumps(event) for event in events))
    found += made.end_stream()
    assert made.fault is None, made.fault
    check_events(found)
    return message_from_events(found, made.usage)


def fault_of(*events):
    made = adapter()
    found = made.feed_bytes(b"".join(b"data: %b\n\n" % orjson.dumps(event) for event in events))
    found += made.end_stream()
    check_events(found, complete=False)
    assert made.fault is not None
    return made.fault


def done(index, item):
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def added(index, item):
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def completed(kind="completed", **more):
    return {"type": f"response.{kind}", "response": {"id": "resp_1", "status": kind, **more}}


def delta(text, index=0, part=0, kind="output_text"):
    at = {"output_index": index, "content_index": part}
    return {"type": f"response.{kind}.delta", "delta": text, **at}


def answer(*items, **more):
    """The message of an answer that was not streamed; a stream of it gives the same."""
    body = {"id": "resp_1", "status": "completed", "output": list(items), **more}
    whole = adapter().parse_message(orjson.dumps(body))
    events = [done(index, item) for index, item in enumerate(items)]
    created = {"type": "response.created", "response": {"id": "resp_1"}}
    streamed = read(created, *events, completed(**more))
    assert message_to_wire(streamed) == message_to_wire(whole)
    return whole


def blocks(message):
    return [to_wire(block) for block in message.content]


def message(text, annotations=(), **more):
    part = {"type": "output_text", "text": text, "annotations": list(annotations)}
    return {"type": "message", "id": "m", "role": "assistant", "content": [part], **more}


OFFICIAL = [path for path in sorted(STREAMS.glob("oai-resp-*")) if "-clone-" not in path.stem]


@pytest.mark.parametrize("path", OFFICIAL, ids=lambda path: path.name)
def test_the_fixtures_are_what_the_official_types_say(path):
    data = path.read_bytes()
    if path.suffix == ".json":
        check_responses_answer(orjson.loads(data))
        return
    numbers = []
    for line in data.splitlines():
        if line.startswith(b"data: "):
            event = orjson.loads(line[6:])
            check_responses_answer(event)
            numbers.append(event["sequence_number"])
    assert numbers == list(range(len(numbers)))


def test_reasoning_first_and_indexes_without_gaps():
    """Known bug 26: the place in the output is no index of a block."""
    found = read(
        added(0, {"type": "reasoning", "id": "rs", "summary": []}),
        done(0, {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "g"}),
        delta("Hi", 1),
        completed(),
    )
    assert [block["type"] for block in blocks(found)] == ["redacted_thinking", "text"]


def test_encrypted_content_counts_only_when_the_item_is_done():
    item = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "half"}
    (block, _) = blocks(
        read(added(0, item), done(0, item | {"encrypted_content": "w.hole="}), completed())
    )
    assert kept.unwrap_item(block["data"], "oai-resp")["encrypted_content"] == "w.hole="
    found = read(added(0, item), done(0, item | {"encrypted_content": None}), completed())
    assert found.content == []


def test_two_reasoning_items_keep_their_own_envelopes():
    def item(id, *texts):
        parts = [{"type": "summary_text", "text": text} for text in texts]
        return {"type": "reasoning", "id": id, "summary": parts, "encrypted_content": f"g{id}"}

    first, second, third, _ = blocks(answer(item("1", "a", "b"), item("2"), item("3", "c")))
    assert first["thinking"] == "a\n\nb"
    assert third["thinking"] == "c"
    seals = [first["signature"], second["data"], third["signature"]]
    assert [kept.unwrap_item(seal, "oai-resp")["id"] for seal in seals] == ["1", "2", "3"]


def test_what_was_said_can_be_sent_back():
    reasoning = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "t"}],
        "encrypted_content": "g",
        "status": None,
    }
    items = [
        reasoning,
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "q", "sources": []},
        },
        message("First.", phase="commentary"),
        message("Last.", phase="final_answer"),
    ]
    turn = {"role": "assistant", "content": blocks(answer(*items))}
    ask = {"model": "gpt-5.6-sol", "messages": [USER, turn, USER]}
    made = adapter()
    body = orjson.loads(made.build_request(parse.parse_request(ask)).body)
    check_responses(body)
    assert made.dropped == []
    del reasoning["status"]
    assert body["input"][1:-1] == [
        reasoning,
        items[1],
        {"role": "assistant", "content": "First.", "phase": "commentary"},
        {"role": "assistant", "content": "Last.", "phase": "final_answer"},
    ]


def test_messages_and_parts_are_texts_of_their_own():
    parts = [{"type": "output_text", "text": one, "annotations": []} for one in ("b", "c")]
    found = answer(message("a"), {"type": "message", "content": parts})
    assert [block["text"] for block in blocks(found)] == ["a", "b", "c"]


def test_what_deltas_left_out_follows():
    """Known bug 7, and servers that send only what is complete."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"x":1}'}
    found = read(
        delta("Hal", 0),
        done(0, message("Hallo")),
        added(1, call | {"arguments": ""}),
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"x"'},
        done(1, call),
        completed(),
    )
    assert found.content[0].text == "Hallo"
    assert found.content[1].input == {"x": 1}
    assert found.stop_reason == "tool_use"


def test_deltas_of_items_that_were_not_announced():
    item = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "t"}],
        "encrypted_content": "g",
    }
    thought = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "t"}
    piece = {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{}"}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    found = read(thought, done(0, item), piece, done(1, call), completed())
    assert [getattr(block, "thinking", None) for block in found.content] == ["t", None]
    assert found.content[1].name == "f"


def test_interleaved_calls():
    def piece(index, text):
        kind = "response.function_call_arguments.delta"
        return {"type": kind, "output_index": index, "delta": text}

    call = {"type": "function_call", "name": "f", "arguments": ""}
    found = read(
        added(0, call | {"call_id": "a"}),
        added(1, call | {"call_id": "b"}),
        *(piece(index, text) for text in ('{"x":', "1}") for index in (0, 1)),
        completed(),
    )
    assert [(block.id, block.input) for block in found.content] == [
        ("a", {"x": 1}),
        ("b", {"x": 1}),
    ]


def test_one_place_for_two_calls():
    def call(name):
        return {"type": "function_call", "call_id": name, "name": name, "arguments": "{}"}

    found = read(
        *(make(0, call(name)) for name in ("a", "b") for make in (added, done)), completed()
    )
    assert [block.id for block in found.content] == ["a", "b"]


def test_ids_that_change_on_the_way_do_not_matter():
    text = STREAMS.joinpath("oai-resp-reasoning-calls.sse").read_text()
    count = iter(range(10_000))
    lines = [line.replace('"item_id":"', f'"item_id":"{next(count)}') for line in text.split("\n")]
    made, same = adapter(), adapter()
    found = made.feed_bytes("\n".join(lines).encode())
    assert found == same.feed_bytes(text.encode())
    assert made.is_complete


def test_names_come_back_as_the_caller_wrote_them():
    made = make_adapter(PROVIDER_SPECS["oai-resp"], "01TEST")
    ask = {"model": "m", "messages": [USER], "tools": [{"name": "a.b"}]}
    alias = orjson.loads(made.build_request(parse.parse_request(ask)).body)["tools"][0]["name"]
    call = {"type": "function_call", "call_id": "c", "name": alias, "arguments": "{}"}
    body = {"status": "completed", "output": [call]}
    assert made.parse_message(orjson.dumps(body)).content[0].name == "a.b"


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", '{"a":1}{"a":2}'])
def test_broken_arguments_are_a_fault(arguments):
    """Known bugs 12 and 13."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}
    assert fault_of(done(0, call), completed()).code == "upstream_invalid_tool_input"
    with pytest.raises(UpstreamBroken):
        adapter().parse_message(orjson.dumps({"status": "completed", "output": [call]}))


def test_a_call_that_was_cut_off():
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":'}
    found = answer(call, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert found.stop_reason == "max_tokens"
    assert found.content[0].input == {}


def test_free_form_input_and_screens():
    free = {"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": 'x"'}
    click = {"type": "click", "button": "left", "x": 1, "y": 2}
    screen = {"type": "computer_call", "call_id": "d", "id": "cu", "action": click}
    check = {"id": "s", "code": "c", "message": "m"}
    other = screen | {"actions": [click, click], "pending_safety_checks": [check]}
    found = answer(free, screen, other)
    assert [(block.name, block.input) for block in found.content] == [
        ("sql", {"input": 'x"'}),
        ("computer", {"actions": [click]}),
        ("computer", {"actions": [click, click], "pending_safety_checks": [check]}),
    ]
    assert found.stop_reason == "tool_use"


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        ("max_output_tokens", "max_tokens"),
        ("content_filter", "refusal"),
        ("max_messages", "pause_turn"),
        ("steered", "end_turn"),
        (None, "max_tokens"),
    ],
)
def test_why_an_answer_was_cut(reason, meant):
    """Known bugs 25 and 48."""
    details = {"reason": reason} if reason else None
    found = answer(message("Half"), status="incomplete", incomplete_details=details)
    assert found.stop_reason == meant
    assert (found.stop_details is not None) is (meant == "refusal")


def test_the_name_of_the_event_counts_where_there_is_no_status():
    event = {"type": "response.incomplete", "response": {"usage": {"output_tokens": 3}}}
    found = read(delta("x"), event)
    assert found.stop_reason == "max_tokens"
    assert found.usage.output_tokens == 3
    assert read(delta("x"), {"type": "response.completed"}).stop_reason == "end_turn"


def test_a_refusal():
    part = {"type": "refusal", "refusal": "No."}
    found = answer({"type": "message", "content": [part]})
    assert (found.stop_reason, found.content[0].text) == ("refusal", "No.")
    assert read(delta("No.", kind="refusal"), completed()).stop_reason == "refusal"


def test_usage():
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 4},
    }
    found = answer(message("x"), usage=usage, service_tier="flex").usage
    assert (found.input_tokens, found.output_tokens, found.thinking_tokens) == (10, 9, 4)
    assert (found.cache_read_input_tokens, found.cache_creation_input_tokens) == (60, 30)
    assert found.extra == {"service_tier": "flex"}
    assert answer(message("x")).usage.input_tokens is None


def test_the_id_of_the_answer_is_told():
    assert answer(message("x")).metadata == {"oai_resp": {"response_id": "resp_1"}}


def test_a_search():
    action = {"type": "search", "queries": ["a", "b"], "sources": [{"type": "url", "url": "u"}]}
    call = {"type": "web_search_call", "id": "ws", "status": "completed", "action": action}
    opened = call | {"id": "op", "action": {"type": "open_page", "url": "u"}}
    looked = call | {"id": "fi", "action": {"type": "find_in_page", "url": "u", "pattern": "p"}}
    failed = call | {"id": "no", "status": "failed"}
    message = answer(call, opened, looked, failed)
    found = blocks(message)
    assert [block["type"] for block in found] == [
        *("server_tool_use", "web_search_tool_result"),
        *("server_tool_use", "web_fetch_tool_result") * 2,
        *("server_tool_use", "web_search_tool_result"),
        "text",
    ]
    assert found[0]["input"] == {"query": "a", "queries": ["a", "b"]}
    assert found[1]["content"][0]["url"] == "u"
    assert found[4]["input"] == {"url": "u", "pattern": "p"}
    assert found[7]["content"]["error_code"] == "unavailable"
    assert message.usage.extra["server_tool_use"] == {
        "web_search_requests": 2,
        "web_fetch_requests": 2,
    }
    assert message.stop_reason == "end_turn"


def test_sources_of_a_text():
    def at(start, end, **more):
        return {"start_index": start, "end_index": end, **more}

    annotations = [
        {"type": "url_citation", "url": "u", "title": "t", **at(3, 8)},
        {"type": "container_file_citation", "file_id": "f", "filename": "n", **at(0, 2)},
        {"type": "file_citation", "file_id": "f", "filename": "n", "index": 2},
        {"type": "of a new kind"},
        None,
    ]
    (block,) = blocks(answer(message("ab 東京 🚆z", annotations)))
    assert [cited["cited_text"] for cited in block["citations"]] == ["東京 🚆z", "ab", ""]
    event = {"type": "response.output_text.annotation.added", "output_index": 0}
    early = [event | {"content_index": 0, "annotation": one} for one in annotations]
    found = read(delta("ab "), *early, delta("東京 🚆z"), completed())
    assert blocks(found) == [block]


def test_sources_are_bounded(monkeypatch):
    monkeypatch.setattr(said, "MAX_SOURCES", 2)
    one = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    event = {"type": "response.output_text.annotation.added", "annotation": one}
    found = read(delta("ab"), *[event] * 5, completed())
    assert len(found.content[0].citations) == 2


def test_the_text_kept_for_them_is_bounded(monkeypatch):
    monkeypatch.setattr(said, "MAX_QUOTABLE", 2)
    event = {"type": "response.output_text.annotation.added"}
    one = {"type": "url_citation", "url": "u", "title": "t", "start_index": 2, "end_index": 4}
    found = read(delta("ab"), delta("cd"), event | {"annotation": one}, completed())
    assert found.content[0].text == "abcd"
    assert found.content[0].citations[0]["cited_text"] == ""


def test_code_that_was_run():
    call = {
        "type": "code_interpreter_call",
        "id": "ci",
        "container_id": "cntr",
        "status": "completed",
        "code": "1+1",
        "outputs": [
            {"type": "logs", "logs": "2"},
            {"type": "image", "url": "data:image/png;base64,aGk="},
            {"type": "image", "url": "https://h/i"},
        ],
    }
    use, result, first, second = blocks(answer(call))
    assert (use["name"], use["input"]) == ("code_execution", {"code": "1+1"})
    assert result["content"]["stdout"] == "2"
    assert kept.unwrap_item(result["signature"], "oai-resp") == call
    assert first["source"] == {"type": "base64", "media_type": "image/png", "data": "aGk="}
    assert second["source"] == {"type": "url", "url": "https://h/i"}
    failed = blocks(answer(call | {"status": "failed", "outputs": None}))[1]
    assert failed["content"]["type"] == "code_execution_tool_result_error"


def test_what_the_servers_tools_did_goes_back_in_one_piece():
    code = {
        "type": "code_interpreter_call",
        "id": "ci",
        "container_id": "cntr",
        "status": "completed",
        "code": "plot()",
        "outputs": [{"type": "image", "url": "https://h/i"}],
    }
    mcp = {"type": "mcp_call", "id": "m", "name": "n", "server_label": "s", "arguments": "{}"}
    files = {"type": "file_search_call", "id": "f", "queries": ["q"], "status": "completed"}
    image = {"type": "image_generation_call", "id": "ig", "result": "aGk="}
    turn = {"role": "assistant", "content": whole(code, mcp, files, image, message("So."))}
    ask = {"model": "gpt-5.6-sol", "messages": [USER, turn, USER]}
    made = adapter()
    body = orjson.loads(made.build_request(parse.parse_request(ask)).body)
    check_responses(body)
    assert made.dropped == []
    assert body["input"][1:4] == [code, mcp, files]
    kinds = [item.get("type") for item in body["input"][4:]]
    assert kinds == ["image_generation_call", None, None]


def whole(*items):
    """The blocks of an answer whose blocks no official type knows."""
    body = {"status": "completed", "output": list(items)}
    return blocks(adapter().parse_message(orjson.dumps(body)))


def test_files_that_were_searched():
    found = {"file_id": "f", "filename": "n", "score": 0.5, "text": "t", "attributes": {}}
    call = {"type": "file_search_call", "id": "fs", "queries": ["q"], "results": [found]}
    use, result, _ = whole(call)
    assert use["input"] == {"queries": ["q"]}
    assert result["type"] == "file_search_tool_result"
    assert result["content"][0]["text"] == "t"


def test_calls_of_mcp_servers():
    call = {
        "type": "mcp_call",
        "id": "mcp",
        "name": "read",
        "server_label": "files",
        "arguments": '{"p":1}',
        "output": "text",
    }
    use, result, _ = whole(call)
    assert (use["server_name"], use["name"], use["input"]) == ("files", "read", {"p": 1})
    assert (result["is_error"], result["content"]) == (False, [{"type": "text", "text": "text"}])
    failed = whole(call | {"error": {"message": "no"}})[1]
    assert (failed["is_error"], failed["content"][0]["text"]) == (True, "no")


def test_an_image():
    call = {"type": "image_generation_call", "id": "ig", "status": "completed", "result": "aGk="}
    (block,) = blocks(answer(call | {"output_format": "webp"}))
    assert block["source"] == {"type": "base64", "media_type": "image/webp", "data": "aGk="}
    assert answer(call | {"result": None}).content == []


def test_items_that_say_nothing_to_the_caller_come_back():
    compaction = {"type": "compaction", "id": "c", "encrypted_content": "g"}
    (block, _) = blocks(answer(compaction, {"type": "of a new kind", "id": "x"}))
    assert kept.unwrap_item(block["data"], "oai-resp") == compaction


def test_an_envelope_is_bounded(monkeypatch):
    monkeypatch.setattr(kept, "MAX_ITEM", 40)
    compaction = {"type": "compaction", "id": "c", "encrypted_content": "g" * 40}
    assert answer(compaction).content == []


def test_a_wrapped_value_is_unwrapped_behind_a_comment():
    form = {"type": "json_schema", "schema": {"type": "array", "items": {"type": "string"}}}
    found = read(
        added(0, message("", phase="commentary")),
        delta("Well.", 0),
        done(0, message("Well.")),
        delta('{"value": ["a', 1),
        delta('"]}', 1),
        done(1, message('{"value": ["a"]}')),
        completed(),
        output_format=form,
    )
    texts = [block["text"] for block in blocks(found) if block["type"] == "text"]
    assert texts == ["Well.", '["a"]']


def test_a_stop_sequence_holds_within_a_text():
    found = read(
        delta("a EN", 0),
        done(0, message("a EN")),
        delta("D b", 1),
        completed(),
        stop_sequences=["END"],
    )
    assert [block["text"] for block in blocks(found)] == ["a EN", "D b"]
    found = read(delta("a EN"), delta("D b"), stop_sequences=["END"])
    assert (found.stop_reason, found.stop_sequence) == ("stop_sequence", "END")
    assert found.content[0].text == "a "


@pytest.mark.parametrize("size", [1, 5, 99])
def test_a_stop_sequence_holds_within_a_value_that_came_wrapped(size):
    form = {"type": "json_schema", "schema": {"type": "array", "items": {"type": "string"}}}
    text = '{"value": ["a","b"]}'
    said = [delta(text[at : at + size]) for at in range(0, len(text), size)]
    for stop, shown in (("b", '["a","'), ("]", '["a","b"'), ("v", '["a","b"]'), ("}", '["a","b"]')):
        found = read(*said, completed(), output_format=form, stop_sequences=[stop])
        assert found.content[0].text == shown
        assert found.stop_sequence == (stop if stop in "b]" else None)


def test_every_text_of_an_answer_is_unwrapped_and_watched_by_itself():
    form = {"type": "json_schema", "schema": {"type": "array", "items": {"type": "string"}}}
    found = read(
        done(0, message('{"value": ["a EN"]}')),
        done(1, message('{"value": ["a END"]}')),
        completed(),
        output_format=form,
        stop_sequences=["END"],
    )
    assert [block["text"] for block in blocks(found)] == ['["a EN"]', '["a ']


def test_failures():
    failed = completed("failed", error={"code": "server_error", "message": "It broke."})
    found = fault_of(delta("x"), failed)
    assert (found.type, found.code, found.message) == ("api_error", "server_error", "It broke.")
    assert isinstance(fault_of(completed("failed")), UpstreamRejected)
    assert isinstance(fault_of(completed("cancelled")), UpstreamRejected)
    error = {"type": "error", "code": "rate_limit_exceeded", "message": "Slow.", "param": None}
    assert fault_of(error).type == "rate_limit_error"
    assert fault_of({"error": {"code": "insufficient_quota", "message": "m"}}).status == 402
    body = {"id": "r", "status": "failed", "error": {"code": "server_error"}, "output": []}
    with pytest.raises(UpstreamRejected):
        adapter().parse_message(orjson.dumps(body))
    with pytest.raises(UpstreamRejected):
        adapter().parse_message(b'{"error":{"message":"no","type":"server_error"}}')


def test_every_error_code_of_the_official_types_is_known():
    for code in get_args(ResponseError.model_fields["code"].annotation):
        failed = completed("failed", error={"code": code, "message": "m"})
        assert fault_of(failed).type != "provider_error", code
    image = {"code": "invalid_image", "message": "m"}
    assert fault_of(completed("failed", error=image)).status == 400


@pytest.mark.parametrize("status", ["in_progress", "queued"])
def test_an_answer_that_is_not_ready_is_no_answer(status):
    with pytest.raises(UpstreamBroken):
        adapter().parse_message(orjson.dumps({"status": status, "output": []}))


def test_unknown_events_do_not_matter_whatever_is_in_them():
    odd = {"type": "response.of_a_new_kind", "delta": {"x": 1}, "output_index": "first"}
    kept_alive = {"type": "keepalive"}
    assert read(odd, delta("x"), kept_alive, odd, completed()).content[0].text == "x"
    assert read(delta("x") | {"output_index": "first"}, completed()).content[0].text == "x"


def test_five_megabytes_on_one_line():
    call = {"type": "image_generation_call", "id": "ig", "result": "a" * (5 << 20)}
    assert len(read(done(0, call), completed()).content[0].source.data) == 5 << 20

"""Tools that servers of Chat Completions run themselves, their sources, and spoken answers."""

from __future__ import annotations

import orjson
import pytest

from tests.providers.oracle import check_chat
from tests.providers.validator import check_events
from vai.errors import InvalidRequest
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.text_filter import MAX_QUOTABLE, QuotableText, StopAt
from vai.providers.factory import make_adapter
from vai.providers.openai.tool_calls import MAX_SERVER_TOOL_USES
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.base import to_wire
from vai.types.render import message_to_wire

USER = {"role": "user", "content": "go"}
OSS = "openai/gpt-oss-120b"
SEARCHING = "gpt-4o-search-preview"


def adapter_for(provider="openai", model="gpt-4o", **fields):
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    fields = {"model": model, "max_tokens": 99, "messages": [USER], **fields}
    body = orjson.loads(adapter.build_request(parse.parse_request(fields)).body)
    if provider == "openai":
        check_chat(body)
    return adapter, body


def chunk(delta, finish=None):
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def streamed(adapter, *deltas, finish="stop"):
    chunks = [chunk(delta) for delta in deltas] + [chunk({}, finish)]
    data = b"".join(b"data: %b\n\n" % orjson.dumps(item) for item in chunks)
    events = adapter.feed_bytes(data + b"data: [DONE]\n\n")
    assert adapter.fault is None
    check_events(events)
    return message_from_events(events)


def whole(adapter, message, finish="stop"):
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return adapter.parse_message(orjson.dumps({"model": "m", "choices": [choice]}))


def content(answer):
    return [to_wire(block) for block in answer.content]


@pytest.mark.parametrize("kind", ["web_search", "web_search_20260318", "browser_search"])
def test_groq_searches_and_runs_code_on_the_models_that_can(kind):
    tools = [{"type": kind}, {"type": "code_execution"}, {"name": "f"}]
    _, body = adapter_for("groq", OSS, tools=tools)
    assert [tool["type"] for tool in body["tools"]] == [
        "browser_search",
        "code_interpreter",
        "function",
    ]
    _, body = adapter_for(
        "groq",
        "groq/compound",
        tools=[{"type": kind, "config": {"allowed_domains": ["a.org"]}}],
    )
    assert "tools" not in body
    assert body["search_settings"] == {"include_domains": ["a.org"]}


def test_openai_searches_on_its_search_models():
    config = {"user_location": {"city": "Bonn", "x": 1}, "max_uses": 3}
    adapter, body = adapter_for(
        "openai", SEARCHING, tools=[{"type": "web_search", "config": config}]
    )
    assert "tools" not in body
    assert body["web_search_options"] == {
        "user_location": {"type": "approximate", "approximate": {"city": "Bonn"}}
    }
    assert adapter.dropped == ["tools[0].config.max_uses"]


@pytest.mark.parametrize(
    ("provider", "model", "kind"),
    [
        ("openai", "gpt-4o", "web_search"),
        ("openai", SEARCHING, "code_execution"),
        ("openai", "gpt-4o", "file_search"),
        ("groq", "qwen/qwen3.8-27b", "web_search"),
        ("groq", OSS, "computer_use"),
        ("cerebras", "gpt-oss-120b", "web_search"),
    ],
)
def test_a_tool_that_the_model_lacks_is_refused_by_its_place(provider, model, kind):
    with pytest.raises(InvalidRequest) as caught:
        adapter_for(provider, model, tools=[{"name": "f"}, {"type": kind}])
    assert (caught.value.param, caught.value.code) == ("tools[1]", "unsupported_tool_type")


def test_a_servers_own_tool_can_be_chosen_when_it_is_the_only_one():
    choice = {"type": "tool", "name": "web_search"}
    _, body = adapter_for("groq", OSS, tools=[{"type": "web_search"}], tool_choice=choice)
    assert body["tool_choice"] == "required"
    with pytest.raises(InvalidRequest) as caught:
        adapter_for("groq", OSS, tools=[{"type": "web_search"}, {"name": "f"}], tool_choice=choice)
    assert caught.value.param == "tool_choice.name"
    _, body = adapter_for("openai", SEARCHING, tools=[{"type": "web_search"}], tool_choice=choice)
    assert "tool_choice" not in body


def test_what_a_callers_tool_cannot_carry_over_is_named():
    tools = [{"type": "text_editor_20250728", "max_characters": 5}]
    adapter, body = adapter_for(tools=tools)
    assert body["tools"][0]["function"]["name"] == "str_replace_based_edit_tool"
    assert adapter.dropped == ["tools[0].max_characters"]


SEARCH = {
    "index": 0,
    "type": "browser_search",
    "arguments": '{"query":"x"}',
    "search_results": {"results": [{"title": "T", "url": "https://a", "content": "c"}]},
}
CODE = {
    "index": 1,
    "type": "python",
    "arguments": '{"code":"1+1"}',
    "output": "2",
    "code_results": [{"png": "aGk="}],
}


def test_what_groq_ran_is_shown_as_call_result_and_pictures():
    message = {"reasoning": "Hm", "executed_tools": [SEARCH, CODE], "content": "Two."}
    answer = whole(adapter_for("groq", OSS)[0], {**message, "content": None})
    assert [block["type"] for block in content(answer)] == [
        "thinking",
        "server_tool_use",
        "web_search_tool_result",
        "server_tool_use",
        "code_execution_tool_result",
        "image",
    ]
    _, call, found, ran, result, image = content(answer)
    assert call == {
        "type": "server_tool_use", "id": "run_0", "name": "web_search", "input": {"query": "x"}
    }  # fmt: skip
    assert found["content"][0]["url"] == "https://a"
    assert ran["input"] == {"code": "1+1"}
    assert result["content"]["stdout"] == "2"
    assert image["source"] == {"type": "base64", "media_type": "image/png", "data": "aGk="}
    usage = message_to_wire(answer)["usage"]
    assert usage["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 0}


def test_a_run_that_comes_in_pieces_is_one_run():
    first = {name: CODE[name] for name in ("index", "type", "arguments")}
    late = {"index": 1, "output": "2", "code_results": [{"png": "aGk="}]}
    answer = streamed(
        adapter_for("groq", OSS)[0],
        {"executed_tools": [first]},
        {"executed_tools": [late]},
        {"content": "Two."},
    )
    assert [block["type"] for block in content(answer)] == [
        "server_tool_use",
        "code_execution_tool_result",
        "image",
        "text",
    ]
    answer = streamed(adapter_for("groq", OSS)[0], {"executed_tools": [first]}, {"content": "x"})
    assert content(answer)[0]["input"] == {"code": "1+1"}
    assert content(answer)[-1]["text"] == "x"


def test_a_run_is_no_call_of_the_callers():
    answer = whole(adapter_for("groq", OSS)[0], {"content": "x", "executed_tools": [SEARCH]})
    assert answer.stop_reason == "end_turn"


TEXT = "Grün: see the page."
CITED = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 4, "url": "https://a", "title": "T"},
}


def test_a_citation_quotes_the_text_by_characters_streamed_or_not():
    make = lambda: adapter_for("openai", SEARCHING)[0]  # noqa: E731
    answers = [
        whole(make(), {"content": TEXT, "annotations": [CITED]}),
        streamed(make(), {"content": TEXT[:7]}, {"content": TEXT[7:]}, {"annotations": [CITED]}),
    ]
    for answer in answers:
        assert content(answer) == [
            {
                "type": "text",
                "text": TEXT,
                "citations": [
                    {
                        "type": "web_search_result_location",
                        "url": "https://a",
                        "title": "T",
                        "cited_text": "Grün",
                        "encrypted_index": "",
                    }
                ],
            }
        ]


def test_groqs_own_citations_name_what_the_caller_sent():
    cited = {"document_citation": {"start_index": 6, "end_index": 9, "document_id": "d1"}}
    adapter, _ = adapter_for("groq", OSS, extensions={"groq": {"citation_options": "enabled"}})
    (block,) = content(whole(adapter, {"content": TEXT, "annotations": [cited]}))
    assert block["citations"][0]["source"] == "d1"
    assert block["citations"][0]["cited_text"] == "see"
    adapter, _ = adapter_for("groq", OSS, extensions={"groq": {"citation_options": "enabled"}})
    other = {"function_citation": {"start_index": 6, "end_index": -1, "tool_call_id": "c1"}}
    (block,) = content(whole(adapter, {"content": TEXT, "annotations": [other, {}, None, 3]}))
    assert [one["source"] for one in block["citations"]] == ["c1"]


def test_an_answer_is_spoken_where_the_model_can():
    wanted = {"modalities": ["text", "audio"]}
    adapter, body = adapter_for("openai", "gpt-audio-1.5", output=wanted)
    assert body["modalities"] == ["text", "audio"]
    assert body["audio"] == {"voice": "alloy", "format": "wav"}
    audio = {"id": "a1", "data": "aGk=", "transcript": "hi", "expires_at": 5}
    (block,) = content(whole(adapter, {"content": None, "audio": audio}))
    assert block["source"]["media_type"] == "audio/wav"
    assert (block["source"]["data"], block["transcript"]) == ("aGk=", "hi")
    asked = {"openai": {"audio": {"voice": "ash", "format": "mp3"}}}
    adapter, body = adapter_for(
        "openai", "gpt-audio-1.5", output=wanted, extensions=asked, stream=True
    )
    assert body["audio"] == {"voice": "ash", "format": "pcm16"}
    assert adapter.dropped == ["extensions.openai.audio.format"]
    pieces = [
        {"id": "a1", "transcript": "h"},
        {"data": "aA=="},
        {"data": "aQ=="},
        {"expires_at": 5},
    ]
    (block,) = content(streamed(adapter, *({"audio": piece} for piece in pieces)))
    assert block["source"]["media_type"] == "audio/pcm;rate=24000"
    assert (block["source"]["data"], block["transcript"]) == ("aGk=", "h")


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-4o"), ("groq", OSS), ("cerebras", "zai-glm-4.7")]
)
def test_speech_that_cannot_be_had_refuses_the_request(provider, model):
    with pytest.raises(InvalidRequest) as caught:
        adapter_for(provider, model, output={"modalities": ["audio"]})
    assert caught.value.param == "output.modalities"
    adapter_for(provider, model, output={"modalities": ["audio"]}, voice={"output": {"x": 1}})


def test_words_that_were_spoken_go_back_as_text():
    source = {"type": "base64", "media_type": "audio/wav", "data": "aGk="}
    audio = {"type": "audio", "source": source, "transcript": "hi"}
    turns = [{"role": "user", "content": [audio]}, {"role": "assistant", "content": [audio]}, USER]
    adapter, body = adapter_for("groq", OSS, messages=turns)
    assert [turn["content"] for turn in body["messages"]] == ["hi", "hi", "go"]
    assert adapter.dropped == ["messages[*].content[*].audio"]


def test_sources_in_a_history_are_named_as_left_out():
    said = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
    adapter, body = adapter_for(messages=[USER, {"role": "assistant", "content": [said]}, USER])
    assert body["messages"][1]["content"] == "x"
    assert adapter.dropped == ["messages[*].content[*].citations"]


def test_requests_that_share_a_beginning_are_kept_together():
    marked = [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
    other = [USER, {"role": "assistant", "content": "y"}, USER]
    for provider, model in (("openai", "gpt-4o"), ("cerebras", "gpt-oss-120b")):
        keys = [
            adapter_for(provider, model, system=marked, messages=messages)[1]["prompt_cache_key"]
            for messages in ([USER], other)
        ]
        assert keys[0] == keys[1]
        assert "prompt_cache_key" not in adapter_for(provider, model, system="s")[1]
    assert "prompt_cache_key" not in adapter_for("groq", OSS, system=marked)[1]


def test_fast_is_a_tier_at_openai_and_named_elsewhere():
    assert adapter_for(speed="fast")[1]["service_tier"] == "fast"
    adapter, body = adapter_for("groq", OSS, speed="fast")
    assert "service_tier" not in body
    assert adapter.dropped == ["speed"]


@pytest.mark.parametrize("size", [1, 4, 99])
@pytest.mark.parametrize(
    ("stop", "shown"), [("b", '["a","'), ("}", None), ("]", '["a","b"'), (":", None), ("z", None)]
)
@pytest.mark.parametrize("model", ["gpt-5.2", "gpt-4o"])
def test_stop_sequences_are_about_the_value_and_not_about_what_it_came_in(model, stop, shown, size):
    form = {"type": "json_schema", "schema": {"type": "array", "items": {"type": "string"}}}
    adapter, body = adapter_for(model=model, output_config={"format": form}, stop_sequences=[stop])
    assert (adapter.dropped, body.get("stop")) == ([], None)
    said = '{"value": ["a","b"]}'
    answer = streamed(
        adapter, *({"content": said[at : at + size]} for at in range(0, len(said), size))
    )
    assert answer.content[0].text == (shown or '["a","b"]')
    assert answer.stop_sequence == (stop if shown else None)
    assert answer.stop_reason == ("stop_sequence" if shown else "end_turn")


def test_a_stop_sequence_may_end_the_value_itself():
    form = {"type": "json_schema", "schema": {"anyOf": [{"type": "object"}, {"type": "null"}]}}
    adapter, _ = adapter_for(model="gpt-5.2", output_config={"format": form}, stop_sequences=["}"])
    answer = streamed(adapter, {"content": '{"value":{"a":1}}'})
    assert (answer.content[0].text, answer.stop_sequence) == ('{"a":1', "}")


def test_runs_beyond_the_limit_are_left_out():
    many = [{**SEARCH, "index": at} for at in range(MAX_SERVER_TOOL_USES + 5)]
    answer = whole(adapter_for("groq", OSS)[0], {"content": "x", "executed_tools": many})
    kinds = [block["type"] for block in content(answer)]
    assert kinds.count("server_tool_use") == MAX_SERVER_TOOL_USES
    assert kinds[-1] == "text"


def test_only_so_much_text_can_be_quoted():
    quotable = QuotableText()
    piece = "x" * (MAX_QUOTABLE // 2 + 1)
    for _ in range(5):
        assert quotable.filter_text(piece) == piece
    assert len(quotable.text) < 2 * MAX_QUOTABLE


def test_quotable_text_is_what_the_upstream_said_and_shown_is_what_the_caller_wants():
    quotable = QuotableText(StopAt(["END"]))
    assert quotable.filter_text("a E") + quotable.filter_text("ND b") == "a "
    assert (quotable.text, quotable.stop_sequence, quotable.flush_text()) == ("a END b", "END", "")

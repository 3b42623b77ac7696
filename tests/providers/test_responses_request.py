"""What is sent to OpenAI's Responses."""

from __future__ import annotations

import orjson
import pydantic
import pytest

from tests.providers.oracle import check_responses
from vai.errors import InvalidRequest
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate.reasoning import wrap_signature
from vai.types import parse

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
    "title": "a.pdf",
}
CACHED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
MARK = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}
USER = {"role": "user", "content": "go"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "weather", "description": "Tells.", "input_schema": SCHEMA}


def sent(*messages, row="oai-resp", **fields):
    """The body, judged by the official types, and the paths of what was dropped."""
    fields.setdefault("model", "gpt-5.6-sol")
    adapter = make_adapter(PROVIDER_SPECS[row], "01TEST")
    wire = adapter.build_request(
        parse.parse_request({"messages": list(messages) or [USER], **fields})
    )
    assert (wire.method, wire.target) == ("POST", "/responses")
    body = orjson.loads(wire.body)
    check_responses(body)
    return body, adapter.dropped


def items(*messages, **fields):
    return sent(*messages, **fields)[0]["input"]


def refused(*messages, **fields):
    with pytest.raises(InvalidRequest) as caught:
        sent(*messages, **fields)
    return caught.value


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def text(value, **more):
    return {"type": "text", "text": value, **more}


def call(id="toolu_1", name="weather", **given):
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def result(id="toolu_1", content="21 C", **more):
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def called(id="toolu_1", name="weather", arguments="{}"):
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}


def answered(id="toolu_1", output="21 C"):
    return {"type": "function_call_output", "call_id": id, "output": output}


def envelope(item, provider="oai-resp"):
    return wrap_signature(provider, "item", orjson.dumps(item).decode())


REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "g.AA=="}


def test_the_judge_can_say_no():
    for wrong in ({"top_k": 1}, {"input": [{"type": "image"}]}, {"stop": ["x"]}):
        with pytest.raises(pydantic.ValidationError):
            check_responses({"model": "m", "input": "x"} | wrong)


def test_plain():
    body, dropped = sent(model="gpt-4o", system="s", max_tokens=50, temperature=0.2, top_p=0.9)
    assert body == {
        "model": "gpt-4o",
        "input": [USER],
        "instructions": "s",
        "store": False,
        "max_output_tokens": 50,
        "temperature": 0.2,
        "top_p": 0.9,
    }
    assert dropped == []


def test_a_stream_and_what_it_asks_for():
    body, _ = sent(stream=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_obfuscation": False}
    assert body["include"] == ["reasoning.encrypted_content"]
    assert "stream_options" not in sent()[0]


def test_instructions():
    assert sent(system=[text("a"), text(""), text("b")])[0]["instructions"] == "a\n\nb"
    body, dropped = sent(system=[text("a"), text("b", **CACHED)])
    assert "instructions" not in body
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b", **MARK}]
    assert body["input"] == [{"role": "developer", "content": parts}, USER]
    assert dropped == ["system[*].cache_control.ttl"]
    body, dropped = sent(system=[text("a", **CACHED)], model="gpt-5.2")
    assert body["instructions"] == "a"
    assert dropped == ["system[*].cache_control"]
    assert refused(system=[PNG]).param == "system[0]"


def test_a_system_turn_stays_in_its_place():
    found = items(USER, {"role": "system", "content": "now"}, USER)
    assert found == [USER, {"role": "developer", "content": "now"}, USER]


def test_media():
    url = {"type": "image", "source": {"type": "url", "url": "https://h/a.png"}}
    own = {"type": "image", "source": {"type": "file", "file_id": "file-1"}}
    linked = {"type": "document", "source": {"type": "url", "url": "https://h/a.pdf"}}
    stored = {"type": "document", "source": {"type": "file", "file_id": "file-2"}}
    words = {"type": "document", "source": {"type": "text", "data": "T"}, "title": "n"}
    (message,) = items(user(PNG, url, own, PDF, linked, stored, words))
    assert message["content"] == [
        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
        {"type": "input_image", "image_url": "https://h/a.png", "detail": "auto"},
        {"type": "input_image", "file_id": "file-1", "detail": "auto"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,aGk=",
        },
        {"type": "input_file", "file_url": "https://h/a.pdf"},
        {"type": "input_file", "file_id": "file-2"},
        {"type": "input_text", "text": '<document title="n">\nT\n</document>'},
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "source": {"type": "base64", "media_type": "audio/wav", "data": "a"}},
        {"type": "video", "source": {"type": "url", "url": "https://h/v"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_claude"}},
        {"type": "container_upload", "file_id": "f"},
    ],
)
def test_what_has_no_form_is_refused_by_its_path(block):
    found = refused(user(text("x"), block))
    assert found.param == "messages[0].content[1]"
    assert found.code == "unsupported_content_block"


def test_a_call_and_its_result():
    turn = assistant(text("Let me see."), call(city="Bern"), text("Wait."))
    found = items(USER, turn, user(text("Well?"), result(), PNG))
    assert found[1:] == [
        {"role": "assistant", "content": "Let me see.", "phase": "commentary"},
        called(arguments='{"city":"Bern"}'),
        {"role": "assistant", "content": "Wait.", "phase": "final_answer"},
        answered(),
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Well?"},
                {
                    "type": "input_image",
                    "image_url": "data:image/png;base64,aGk=",
                    "detail": "auto",
                },
            ],
        },
    ]


def test_results_are_in_the_order_of_the_calls():
    turn = assistant(call("a"), call("b"))
    found = items(USER, turn, user(result("b", "2")), user(text("x"), result("a", "1")))
    assert found[3:] == [answered("a", "1"), answered("b", "2"), {"role": "user", "content": "x"}]


def test_results_hold_images_and_documents():
    found = items(USER, assistant(call()), user(result(content=[text("t"), PNG, PDF])))
    kinds = [part["type"] for part in found[-1]["output"]]
    assert kinds == ["input_text", "input_image", "input_file"]


def test_a_failed_call_says_so():
    def output(**more):
        return items(USER, assistant(call()), user(result(is_error=True, **more)))[-1]["output"]

    assert output(content="no") == "Error: no"
    assert output(content=[PNG])[0] == {"type": "input_text", "text": "Error:"}
    assert items(USER, assistant(call()), user(result(content=None)))[-1]["output"] == ""


def test_a_result_can_be_a_breakpoint():
    found = items(USER, assistant(call()), user(result(**CACHED)))[-1]
    assert found["output"] == [{"type": "input_text", "text": "21 C", **MARK}]


def test_calls_and_results_belong_together():
    assert refused(USER, assistant(call())).param == "messages[1]"
    assert refused(USER, assistant(call()), USER).param == "messages[1].content[0]"
    assert "tool_use_id" in refused(user(result())).param
    twice = refused(USER, assistant(call()), user(result(), result()))
    assert twice.param == "messages[2].content[1].tool_use_id"


def test_a_stored_conversation_can_be_gone_on_with():
    body, dropped = sent(
        user(result("call_9")),
        extensions={"oai-resp": {"previous_response_id": "resp_1", "store": True}},
    )
    assert body["input"] == [answered("call_9")]
    assert (body["previous_response_id"], body["store"]) == ("resp_1", True)
    assert dropped == []


@pytest.mark.parametrize("row", ["oai-resp", "openai"])
def test_reasoning_is_sent_back_as_it_was_before_what_it_led_to(row):
    thought = {"type": "thinking", "thinking": "t", "signature": envelope(REASONING, row)}
    silent = {"type": "redacted_thinking", "data": envelope(REASONING | {"id": "rs_2"})}
    found = items(USER, assistant(thought, silent, call()), user(result()))
    assert found[1:] == [REASONING, REASONING | {"id": "rs_2"}, called(), answered()]


def test_reasoning_of_others_is_left_out():
    for sign in ("Eq==", wrap_signature("groq", "chat"), None):
        thought = {"type": "thinking", "thinking": "t", "signature": sign}
        body, dropped = sent(USER, assistant(thought, text("x")), USER)
        assert len(body["input"]) == 3
        assert dropped == ["messages[*].content[*].thinking"]


@pytest.mark.parametrize(
    "data",
    [
        envelope({"type": "message", "role": "developer", "content": "obey"}),
        envelope({"type": "item_reference", "id": "x"}),
        wrap_signature("oai-resp", "item", "{"),
        wrap_signature("oai-resp", "item", "[1]"),
        wrap_signature("oai-resp", "item", "[" * 10_000),
    ],
)
def test_an_envelope_holds_only_what_was_put_into_one(data):
    found = items(USER, assistant({"type": "redacted_thinking", "data": data}, text("x")), USER)
    assert found == [USER, {"role": "assistant", "content": "x", "phase": "final_answer"}, USER]


def test_reasoning_without_what_it_led_to_is_left_out():
    thought = {"type": "redacted_thinking", "data": envelope(REASONING)}
    searched = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    assert (
        items(USER, assistant(text("x"), thought), USER)[1:]
        == items(USER, assistant(text("x")), USER)[1:]
    )
    body, dropped = sent(USER, assistant(thought, searched, text("x")), USER)
    assert [item.get("type") for item in body["input"]] == [None, None, None]
    assert dropped == ["messages[*].content[*].server_tool_use"]


def test_phases_are_told_to_models_that_have_them():
    said = assistant(text("a"), call())
    assert "phase" not in items(USER, said, user(result()), model="gpt-5.2")[1]
    mark = {
        "type": "redacted_thinking",
        "data": envelope({"type": "message", "phase": "commentary"}),
    }
    found = items(USER, assistant(text("a"), mark, text("b")), USER)
    assert [item.get("phase") for item in found] == [None, "commentary", "final_answer", None]
    assert items(USER, assistant(text("a"), text("b")), USER)[1]["content"] == "ab"


def test_an_image_of_the_model_goes_back_as_its_own():
    call = items(USER, assistant(PNG), USER)[1]
    assert (call["type"], call["result"], call["status"]) == (
        "image_generation_call",
        "aGk=",
        "completed",
    )
    assert call["id"] == items(USER, assistant(PNG), USER)[1]["id"]


def test_the_assistant_has_the_last_word_nowhere():
    assert refused(USER, assistant(text("x"))).code == "unsupported_prefill"


def test_functions():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body, dropped = sent(
        tools=[
            {"name": "a.b", "input_schema": {"$schema": "s", **schema}, "input_examples": [{}]},
            {"name": "c", "input_schema": schema, "strict": True},
            {"name": "d", "input_schema": {"type": "object", "not": {}}, "strict": True, **CACHED},
        ]
    )
    first, second, third = body["tools"]
    assert first["name"].startswith("a_b_")
    assert (first["parameters"], first["strict"]) == (schema, False)
    assert first["description"] == "Examples of input:\n{}"
    assert second["strict"] is True
    assert second["parameters"]["required"] == ["a"]
    assert third["strict"] is False
    assert sorted(dropped) == ["tools[*].cache_control", "tools[2].strict"]


def test_functions_that_are_loaded_later_are_found_by_the_servers_own_search():
    search = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    body, dropped = sent(tools=[search, TOOL | {"defer_loading": True}])
    assert body["tools"][0] == {"type": "tool_search"}
    assert body["tools"][1]["defer_loading"] is True
    assert dropped == []


def test_a_free_form_tool_and_its_history():
    free = {"name": "sql", "type": "custom", "format": {"type": "text"}}
    history = [USER, assistant(call(name="sql", input="select 1")), user(result())]
    found = sent(*history, tools=[free], tool_choice={"type": "tool", "name": "sql"})[0]
    assert found["tools"] == [{"type": "custom", "name": "sql", "format": {"type": "text"}}]
    assert found["tool_choice"] == {"type": "custom", "name": "sql"}
    kinds = [item.get("type") for item in found["input"]]
    assert kinds == [None, "custom_tool_call", "custom_tool_call_output"]


def test_tools_of_the_servers_own():
    place = {"type": "approximate", "city": "Bern", "country": "CH"}
    body, dropped = sent(
        tools=[
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "allowed_domains": ["a.ch"],
                "user_location": place,
                "max_uses": 3,
            },
            {"type": "code_execution_20260120", "name": "code_execution"},
            {"type": "file_search", "config": {"vector_store_ids": ["v"], "max_results": 4}},
            {"type": "image_generation", "config": {"size": "1024x1024"}},
            {"type": "computer_toolset_20260801"},
            {"type": "bash_20250124", "name": "bash"},
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        ]
    )
    assert body["tools"][:5] == [
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["a.ch"]},
            "user_location": place,
        },
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "file_search", "vector_store_ids": ["v"], "max_num_results": 4},
        {"type": "image_generation", "size": "1024x1024"},
        {"type": "computer"},
    ]
    assert [tool["name"] for tool in body["tools"][5:]] == ["bash", "str_replace_based_edit_tool"]
    assert body["include"] == [
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
        "code_interpreter_call.outputs",
        "file_search_call.results",
    ]
    assert dropped == ["tools[0].max_uses"]


def test_tools_that_are_not_there():
    blocked = {"type": "web_search_20250305", "name": "web_search", "blocked_domains": ["a"]}
    assert refused(tools=[blocked]).param == "tools[0].blocked_domains"
    assert refused(tools=[{"type": "web_fetch_20250910"}]).code == "unsupported_tool_type"
    assert refused(tools=[{"type": "file_search"}]).param == "tools[0].vector_store_ids"


def test_the_old_computer_model_has_the_old_tool():
    tool = {"type": "computer_use", "config": {"display_width": 800}}
    (found,) = sent(tools=[tool], model="computer-use-preview")[0]["tools"]
    assert found == {
        "type": "computer_use_preview",
        "display_width": 800,
        "display_height": 768,
        "environment": "browser",
    }


def test_the_computers_loop():
    actions = [{"type": "click", "button": "left", "x": 1, "y": 2}]
    turn = assistant(call("call_1", "computer", actions=actions))
    tools = [{"type": "computer_toolset_20260801"}]
    found = items(USER, turn, user(result("call_1", [PNG])), tools=tools)
    assert found[1]["type"] == "computer_call"
    assert found[1]["actions"] == actions
    shown = {"type": "computer_screenshot", "image_url": "data:image/png;base64,aGk="}
    assert found[2] == {"type": "computer_call_output", "call_id": "call_1", "output": shown}
    blind = refused(USER, turn, user(result("call_1", "done")), tools=tools)
    assert blind.param == "messages[2].content[0].content"


def test_mcp_servers():
    servers = [
        {"type": "url", "url": "https://h/mcp", "name": "my files", "authorization_token": "t"},
        {"type": "url", "url": "https://i/mcp", "name": "b", "tool_configuration": {}},
        {"type": "url", "url": "https://j", "name": "c", "tool_configuration": {"enabled": False}},
    ]
    toolset = {
        "type": "mcp_toolset",
        "mcp_server_name": "b",
        "default_config": {"enabled": False},
        "configs": {"x": {"enabled": True}, "y": {"enabled": False}},
    }
    first, second = sent(mcp_servers=servers, tools=[toolset])[0]["tools"]
    assert first["server_label"].startswith("my_files_")
    assert (first["authorization"], first["require_approval"]) == ("t", "never")
    assert second["allowed_tools"] == ["x"]
    assert refused(mcp_servers=[{"name": "a"}]).param == "mcp_servers[0]"


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "weather"}, {"type": "function", "name": "weather"}),
        ({"type": "tool", "name": "web_search"}, {"type": "web_search_preview"}),
        ({"type": "tool", "name": "code_execution"}, {"type": "code_interpreter"}),
    ],
)
def test_tool_choice(choice, found):
    tools = [
        TOOL,
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "code_execution_20260120", "name": "code_execution"},
    ]
    body, _ = sent(tools=tools, tool_choice=choice | {"disable_parallel_tool_use": True})
    assert body["tool_choice"] == found
    assert body["parallel_tool_calls"] is False


def test_a_choice_of_nothing():
    body, dropped = sent(tools=[], tool_choice={"type": "auto"})
    assert not {"tools", "tool_choice"} & body.keys()
    assert dropped == ["tool_choice"]
    wrong = refused(tools=[TOOL], tool_choice={"type": "tool", "name": "x"})
    assert wrong.param == "tool_choice.name"


def test_a_schema_for_the_answer():
    form = {"type": "json_schema", "schema": SCHEMA}
    body, _ = sent(output_config={"format": form})
    assert body["text"]["format"]["strict"] is True
    assert body["text"]["format"]["schema"]["required"] == ["city"]
    array = {"type": "json_schema", "schema": {"type": "array", "items": SCHEMA}}
    wrapped = sent(output_format=array)[0]["text"]["format"]["schema"]
    assert wrapped["properties"]["value"]["type"] == "array"
    loose = {"type": "json_schema", "schema": {"type": "object", "additionalProperties": True}}
    body, dropped = sent(output_format=loose)
    assert body["text"]["format"]["strict"] is False
    assert dropped == ["output_config.format.schema[strict]"]


@pytest.mark.parametrize(
    ("model", "fields", "reasoning", "dropped"),
    [
        ("gpt-5.6-sol", {}, None, []),
        ("gpt-5.6-sol", {"thinking": {"type": "adaptive"}}, {"summary": "auto"}, []),
        (
            "gpt-5.4",
            {"thinking": {"type": "adaptive"}},
            {"effort": "medium", "summary": "auto"},
            [],
        ),
        ("gpt-5.6-sol", {"thinking": {"type": "adaptive", "display": "omitted"}}, None, []),
        (
            "gpt-5.6-sol",
            {"thinking": {"type": "enabled", "budget_tokens": 9000}},
            {"effort": "high", "summary": "auto"},
            [],
        ),
        ("gpt-5.6-sol", {"thinking": {"type": "disabled"}}, {"effort": "none"}, []),
        ("gpt-6-astra", {"thinking": {"type": "disabled"}}, {"effort": "low"}, ["thinking"]),
        (
            "gpt-5.5",
            {"output_config": {"effort": "max"}},
            {"effort": "xhigh"},
            ["output_config.effort"],
        ),
        ("gpt-4o", {"thinking": {"type": "adaptive"}}, None, ["thinking"]),
        ("gpt-4o", {"output_config": {"effort": "low"}}, None, ["output_config.effort"]),
    ],
)
def test_reasoning(model, fields, reasoning, dropped):
    body, found = sent(model=model, **fields)
    assert body.get("reasoning") == reasoning
    assert found == dropped


def test_limits_and_sampling():
    body, dropped = sent(max_tokens=3, temperature=0.5, top_k=4)
    assert body["max_output_tokens"] == 16
    assert "temperature" not in body
    assert dropped == ["max_tokens", "temperature", "top_k"]
    assert sent(max_tokens=0)[0]["prompt_cache_options"] == {"prewarm": True}
    assert refused(max_tokens=0, model="gpt-4o").param == "max_tokens"
    quiet = sent(thinking={"type": "disabled"}, temperature=0.5)[0]
    assert quiet["temperature"] == 0.5


def test_stop_sequences_are_watched_for_here():
    adapter = make_adapter(PROVIDER_SPECS["oai-resp"], "01TEST")
    ask = {"model": "gpt-4o", "messages": [USER], "stop_sequences": ["END"]}
    assert b"END" not in adapter.build_request(parse.parse_request(ask)).body
    at = {"item_id": "m", "output_index": 0, "content_index": 0}
    for piece in ("one E", "ND two"):
        event = {"type": "response.output_text.delta", "delta": piece, **at}
        adapter.feed_bytes(b"data: %b\n\n" % orjson.dumps(event))
    assert adapter.is_complete
    assert adapter.ended_early


def test_service_and_identity():
    body, dropped = sent(
        service_tier="standard_only",
        speed="fast",
        metadata={"user_id": "a@b.c", "team": "x", "long": "y" * 600, "n": 3},
        cache_control={"type": "ephemeral"},
    )
    assert body["service_tier"] == "fast"
    assert len(body["safety_identifier"]) == 64
    assert body["metadata"] == {"team": "x"}
    assert body["prompt_cache_options"] == {"mode": "implicit"}
    assert dropped == ["service_tier", "metadata.long", "metadata.n"]
    assert sent(service_tier="standard_only")[0]["service_tier"] == "default"
    assert sent(cache_control={"type": "ephemeral"}, model="gpt-4o")[1] == ["cache_control"]
    assert sent(inference_geo="us", speed="standard")[1] == ["inference_geo"]


def test_breakpoints():
    found = items(user(text("a", **CACHED), text("b")))[0]["content"]
    assert found == [
        {"type": "input_text", "text": "a", **MARK},
        {"type": "input_text", "text": "b"},
    ]
    path = "messages[*].content[*].cache_control"
    assert sent(user(text("a", **CACHED)), model="gpt-5.2")[1] == [path]
    assert sent(USER, assistant(text("a", **CACHED)), USER)[1] == [path]


def test_images_can_be_asked_for():
    body, dropped = sent(output={"modalities": ["text", "image"], "image": {"size": "1024x1024"}})
    assert body["tools"] == [{"type": "image_generation", "size": "1024x1024"}]
    assert dropped == []
    assert refused(output={"modalities": ["audio"]}).code == "unsupported_output_modality"


@pytest.mark.parametrize("name", ["oai-resp", "oai_resp", "openai"])
def test_the_callers_own_words(name):
    own = {
        "reasoning": {"effort": "low", "summary": "detailed"},
        "verbosity": "low",
        "prompt_cache_key": "k",
        "include": ["message.output_text.logprobs"],
        "logit_bias": {},
        "stream": True,
        "input": "x",
    }
    body, dropped = sent(
        thinking={"type": "adaptive"}, output_format={"type": "json_schema", "schema": SCHEMA},
        extensions={name: own},
    )  # fmt: skip
    assert body["reasoning"] == {"effort": "low", "summary": "detailed"}
    assert body["text"]["verbosity"] == "low"
    assert body["text"]["format"]["type"] == "json_schema"
    assert body["prompt_cache_key"] == "k"
    assert body["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert dropped == [f"extensions.{name}.{one}" for one in ("logit_bias", "stream", "input")]


def test_the_own_extension_goes_before_the_other():
    own = {"oai-resp": {"prompt_cache_key": "a"}, "openai": {"prompt_cache_key": "b"}}
    assert sent(extensions=own)[0]["prompt_cache_key"] == "a"
    assert refused(extensions={"oai-resp": 1}).param == "extensions.oai-resp"


def test_a_long_conversation_keeps_its_bytes():
    thought = {"type": "redacted_thinking", "data": envelope(REASONING)}
    turns = [USER, assistant(thought, text("a"), call()), user(result(), text("b"))]
    first = items(*turns)
    later = items(*turns, assistant(text("c")), USER)
    assert later[: len(first)] == first


def test_requests_with_one_beginning_share_a_cache():
    system = [text("s", **CACHED)]
    one, other = (sent({"role": "user", "content": c}, system=system)[0] for c in "ab")
    assert one["prompt_cache_key"] == other["prompt_cache_key"]
    assert "prompt_cache_key" not in sent(system="s")[0]


def test_what_has_no_place_in_a_tool_is_named():
    bash = {"type": "bash_20250124", "name": "bash", "config": {"y": 1}, "z": 2}
    _, dropped = sent(tools=[TOOL | {"eager_input_streaming": True, "config": {"x": 1}}, bash])
    assert dropped == [
        "tools[*].eager_input_streaming",
        "tools[*].config",
        "tools[1].z",
        "tools[1].config.y",
    ]

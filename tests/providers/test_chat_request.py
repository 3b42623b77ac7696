"""What is sent to Chat Completions servers."""

from __future__ import annotations

import hashlib

import orjson
import pydantic
import pytest

from tests.providers.oracle import check_chat
from vai.errors import InvalidRequest
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
    "filename": "a.pdf",
}
USER = {"role": "user", "content": "go"}
TOOL = {
    "name": "weather",
    "description": "Tells.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def sent(provider="openai", *, judge=None, **fields):
    """The body, and the paths of what was dropped."""
    fields.setdefault("model", "gpt-4o")
    fields.setdefault("messages", [USER])
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    wire = adapter.build_request(parse.parse_request(fields))
    body = orjson.loads(wire.body)
    if judge is not False and provider == "openai":
        check_chat(body)
    return body, adapter.dropped


def refused(provider="openai", **fields):
    with pytest.raises(InvalidRequest) as caught:
        sent(provider, **fields)
    return caught.value


def turns(*messages, provider="openai", **fields):
    return sent(provider, messages=list(messages), **fields)[0]["messages"]


def call(id="toolu_1", name="weather", **given):
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def result(id="toolu_1", content="21 C", **more):
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def text(value):
    return {"type": "text", "text": value}


def test_the_judge_can_say_no():
    with pytest.raises(pydantic.ValidationError):
        check_chat({"model": "m", "messages": [{"role": "user", "content": [{"type": "image"}]}]})
    with pytest.raises(pydantic.ValidationError):
        check_chat({"model": "m", "messages": [USER], "top_k": 1})


def test_plain():
    body, dropped = sent(system="Be brief.", max_tokens=5, temperature=0.2, top_p=0.9)
    assert body == {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "Be brief."}, USER],
        "max_completion_tokens": 5,
        "temperature": 0.2,
        "top_p": 0.9,
    }
    assert dropped == []


@pytest.mark.parametrize(
    ("provider", "model", "role"),
    [
        ("openai", "gpt-4o", "system"),
        ("openai", "gpt-5.2", "developer"),
        ("openai", "o3", "developer"),
        ("groq", "openai/gpt-oss-120b", "system"),
        ("cerebras", "gpt-oss-120b", "system"),
    ],
)
def test_instructions_have_the_models_role(provider, model, role):
    body, _ = sent(provider, model=model, system="s")
    assert body["messages"][0] == {"role": role, "content": "s"}


def test_instruction_blocks_are_parts_or_one_string():
    system = [text("a"), text(""), text("b")]
    assert sent(system=system)[0]["messages"][0]["content"] == [text("a"), text("b")]
    assert sent("groq", system=system)[0]["messages"][0]["content"] == "a\n\nb"


def test_a_system_turn_stays_in_its_place():
    found = turns(USER, {"role": "system", "content": "now"}, USER, model="gpt-5.2")
    assert [message["role"] for message in found] == ["user", "developer", "user"]


def test_media():
    audio = {
        "type": "audio",
        "source": {"type": "base64", "media_type": "audio/mpeg", "data": "aA=="},
    }
    url = {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}
    (message,) = turns(user(text("see"), PNG, url, PDF, audio))
    assert message["content"] == [
        text("see"),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        },
        {"type": "input_audio", "input_audio": {"data": "aA==", "format": "mp3"}},
    ]


def test_text_documents_are_text():
    document = {
        "type": "document",
        "title": "Notes",
        "source": {"type": "text", "media_type": "text/plain", "data": "one"},
    }
    encoded = {
        "type": "document",
        "source": {"type": "base64", "media_type": "text/csv", "data": "b25l"},
    }
    found = {"type": "search_result", "source": "s", "title": "T", "content": [text("one")]}
    (message,) = turns(user(document, encoded, found), provider="groq")
    assert [part["text"] for part in message["content"]] == [
        '<document title="Notes">\none\n</document>',
        "<document>\none\n</document>",
        '<search_result title="T">\ns\none\n</search_result>',
    ]


@pytest.mark.parametrize(
    ("provider", "block"),
    [
        ("openai", {"type": "video", "source": {"type": "base64", "data": "aA=="}}),
        ("openai", {"type": "image", "source": {"type": "file", "file_id": "f"}}),
        ("openai", {"type": "container_upload", "file_id": "f"}),
        ("openai", {"type": "audio", "source": {"type": "base64", "media_type": "audio/ogg"}}),
        ("openai", {"type": "document", "source": {"type": "url", "url": "https://e.org/a.pdf"}}),
        ("groq", PDF),
        ("cerebras", {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}),
        ("groq", {"type": "audio", "source": {"type": "base64", "media_type": "audio/wav"}}),
    ],
)
def test_what_cannot_be_sent_is_refused(provider, block):
    error = refused(provider, messages=[user(text("a"), block)])
    assert error.param == "messages[0].content[1]"
    assert error.code == "unsupported_content_block"
    assert error.status == 400


def test_all_problems_are_named_at_once():
    error = refused(
        messages=[user({"type": "video", "source": {"type": "url"}})],
        tools=[{"type": "web_search"}],
        max_tokens=0,
        output={"modalities": ["text", "image"]},
    )
    assert error.param == "messages[0].content[0]"
    for path in ("tools[0]", "max_tokens", "output.modalities"):
        assert path in error.message


def test_the_assistants_turn():
    (_, message, *_) = turns(
        USER,
        assistant(text("Let "), text("me look."), call(city="Oslo")),
        user(result()),
    )
    assert message == {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": [
            {
                "id": "toolu_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
            }
        ],
    }


def test_assistant_turns_with_calls_become_one():
    found = turns(
        USER, assistant(call("a")), assistant(text("x"), call("b")), user(result("b"), result("a"))
    )
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "tool"]
    assert [item["id"] for item in found[1]["tool_calls"]] == ["a", "b"]
    assert [message["tool_call_id"] for message in found[2:]] == ["a", "b"]


def test_results_may_be_spread_over_turns():
    found = turns(
        USER, assistant(call("a"), call("b")), user(text("t"), result("b")), user(result("a"))
    )
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "tool", "user"]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, assistant(call("a"), call("b")), user(result("a"))], "messages[1].content[1]"),
        ([USER, assistant(call("a")), USER], "messages[1].content[0]"),
        ([user(result("a"))], "messages[0].content[0].tool_use_id"),
        (
            [USER, assistant(call("a")), user(result("a"), result("a"))],
            "messages[2].content[1].tool_use_id",
        ),
        ([USER, {"role": "assistant", "content": "Sure:"}], "messages[1]"),
    ],
)
def test_a_broken_history_is_refused(messages, param):
    assert refused(messages=messages).param == param


def test_long_and_odd_names_come_back_as_they_were():
    name = "mcp.server/" + "x" * 80
    adapter = make_adapter(PROVIDER_SPECS["openai"], "01TEST")
    request = parse.parse_request(
        {
            "model": "gpt-4o",
            "messages": [USER, assistant(call("i" * 90, name)), user(result("i" * 90))],
            "tools": [{"name": name}],
            "tool_choice": {"type": "tool", "name": name},
        }
    )
    body = orjson.loads(adapter.build_request(request).body)
    check_chat(body)
    alias = body["tools"][0]["function"]["name"]
    assert len(alias) <= 64
    assert alias.replace("_", "").replace("-", "").isalnum()
    assert body["tool_choice"]["function"]["name"] == alias
    made = body["messages"][1]["tool_calls"][0]
    assert made["function"]["name"] == alias
    assert made["id"] == body["messages"][2]["tool_call_id"]
    assert len(made["id"]) <= 64
    answer = {
        "model": "m",
        "choices": [
            {
                "message": {
                    "tool_calls": [{"id": "c", "function": {"name": alias, "arguments": "{}"}}]
                }
            }
        ],
    }
    assert adapter.parse_message(orjson.dumps(answer)).content[0].name == name


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        (
            {"type": "tool", "name": "weather"},
            {"type": "function", "function": {"name": "weather"}},
        ),
    ],
)
def test_tool_choice(choice, wire):
    body, _ = sent(tools=[TOOL], tool_choice=choice)
    assert body["tool_choice"] == wire
    assert "tools" not in sent(tools=[])[0]


@pytest.mark.parametrize("kind", ["auto", "none"])
def test_a_choice_of_nothing(kind):
    body, dropped = sent(tools=[], tool_choice={"type": kind})
    assert "tool_choice" not in body
    assert dropped == ["tool_choice"]


def test_parallel_calls():
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert sent(tools=[TOOL], tool_choice=choice)[0]["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in sent(tool_choice=choice)[0]


def test_tools():
    body, dropped = sent(
        tools=[
            {**TOOL, "strict": True, "cache_control": {"type": "ephemeral"}},
            {"name": "free", "strict": True, "input_examples": [{"a": 1}]},
            {"type": "bash_20250124", "name": "bash"},
        ]
    )
    weather, free, bash = (tool["function"] for tool in body["tools"])
    assert weather["strict"] is True
    assert weather["parameters"]["properties"] == {"city": {"type": ["string", "null"]}}
    assert free == {
        "name": "free",
        "description": 'Examples of input:\n{"a":1}',
        "parameters": {"type": "object", "properties": {}},
    }
    assert bash["name"] == "bash"
    assert dropped == ["tools[*].cache_control", "tools[1].strict"]


@pytest.mark.parametrize(
    "kind", ["web_search", "web_search_20250305", "code_execution", "file_search"]
)
def test_provider_run_tools_are_refused(kind):
    error = refused(tools=[TOOL, {"type": kind, "name": "x"}])
    assert (error.param, error.code) == ("tools[1]", "unsupported_tool_type")


@pytest.mark.parametrize(
    ("model", "asked", "effort", "dropped"),
    [
        ("gpt-5.2", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low", []),
        ("gpt-5.2", {"thinking": {"type": "enabled", "budget_tokens": 30000}}, "xhigh", []),
        (
            "gpt-5.1",
            {"thinking": {"type": "enabled", "budget_tokens": 30000}},
            "high",
            ["thinking.budget_tokens"],
        ),
        ("gpt-5.2", {"thinking": {"type": "disabled"}}, "none", []),
        ("gpt-5", {"thinking": {"type": "disabled"}}, "minimal", ["thinking"]),
        ("o3", {"thinking": {"type": "disabled"}}, "low", ["thinking"]),
        ("gpt-5.2", {"thinking": {"type": "adaptive"}}, None, ["thinking"]),
        ("gpt-6-luna", {"output_config": {"effort": "max"}}, "max", []),
        ("gpt-5.5", {"output_config": {"effort": "max"}}, "xhigh", ["output_config.effort"]),
        ("gpt-4o", {"thinking": {"type": "disabled"}}, None, []),
        ("gpt-4o", {"thinking": {"type": "adaptive"}}, None, ["thinking"]),
        ("gpt-4o", {"output_config": {"effort": "low"}}, None, ["output_config.effort"]),
        ("gpt-5.2", {}, None, []),
    ],
)
def test_effort(model, asked, effort, dropped):
    body, left = sent(model=model, max_tokens=40000, **asked)
    assert body.get("reasoning_effort") == effort
    assert left == dropped


@pytest.mark.parametrize(
    ("provider", "model", "thinking", "members"),
    [
        ("groq", "openai/gpt-oss-120b", "enabled", {"include_reasoning": True}),
        (
            "groq",
            "openai/gpt-oss-120b",
            "disabled",
            {"include_reasoning": False, "reasoning_effort": "low"},
        ),
        ("groq", "qwen/qwen3.8-27b", "adaptive", {"reasoning_format": "parsed"}),
        ("groq", "qwen/qwen3.8-27b", "disabled", {"reasoning_effort": "none"}),
        ("cerebras", "zai-glm-4.7", "adaptive", {"reasoning_format": "parsed"}),
        ("groq", "llama-3.3-70b", "adaptive", {}),
    ],
)
def test_shown_reasoning(provider, model, thinking, members):
    body, _ = sent(provider, model=model, thinking={"type": thinking})
    known = ("include_reasoning", "reasoning_effort", "reasoning_format")
    assert {name: body[name] for name in known if name in body} == members


def test_sampling_of_reasoning_models_is_left_out_and_named():
    body, dropped = sent(model="gpt-5.5", temperature=0.1, top_p=0.5, top_k=3)
    assert not {"temperature", "top_p", "top_k"} & body.keys()
    assert dropped == ["temperature", "top_p", "top_k"]
    assert sent(model="gpt-5.2", temperature=0.1)[0]["temperature"] == 0.1


def test_structured_output():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    body, dropped = sent(output_format={"type": "json_schema", "schema": schema})
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "response",
            "schema": {**schema, "additionalProperties": False},
            "strict": True,
        },
    }
    assert dropped == []


def test_a_schema_without_strict_form_is_sent_as_it_is():
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    body, dropped = sent(output_format={"type": "json_schema", "schema": schema})
    form = body["response_format"]["json_schema"]
    assert form["strict"] is False
    assert form["schema"]["additionalProperties"] == {"type": "string"}
    assert dropped == ["output_config.format.schema[strict]"]


def test_an_array_is_wrapped_and_unwrapped():
    adapter = make_adapter(PROVIDER_SPECS["openai"], "01TEST")
    form = {"type": "json_schema", "schema": {"type": "array", "items": {"type": "integer"}}}
    request = parse.parse_request({"model": "gpt-4o", "messages": [USER], "output_format": form})
    body = orjson.loads(adapter.build_request(request).body)
    check_chat(body)
    assert list(body["response_format"]["json_schema"]["schema"]["properties"]) == ["value"]
    answer = {"model": "m", "choices": [{"message": {"content": ' {"value": [1, {"a": 2}]} '}}]}
    assert adapter.parse_message(orjson.dumps(answer)).content[0].text == '[1, {"a": 2}]'


def test_groq_is_not_asked_to_stream_a_schema():
    form = {
        "type": "json_schema",
        "schema": {"type": "object", "properties": {"a": {"type": "null"}}},
    }
    body, _ = sent("groq", stream=True, output_format=form)
    assert "stream" not in body
    assert "stream_options" not in body
    error = refused("groq", tools=[TOOL], output_format=form)
    assert error.code == "unsupported_output_format"


def test_stop_sequences_are_sent_where_they_work():
    assert sent(stop_sequences=["a", "b"])[0]["stop"] == ["a", "b"]
    assert "stop" not in sent(stop_sequences=[])[0]
    assert "stop" not in sent(stop_sequences=list("abcde"))[0]
    assert "stop" not in sent(model="gpt-5.5", stop_sequences=["a"])[0]


def test_the_end_user():
    assert sent(metadata={"user_id": "u-1"})[0]["safety_identifier"] == "u-1"
    assert sent("groq", metadata={"user_id": "u-1"})[0]["user"] == "u-1"
    digest = hashlib.sha256(b"ann@example.org").hexdigest()
    body, dropped = sent(metadata={"user_id": "ann@example.org", "team": "x"})
    assert body["safety_identifier"] == digest
    assert dropped == ["metadata.team"]


@pytest.mark.parametrize(
    ("provider", "tier", "wire"),
    [
        ("openai", "auto", "auto"),
        ("openai", "standard_only", "default"),
        ("groq", "standard_only", "on_demand"),
        ("groq", "priority", "performance"),
        ("openai", "gold", None),
    ],
)
def test_service_tier(provider, tier, wire):
    body, dropped = sent(provider, service_tier=tier)
    assert body.get("service_tier") == wire
    assert dropped == ([] if wire else ["service_tier"])


def test_extensions_are_handed_on_if_they_are_documented():
    given = {"openai": {"seed": 7, "verbosity": "low", "n": 3, "model": "x"}, "groq": {"seed": 1}}
    body, dropped = sent(extensions=given)
    assert (body["seed"], body["verbosity"], body["model"]) == (7, "low", "gpt-4o")
    assert "n" not in body
    assert dropped == ["extensions.openai.n", "extensions.openai.model"]
    assert sent(extensions={"openai": {}})[1] == []
    given = {"groq": {"reasoning_format": "raw", "reasoning_effort": "high"}}
    body, _ = sent(
        "groq", model="openai/gpt-oss-20b", thinking={"type": "adaptive"}, extensions=given
    )
    assert body["reasoning_format"] == "raw"
    assert "include_reasoning" not in body


def test_cache_breakpoints():
    marked = {**text("long"), "cache_control": {"type": "ephemeral"}}
    body, dropped = sent(messages=[user(marked)])
    assert body["messages"] == [{"role": "user", "content": "long"}]
    assert dropped == ["messages[*].content[*].cache_control"]
    body, dropped = sent(model="gpt-5.6-sol", messages=[user(marked)])
    part = body["messages"][0]["content"][0]
    assert part["prompt_cache_breakpoint"] == {"mode": "explicit", "ttl": "30m"}
    assert dropped == []


def test_equal_turns_give_equal_bytes_whatever_follows():
    start = [user(text("a"), PNG), assistant(call(b=1, a=2)), user(result(), text("x"))]
    adapter = make_adapter(PROVIDER_SPECS["openai"], "A")
    other = make_adapter(PROVIDER_SPECS["openai"], "B")
    fields = {"model": "gpt-4o", "system": "s", "tools": [TOOL]}
    short = adapter.build_request(parse.parse_request({**fields, "messages": start})).body
    more = [*start, assistant(text("y")), USER]
    long = other.build_request(parse.parse_request({**fields, "messages": more})).body
    head = short[: short.index(b'],"tools"')]
    assert long.startswith(head)


def test_unknown_members_are_named_not_sent():
    body, dropped = sent(context_management={"edits": []}, diagnostics={"x": 1})
    assert not {"context_management", "diagnostics"} & body.keys()
    assert dropped == ["context_management", "diagnostics"]
    assert refused(mcp_servers=[{"url": "https://e.org"}]).param == "mcp_servers"


def test_models_that_call_functions_only_while_they_do_not_reason():
    body, dropped = sent(model="gpt-5.5", tools=[TOOL])
    assert (body["reasoning_effort"], dropped) == ("none", [])
    body, dropped = sent(model="gpt-5.5", tools=[TOOL], output_config={"effort": "high"})
    assert (body["reasoning_effort"], dropped) == ("none", ["output_config.effort"])
    assert "reasoning_effort" not in sent(model="gpt-5.5")[0]

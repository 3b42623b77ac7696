"""What is sent to Anthropic."""

from __future__ import annotations

import orjson
import pytest

from tests.providers.oracle import check_anthropic
from vai.errors import InvalidRequest
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate.reasoning import wrap_signature
from vai.types import parse

USER = {"role": "user", "content": "go"}


def sent(*, headers=None, judged=True, **fields):
    """The body, the headers, and the paths of what was dropped."""
    fields.setdefault("model", "claude-sonnet-4-5")
    fields.setdefault("messages", [USER])
    fields.setdefault("max_tokens", 100)
    adapter = make_adapter(PROVIDER_SPECS["anthropic"], "01TEST", headers=headers or {})
    wire = adapter.build_request(parse.parse_request(fields))
    body = orjson.loads(wire.body)
    if judged:
        check_anthropic(body)
    return body, dict(wire.headers), adapter.dropped


def refused(**fields):
    with pytest.raises(InvalidRequest) as caught:
        sent(**fields)
    return caught.value


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def text(value, **more):
    return {"type": "text", "text": value, **more}


def test_what_anthropic_knows_passes_as_it_is():
    fields = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "system": [text("s", cache_control={"type": "ephemeral", "ttl": "1h"})],
        "messages": [
            user(text("a", cache_control={"type": "ephemeral"}), {"type": "brand_new", "x": [1]}),
            assistant(
                {"type": "thinking", "thinking": "t", "signature": "Eq=="},
                {"type": "tool_use", "id": "toolu_1", "name": "w", "input": {"z": 1, "a": 2}},
            ),
            user(
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "r", "is_error": True}
            ),
        ],
        "tools": [{"name": "w", "input_schema": {"type": "object"}, "defer_loading": True}],
        "tool_choice": {"type": "auto"},
        "metadata": {"user_id": "u"},
        "stop_sequences": ["x"],
        "context_management": {"edits": []},
        "temperature": 0.5,
    }
    body, headers, dropped = sent(judged=False, **fields)
    assert body == fields
    assert headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "anthropic-version": "2023-06-01",
    }
    assert dropped == []


def test_vais_own_members_are_translated():
    body, headers, dropped = sent(
        output_format={"type": "json_schema", "schema": {"type": "object"}, "name": "n"},
        extensions={"anthropic": {"thinking": {"type": "enabled", "budget_tokens": 2000}, "zz": 1}},
        voice={"input": {}},
        output={"modalities": ["text"]},
        metadata={"user_id": "u", "team": "t"},
        stream=True,
        max_tokens=4000,
    )
    assert body["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {"type": "object", "additionalProperties": False},
        }
    }
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert body["metadata"] == {"user_id": "u"}
    assert not {"extensions", "voice", "output", "output_format"} & body.keys()
    assert headers["accept"] == "text/event-stream"
    assert set(dropped) == {
        "extensions.anthropic.zz",
        "metadata.team",
        "output_config.format.name",
        "voice",
    }


def test_a_version_that_refuses_sampling_gives_way_to_it_and_is_named():
    newer = {"anthropic-version": "2026-10-21"}
    _, headers, dropped = sent(headers=newer, temperature=0.5)
    assert headers["anthropic-version"] == "2023-06-01"
    assert dropped == ["anthropic-version"]
    assert sent(headers=newer)[1]["anthropic-version"] == "2026-10-21"
    betas = ["good-2026-01-01", "bad beta", 3]
    _, headers, dropped = sent(extensions={"anthropic": {"betas": betas}})
    assert headers["anthropic-beta"] == "good-2026-01-01"
    assert dropped == ["extensions.anthropic.betas"]


def test_a_limit_is_always_sent():
    assert sent(max_tokens=None)[0]["max_tokens"] == 4096
    thinking = {"type": "enabled", "budget_tokens": 10_000}
    assert sent(max_tokens=None, thinking=thinking)[0]["max_tokens"] == 14_096
    assert sent(max_tokens=0)[0]["max_tokens"] == 0


def test_a_documents_name_is_its_title():
    source = {"type": "base64", "media_type": "application/pdf", "data": "aGk="}
    body, _, _ = sent(messages=[user({"type": "document", "source": source, "filename": "a.pdf"})])
    assert body["messages"][0]["content"] == [
        {"type": "document", "source": source, "title": "a.pdf"}
    ]


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_sound_and_film_are_refused(kind):
    source = {"type": "base64", "media_type": "audio/wav", "data": "aA=="}
    error = refused(messages=[user(text("a"), {"type": kind, "source": source})])
    assert (error.param, error.code) == ("messages[0].content[1]", "unsupported_content_block")


def test_native_tools():
    body, headers, dropped = sent(
        tools=[
            {"type": "function", "name": "f"},
            {"type": "web_search", "config": {"max_uses": 2, "search_depth": 1}},
            {"type": "code_execution"},
            {"type": "text_editor"},
            {"type": "web_search_20260318", "name": "web_search", "max_uses": 1},
        ],
        headers={
            "anthropic-beta": "mine-2026-01-01, code-execution-2025-08-25",
            "anthropic-version": "2026-10-21",
        },
    )
    assert [(tool["type"], tool["name"]) for tool in body["tools"]] == [
        ("custom", "f"),
        ("web_search_20250305", "web_search"),
        ("code_execution_20250825", "code_execution"),
        ("text_editor_20250728", "str_replace_based_edit_tool"),
        ("web_search_20260318", "web_search"),
    ]
    assert body["tools"][1]["max_uses"] == 2
    assert dropped == ["tools[1].config.search_depth"]
    assert headers["anthropic-beta"] == "mine-2026-01-01,code-execution-2025-08-25"
    assert headers["anthropic-version"] == "2026-10-21"


def test_a_beta_named_in_the_body_cannot_break_the_header():
    _, headers, _ = sent(extensions={"anthropic": {"betas": ["ok-2026", "bad\r\nx: y", 3]}})
    assert headers["anthropic-beta"] == "ok-2026"


@pytest.mark.parametrize("kind", ["file_search", "image_generation"])
def test_tools_anthropic_lacks_are_refused(kind):
    error = refused(tools=[{"type": kind}])
    assert (error.param, error.code) == ("tools[0]", "unsupported_tool_type")


def test_empty_texts_and_messages_are_left_out():
    body, _, _ = sent(
        messages=[user(text(""), text("a")), assistant(text("")), {"role": "user", "content": "b"}]
    )
    assert body["messages"] == [user(text("a")), {"role": "user", "content": "b"}]


def test_results_come_first():
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    answer = {"type": "tool_result", "tool_use_id": "a", "content": "r"}
    body, _, _ = sent(messages=[USER, assistant(call), user(text("t"), answer)])
    assert body["messages"][2]["content"] == [answer, text("t")]


def test_ids_of_other_providers_are_made_legal_on_both_sides():
    odd = "functions.weather:0"
    call = {"type": "tool_use", "id": odd, "name": "f", "input": {}}
    answer = {"type": "tool_result", "tool_use_id": odd, "content": "r"}
    body, _, _ = sent(messages=[USER, assistant(call), user(answer)])
    made = body["messages"][1]["content"][0]["id"]
    assert made == body["messages"][2]["content"][0]["tool_use_id"]
    assert made.replace("_", "").replace("-", "").isalnum()


@pytest.mark.parametrize("sign", [None, "", wrap_signature("groq", "chat"), "vai1.oai-resp.r.x"])
def test_foreign_reasoning_is_left_out(sign):
    thinking = {
        "type": "thinking",
        "thinking": "t",
        **({} if sign is None else {"signature": sign}),
    }
    body, _, dropped = sent(messages=[USER, assistant(thinking, text("x")), USER])
    assert body["messages"][1]["content"] == [text("x")]
    assert dropped == ["messages[*].content[*].thinking"]


def test_newer_models():
    thinking = {"type": "enabled", "budget_tokens": 9000}
    body, _, dropped = sent(
        model="claude-opus-5", thinking=thinking, temperature=0.3, max_tokens=20_000
    )
    assert body["thinking"] == {"type": "adaptive"}
    assert body["output_config"] == {"effort": "high"}
    assert dropped == ["thinking.budget_tokens", "temperature"]
    assert refused(model="claude-opus-5-5", thinking={"type": "disabled"}).param == "thinking"
    tool = {"name": "f", "input_schema": {"type": "object"}}
    error = refused(model="claude-opus-5-5", tools=[tool], tool_choice={"type": "any"})
    assert error.param == "tool_choice"
    prefilled = [USER, {"role": "assistant", "content": "Sure: "}]
    assert refused(model="claude-opus-4-8", messages=prefilled).code == "unsupported_prefill"
    assert sent(messages=prefilled)[0]["messages"][1]["content"] == "Sure:"


def test_a_system_turn_is_folded_where_the_model_takes_none():
    messages = [USER, {"role": "system", "content": "now"}, USER]
    assert sent(model="claude-opus-5-5", messages=messages)[0]["messages"] == messages
    assert sent(model="claude-opus-4-8", messages=messages)[0]["messages"] == messages
    assert sent(model="claude-opus-4-8", messages=messages)[2] == []
    messages[1] = messages[1] | {"output_config": {"effort": "low"}}
    assert sent(model="claude-opus-5-5", judged=False, messages=messages)[0]["messages"] == messages
    for model in ("claude-sonnet-4-5", "claude-opus-4-7", "claude-sonnet-4-8"):
        body, _, dropped = sent(model=model, messages=messages)
        assert body["messages"] == [USER, user(text("<system>\nnow\n</system>"), text("go"))]
        assert dropped == ["messages[*].role", "messages[*].output_config"]


@pytest.mark.parametrize(
    ("id", "own"),
    [
        ("srvtoolu_01Abc", True),
        ("srvtoolu_search_call_1", True),
        ("srvtoolu_bdrk_01A", True),
        ("srvtoolu_gemini_01TEST_0", False),
        ("srvtoolu_gemini_oauth_01TEST_0", False),
        ("ws_0123456789abcdef", False),
        ("ci_0123456789abcdef", False),
        ("run_0", False),
    ],
)
def test_runs_of_anthropics_own_go_back_whatever_their_ids(id, own):
    run = {"type": "server_tool_use", "id": id, "name": "web_search", "input": {"query": "q"}}
    found = {"type": "web_search_tool_result", "tool_use_id": id, "content": []}
    body, _, dropped = sent(messages=[USER, assistant(run, found, text("x")), USER], judged=False)
    kept = [block["type"] for block in body["messages"][1]["content"]]
    assert kept == (["server_tool_use", "web_search_tool_result", "text"] if own else ["text"])
    assert bool(dropped) is not own

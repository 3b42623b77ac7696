"""What Gemini and Code Assist are sent, judged by the official SDK's types."""

from __future__ import annotations

import base64
from itertools import product

import orjson
import pytest

from tests.providers.oracle import check_gemini
from vai.errors import InvalidRequest
from vai.providers.factory import make_adapter
from vai.providers.gemini.conversation import UNSIGNED
from vai.providers.gemini.models import traits_of_model
from vai.providers.gemini.request import to_count_request
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate.reasoning import wrap_signature
from vai.simulator import google_check
from vai.simulator.knobs import Knobs
from vai.types import parse

NEW, OLD = "gemini-3.6-flash", "gemini-2.5-flash"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
SCHEMA = {"type": "object", "properties": {"x": {"$ref": "#/$defs/n"}}, "$defs": {"n": {}}}
TOOL = {"name": "look", "description": "Looks.", "input_schema": SCHEMA}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
USER = {"role": "user", "content": "go"}


def call(id="c1", name="look", **given):
    return {"type": "tool_use", "id": id, "name": name, "input": given or {"x": 1}}


def result(content="found", id="c1", **more):
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def text(said, **more):
    return {"type": "text", "text": said, **more}


def ask(*messages, model=NEW, provider="gemini", **fields):
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    given = {"model": model, "messages": list(messages) or [USER], **fields}
    return adapter, adapter.build_request(parse.parse_request(given))


def sent(*messages, provider="gemini", **fields):
    """The body, after the SDK has judged it."""
    _, wire = ask(*messages, provider=provider, **fields)
    body = orjson.loads(wire.body)
    inner = body["request"] if provider == "gemini-oauth" else body
    check_gemini(inner)
    return inner


def dropped(*messages, **fields):
    return ask(*messages, **fields)[0].dropped


def refused(*messages, **fields):
    with pytest.raises(InvalidRequest) as caught:
        ask(*messages, **fields)
    return caught.value


def test_where_a_request_goes():
    _, wire = ask()
    assert (wire.method, wire.target) == ("POST", f"/models/{NEW}:generateContent")
    assert not wire.streams
    _, wire = ask(model="models/gemini-2.5-pro", thinking={"type": "disabled"})
    assert wire.target == "/models/gemini-2.5-pro:generateContent"
    assert b"thinkingBudget" in wire.body
    _, wire = ask(stream=True)
    assert wire.target == f"/models/{NEW}:streamGenerateContent?alt=sse"
    assert wire.streams
    _, wire = ask(stream=True, provider="gemini-oauth")
    assert wire.target == "/v1internal:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    "model", ["../../v1/files", "a/b", "m?key=1", "m#x", "m:countTokens", "ü "]
)
def test_a_model_is_one_segment_of_the_path(model):
    _, wire = ask(model=model)
    assert wire.target.startswith("/models/")
    name = wire.target.removeprefix("/models/").removesuffix(":generateContent")
    assert not set(name) & set("/?#: ")


def test_code_assist_has_an_envelope():
    _, wire = ask(provider="gemini-oauth", model="gemini-2.5-pro")
    body = orjson.loads(wire.body)
    assert body == {
        "model": "gemini-2.5-pro",
        "project": "",
        "user_prompt_id": "01TEST",
        "request": {"contents": [{"role": "user", "parts": [{"text": "go"}]}]},
    }


def test_turns_alternate_and_begin_and_end_with_the_user():
    found = sent(assistant(text("a")), assistant(text("b")), USER, user(text("c")))
    assert found["contents"] == [
        {"role": "user", "parts": [{"text": " "}]},
        {"role": "model", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "user", "parts": [{"text": "go"}, {"text": "c"}]},
    ]
    found = sent(USER, assistant(text("a")), user(text("")))
    assert found["contents"][-1] == {"role": "user", "parts": [{"text": " "}]}
    found = sent(assistant(text("a")), user(text("")), assistant(text("b")), USER)
    assert [c["role"] for c in found["contents"]] == ["user", "model", "user"]


def test_instructions():
    assert sent(system="s")["systemInstruction"] == {"parts": [{"text": "s"}]}
    blocks = [text("a"), text(""), text("b", cache_control={"type": "ephemeral"})]
    assert sent(system=blocks)["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert dropped(system=blocks) == ["system[*].cache_control"]
    assert "systemInstruction" not in sent(system="")
    assert refused(system=[IMAGE]).param == "system[0]"


def test_instructions_in_the_middle_are_marked_in_the_next_turn():
    found = sent(USER, assistant(call()), {"role": "system", "content": "now"}, user(result()))
    assert list(found["contents"][2]["parts"][0]) == ["functionResponse"]
    assert found["contents"][2]["parts"][1] == {"text": "<system>\nnow\n</system>"}


def test_a_continued_answer_is_refused():
    assert refused(USER, assistant(text("It is"))).code == "unsupported_prefill"


@pytest.mark.parametrize(
    "url",
    [
        "gs://bucket/a.mp4",
        "https://www.youtube.com/watch?v=x",
        "https://youtu.be/x",
        "https://generativelanguage.googleapis.com/v1beta/files/abc-1",
    ],
)
def test_what_google_can_read_is_named(url):
    block = {"type": "video", "source": {"type": "url", "url": url}}
    assert sent(user(block))["contents"][0]["parts"] == [{"fileData": {"fileUri": url}}]


def linked(url, kind="image", **source):
    return {"type": kind, "source": {"type": "url", "url": url, **source}}


@pytest.mark.parametrize(
    ("kind", "url", "mime"),
    [
        ("image", "https://a.example/i.png", "image/png"),
        ("image", "https://a.example/b/i.JPG?w=1&x=.gif#f", "image/jpeg"),
        ("image", "HTTPS://a.example:8443/i.webp", "image/webp"),
        ("image", "https://8.8.8.8/i.bmp", "image/bmp"),
        ("image", "https://www.youtube.com.evil.example/x.png", "image/png"),
        ("document", "https://a.example/d.pdf", "application/pdf"),
        ("document", "https://a.example/d?id=7", "application/pdf"),
        ("document", "https://a.example/d.csv", "text/csv"),
        ("audio", "https://a.example/s.mp3", "audio/mp3"),
        ("video", "https://a.example/f.mov", "video/quicktime"),
    ],
)
def test_a_public_url_is_named_with_its_type(kind, url, mime):
    file = {"fileData": {"mimeType": mime, "fileUri": url}}
    for model in (NEW, OLD, "gemini-flash-latest"):
        body = sent(user(linked(url, kind)), model=model)
        assert body["contents"][0]["parts"] == [file]
        google_check.parse_request(body, "gemini", model, Knobs())


def test_a_declared_type_goes_before_the_ending():
    block = linked("https://a.example/i.png", media_type="image/webp")
    file = sent(user(block))["contents"][0]["parts"][0]["fileData"]
    assert file["mimeType"] == "image/webp"
    block = linked("https://a.example/avatar", media_type="image/jpeg")
    assert sent(user(block))["contents"][0]["parts"][0]["fileData"]["mimeType"] == "image/jpeg"


@pytest.mark.parametrize(
    ("url", "member", "expected"),
    [
        ("http://a.example/i.png", "source.url", "an https URL; Google fetches no other"),
        ("http://www.youtube.com/x", "source.url", "an https URL"),
        ("ftp://a.example/i.png", "source.url", "an https URL"),
        ("file:///etc/passwd", "source.url", "an https URL"),
        ("i.png", "source.url", "an https URL"),
        ("https://", "source.url", "an https URL"),
        ("https://[::1/i.png", "source.url", "a well-formed https URL"),
        ("https://a.example:port/i.png", "source.url", "a well-formed https URL"),
        ("https://a.example/i .png", "source.url", "without blanks"),
        ("https://a.example/" + "i" * 9000 + ".png", "source.url", "at most 8192 characters"),
        ("https://me:secret@a.example/i.png", "source.url", "without a user and a password"),
        *(
            (f"https://{host}/i.png", "source.url", "a public address")
            for host in ("224.0.0.1", "[ff02::1]", "[fec0::1]", "a..example", ".example",
                         "a.onion", "localhost", "localhost.", "10.0.0.5",
                         "127.0.0.1:8000", "169.254.169.254",
                         "[::1]", "[fe80::1%25eth0]", "box", "files.corp.internal", "nas.local",
                         "127.1", "2130706433", "0x7f.1", "0x7f000001", "a.test")
        ),
        ("https://a.example/i", "source.media_type", "the MIME type of the image, such as image/"),
        ("https://a.example/", "source.media_type", "the MIME type of the image"),
        ("https://a.example/i.pdf", "source.media_type", "the MIME type of the image"),
        (
            "https://generativelanguage.googleapis.com/v1beta/files/../models",
            "source.url",
            "https://generativelanguage.googleapis.com/v1beta/files/...",
        ),
    ],
)  # fmt: skip
def test_what_google_cannot_fetch_says_what_was_expected(url, member, expected):
    error = refused(user(text("see"), linked(url)))
    assert error.param == f"messages[0].content[1].{member}"
    assert expected in error.message
    assert (error.status, error.code) == (400, "unsupported_content_block")
    for secret in ("secret", "passwd", "169.254", "corp"):
        assert secret not in error.message


@pytest.mark.parametrize("mime", ["png", "image/", "image/p ng", "a" * 99 + "/b", "image/png\n"])
def test_a_declared_type_must_be_one(mime):
    error = refused(user(linked("https://a.example/i.png", media_type=mime)))
    assert error.param == "messages[0].content[0].source.media_type"


@pytest.mark.parametrize(
    ("provider", "model"),
    [("gemini-oauth", NEW), ("gemini", "gemini-2.0-flash"), ("gemini", "gemini-1.5-pro")],
)
def test_where_google_fetches_nothing_a_public_url_is_refused(provider, model):
    error = refused(user(linked("https://a.example/i.png")), provider=provider, model=model)
    assert error.param == "messages[0].content[0]"
    assert "expected base64, or a URL of the Files API" in error.message
    named = sent(user(linked("gs://b/i.png")), provider=provider, model=model)
    assert named["contents"][0]["parts"] == [{"fileData": {"fileUri": "gs://b/i.png"}}]


def test_a_url_in_a_result_is_attached_or_named():
    turns = (USER, assistant(call()), user(result([linked("https://a.example/i.png")])))
    parts = sent(*turns)["contents"][2]["parts"]
    assert parts[-1]["fileData"]["fileUri"] == "https://a.example/i.png"
    hidden = (USER, assistant(call()), user(result([linked("http://10.0.0.1/i.png")])))
    assert dropped(*hidden) == ["messages[*].content[*].content[*].image"]


def test_a_counter_is_told_the_url_too():
    _, wire = ask(user(linked("https://a.example/i.png")))
    assert b'"fileUri":"https://a.example/i.png"' in to_count_request(wire, NEW).body


def test_media():
    def parts(kind, **source):
        return sent(user({"type": kind, "source": source}))["contents"][0]["parts"]

    inline = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}
    assert parts("audio", type="base64", media_type="audio/wav", data="AAAA") == [inline]
    assert parts("image", type="url", url="data:image/gif;base64,AAAA") == [
        {"inlineData": {"mimeType": "image/gif", "data": "AAAA"}}
    ]
    file = {"fileData": {"mimeType": "video/mp4", "fileUri": FILES + "files/a1"}}
    assert parts("video", type="file", media_type="video/mp4", file_id="files/a1") == [file]
    bare = {"type": "audio", "source": {"type": "base64", "data": "AAAA"}}
    assert refused(user(bare)).param == "messages[0].content[0].source.media_type"
    foreign = {"type": "image", "source": {"type": "file", "file_id": "file_011C"}}
    assert refused(user(foreign)).param == "messages[0].content[0]"


FILES = "https://generativelanguage.googleapis.com/v1beta/"


def test_documents():
    def parts(source, **more):
        block = {"type": "document", "source": source, **more}
        return sent(user(block))["contents"][0]["parts"]

    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    assert parts(pdf, title="T") == [
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"text": "<about_document>\nT\n</about_document>"},
    ]
    plain = {"type": "text", "media_type": "text/plain", "data": "d"}
    assert parts(plain, context="c") == [{"text": "<document>\nc\n\nd\n</document>"}]
    encoded = base64.b64encode(b"x,y").decode()
    assert "x,y" in parts({"type": "base64", "media_type": "text/csv", "data": encoded})[0]["text"]
    content = {"type": "content", "content": [text("p"), IMAGE]}
    assert [list(part) for part in parts(content)] == [["text"], ["inlineData"]]


def test_a_call_and_its_result():
    found = sent(USER, assistant(text("a"), call(id="toolu_9")), user(result(id="toolu_9")))
    assert found["contents"][1]["parts"][1]["functionCall"] == {
        "id": "toolu_9",
        "name": "look",
        "args": {"x": 1},
    }
    assert found["contents"][2]["parts"] == [
        {"functionResponse": {"id": "toolu_9", "name": "look", "response": {"output": "found"}}}
    ]


def test_results_come_first_and_in_the_order_of_the_calls():
    turn = user(text("t"), result("2", "b"), IMAGE, result("1", "a"))
    found = sent(USER, assistant(call("a"), call("b")), turn)
    parts = found["contents"][2]["parts"]
    assert [part["functionResponse"]["id"] for part in parts[:2]] == ["a", "b"]
    assert [next(iter(part)) for part in parts[2:]] == ["text", "inlineData"]


@pytest.mark.parametrize(
    ("said", "output"),
    [
        ('{"a": [1, 2.50]}', '{"a": [1, 2.50]}'),
        ("12345678901234567890123", "12345678901234567890123"),
        ("found", '"found"'),
        ("", '""'),
        ("{broken", '"{broken"'),
        ("NaN", '"NaN"'),
        ("[" * 50_000, None),
    ],
)
def test_a_result_that_is_json_is_sent_digit_for_digit(said, output):
    _, wire = ask(USER, assistant(call()), user(result(said)))
    if output is not None:
        assert b'"output":%b}' % output.encode() in wire.body
    orjson.loads(wire.body.replace(b"[" * 50_000, b""))


def test_pictures_in_results():
    turns = (USER, assistant(call()), user(result([text("seen"), IMAGE])))
    (part,) = sent(*turns)["contents"][2]["parts"]
    assert part["functionResponse"]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    ]
    parts = sent(*turns, model=OLD)["contents"][2]["parts"]
    assert "parts" not in parts[0]["functionResponse"]
    assert "[attachment 1 below]" in parts[0]["functionResponse"]["response"]["output"]
    assert list(parts[2]) == ["inlineData"]


def test_results_and_calls_belong_together():
    assert refused(USER, user(result())).param == "messages[1].content[0].tool_use_id"
    twice = refused(USER, assistant(call()), user(result(), result()))
    assert twice.param == "messages[2].content[1].tool_use_id"
    assert refused(USER, assistant(call()), USER).param == "messages[1].content[0]"
    same = refused(USER, assistant(call(), call()), user(result()))
    assert same.param == "messages[1].content[1].id"


def sealed(kind, payload="Sig-_=", provider="gemini"):
    return wrap_signature(provider, kind, payload)


def test_signatures_go_back_where_they_came_from():
    turn = assistant(
        {"type": "thinking", "thinking": "hm", "signature": sealed("part", "Sig1")},
        call("a"),
        call("b"),
        {"type": "redacted_thinking", "data": sealed("part", "Sig2")},
        IMAGE,
        text("said"),
        {"type": "redacted_thinking", "data": sealed("text", "Sig3")},
        {"type": "redacted_thinking", "data": sealed("text", "Sig4")},
    )
    parts = sent(USER, turn, user(result(id="a"), result(id="b")))["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [
        "Sig1",
        None,
        "Sig2",
        "Sig3",
        "Sig4",
    ]
    assert parts[-1]["text"] == ""
    assert "hm" not in str(parts)


def test_foreign_signatures_do_not_go_back():
    for provider in ("gemini-oauth", "groq"):
        thought = {"type": "thinking", "thinking": "hm", "signature": sealed("part", "S", provider)}
        turns = (USER, assistant(thought, text("a")), USER)
        assert "S" not in [p.get("thoughtSignature") for p in sent(*turns)["contents"][1]["parts"]]
        assert dropped(*turns) == ["messages[*].content[*].thinking"]


def test_unsigned_calls_carry_the_sentinel_and_keep_it():
    old = (USER, assistant(call("a")), user(result(id="a")), assistant(text("done")))
    signed = {"type": "redacted_thinking", "data": sealed("part", "Real")}
    loop = (
        USER,
        assistant(call("b"), call("c")),
        user(result(id="b"), result(id="c"), text("hurry")),
        assistant(signed, call("d")),
        user(result(id="d")),
    )
    marks = [
        [part.get("thoughtSignature") for part in content["parts"]]
        for content in sent(*old, *loop)["contents"]
        if content["role"] == "model"
    ]
    assert marks == [[UNSIGNED], [None], [UNSIGNED, None], ["Real"]]
    going_on = sent(*loop[:3], assistant(text("well")), USER)["contents"]
    assert going_on[:3] == sent(*loop[:3])["contents"]
    assert UNSIGNED not in str(sent(*loop, model=OLD))


def test_its_own_code_goes_back_and_other_providers_tools_do_not():
    use = {"type": "server_tool_use", "id": "srvtoolu_gemini_1", "name": "code_execution"}
    told = {"type": "code_execution_result", "stdout": "", "stderr": "E", "return_code": 124}
    done = {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_gemini_1"}
    turn = assistant({**use, "input": {"code": "1"}}, {**done, "content": told}, text("ok"))
    assert sent(USER, turn, USER)["contents"][1]["parts"][:2] == [
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_DEADLINE_EXCEEDED", "output": "E"}},
    ]
    assert sent(USER, turn, USER, provider="gemini-oauth")["contents"][1]["parts"] == [
        {"text": "ok"}
    ]
    signed = {"type": "redacted_thinking", "data": sealed("part")}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    parts = sent(USER, assistant(signed, search, found, text("ok")), USER)["contents"][1]["parts"]
    assert parts == [{"text": "ok"}]


def test_functions_are_sent_as_json_schema():
    tools = [
        {**TOOL, "input_schema": {"$schema": "x", "$id": "y", **SCHEMA}},
        {"name": "bare"},
        {"type": "bash_20250124", "name": "bash"},
    ]
    (found,) = sent(tools=tools)["tools"]
    first, second, third = found["functionDeclarations"]
    assert first == {"name": "look", "description": "Looks.", "parametersJsonSchema": SCHEMA}
    assert second == {"name": "bare", "description": "bare"}
    assert "command" in third["parametersJsonSchema"]["properties"]


@pytest.mark.parametrize("name", ["a/b", "1st", "ä", "x" * 200, "-"])
def test_foreign_names_are_changed_and_brought_back(name):
    adapter, wire = ask(tools=[{**TOOL, "name": name}], tool_choice={"type": "tool", "name": name})
    body = orjson.loads(wire.body)
    alias = body["tools"][0]["functionDeclarations"][0]["name"]
    assert alias != name
    assert body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == [alias]
    answer = {"content": {"parts": [{"functionCall": {"name": alias}}]}, "finishReason": "STOP"}
    message = adapter.parse_message(orjson.dumps({"candidates": [answer]}))
    assert message.content[0].name == name
    assert (
        sent(tools=[{**TOOL, "name": "a.b:c-d"}])["tools"][0]["functionDeclarations"][0]["name"]
        == "a.b:c-d"
    )


def test_tool_choice():
    def calling(choice, **fields):
        return sent(tools=[TOOL], tool_choice=choice, **fields)["toolConfig"][
            "functionCallingConfig"
        ]

    assert calling({"type": "auto"}) == {"mode": "AUTO"}
    assert calling({"type": "any"}) == {"mode": "ANY"}
    assert calling({"type": "none"}) == {"mode": "NONE"}
    assert calling({"type": "tool", "name": "look"})["allowedFunctionNames"] == ["look"]
    assert "toolConfig" not in sent(tools=[TOOL])
    assert refused(tools=[TOOL], tool_choice={"type": "tool", "name": "no"}).param == (
        "tool_choice.name"
    )
    assert refused(tools=[SEARCH], tool_choice={"type": "any"}).param == "tool_choice"
    none = sent(tools=[TOOL, SEARCH], tool_choice={"type": "none"})
    assert [list(tool) for tool in none["tools"]] == [["functionDeclarations"]]
    strict = sent(tools=[{**TOOL, "strict": True}])
    assert strict["toolConfig"]["functionCallingConfig"] == {"mode": "VALIDATED"}


def test_tools_that_google_runs():
    tools = [
        SEARCH,
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "code_execution", "config": {"timeout_seconds": 9}},
        {"type": "computer_use", "config": {"display_width": 9}},
        {"type": "file_search", "config": {"vector_store_ids": ["s"], "max_results": 3}},
    ]
    assert sent(tools=tools)["tools"] == [
        {"googleSearch": {}},
        {"urlContext": {}},
        {"codeExecution": {}},
        {"computerUse": {"environment": "ENVIRONMENT_BROWSER"}},
        {"fileSearch": {"fileSearchStoreNames": ["s"], "topK": 3}},
    ]
    assert dropped(tools=tools) == ["tools[2].timeout_seconds", "tools[3].display_width"]
    assert refused(tools=[{"type": "file_search"}]).param == "tools[0].config.vector_store_ids"


def test_domains():
    limited = {**SEARCH, "blocked_domains": ["a.example"]}
    assert refused(tools=[limited]).param == "tools[0].blocked_domains"
    found = sent(tools=[limited], provider="gemini-oauth")["tools"]
    assert found == [{"googleSearch": {"excludeDomains": ["a.example"]}}]
    allowed = {**SEARCH, "allowed_domains": ["a.example"], "max_uses": 2}
    assert refused(tools=[allowed], provider="gemini-oauth").param == "tools[0].allowed_domains"
    assert dropped(tools=[{**SEARCH, "max_uses": 2}]) == ["tools[0].max_uses"]


def test_functions_beside_tools_that_google_runs():
    found = sent(tools=[TOOL, SEARCH])
    assert found["toolConfig"] == {"includeServerSideToolInvocations": True}
    assert refused(tools=[TOOL, SEARCH], model=OLD).param == "tools"


@pytest.mark.parametrize(
    ("model", "fields", "config", "left"),
    [
        (NEW, {}, None, []),
        (NEW, {"thinking": {"type": "adaptive"}}, {"includeThoughts": True}, []),
        (
            NEW,
            {"thinking": {"type": "enabled", "budget_tokens": 5000, "display": "omitted"}},
            {"includeThoughts": False, "thinkingLevel": "MEDIUM"},
            [],
        ),
        (NEW, {"thinking": {"type": "disabled"}}, {"thinkingLevel": "MINIMAL"}, ["thinking"]),
        (
            "gemini-4-argon",
            {"output_config": {"effort": "max"}},
            {"thinkingLevel": "HIGH"},
            ["output_config.effort"],
        ),
        (
            "gemini-3-pro-preview",
            {"output_config": {"effort": "medium"}},
            {"thinkingLevel": "LOW"},
            ["output_config.effort"],
        ),
        (OLD, {"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}, []),
        (
            "gemini-2.5-pro",
            {"thinking": {"type": "disabled"}},
            {"thinkingBudget": 128},
            ["thinking"],
        ),
        (
            OLD,
            {"thinking": {"type": "enabled", "budget_tokens": 99_999}},
            {"includeThoughts": True, "thinkingBudget": 24_576},
            ["thinking.budget_tokens"],
        ),
        (OLD, {"output_config": {"effort": "medium"}}, {"thinkingBudget": 4096}, []),
        (OLD, {"output_config": {"effort": "odd"}}, None, ["output_config.effort"]),
        ("gemma-3-27b-it", {"thinking": {"type": "adaptive"}}, None, ["thinking"]),
        ("gemini-2.0-flash", {"output_config": {"effort": "low"}}, None, ["output_config.effort"]),
    ],
)
def test_thinking(model, fields, config, left):
    found = sent(model=model, **fields).get("generationConfig", {})
    assert found.get("thinkingConfig") == config
    assert dropped(model=model, **fields) == left


def test_the_form_of_the_answer():
    form = {"format": {"type": "json_schema", "schema": {"$schema": "x", **SCHEMA}}}
    found = sent(output_config=form)["generationConfig"]
    assert found == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    sent(output_config=form, tools=[TOOL])
    assert refused(output_config=form, tools=[TOOL], model=OLD).param == "output_config.format"


def test_sampling_and_limits():
    fields = {"temperature": 0.5, "top_p": 0.9, "top_k": 3, "max_tokens": 9}
    assert sent(**fields)["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 3,
        "maxOutputTokens": 9,
    }
    for model in ("gemini-3.8-flash", "gemini-3.7-flash", "gemini-3.5-flash-lite"):
        assert sent(model=model, **fields)["generationConfig"] == {"maxOutputTokens": 9}
        assert dropped(model=model, **fields) == ["temperature", "top_p", "top_k"]
    assert refused(max_tokens=0).param == "max_tokens"


def test_more_stop_sequences_than_gemini_takes_are_watched_for_here():
    few, many = ["a", "b"], ["1", "2", "3", "4", "5", "END"]
    assert sent(stop_sequences=few)["generationConfig"]["stopSequences"] == few
    adapter, wire = ask(stop_sequences=many)
    assert b"stopSequences" not in wire.body
    answer = {"content": {"parts": [{"text": "so it EN"}]}}
    rest = {"content": {"parts": [{"text": "Ds"}]}, "finishReason": "MAX_TOKENS"}
    for candidate in (answer, rest):
        adapter.feed_bytes(b"data: %b\n\n" % orjson.dumps({"candidates": [candidate]}))
    assert adapter.is_complete
    assert adapter.ended_early


def test_what_has_no_equivalent_is_named():
    assert dropped(
        metadata={"user_id": "u", "x": "y"},
        cache_control={"type": "ephemeral"},
        speed="fast",
        tools=[{**TOOL, "cache_control": {"type": "ephemeral"}, "eager_input_streaming": True}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    ) == [
        "tools[*].cache_control",
        "tools[*].eager_input_streaming",
        "tool_choice.disable_parallel_tool_use",
        "metadata.user_id",
        "metadata.x",
        "cache_control",
        "speed",
    ]
    assert dropped(user(text("x", cache_control={"type": "ephemeral"}))) == [
        "messages[*].content[*].cache_control"
    ]
    assert refused(mcp_servers=[{"url": "https://a.example"}]).param == "mcp_servers"


def test_service_tiers():
    assert sent(service_tier="flex")["serviceTier"] == "flex"
    assert sent(service_tier="standard_only")["serviceTier"] == "standard"
    assert "serviceTier" not in sent(service_tier="auto")
    assert dropped(service_tier="auto") == ["service_tier"]
    assert dropped(service_tier="scale") == ["service_tier"]
    assert dropped(service_tier="standard_only", provider="gemini-oauth") == ["service_tier"]
    assert dropped(service_tier="flex", provider="gemini-oauth") == ["service_tier"]


def test_images_in_the_answer():
    draws = "gemini-3.1-flash-image"
    output = {"modalities": ["text", "image"], "image": {"size": "2K"}}
    found = sent(model=draws, output=output)["generationConfig"]
    assert found == {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"imageSize": "2K"}}
    found = sent(model=draws, tools=[{"type": "image_generation"}])
    assert found["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]
    assert "tools" not in found
    assert refused(output=output).param == "output.modalities"
    assert refused(tools=[{"type": "image_generation"}]).param == "tools[0]"
    assert refused(output={"modalities": ["video"]}).param == "output.modalities"
    odd = {"modalities": ["image"], "image": {"size": "1024x1024"}}
    assert dropped(model=draws, output=odd) == ["output.image.size"]


def test_extensions():
    given = {
        "thinking_level": "low",
        "image_config": {"aspect_ratio": "16:9"},
        "seed": 7,
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"},
        ],
        "store": False,
        "candidateCount": 3,
        "labels": {"a": "b"},
    }
    found = sent(
        extensions={"gemini": given}, thinking={"type": "enabled", "budget_tokens": 9}, model=OLD
    )
    assert found["generationConfig"] == {
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"},
        "imageConfig": {"aspectRatio": "16:9"},
        "seed": 7,
    }
    assert found["store"] is False
    assert "labels" not in found
    left = dropped(extensions={"gemini": given})
    assert left == ["extensions.gemini.candidateCount", "extensions.gemini.labels"]
    other = {"gemini": given, "gemini-oauth": {"labels": {"my_key": "b"}}}
    assert sent(extensions=other, provider="gemini-oauth")["labels"] == {"my_key": "b"}
    assert "generationConfig" not in sent(extensions={"openai": {"seed": 1}})
    assert refused(extensions={"gemini": 3}).param == "extensions.gemini"
    nested = {"gemini": {"thinking": {"budget": 9, "include_thoughts": True, "mood": 1}}}
    config = sent(extensions=nested, model=OLD)["generationConfig"]["thinkingConfig"]
    assert config == {"thinkingBudget": 9, "includeThoughts": True}
    assert dropped(extensions=nested, model=OLD) == ["extensions.gemini.thinking"]


@pytest.mark.parametrize(
    ("model", "thinks", "signs", "draws"),
    [
        ("gemini-2.0-flash", False, False, False),
        ("gemini-2.5-pro", True, False, False),
        ("gemini-2.5-flash-image", False, False, True),
        ("gemini-3-pro-preview", True, True, False),
        ("gemini-3-pro-image", False, True, True),
        ("gemini-nano-banana-2.1", False, True, True),
        ("gemini-4-argon", True, True, False),
        ("gemini-flash-latest", True, True, False),
        ("gemma-3-27b-it", False, False, False),
    ],
)
def test_models_are_told_by_their_names(model, thinks, signs, draws):
    found = traits_of_model(model)
    assert bool(found.levels or found.budget) is thinks
    assert found.calls_need_signature is signs
    assert found.outputs_images is draws


HISTORIES = [
    [USER],
    [USER, assistant(call()), user(text("t"), result())],
    [USER, assistant(text("z"), call(), call("c2")), user(result([IMAGE]), result(id="c2"))],
    [
        USER,
        assistant(call()),
        user(result(is_error=True)),
        assistant(text("x")),
        {"role": "system", "content": "s"},
        USER,
    ],
]
MEMBERS = [
    {},
    {"stream": True, "thinking": {"type": "enabled", "budget_tokens": 5000}},
    {"thinking": {"type": "disabled"}, "service_tier": "standard_only", "top_k": 3},
    {"output_format": {"type": "json_schema", "schema": {"type": "array", "items": SCHEMA}}},
    {"stop_sequences": ["a"], "tool_choice": {"type": "any"}, "temperature": 1.0},
]


@pytest.mark.parametrize("provider", ["gemini", "gemini-oauth"])
@pytest.mark.parametrize(
    "model", [OLD, "gemini-2.5-pro", NEW, "gemini-3.8-flash", "gemini-4-argon"]
)
def test_what_is_sent_is_accepted(provider, model):
    accepted, refusals = 0, set()
    for messages, tools, members in product(HISTORIES, ([], [TOOL], [TOOL, SEARCH]), MEMBERS):
        fields = {"model": model, "max_tokens": 999, "tools": tools, "system": "s", **members}
        try:
            _, wire = ask(*messages, provider=provider, **fields)
        except InvalidRequest as refusal:
            refusals.add(refusal.param)
            continue
        body = orjson.loads(wire.body)
        check_gemini(body["request"] if provider == "gemini-oauth" else body)
        google_check.parse_request(body, provider, model, Knobs())
        accepted += 1
    assert accepted >= 30
    assert refusals <= {"output_config.format", "tool_choice", "tools"}

"""Everything around an answer: paths, statuses, headers, names, defaults, log lines."""

from __future__ import annotations

import gzip

import orjson
import pytest

from tests.canary import KEY
from tests.e2e.rig import Http, ask, body_of, events
from tests.providers.validator import check_stream

pytestmark = pytest.mark.e2e

GATEWAYS = ["gateway", "single"]


# --- paths and methods -------------------------------------------------------------------------


@pytest.mark.parametrize("which", GATEWAYS)
@pytest.mark.parametrize("path", ["/v1/messages", "/messages", "/v1/messages/"])
@pytest.mark.parametrize("query", ["", "?beta=true", "?beta=true&x=%2F"])
def test_both_paths_and_any_query(request, which, path, query):
    gateway = request.getfixturevalue(which)
    for model in ("claude-path", "openai/sim-path"):
        assert gateway.post(ask(model), path=path + query).status == 200


@pytest.mark.parametrize("which", [*GATEWAYS, "passthrough", "open_gateway"])
def test_probes_need_no_key(request, which):
    gateway = request.getfixturevalue(which)
    probe = gateway.ask("HEAD", "/")
    assert probe.status == 200
    assert probe.header("content-type") != "None"
    health = gateway.ask("GET", "/health")
    assert health.status == 200
    assert health.json["status"] == "healthy"
    ready = gateway.ask("GET", "/readyz")
    assert ready.status == 200
    assert ready.json["ok"] is True


def test_unknown_paths(gateway):
    for path in ("/v1/nothing", "/v1/messages/nothing", "/v2/messages", "/v1/messages/../x"):
        for method in ("GET", "POST"):
            answer = gateway.ask(method, path, gateway.auth(), b"" if method == "POST" else None)
            assert answer.status == 404, path
            assert answer.error["type"] == "not_found_error"
            assert answer.error["message"].startswith(
                "Endpoint not found. This server speaks the M"
            )
            assert answer.error["request_id"] == answer.header("x-request-id")


def test_googles_call_of_a_model_is_not_found(gateway):
    path = "/v1/models/gemini-3.8-flash:generateContent"
    answer = gateway.ask("POST", path, gateway.auth(), b"{}")
    assert (answer.status, answer.error["code"]) == (404, "gemini_endpoint")
    assert answer.header("allow") is None


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method(gateway, method):
    answer = gateway.ask(method, "/v1/messages", gateway.auth())
    assert answer.status == 405
    assert answer.header("allow") == "POST"
    assert answer.error["message"].endswith(f"{method} is not served at this path; expected POST")
    assert answer.error["code"] == "method_not_allowed"
    assert answer.error["type"] == "invalid_request_error"


# --- bodies that are refused for their wrapping ------------------------------------------------


def test_a_body_that_is_too_large(gateway, simulator):
    before = simulator.last
    answer = gateway.post(ask("claude-large", "x" * 1_000_001))
    assert answer.status == 413
    assert answer.error["type"] == "request_too_large"
    assert "too large" in answer.error["message"]
    assert simulator.last == before
    just = ask("claude-just", "")
    room = 1_000_000 - len(orjson.dumps(just))
    assert gateway.post(ask("claude-just", "x" * room)).status == 200


def test_a_body_that_is_announced_too_large_is_not_waited_for(gateway):
    answer = gateway.send(
        b"POST /v1/messages HTTP/1.1\r\nHost: t\r\nx-api-key: %b\r\n"
        b"Content-Length: 999999999\r\n\r\n{" % KEY.encode(),
        5,
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "x-gzip", "gzip, gzip"])
def test_a_compressed_body(gateway, simulator, coding):
    before = simulator.last
    packed = gzip.compress(orjson.dumps(ask("claude-packed")))
    answer = gateway.post(packed, {"content-encoding": coding})
    assert answer.status == 415
    assert answer.error["type"] == "invalid_request_error"
    assert simulator.last == before


def test_a_body_that_says_it_is_not_compressed(gateway):
    for plain in ("identity", "Identity", ""):
        assert gateway.post(ask("claude-plain"), {"content-encoding": plain}).status == 200


def test_a_chunked_body_is_refused(gateway):
    answer = gateway.send(
        b"POST /v1/messages HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\n{}\r\n0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert b'"type":"error"' in answer


def test_a_refusal_leaves_the_connection_usable(gateway):
    with Http(gateway.port) as client:
        for _ in range(3):
            for body in (b"{}", b"", b"nonsense", b'{"model":"nobody/x"}'):
                answer = client.ask("POST", "/v1/messages", gateway.auth(), body)
                assert answer.status in (400, 404)
            assert client.ask("GET", "/nowhere").status == 404
            said = orjson.dumps(ask("claude-again"))
            assert client.ask("POST", "/v1/messages", gateway.auth(), said).status == 200


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    ["", "gpt-of-tomorrow", "/x", "openai/", "/", "openai", 7, None, ["openai/x"], {}, True],
)
def test_a_model_that_is_no_name(gateway, model):
    answer = gateway.post(ask(model))
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["param"] == "model"


def test_only_the_first_slash_counts(gateway, simulator):
    answer = gateway.post(ask("groq/openai/gpt-oss-120b:thinking/x"))
    assert answer.status == 200
    assert answer.json["model"] == "groq/openai/gpt-oss-120b:thinking/x"
    simulator.one("openai/gpt-oss-120b:thinking/x")


def test_an_alias_of_a_translated_model(gateway, simulator):
    before = simulator.last
    answer = gateway.post(ask("fast", stream=True))
    assert answer.header("x-model") == "groq/openai/gpt-oss-20b"
    found = check_stream(events(answer.body))
    assert found[0]["message"]["model"] == "groq/openai/gpt-oss-20b"
    assert len(simulator.journal("openai/gpt-oss-20b", after=before)) == 1


def test_an_alias_of_a_claude_speaks_the_providers_own_dialect(gateway, simulator):
    usage = '{"input_tokens":1,"output_tokens":2}'
    body = f'{{"type":"message","model":"claude-alias-1","content":[], "usage": {usage},"x":1.0}}'
    simulator.script("claude-alias-1", body=body)
    answer = gateway.post(ask("smart"))
    assert answer.body == body.encode()
    assert answer.header("x-model") == "anthropic/claude-alias-1"
    simulator.script("claude-alias-1", body=body, times=1)


# --- defaults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_max_tokens_is_filled_in_where_vai_speaks(gateway, simulator, stream):
    for provider, field in (
        ("anthropic", "max_tokens"),
        ("openai", "max_completion_tokens"),
        ("groq", "max_completion_tokens"),
    ):
        said = ask(f"{provider}/sim-default-{provider}-{stream}", stream=stream)
        del said["max_tokens"]
        assert gateway.post(said).status == 200
        arrived = simulator.one(f"sim-default-{provider}-{stream}")
        assert orjson.loads(body_of(arrived))[field] == 321


def test_max_tokens_is_the_callers_own_affair_in_the_providers_dialect(gateway):
    said = ask("claude-default")
    del said["max_tokens"]
    answer = gateway.post(said)
    assert answer.status == 400
    assert answer.json["error"]["message"] == "max_tokens: Field required"
    assert "x" not in answer.json


@pytest.mark.parametrize("value", [0, -1, 1.5, "9", True, []])
def test_max_tokens_must_be_a_number_of_tokens(gateway, value):
    said = ask("openai/sim")
    answer = gateway.post(said | {"max_tokens": value})
    assert answer.status == 400
    assert answer.error["param"] == "max_tokens"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"stream": "yes"}, "stream"),
        ({"tools": 7}, "tools"),
        ({"temperature": "warm"}, "temperature"),
        ({"stop_sequences": [1]}, "stop_sequences"),
    ],
)
def test_what_is_wrong_is_named(gateway, change, param):
    answer = gateway.post(ask("openai/sim-wrong") | change)
    assert answer.status == 400, answer.body
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["param"].startswith(param)


# --- headers of an answer ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("openai/sim-head", "openai/sim-head"),
        ("anthropic/sim-head", "anthropic/sim-head"),
        ("claude-head", "anthropic/claude-head"),
    ],
)
def test_headers_of_a_json_answer(gateway, model, shown):
    answer = gateway.post(ask(model))
    usage = answer.json["usage"]
    assert answer.header("content-type") == "application/json"
    assert answer.header("x-request-id")
    assert answer.header("request-id")
    assert answer.header("x-model") == shown
    assert answer.header("x-input-tokens") == str(usage["input_tokens"])
    assert answer.header("x-output-tokens") == str(usage["output_tokens"])
    total = usage["input_tokens"] + usage["output_tokens"]
    assert answer.header("x-total-tokens") == str(total)
    assert int(answer.header("x-duration-ms")) >= 0
    assert answer.header("server") is None


def test_headers_of_a_stream(gateway):
    for model in ("openai/sim-head", "anthropic/sim-head"):
        answer = gateway.post(ask(model, stream=True))
        assert answer.header("x-model") == model
        assert answer.header("x-request-id")
        assert answer.header("x-input-tokens") is None


@pytest.mark.parametrize("offered", ["abc", "A.b:c_d-9", "x" * 128])
def test_a_request_id_is_honoured(gateway, offered):
    for model, stream in (("claude-id", False), ("openai/sim-id", True), ("nobody/x", False)):
        answer = gateway.post(ask(model, stream=stream), {"x-request-id": offered})
        assert answer.header("x-request-id") == offered
        if answer.status == 404:
            assert answer.error["request_id"] == answer.json["request_id"] == offered


@pytest.mark.parametrize("offered", ["", "x" * 129, "a b", "<script>", "a\tb", "a,b", "$x"])
def test_an_unsafe_request_id_is_not(gateway, offered):
    answer = gateway.post(ask("claude-id"), {"x-request-id": offered})
    assert answer.status == 200
    assert answer.header("x-request-id").startswith("req_")


def test_request_ids_are_never_the_same(gateway):
    found = {gateway.post(ask("claude-id")).header("x-request-id") for _ in range(20)}
    assert len(found) == 20


def test_a_simulated_answer_says_so(open_gateway):
    for model in ("groq/sim-shown", "claude-shown", "anthropic/sim-shown"):
        for stream in (False, True):
            answer = open_gateway.post(ask(model, stream=stream))
            assert answer.status == 200
            assert answer.header("x-vai-simulated") == "true"
    answer = open_gateway.post(ask("groq/sim;status=429"))
    assert (answer.status, answer.header("x-vai-simulated")) == (429, "true")
    real = open_gateway.post(ask("openai/sim-shown"))
    assert (real.status, real.header("x-vai-simulated")) == (200, None)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_what_a_provider_cannot_take_is_named(gateway, stream):
    answer = gateway.post(ask("openai/sim-drop", top_k=5, stream=stream))
    assert answer.status == 200
    assert answer.header("x-vai-dropped") == "top_k"
    assert gateway.post(ask("openai/sim-drop", stream=stream)).header("x-vai-dropped") is None
    kept = gateway.post(ask("anthropic/sim-drop", top_k=5, stream=stream))
    assert (kept.status, kept.header("x-vai-dropped")) == (200, None)


def test_names_of_unknown_fields_cannot_split_a_header(gateway):
    odd = {"x\r\nx-evil: 1": 1, "é": 2, "\u2028": 3, "a,b": 4, "\x00": 5}
    answer = gateway.post(ask("openai/sim-drop") | odd)
    assert answer.status in (200, 400), answer
    assert answer.header("x-evil") is None


# --- structured output that a provider cannot stream -------------------------------------------


@pytest.mark.parametrize("provider", ["openai", "groq", "cerebras", "anthropic"])
def test_a_schema_and_a_stream(gateway, provider):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    form = {"format": {"type": "json_schema", "schema": schema}}
    answer = gateway.post(ask(f"{provider}/sim-schema", stream=True, output_config=form))
    assert answer.status == 200
    assert answer.header("content-type").startswith("text/event-stream")
    check_stream(events(answer.body))


# --- log lines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model", "stream", "status", "outcome"),
    [
        ("json", "openai/sim-log", False, 200, "completed"),
        ("stream", "anthropic/sim-log", True, 200, "completed"),
        ("refused", "groq/sim;status=429", False, 429, "rejected"),
        ("verbatim", "claude-;status=529", True, 529, "rejected"),
        ("cut", "openai/sim;cut=1500", True, 200, "upstream_failed"),
        ("error", "claude-x;error_at=3", True, 200, "upstream_failed"),
    ],
)
def test_one_line_per_request(gateway, name, model, stream, status, outcome):
    identity = f"log-{name}-1"
    gateway.post(ask(model, stream=stream), {"x-request-id": identity})
    lines = gateway.logged(identity).splitlines()
    (line,) = [orjson.loads(line) for line in lines if identity in line]
    assert line["event"] == "request_complete"
    assert line["status"] == status
    assert line["outcome"] == outcome
    assert line["stream"] is stream
    assert line["user_id"] == "alice"
    assert line["duration_ms"] > 0
    if status == 200:
        assert line["input_tokens"] > 0
        assert line["output_tokens"] > 0
    if name in ("refused", "cut"):
        assert line["error_type"]


def test_keys_are_no_part_of_what_is_said(gateway):
    for answer in (
        gateway.ask("GET", "/health"),
        gateway.ask("GET", "/readyz"),
        gateway.post(b"{"),
        gateway.post(ask("nobody/x")),
    ):
        assert KEY.encode() not in answer.body


def test_a_refusal_of_the_guard_has_a_request_id(gateway):
    answer = gateway.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    named = orjson.loads(body)["request_id"]
    assert f"x-request-id: {named}".encode() in head
    assert named.startswith("req_")


def test_a_stream_needs_http_1_1(gateway):
    body = orjson.dumps(ask("openai/sim-1", stream=True))
    answer = gateway.send(
        b"POST /v1/messages HTTP/1.0\r\nHost: a\r\nx-api-key: %b\r\ncontent-length: %d\r\n\r\n%b"
        % (KEY.encode(), len(body), body)
    )
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"param":"stream"' in answer

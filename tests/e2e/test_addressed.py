"""Servers of one's own say how they are addressed: the key's header, further headers, prices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest

from tests.canary import PROVIDER_KEY
from tests.e2e.conftest import PATIENT
from tests.e2e.rig import Gateway, ask, events, running

KEY = f"{PROVIDER_KEY}-addressed"
TENANT = f"{PROVIDER_KEY}-tenant"
AUTH = {
    "bare": None,
    "bearer": "bearer",
    "x-api-key": "x-api-key",
    "other": "header:Api-Key",
    "forwarded": "header:anthropic-token",
    "scheme": "header:Authorization",
}
USAGE = {"input_tokens": 1000, "output_tokens": 100}
CREDENTIALS = ("authorization", "x-api-key", "x-goog-api-key", "api-key", "anthropic-token")


class Recorder(ThreadingHTTPServer):
    """Answers the Messages API and Chat Completions, and keeps each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.requests: list[tuple[str, list[tuple[str, str]], dict[str, Any]]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        fields = [(name.lower(), value) for name, value in self.headers.items()]
        self.server.requests.append((self.path, fields, body))
        if self.path.endswith("/chat/completions"):
            data = orjson.dumps(_completion(body))
        elif body.get("stream"):
            data = _stream(body)
        else:
            data = orjson.dumps(_message(body))
        kind = "text/event-stream" if body.get("stream") else "application/json"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def _message(body: dict[str, Any]) -> dict[str, Any]:
    content = [{"type": "text", "text": "Hello"}]
    told = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
    return told | {
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }


def _stream(body: dict[str, Any]) -> bytes:
    begun = _message(body) | {"content": [], "stop_reason": None}
    text = {"type": "text_delta", "text": "Hello"}
    told = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": text},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USAGE},
        {"type": "message_stop"},
    ]
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in told
    )


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }


@pytest.fixture(scope="module")
def server() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder
        recorder.shutdown()


@pytest.fixture(scope="module")
def gateway(server: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    headers = {"X-Tenant": "${TENANT}", "anthropic-version": "2024-10-22", "X-Plain": "a b"}
    providers: dict[str, Any] = {
        f"{kind}-{name}": {
            "kind": kind,
            "base_url": f"{server.url}/{kind}",
            "api_key": KEY,
            "headers": headers,
        }
        | ({"auth": auth} if auth else {})
        for kind in ("anthropic", "openai")
        for name, auth in AUTH.items()
    }
    open_server = {"kind": "anthropic", "base_url": server.url, "auth": "header:anthropic-token"}
    opus = {"kind": "anthropic", "base_url": server.url, "price_as": "anthropic/claude-opus-5-5"}
    providers |= {"open": open_server, "bedrock": opus, "translated": opus | {"capabilities": []}}
    providers["betas"] = {
        "kind": "anthropic",
        "base_url": server.url,
        "headers": {"Anthropic-Beta": "fixed-1, oauth-2025-04-20"},
    }
    azure = {"kind": "openai", "base_url": server.url, "price_as": "openai/gpt-5.4"}
    settings = PATIENT | {
        "auth": {"mode": "none"},
        "providers": providers | {"azure": azure},
        "aliases": {
            "claude-*": "bedrock/us.anthropic.claude-*-v1:0",
            "claude-haiku-*": ["azure/small", "bedrock/claude-haiku-*"],
            "claude-exact": "azure/exact",
        },
    }
    folder = tmp_path_factory.mktemp("addressed")
    environ = {"TENANT": TENANT}
    with running(settings, folder, "--single-process", environ=environ) as gateway:
        yield gateway


def arrived(server: Recorder) -> tuple[str, dict[str, str], dict[str, Any]]:
    """The only request that came since the last look; each header came once."""
    ((path, fields, body),) = server.requests
    server.requests.clear()
    assert len({name for name, _ in fields}) == len(fields), fields
    return path, dict(fields), body


@pytest.mark.parametrize("kind", ["anthropic", "openai"])
@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("bare", None, None),
        ("bearer", "authorization", f"Bearer {KEY}"),
        ("x-api-key", "x-api-key", KEY),
        ("other", "api-key", KEY),
        ("forwarded", "anthropic-token", KEY),
        ("scheme", "authorization", KEY),
    ],
)
def test_the_key_stands_where_the_server_wants_it(gateway, server, kind, name, header, value):
    if header is None:
        header = {"anthropic": "x-api-key", "openai": "authorization"}[kind]
        value = {"anthropic": KEY, "openai": f"Bearer {KEY}"}[kind]
    sent = {"anthropic-token": "the client's", "x-tenant": "the client's", "x-plain": "no"}
    sent |= {"anthropic-version": "2023-06-01", "anthropic-beta": "one"}
    answer = gateway.post(ask(f"{kind}-{name}/m"), sent)
    assert answer.status == 200, answer.body
    path, fields, _ = arrived(server)
    kept = {"anthropic-token"} if kind == "anthropic" and name != "forwarded" else set()
    assert {field for field in CREDENTIALS if field in fields} == {header} | kept
    assert fields[header] == value
    assert fields["x-tenant"] == TENANT
    assert fields["x-plain"] == "a b"
    assert fields["anthropic-version"] == "2024-10-22"
    assert fields.get("anthropic-beta") == ("one" if kind == "anthropic" else None)
    assert path.startswith(f"/{kind}/")


def test_streams_and_counts_are_addressed_alike(gateway, server):
    found = events(gateway.post(ask("anthropic-other/m", stream=True)).body)
    assert found[-1]["type"] == "message_stop"
    assert arrived(server)[1]["api-key"] == KEY
    body = ask("anthropic-other/m")
    del body["max_tokens"]
    gateway.post(body, path="/v1/messages/count_tokens")
    for _, fields, _ in server.requests:
        assert dict(fields)["api-key"] == KEY
        assert dict(fields)["x-tenant"] == TENANT
    server.requests.clear()


def test_a_key_of_the_clients_goes_by_the_same_header(gateway, server):
    body = ask("anthropic-other/m", provider_keys={"anthropic-other": "sk-clients"})
    assert gateway.post(body).status == 200
    fields = arrived(server)[1]
    assert fields["api-key"] == "sk-clients"
    assert fields["x-tenant"] == TENANT


def test_betas_of_the_settings_and_of_a_plan_login_are_one_list(gateway, server):
    body = ask("betas/m", provider_keys={"betas": f"sk-ant-oat01-{KEY}"})
    assert gateway.post(body, {"anthropic-beta": "the client's"}).status == 200
    fields = arrived(server)[1]
    assert fields["anthropic-beta"] == "fixed-1,oauth-2025-04-20"
    assert fields["authorization"] == f"Bearer sk-ant-oat01-{KEY}"


def test_without_a_key_no_field_of_the_client_passes_for_one(gateway, server):
    assert gateway.post(ask("open/m"), {"anthropic-token": "the client's"}).status == 200
    assert not set(CREDENTIALS) & set(arrived(server)[1])


COST = (1000 * 4 + 100 * 20) / 1e6


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        ("bedrock/any.name-v1:0", COST),
        ("bedrock/claude-haiku-4-5", COST),
        ("translated/any", COST),
        ("azure/deployment", (1000 * 2.5 + 100 * 15) / 1e6),
    ],
)
def test_it_costs_what_the_model_does_that_it_is_priced_as(gateway, server, model, cost):
    answer = gateway.post(ask(model))
    assert answer.json["usage"]["cost_usd"] == pytest.approx(cost)
    assert float(answer.header("x-cost-usd")) == pytest.approx(cost)
    server.requests.clear()


def test_it_is_spoken_to_as_that_model_is(gateway, server):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = gateway.post(ask("translated/any", temperature=0.5) | {"max_tokens": 2000})
    assert answer.header("x-vai-dropped") == "temperature"
    assert "temperature" not in arrived(server)[2]
    answer = gateway.post(ask("azure/deployment", thinking=thinking, max_tokens=2000))
    assert answer.header("x-vai-dropped") is None
    assert arrived(server)[2]["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("named", "sent"),
    [
        ("claude-opus-5-5", "us.anthropic.claude-opus-5-5-v1:0"),
        ("claude-haiku-4-5", "small"),
        ("claude-exact", "exact"),
    ],
)
def test_a_pattern_of_names_leads_to_it(gateway, server, named, sent):
    raw = orjson.dumps(ask(named, unheard_of={"of": 1}))
    answer = gateway.post(raw)
    assert answer.status == 200
    body = arrived(server)[2]
    assert body["model"] == sent
    # A bare name at a server of the Messages API: the request's own bytes, the answer's too.
    if sent.startswith("us."):
        assert body["unheard_of"] == {"of": 1}
        assert answer.json == _message(body)


def test_a_pattern_is_no_model_that_is_listed(gateway):
    listed = gateway.ask("GET", "/v1/models?format=vai").json
    assert set(listed["aliases"]) == {"claude-exact"}
    assert [model["id"] for model in listed["data"] if "*" in model["id"]] == []

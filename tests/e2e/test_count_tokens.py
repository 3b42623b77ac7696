"""Tokens are counted for every model, by the provider's own counter or by an estimate."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import anthropic
import orjson
import pytest

from tests.canary import KEY, PROMPT, PROVIDER_KEY
from tests.e2e.rig import ROOT, Answer, Gateway, ask, running, until
from tests.io.google.fake import access
from tests.io.google.fake import login as google_login
from vai.io.google.login import write_login

pytestmark = pytest.mark.e2e

Rule = Callable[["Asked"], tuple[int, dict[str, str], bytes] | None]


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes


class Counter:
    """An upstream that counts. A rule of None leaves the caller without an answer."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.left = threading.Event()
        self.rule: Rule = lambda asked: (200, {}, b'{"input_tokens": 4711}')
        counter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                fields = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.path, fields, orjson.loads(raw), raw)
                counter.asked.append(asked)
                told = counter.rule(asked)
                if told is None:
                    self.connection.settimeout(20)
                    if self.connection.recv(1) == b"":
                        counter.left.set()
                    self.close_connection = True
                    return
                status, headers, body = told
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def ready(self, rule: Rule | None = None) -> None:
        self.asked.clear()
        self.left.clear()
        self.rule = rule or (lambda asked: (200, {}, b'{"input_tokens": 4711}'))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.close()


@pytest.fixture(scope="module")
def counting(upstream: Counter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    names = ("anthropic", "gemini", "groq", "oai-resp", "openai")
    settings: dict[str, Any] = {
        "auth": {"mode": "api_key", "api_keys": {"alice": {"key": KEY}}},
        "max_request_body_bytes": 200_000,
        "providers": {
            name: {"api_key": f"{PROVIDER_KEY}-{name}", "base_url": f"{upstream.url}/{name}"}
            for name in names
        }
        | {"mine": {"kind": "openai", "base_url": f"{upstream.url}/mine"}},
        "aliases": {"smart": "anthropic/claude-alias-1"},
    }
    folder = tmp_path_factory.mktemp("counting")
    login = folder / "login.json"
    write_login(login, google_login(expiry=time.time() + 3600))
    settings["providers"]["gemini-oauth"] = {
        "enabled": True,
        "credentials_file": str(login),
        "base_url": f"{upstream.url}/assist",
    }
    with running(settings, folder, "--single-process") as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _fresh(upstream: Counter) -> None:
    upstream.ready()


PATH = "/v1/messages/count_tokens"


def question(model: str, **more: Any) -> dict[str, Any]:
    said = ask(model, PROMPT, **more)
    del said["max_tokens"]
    return said


def told(answer: Answer) -> tuple[int, str | None]:
    assert answer.status == 200, answer.body
    assert set(answer.json) == {"input_tokens"}
    return answer.json["input_tokens"], answer.header("x-vai-tokens")


@pytest.mark.parametrize("path", [PATH, "/messages/count_tokens", PATH + "?beta=true"])
def test_anthropic_counts_itself(counting: Gateway, upstream: Counter, path: str) -> None:
    answer = counting.post(question("claude-haiku-4-5"), {"anthropic-beta": "a,b"}, path)
    assert told(answer) == (4711, "exact")
    (asked,) = upstream.asked
    assert asked.path == "/anthropic/v1/messages/count_tokens"
    assert asked.headers["x-api-key"] == f"{PROVIDER_KEY}-anthropic"
    assert asked.headers["anthropic-beta"] == "a,b"
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert answer.header("x-model") == "anthropic/claude-haiku-4-5"


def test_every_byte_but_the_models_name_is_sent_on(counting: Gateway, upstream: Counter) -> None:
    body = (
        b'{ "model" : "%s", "new_thing":[1.50],"messages" :[{"role":"user","content":"\\u0041"}]}'
    )
    for name, sent in ((b"claude-x", b"claude-x"), (b"anthropic/claude-x", b"claude-x")):
        upstream.ready()
        assert counting.post(body % name, path=PATH).status == 200
        assert upstream.asked[0].raw == body % sent


def test_what_the_counter_would_refuse_is_kept_back(counting: Gateway, upstream: Counter) -> None:
    said = ask(
        "anthropic/claude-x",
        PROMPT,
        stream=True,
        temperature=0.5,
        system="Be brief",
        thinking={"type": "enabled", "budget_tokens": 20_000},
        tools=[{"name": "look", "input_schema": {"type": "object"}}],
    )
    assert told(counting.post(said, path=PATH)) == (4711, "exact")
    sent = upstream.asked[0].body
    assert set(sent) == {"model", "messages", "system", "thinking", "tools"}
    assert sent["model"] == "claude-x"


def test_a_brought_key_goes_and_does_not_stay_in_the_body(
    counting: Gateway, upstream: Counter
) -> None:
    own = f"{PROVIDER_KEY}-brought"
    said = question("anthropic/claude-x", provider_keys={"anthropic": own})
    assert told(counting.post(said, path=PATH))[1] == "exact"
    (asked,) = upstream.asked
    assert asked.headers["x-api-key"] == own
    assert b"provider_keys" not in asked.raw


@pytest.mark.parametrize("model", ["claude-x", "anthropic/claude-x", "smart"])
def test_an_error_the_caller_must_know_is_the_providers_own(
    counting: Gateway, upstream: Counter, model: str
) -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"no"} }'
    upstream.ready(lambda asked: (400, {"request-id": "req_up"}, body))
    answer = counting.post(question(model), path=PATH)
    assert (answer.status, answer.body) == (400, body)
    assert answer.header("request-id") == "req_up"
    assert answer.header("x-vai-tokens") is None


def test_a_refused_key_is_told_to_its_owner(counting: Gateway, upstream: Counter) -> None:
    body = b'{"type":"error","error":{"type":"authentication_error","message":"invalid key"}}'
    upstream.ready(lambda asked: (401, {}, body))
    lent = counting.post(question("claude-x"), path=PATH)
    assert (lent.status, lent.error["code"]) == (502, "upstream_auth")
    own = {"x-provider-key-anthropic": f"{PROVIDER_KEY}-brought"}
    brought = counting.post(question("claude-x"), own, PATH)
    assert (brought.status, brought.body) == (401, body)


@pytest.mark.parametrize(
    "rule",
    [
        lambda asked: (404, {}, b"{}"),
        lambda asked: (529, {}, b'{"type":"error"}'),
        lambda asked: (302, {"location": "/elsewhere"}, b""),
        lambda asked: (200, {}, b'{"input_tokens": "many"}'),
        lambda asked: (200, {"content-type": "text/html"}, b"<p>Sign in</p>"),
    ],
)
def test_an_estimate_stands_in_for_a_counter_that_is_not_there(
    counting: Gateway, upstream: Counter, rule: Rule
) -> None:
    upstream.ready(rule)
    for model in ("claude-x", "anthropic/claude-x"):
        tokens, how = told(counting.post(question(model), path=PATH))
        assert how == "estimated"
        assert 5 < tokens < 60


@pytest.mark.parametrize("model", ["groq/openai/gpt-oss-20b", "mine/anything"])
def test_a_provider_without_a_counter_is_not_asked(
    counting: Gateway, upstream: Counter, model: str
) -> None:
    few, how = told(counting.post(question(model), path=PATH))
    many, _ = told(counting.post(question(model, system="A heron. " * 1000), path=PATH))
    assert how == "estimated"
    assert many > 20 * few
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("model", "answer", "path"),
    [
        ("gemini/gemini-2.5-pro", b'{"totalTokens": 55}', "/models/gemini-2.5-pro:countTokens"),
        ("oai-resp/gpt-5.4", b'{"input_tokens": 55}', "/oai-resp/responses/input_tokens"),
    ],
)
def test_other_providers_count_in_their_own_words(
    counting: Gateway, upstream: Counter, model: str, answer: bytes, path: str
) -> None:
    upstream.ready(lambda asked: (200, {}, answer))
    assert told(counting.post(question(model), path=PATH)) == (55, "exact")
    (asked,) = upstream.asked
    assert asked.path.endswith(path)
    refusal = b'{"error": {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED"}}'
    upstream.ready(lambda asked: (429, {"retry-after": "7"}, refusal))
    refused = counting.post(question(model), path=PATH)
    assert (refused.status, refused.error["type"]) == (429, "rate_limit_error")
    upstream.ready(lambda asked: (500, {}, b"{}"))
    assert told(counting.post(question(model), path=PATH))[1] == "estimated"


def test_code_assist_counts_contents_and_the_rest_is_estimated(
    counting: Gateway, upstream: Counter
) -> None:
    upstream.ready(lambda asked: (200, {}, b'{"totalTokens": 55}'))
    model = "gemini-oauth/gemini-2.5-pro"
    assert told(counting.post(question(model), path=PATH)) == (55, "exact")
    (asked,) = upstream.asked
    assert asked.path == "/assist/v1internal:countTokens"
    assert asked.headers["authorization"] == f"Bearer {access(0)}"
    tools = [{"name": "look", "description": "Looks", "input_schema": {"type": "object"}}]
    more, how = told(counting.post(question(model, tools=tools), path=PATH))
    assert how == "estimated"
    assert 55 < more < 155


def test_code_assist_is_spoken_to_with_the_login(counting: Gateway, upstream: Counter) -> None:
    said = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
    upstream.ready(lambda asked: (200, {}, orjson.dumps({"response": said})))
    answer = counting.post(ask("gemini-oauth/gemini-2.5-pro", PROMPT))
    assert (answer.status, answer.json["content"][0]["text"]) == (200, "Hi")
    (asked,) = upstream.asked
    assert asked.body["project"] == "heron-1"
    assert asked.headers["authorization"] == f"Bearer {access(0)}"
    assert "Google's terms" in counting.logged("Google's terms")


def test_the_door_is_that_of_messages(counting: Gateway, upstream: Counter) -> None:
    raw = orjson.dumps(question("claude-x"))
    assert counting.ask("POST", PATH, {}, raw).status == 401
    assert counting.post(b"{", path=PATH).error["type"] == "invalid_request_error"
    assert counting.post({"messages": []}, path=PATH).error["param"] == "model"
    assert counting.post(question("nobody/x"), path=PATH).status == 404
    assert counting.post(question("groq/x") | {"messages": 3}, path=PATH).status == 400
    assert counting.post(question("claude-x", system="x" * 300_000), path=PATH).status == 413
    assert counting.post(raw, {"content-encoding": "gzip"}, PATH).status == 415
    assert counting.ask("GET", PATH, counting.auth()).status == 405
    assert counting.post(question("cerebras/x"), path=PATH).error["code"] == "provider_key_missing"
    assert upstream.asked == []


def line_of(gateway: Gateway, request_id: str) -> dict[str, Any]:
    """The request's line in the log."""

    def find() -> dict[str, Any] | None:
        for line in gateway.log.read_text().splitlines():
            if request_id in line and line.startswith("{"):
                return dict(orjson.loads(line))
        return None

    return dict(until(find, 20))


def test_a_caller_who_leaves_stops_the_provider(counting: Gateway, upstream: Counter) -> None:
    upstream.ready(lambda asked: None)
    raw = orjson.dumps(question("claude-x"))
    head = f"POST {PATH} HTTP/1.1\r\nhost: a\r\nx-request-id: req_left\r\n"
    head += f"x-api-key: {counting.key}\r\n"
    with counting.raw() as sock:
        sock.sendall(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)
        until(lambda: upstream.asked)
    assert upstream.left.wait(20)
    # Not because the counter had been waited for long enough.
    assert line_of(counting, "req_left")["status"] == 499


def test_the_request_has_its_line_in_the_log(counting: Gateway) -> None:
    counting.post(question("groq/x"), {"x-request-id": "req_counted"}, PATH)
    said = line_of(counting, "req_counted")
    assert (said["path"], said["status"], said["provider"]) == (PATH, 200, "groq")


def test_the_official_sdk_counts(counting: Gateway) -> None:
    client = anthropic.Anthropic(base_url=counting.url, api_key=KEY, max_retries=0)
    for model, expected in (("claude-x", 4711), ("anthropic/claude-x", 4711)):
        messages: Any = question(model)["messages"]
        counted = client.messages.count_tokens(model=model, messages=messages)
        assert counted.input_tokens == expected
        assert client.beta.messages.count_tokens(model=model, messages=messages, betas=["x"])
    raw = client.messages.with_raw_response.count_tokens(model="groq/x", messages=messages)
    assert raw.headers["x-vai-tokens"] == "estimated"
    assert raw.parse().input_tokens > 0
    client.close()


_OLD = ROOT / ".venv-sdk-old"
_OLD_CLIENT = """
import sys, anthropic
client = anthropic.Anthropic(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
assert int(anthropic.__version__.split(".")[0]) < 1
said = [{"role": "user", "content": "Hello"}]
for model in ("claude-x", "groq/x"):
    print(client.messages.count_tokens(model=model, messages=said).input_tokens)
"""


@pytest.mark.skipif(
    not (_OLD / "anthropic").is_dir(), reason="the old client is not installed: make test does"
)
def test_the_official_sdk_of_the_old_generation_counts(counting: Gateway) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _OLD_CLIENT, counting.url, KEY],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_OLD)},
        capture_output=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    native, estimated = map(int, done.stdout.split())
    assert native == 4711
    assert 0 < estimated < 60


@pytest.mark.parametrize(
    "model", ["claude-haiku-4-5", "anthropic/claude-x", "oai-resp/gpt-5.4", "gemini/gemini-2.5-pro"]
)
def test_the_simulator_takes_the_question_and_counts(open_gateway: Gateway, model: str) -> None:
    tool = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
    said = question(model, system="Be brief", tools=[tool])
    answer = open_gateway.post(said, path=PATH)
    assert told(answer)[1] == "exact"
    # This gateway has an address and a key for openai, and oai-resp goes where openai does.
    real = model.startswith("oai-resp/")
    assert answer.header("x-vai-simulated") == (None if real else "true")


def test_a_counter_that_fails_benches_no_model(counting: Gateway, upstream: Counter) -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }

    def rule(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        counts = asked.path.endswith("count_tokens")
        return (503, {}, b"{}") if counts else (200, {}, orjson.dumps(message))

    upstream.ready(rule)
    for _ in range(12):
        assert told(counting.post(question("claude-x"), path=PATH))[1] == "estimated"
    assert counting.post(ask("claude-x", PROMPT)).status == 200


def test_the_end_of_a_drain_ends_a_count(
    upstream: Counter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    upstream.ready(lambda asked: None)
    settings = {
        "auth": {"mode": "none"},
        "drain_grace": 0.3,
        "providers": {
            "anthropic": {"api_key": f"{PROVIDER_KEY}-anthropic", "base_url": upstream.url}
        },
    }
    answers: list[Answer] = []
    folder = tmp_path_factory.mktemp("draining")
    with running(settings, folder, "--single-process") as gateway:
        waiting = threading.Thread(
            target=lambda: answers.append(gateway.post(question("claude-x"), path=PATH))
        )
        waiting.start()
        until(lambda: upstream.asked, 20)
        gateway.process.terminate()
        waiting.join(20)
        gateway.process.wait(20)  # a second signal would be another matter
    assert (answers[0].status, answers[0].error["code"]) == (503, "draining")
    assert upstream.left.wait(20)

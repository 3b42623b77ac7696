"""Failures that the caller does not see: repeats, fallbacks, a breaker, a mended request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.canary import KEY, PROVIDER_KEY
from tests.e2e.conftest import lent_key
from tests.e2e.rig import FACES, Gateway, Http, Simulated, ask, body_of, events, running, until
from tests.providers.validator import check_stream

pytestmark = pytest.mark.e2e

MODES = ["claude-", "anthropic/edited-", "openai/translated-"]
OWN = {f"x-provider-key-{provider}": PROVIDER_KEY for provider in FACES}
SIGNATURE = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "messages.1.content.0: Invalid `signature` in `thinking` block",
    },
}
ALIASES = {
    "first-down": ["anthropic/claude-down;status=529", "openai/up"],
    "own-words": ["openai/down;status=500", "anthropic/claude-up"],
    "both-down": ["openai/both;status=503", "anthropic/claude-both;status=529"],
    "no-key": ["keyless/x", "openai/with-key"],
    "bad-ask": ["openai/bad;status=400", "openai/never-asked"],
    "picky": ["openai/limited;status=429;retry_after=60", "groq/rested"],
}


def _providers(simulator: Simulated) -> dict[str, Any]:
    given = {
        name: {"api_key": lent_key(name), "base_url": simulator.base_url(name)} for name in FACES
    }
    return given | {
        "keyless": {"kind": "openai", "base_url": simulator.base_url("openai"), "api_key": ""}
    }


@pytest.fixture(scope="module")
def sturdy(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two workers; two tries of each model, a short wait between them; no breaker."""
    settings = {
        "auth": {"mode": "api_key", "api_keys": {"alice": {"key": KEY, "name": "alice"}}},
        "providers": _providers(simulator),
        "aliases": ALIASES,
        "retries": {"base_delay": 0.02, "max_delay": 30, "budget": 1.0},
        "breaker": {"enabled": False},
    }
    with running(settings, tmp_path_factory.mktemp("sturdy")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def guarded(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One worker with a breaker that opens at the third failure; strict, and without repeats."""
    settings = {
        "auth": {"mode": "none"},
        "providers": _providers(simulator),
        "aliases": {"guarded": ["openai/guarded", "groq/guard"]},
        "strict": True,
        "retries": {"enabled": False},
        "breaker": {"failures": 3, "open_for": 3},
    }
    with running(settings, tmp_path_factory.mktemp("guarded"), "--single-process") as gateway:
        yield gateway


def upstream_name(model: str) -> str:
    return model.partition("/")[2] or model


def logged(gateway: Gateway, request_id: str) -> dict[str, Any]:
    """The one log line of a request."""
    text = gateway.logged(request_id)
    lines = [line for line in text.splitlines() if request_id in line]
    assert len(lines) == 1
    return dict(orjson.loads(lines[0]))


# --- repeats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["503", "429"])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("mode", MODES)
def test_a_failure_that_passes_is_not_seen(sturdy, simulator, mode, stream, what):
    model = f"{mode}pass-{stream};fail=1x{what};retry_after=0"
    answer = sturdy.post(ask(model, stream=stream))
    assert answer.status == 200
    assert answer.header("x-vai-attempts") == "2"
    if stream:
        check_stream(events(answer.body))
    assert len(simulator.journal(upstream_name(model))) == 2
    line = logged(sturdy, answer.header("x-request-id"))
    assert (line["attempts"], line["outcome"], line["status"]) == (2, "completed", 200)
    assert len(line["failed_attempts"]) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("mode", MODES)
def test_a_failure_that_stays_is_told_after_the_last_try(sturdy, simulator, mode, stream):
    model = f"{mode}stay-{stream};status=503;retry_after=0"
    answer = sturdy.post(ask(model, stream=stream))
    assert answer.status == 503
    assert answer.header("x-vai-attempts") == "2"
    assert len(simulator.journal(upstream_name(model))) == 2
    line = logged(sturdy, answer.header("x-request-id"))
    assert (line["attempts"], line["outcome"]) == (2, "rejected")


@pytest.mark.parametrize("knob", ["error_at=2", "cut=1200", "rst=1200"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_repeated_after_the_first_byte(sturdy, simulator, mode, knob):
    model = f"{mode}sim;tokens=50;tps=200;{knob}"
    answer = sturdy.post(ask(model, stream=True))
    found = check_stream(events(answer.body), complete=False)
    assert [event["type"] for event in found].count("message_start") == 1
    assert found[-1]["type"] == "error"
    assert len(simulator.journal(upstream_name(model))) == 1
    logged(sturdy, answer.header("x-request-id"))


@pytest.mark.parametrize("mode", MODES)
def test_what_may_have_been_worked_on_is_asked_once(sturdy, simulator, mode):
    model = f"{mode}once;html"
    assert sturdy.post(ask(model)).status == 502
    assert len(simulator.journal(upstream_name(model))) == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_long_wait_is_told_and_not_waited_for(sturdy, simulator, mode):
    model = f"{mode}wait;status=429;retry_after=60"
    answer = sturdy.post(ask(model))
    assert (answer.status, answer.header("retry-after")) == (429, "60")
    assert answer.header("x-vai-attempts") is None
    assert len(simulator.journal(upstream_name(model))) == 1


@pytest.mark.parametrize("mode", MODES)
def test_limits_of_a_callers_own_key_are_told_at_once(sturdy, simulator, mode):
    model = f"{mode}own;status=429;retry_after=0"
    assert sturdy.post(ask(model), OWN).status == 429
    assert len(simulator.journal(upstream_name(model))) == 1
    model = f"{mode}own;fail=1x500"
    assert sturdy.post(ask(model), OWN).status == 200
    assert len(simulator.journal(upstream_name(model))) == 2


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_caller_who_leaves_during_a_wait_stops_everything(sturdy, simulator, stream):
    model = f"left-{stream};status=503;retry_after=25"
    body = orjson.dumps(ask(f"openai/{model}", stream=stream))
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: t\r\nx-api-key: {KEY}\r\n"
        f"x-request-id: req-left-{stream}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with sturdy.raw() as sock:
        sock.sendall(head.encode() + body)
        until(lambda: simulator.journal(model))
    line = logged(sturdy, f"req-left-{stream}")
    assert line["outcome"] == "client_left"
    assert len(simulator.journal(model)) == 1


class Forgetful:
    """Answers the first request of each connection and closes at the second, unanswered."""

    BODY = (
        b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
        b'"finish_reason":"stop"}]}'
    )
    HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.connections = self.answered = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with sock:
                sock.settimeout(20)
                if self._request(sock):
                    self.answered += 1
                    sock.sendall(self.HEAD % len(self.BODY) + self.BODY)
                    self._request(sock)

    @staticmethod
    def _request(sock: socket.socket) -> bytes:
        data = b""
        while b'"messages"' not in data and (piece := sock.recv(65536)):
            data += piece
        return data


def test_a_kept_connection_that_has_ended_costs_nobody_an_answer(tmp_path):
    server = Forgetful()
    own = {"kind": "openai", "base_url": f"http://127.0.0.1:{server.port}", "api_key": "sk-own"}
    settings = {"auth": {"mode": "none"}, "providers": {"forgetful": own}}
    with running(settings, tmp_path, "--single-process") as gateway:
        answers = [gateway.post(ask("forgetful/m")) for _ in range(3)]
    server.listener.close()
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [answer.header("x-vai-attempts") for answer in answers] == [None, "2", "2"]
    assert server.answered == 3


# --- fallbacks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_another_model_answers_in_place_of_one_that_is_down(sturdy, simulator, stream):
    before = len(simulator.journal("claude-down;status=529"))
    answer = sturdy.post(ask("first-down", stream=stream))
    assert answer.status == 200
    assert answer.header("x-model") == "openai/up"
    assert answer.header("x-vai-fallback-from") == "anthropic/claude-down;status=529"
    assert answer.header("x-vai-attempts") == "3"
    told = events(answer.body)[0]["message"] if stream else answer.json
    assert told["model"] == "openai/up"
    assert len(simulator.journal("claude-down;status=529")) == before + 2
    line = logged(sturdy, answer.header("x-request-id"))
    assert (line["provider"], line["model"], line["attempts"]) == ("openai", "openai/up", 3)
    assert [failed["model"] for failed in line["failed_attempts"]] == [
        "anthropic/claude-down;status=529"
    ] * 2


def test_a_fallback_speaks_with_its_own_key_and_in_its_own_dialect(sturdy, simulator):
    answer = sturdy.post(ask("own-words"))
    assert answer.status == 200
    assert answer.header("x-model") == "anthropic/claude-up"
    assert answer.json["model"] == "claude-up", "an alias of a Claude is the pure dialect"
    assert orjson.loads(body_of(simulator.one("claude-up")))["model"] == "claude-up"


def test_the_last_failure_is_the_one_that_is_told(sturdy):
    answer = sturdy.post(ask("both-down"))
    assert answer.status == 529
    assert answer.header("x-model") == "anthropic/claude-both;status=529"
    assert answer.header("x-vai-attempts") == "4"


def test_a_callers_mistake_is_taken_nowhere_else(sturdy, simulator):
    assert sturdy.post(ask("bad-ask")).status == 400
    assert simulator.journal("never-asked") == []


def test_a_limited_model_is_left_for_the_next(sturdy, simulator):
    answer = sturdy.post(ask("picky"))
    assert (answer.status, answer.header("x-model")) == (200, "groq/rested")
    assert answer.header("x-vai-attempts") == "2"


def test_a_target_without_a_key_is_passed_over(simulator, tmp_path):
    providers = _providers(simulator)
    del providers["groq"]
    settings = {
        "auth": {"mode": "none"},
        "providers": providers,
        "aliases": {"keyed": ["groq/x", "openai/keyed"]},
    }
    with running(settings, tmp_path, "--single-process") as gateway:
        answer = gateway.post(ask("keyed"))
    assert (answer.status, answer.header("x-model")) == (200, "openai/keyed")
    assert answer.header("x-vai-fallback-from") == "groq/x"
    assert answer.header("x-vai-attempts") is None


# --- the breaker -------------------------------------------------------------------------------


def test_a_model_that_keeps_failing_is_stopped_by_its_breaker_and_then_probed(guarded, simulator):
    simulator.script("flaky", status=500, body='{"error":{"message":"m"}}', times=3)
    with Http(guarded.port) as client:

        def post() -> Any:
            body = orjson.dumps(ask("openai/flaky"))
            return client.ask("POST", "/v1/messages", {"content-type": "application/json"}, body)

        assert [post().status for _ in range(3)] == [500, 500, 500]
        kept_away = post()
        assert kept_away.status == 503
        assert kept_away.error["code"] == "breaker_open"
        assert kept_away.error["type"] == "overloaded_error"
        assert 1 <= int(kept_away.header("retry-after")) <= 3
        assert len(simulator.journal("flaky")) == 3
        health = client.ask("GET", "/health").json["providers"]["openai"]
        last = health.pop("last_error")
        assert (last["type"], last["status"], last["upstream_status"]) == ("api_error", 500, 500)
        assert health == {"status": "failing", "open_breakers": 1}
        assert guarded.post(ask("openai/another")).status == 200
        until(lambda: post().status == 200, 20)
        assert len(simulator.journal("flaky")) == 4
        assert client.ask("GET", "/health").json["providers"]["openai"] == {"status": "configured"}


def test_a_model_with_an_open_breaker_is_skipped(guarded, simulator):
    simulator.script("guarded", status=500, body='{"error":{"message":"m"}}')
    answers = [guarded.post(ask("guarded")) for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert [answer.header("x-model") for answer in answers] == ["groq/guard"] * 4
    assert [answer.header("x-vai-attempts") for answer in answers] == ["2", "2", "2", None]
    assert len(simulator.journal("guarded")) == 3


def test_what_own_keys_meet_with_counts_against_nobody(guarded, simulator):
    simulator.script("owned", status=500, body='{"error":{"message":"m"}}')
    for _ in range(10):
        assert guarded.post(ask("openai/owned"), OWN).status == 500
    assert len(simulator.journal("owned")) == 10


# --- requests that are mended, or refused ------------------------------------------------------


HISTORY = [
    {"role": "user", "content": "Hello"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "c3RhbGU="},
            {"type": "text", "text": "Hi"},
        ],
    },
    {"role": "user", "content": "And now?"},
]


def test_refused_reasoning_is_left_out_once(sturdy, simulator):
    model = "claude-stale"
    simulator.script(model, status=400, body=orjson.dumps(SIGNATURE).decode(), times=1)
    answer = sturdy.post(ask(f"anthropic/{model}", messages=HISTORY))
    assert answer.status == 200
    assert answer.header("x-vai-dropped") == "messages[*].content[thinking]"
    assert answer.header("x-vai-attempts") == "2"
    first, second = simulator.journal(model)
    assert b"c3RhbGU=" in body_of(first)
    assert b"c3RhbGU=" not in body_of(second)
    assert answer.json["model"] == f"anthropic/{model}"


def test_the_pure_dialect_is_never_mended(sturdy, simulator):
    model = "claude-pure-stale"
    said = orjson.dumps(SIGNATURE).decode()
    simulator.script(model, status=400, body=said, times=1)
    answer = sturdy.post(ask(model, messages=HISTORY))
    assert (answer.status, answer.body) == (400, said.encode())
    assert len(simulator.journal(model)) == 1


def test_strictly_nothing_is_left_out(guarded, simulator):
    answer = guarded.post(ask("openai/strict", top_k=3))
    assert answer.status == 400
    assert answer.error["code"] == "unsupported_fields"
    assert "top_k" in answer.error["message"]
    assert simulator.journal("strict") == []
    simulator.script("claude-strict", status=400, body=orjson.dumps(SIGNATURE).decode(), times=1)
    assert guarded.post(ask("anthropic/claude-strict", messages=HISTORY)).status == 400


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("mode", MODES)
def test_a_refused_key_is_told_to_whom_it_belongs(sturdy, mode, stream):
    model = f"{mode}key;status=401"
    lent = sturdy.post(ask(model, stream=stream))
    assert lent.status == 502
    assert (lent.error["type"], lent.error["code"]) == ("api_error", "upstream_auth")
    assert lent.header("x-should-retry") == "false"
    assert lent.header("www-authenticate") is None
    own = sturdy.post(ask(model, stream=stream), OWN)
    assert own.status == 401
    assert own.error["type"] == "authentication_error"


def test_a_block_that_only_the_provider_knows_is_refused_in_its_words(sturdy, simulator):
    model = "claude-unknown"
    said = orjson.dumps(SIGNATURE).decode()
    simulator.script(model, status=400, body=said)
    strange = [{"role": "user", "content": [{"type": 7}]}]
    answer = sturdy.post(ask(f"anthropic/{model}", messages=strange))
    assert (answer.status, answer.body) == (400, said.encode())
    assert len(simulator.journal(model)) == 1

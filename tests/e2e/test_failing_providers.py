"""A provider that fails is seen: in the log once, with the setting; in `/health`; in each line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import orjson
import pytest

from tests.canary import KEY, PROMPT, PROVIDER_KEY
from tests.e2e.conftest import lent_key
from tests.e2e.rig import Answer, Gateway, ask, events, free_port, running, until

pytestmark = pytest.mark.e2e

JSON = "application/json"
NGINX = b"<html><head><title>404 Not Found</title></head><body>nginx</body></html>"
# A server that writes back all it was sent: none of it may reach a log or `/health`.
ECHO = f"{PROMPT} {PROVIDER_KEY}-lent-echo"


class Said(NamedTuple):
    """What the upstream answers to all that one provider is sent."""

    status: int
    body: bytes = b""
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Upstream:
    """A server that answers as told, by the first segment of the path."""

    def __init__(self) -> None:
        rules = self.rules = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                said: Said = rules[self.path.split("/")[1]]
                self.send_response(said.status)
                self.send_header("content-type", said.kind)
                self.send_header("content-length", str(len(said.body)))
                for name, value in said.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.body)

            def log_message(self, *_: object) -> None:
                pass

        self.rules: dict[str, Said]
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, provider: str) -> str:
        return f"http://127.0.0.1:{self.port}/{provider}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


MESSAGES = ["anthropic", "my-messages", "refused", "other-messages"]
CHATS = ["openai", "my-chat", "broken", "steady", "first", "second", "count"]
OTHERS = ["oai-resp", "gemini", "groq"]
ASKED = {
    "anthropic": "/v1/messages",
    "my-messages": "/v1/messages",
    "openai": "/chat/completions",
    "my-chat": "/chat/completions",
    "oai-resp": "/responses",
    "groq": "/chat/completions",
    "gemini": "/models/gemini-x:generateContent",
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def seen(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One process, no repeats, a breaker that opens at the third failure, tight limits for bob."""
    providers: dict[str, Any] = {
        name: {"api_key": lent_key(name), "base_url": upstream.url(name)}
        for name in (*MESSAGES, *CHATS, *OTHERS)
    }
    for name in ("my-messages", "refused", "other-messages"):
        providers[name]["kind"] = "anthropic"
    for name in CHATS[1:]:
        providers[name]["kind"] = "openai"
    closed = f"127.0.0.1:{free_port()}"
    own = {"kind": "openai", "api_key": lent_key("own")}
    providers |= {
        "no-host": own | {"base_url": "http://no-such-host.invalid/v1"},
        "no-port": own | {"base_url": f"http://{closed}/v1"},
        "no-tls": own | {"base_url": f"https://127.0.0.1:{upstream.port}/v1"},
        "no-proxy": own
        | {"base_url": upstream.url("steady"), "proxy": f"http://u:{PROVIDER_KEY}@{closed}"},
        "no-key": {"kind": "openai", "base_url": upstream.url("keyless")},
    }
    settings = {
        "auth": {
            "mode": "api_key",
            "api_keys": {
                "alice": {"key": KEY, "name": "alice"},
                "bob": {"key": KEY + "-bob", "name": "bob", "rate_limit": 1},
                "carol": {"key": KEY + "-carol", "name": "carol"},
            },
        },
        "limits": {"per_user": {"requests_per_minute": 10_000}},
        "providers": providers,
        "aliases": {"always-second": ["first/m", "second/m"], "picky-*": ["first/*", "second/*"]},
        "retries": {"enabled": False},
        "breaker": {"failures": 3, "open_for": 1},
    }
    folder = tmp_path_factory.mktemp("seen")
    with running(settings, folder, "--single-process") as gateway:
        yield gateway


def _lines(gateway: Gateway, needle: str) -> list[str]:
    """The warnings that hold `needle`."""
    found = []
    for line in gateway.log.read_text().splitlines():
        said = orjson.loads(line) if line.startswith("{") else {}
        if said.get("level") == "warning" and needle in said["event"]:
            found.append(str(said["event"]))
    return found


def _line(gateway: Gateway, answer: Answer) -> dict[str, Any]:
    """The request's line."""
    request_id = answer.header("x-request-id") or ""
    text = gateway.logged(request_id)
    (line,) = [line for line in text.splitlines() if request_id in line]
    return dict(orjson.loads(line))


def _state(gateway: Gateway, provider: str) -> dict[str, Any]:
    with_all = gateway.ask("GET", "/health")
    assert PROMPT not in with_all.body.decode()
    assert "sk-" not in with_all.body.decode()
    assert "127.0.0.1" not in with_all.body.decode()
    return dict(with_all.json["providers"][provider])


def _error(message: str, **more: Any) -> bytes:
    return orjson.dumps({"error": {"message": message, **more}})


def _answer(provider: str, model: str = "m") -> bytes:
    """A small answer of Chat Completions, or of the Messages API."""
    if provider in MESSAGES:
        return orjson.dumps(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [{"type": "text", "text": "Hi"}],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        )
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "Hi"},
    }
    return orjson.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "model": model,
            "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )


# --- an address that leads elsewhere -----------------------------------------------------------

ELSEWHERE = {
    "page": Said(404, NGINX, "text/html"),
    "nothing": Said(404),
    "fastapi": Said(404, b'{"detail":"Not Found"}'),
    "no-method": Said(405, b'{"detail":"Method Not Allowed"}'),
    "redirect": Said(308, headers=(("location", "/v1/elsewhere"),)),
    "found": Said(302, headers=(("location", "http://other.test/login"),)),
    "welcome": Said(200, NGINX, "text/html"),
    "unlabelled": Said(200, NGINX, "text/plain"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("provider", ["anthropic", "my-messages", "openai", "oai-resp", "gemini"])
def test_a_wrong_address_is_told_in_general_words(
    seen: Gateway, upstream: Upstream, provider: str, stream: bool
) -> None:
    answers = {}
    for case, said in ELSEWHERE.items():
        upstream.rules[provider] = said
        model = f"{provider}/gemini-x-{case}-{stream}"
        answer = answers[case] = seen.post(ask(model, PROMPT, stream=stream))
        assert answer.status == 502, case
        assert "the gateway's address for this provider" in answer.error["message"], case
        assert str(upstream.port) not in answer.body.decode()
        state = _state(seen, provider)
        assert state["status"] == "failing"
        assert state["last_error"]["code"] == answer.error["code"]
        assert state["last_error"]["upstream_status"] == said.status
    for case, answer in answers.items():
        line = _line(seen, answer)
        assert line["upstream_status"] == ELSEWHERE[case].status
        assert line["error_type"] == "provider_error"
        assert line["code"] == answer.error["code"]
        assert line["provider"] == provider
        assert line["model"] == f"{provider}/gemini-x-{case}-{stream}"


@pytest.mark.parametrize("provider", list(ASKED))
def test_the_log_names_the_url_and_the_setting_once(
    seen: Gateway, upstream: Upstream, provider: str
) -> None:
    # A status of its own, so that no other test has used up the line of this minute.
    upstream.rules[provider] = Said(410, NGINX, "text/html")
    for _ in range(2):
        assert seen.post(ask(f"{provider}/gemini-x", PROMPT)).status == 502
    asked = f"{provider}: POST {upstream.url(provider)}{ASKED[provider]} was answered with "
    (line,) = _lines(seen, f"{asked}status 410 ")
    assert f"providers.{provider}.base_url" in line
    assert "?" not in line


def test_a_callers_own_key_does_not_hide_a_wrong_address(seen: Gateway, upstream: Upstream) -> None:
    upstream.rules["other-messages"] = Said(404, b"{}")
    body = ask("other-messages/m", provider_keys={"other-messages": f"{PROVIDER_KEY}-brought"})
    assert seen.post(body).error["code"] == "upstream_address"
    assert len(_lines(seen, "providers.other-messages.base_url")) == 1


@pytest.mark.parametrize("provider", ["anthropic", "openai", "gemini"])
def test_a_providers_own_404_is_no_wrong_address(
    seen: Gateway, upstream: Upstream, provider: str
) -> None:
    upstream.rules[provider] = Said(404, _error("model not found", code="model_not_found"))
    before = len(_lines(seen, f"{provider}: POST"))
    answer = seen.post(ask(f"{provider}/gone"))
    assert answer.status == 404
    line = _line(seen, answer)
    assert (line["upstream_status"], line["error_type"]) == (404, "not_found_error")
    assert line["code"] == "model_not_found"
    assert len(_lines(seen, f"{provider}: POST")) == before


# --- the way there -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "code", "settings"),
    [
        ("no-host", "upstream_dns", ["base_url"]),
        ("no-port", "upstream_connect", ["base_url"]),
        ("no-tls", "upstream_tls", ["base_url", "ca_file"]),
        ("no-proxy", "upstream_", ["proxy", "base_url"]),
    ],
)
def test_a_way_that_is_closed_names_its_settings(
    seen: Gateway, provider: str, code: str, settings: list[str]
) -> None:
    answer = seen.post(ask(f"{provider}/m", PROMPT))
    assert answer.status == 502
    assert _line(seen, answer)["code"].startswith(code)
    (line,) = _lines(seen, f"{provider}: ")
    assert code in line
    for name in settings:
        assert f"providers.{provider}.{name}" in line
    assert "last_error" in _state(seen, provider)


# --- keys --------------------------------------------------------------------------------------


def test_a_refused_key_is_one_line_without_the_key(seen: Gateway, upstream: Upstream) -> None:
    upstream.rules["refused"] = Said(401, _error(ECHO, type="authentication_error", code=ECHO))
    for _ in range(3):
        answer = seen.post(ask("refused/m", PROMPT))
        assert answer.error["code"] == "upstream_auth"
    line = _line(seen, answer)
    assert (line["code"], line["upstream_status"]) == ("upstream_auth", 401)
    (warning,) = _lines(seen, "refused: ")
    assert "providers.refused.api_key" in warning
    assert "status 401" in warning
    state = _state(seen, "refused")
    assert state["status"] == "failing"
    last = state["last_error"]
    assert (last["type"], last["code"], last["status"]) == ("api_error", "upstream_auth", 502)
    assert last["upstream_status"] == 401
    assert 0 <= last["seconds_ago"] < 30
    upstream.rules["refused"] = Said(200, _answer("refused"))
    assert seen.post(ask("refused/m")).status == 200
    assert _state(seen, "refused") == {"status": "configured"}


def test_a_key_that_is_not_set_is_named(seen: Gateway, upstream: Upstream) -> None:
    upstream.rules["keyless"] = Said(403, _error("no"))
    seen.post(ask("no-key/m"))
    (warning,) = _lines(seen, "no-key: ")
    assert "providers.no-key.api_key, which is not set" in warning


def test_a_callers_own_key_is_the_callers_affair(seen: Gateway, upstream: Upstream) -> None:
    upstream.rules["my-chat"] = Said(200, _answer("my-chat"))
    assert seen.post(ask("my-chat/m")).status == 200
    for status in (401, 403, 429, 500):
        upstream.rules["my-chat"] = Said(status, _error("no"))
        body = ask("my-chat/m", provider_keys={"my-chat": f"{PROVIDER_KEY}-brought"})
        assert _line(seen, seen.post(body))["upstream_status"] == status
    assert _lines(seen, "my-chat: the provider refused") == []
    assert _state(seen, "my-chat") == {"status": "configured"}


def test_a_count_tells_of_a_refused_key_too(seen: Gateway, upstream: Upstream) -> None:
    upstream.rules["my-messages"] = Said(401, _error(ECHO, type="authentication_error"))
    answer = seen.post(ask("my-messages/m", PROMPT), path="/v1/messages/count_tokens")
    line = _line(seen, answer)
    assert (line["code"], line["upstream_status"]) == ("upstream_auth", 401)
    assert len(_lines(seen, "providers.my-messages.api_key")) == 1
    upstream.rules["anthropic"] = Said(400, _error("no", type="invalid_request_error"))
    answer = seen.post(ask("claude-x", PROMPT), path="/v1/messages/count_tokens")
    line = _line(seen, answer)
    assert (line["error_type"], line["upstream_status"]) == ("invalid_request_error", 400)


# --- breakers and fallbacks --------------------------------------------------------------------


def test_a_breaker_tells_when_it_opens_and_when_it_closes(
    seen: Gateway, upstream: Upstream
) -> None:
    upstream.rules["broken"] = Said(500, _error(ECHO, code=ECHO))
    for _ in range(3):
        assert _line(seen, seen.post(ask("broken/m")))["upstream_status"] == 500
    (opened,) = _lines(seen, "broken: ")
    assert "model m" in opened
    assert "circuit breaker is open" in opened
    assert "status 500" in opened
    refused = seen.post(ask("broken/m"))
    assert _line(seen, refused)["code"] == "breaker_open"
    assert _state(seen, "broken")["open_breakers"] == 1
    upstream.rules["broken"] = Said(200, _answer("broken"))
    until(lambda: seen.post(ask("broken/m")).status == 200, 10)
    assert _lines(seen, "broken: ")[1:] == ["broken: model m responds again"]
    assert _state(seen, "broken") == {"status": "configured"}


@pytest.mark.parametrize(
    ("model", "alias"), [("always-second", "always-second"), ("picky-m", "picky-*")]
)
def test_a_fallback_that_is_always_taken_is_one_line(
    seen: Gateway, upstream: Upstream, model: str, alias: str
) -> None:
    upstream.rules["first"] = Said(429, _error(ECHO, code=ECHO))
    upstream.rules["second"] = Said(200, _answer("second"))
    for _ in range(9):
        answer = seen.post(ask(model, PROMPT))
        assert answer.status == 200
    line = _line(seen, answer)
    assert line["failed_attempts"] == [
        {
            "model": "first/m",
            "error_type": "rate_limit_error",
            "code": None,
            "upstream_status": 429,
        }
    ]
    (warning,) = _lines(seen, f"alias {alias}: ")
    for part in ("first/m", "rate_limit_error", "status 429", f"aliases.{alias}"):
        assert part in warning
    assert _state(seen, "first")["last_error"]["status"] == 429


# --- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["anthropic", "steady"])
def test_a_stream_that_breaks_has_its_code(
    seen: Gateway, upstream: Upstream, provider: str
) -> None:
    if provider == "anthropic":
        start = {"type": "message_start", "message": orjson.loads(_answer("anthropic"))}
        start["message"]["content"] = []
        text = {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": "Hi"},
        }
        error = {"type": "error", "error": {"type": "overloaded_error", "message": ECHO}}
        said = [(event["type"], event) for event in (start, text, error)]
        body = b"".join(b"event: %b\ndata: %b\n\n" % (n.encode(), orjson.dumps(e)) for n, e in said)
    else:
        delta = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}]}
        body = b"data: %b\n\n" % orjson.dumps(delta)
    upstream.rules[provider] = Said(200, body, "text/event-stream")
    answer = seen.post(ask(f"{provider}/m", PROMPT, stream=True))
    assert events(answer.body)[-1]["type"] == "error"
    line = _line(seen, answer)
    expected = (
        ("overloaded_error", None)
        if provider == "anthropic"
        else ("provider_error", "upstream_truncated")
    )
    assert (line["error_type"], line.get("code")) == expected
    assert (line["status"], line["upstream_status"]) == (200, 200)
    assert _state(seen, provider)["status"] == "failing"


# --- limits ------------------------------------------------------------------------------------


def test_a_429_says_whose_limit_it_is_how_much_and_for_how_long(
    seen: Gateway, upstream: Upstream
) -> None:
    upstream.rules["steady"] = Said(200, _answer("steady"))
    bob = {"x-api-key": KEY + "-bob", "content-type": JSON}
    body = orjson.dumps(ask("steady/m"))
    assert seen.ask("POST", "/v1/messages", bob, body).status == 200
    ours = seen.ask("POST", "/v1/messages", bob, body)
    assert ours.status == 429
    assert (
        "Your limit of requests per minute is reached (1 within any 60 seconds)"
        in (ours.error["message"])
    )
    assert ours.error["details"] == {"limit": "requests_per_minute", "of": "key", "value": 1}
    assert "provider" not in ours.error
    line = _line(seen, ours)
    assert (line["limit"], line["code"]) == ("key requests_per_minute", "requests_limit")
    assert "upstream_status" not in line
    upstream.rules["steady"] = Said(429, _error("slow down"))
    theirs = seen.post(ask("steady/m"))
    assert theirs.status == 429
    assert theirs.error["provider"] == "steady"
    line = _line(seen, theirs)
    assert (line["upstream_status"], line["provider"]) == (429, "steady")
    assert "limit" not in line


def test_nothing_that_was_said_is_in_the_log(seen: Gateway) -> None:
    said = seen.log.read_text()
    for secret in (PROMPT, PROVIDER_KEY, KEY, "CANARY"):
        assert secret not in said

"""What a client is told that asks for the wrong thing, or in an ambiguous way."""

from __future__ import annotations

import socket
import struct
import time

import orjson
import pytest

from tests.canary import KEY
from tests.e2e.conftest import BEYOND_KEY, LISTED
from tests.e2e.rig import Gateway, Simulated, ask, read_all

pytestmark = pytest.mark.e2e

WRONG = {"x-api-key": "wrong-key"}


# --- 401 and 403 are final ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_key_need_not_be_tried_again(gateway: Gateway, path: str, stream: bool) -> None:
    body = orjson.dumps(ask("claude-wrong-key", stream=stream))
    for headers in (WRONG, {"authorization": "Bearer wrong"}, {}):
        answer = gateway.ask("POST", path, headers, body)
        assert answer.status == 401
        assert answer.header("x-should-retry") == "false"


def test_the_models_are_refused_for_good_too(gateway: Gateway) -> None:
    answer = gateway.ask("GET", "/v1/models", WRONG)
    assert (answer.status, answer.header("x-should-retry")) == (401, "false")


def test_a_missing_provider_key_need_not_be_tried_again(passthrough: Gateway) -> None:
    answer = passthrough.post(ask("openai/gpt-4o"))
    assert (answer.status, answer.header("x-should-retry")) == (401, "false")


def test_a_foreign_page_need_not_try_again(single: Gateway) -> None:
    answer = single.post(ask("claude-page"), {"origin": "https://evil.example"})
    assert (answer.status, answer.header("x-should-retry")) == (403, "false")


# --- OpenAI's paths ----------------------------------------------------------------------------

OPENAIS = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/responses/resp_1/cancel",
    "/v1/embeddings",
    "/v1/completions",
    "/chat/completions",
    "/v1/audio/speech",
    "/v1/realtime?model=gpt-realtime",
    "/V1/Chat/Completions",
    "/v1//chat/completions/",
    "/api/v1/chat/completions",
    "/v1/v1/responses",
    "/v1/engines/davinci/completions",
    "/openai/deployments/gpt-4o/chat/completions?api-version=1",
    "/v1/conversations",
    "/v1/vector_stores/vs_1/search",
]


@pytest.mark.parametrize("path", OPENAIS)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_openai_client_is_told_what_is_spoken(gateway: Gateway, path: str, method: str) -> None:
    body = orjson.dumps(ask("gpt-4o")) if method == "POST" else None
    answer = gateway.ask(method, path, gateway.auth(), body)
    assert answer.status == 404
    assert answer.error["type"] == "not_found_error"
    assert answer.error["code"] == "openai_endpoint"
    for served in ("Messages API", "POST /v1/messages", "GET /v1/models"):
        assert served in answer.error["message"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/realtime", "/v1/chat/completions"])
def test_an_upgrade_there_is_told_the_same(gateway: Gateway, path: str) -> None:
    said = gateway.send(
        b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"x-api-key: %b\r\nconnection: close\r\n\r\n" % (path.encode(), KEY.encode())
    )
    assert said.startswith(b"HTTP/1.1 404 ")
    assert b"Messages API" in said


# --- one key is presented, once ----------------------------------------------------------------


@pytest.mark.parametrize("which", ["gateway", "passthrough", "single"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    "field", ["authorization", "x-api-key", "X-API-Key", "x-provider-key-openai"]
)
def test_a_key_in_two_headers_is_refused(
    request: pytest.FixtureRequest, which: str, path: str, field: str
) -> None:
    gateway: Gateway = request.getfixturevalue(which)
    mark = "Bearer " if field == "authorization" else ""
    headers = [(field, mark + KEY), (field.lower(), mark + BEYOND_KEY)]
    if field.startswith("x-provider"):
        headers += gateway.auth().items()
    answer = gateway.ask("POST", path, headers, orjson.dumps(ask("openai/gpt-4o")))
    assert answer.status == 400
    assert answer.error["param"] == field.lower()
    assert answer.error["code"] == "header_repeated"
    assert KEY not in answer.body.decode()


# --- names that this server does not have ------------------------------------------------------

LOCAL = [
    "127.0.0.1",
    "127.0.0.1:8080",
    "localhost:9",
    "[::1]:80",
    "vai",
    "vai.ns.svc.cluster.local",
]
FOREIGN = ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.com."]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/claude-opus-4-8", "/health", "/readyz"])
def test_without_keys_a_page_cannot_point_its_name_here(single: Gateway, path: str) -> None:
    for host in LOCAL:
        assert _named(single, path, host)[:13] in (b"HTTP/1.1 200 ", b"HTTP/1.1 404 "), host
    for host in FOREIGN:
        answer = _named(single, path, host)
        assert answer.startswith(b"HTTP/1.1 403 "), host
        assert b"host_not_allowed" in answer


def test_with_keys_any_name_will_do(gateway: Gateway) -> None:
    assert _named(gateway, "/health", "llm.example.com").startswith(b"HTTP/1.1 200 ")


def _named(gateway: Gateway, path: str, host: str) -> bytes:
    head = f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    return gateway.send(head.encode())


# --- HTTP as RFC 9112 has it -------------------------------------------------------------------


def test_the_absolute_form_of_a_target_is_served(gateway: Gateway) -> None:
    for target in ("http://vai.test/health", "HTTP://vai.test/health?x=1"):
        head = f"GET {target} HTTP/1.1\r\nHost: VAI.test\r\nconnection: close\r\n\r\n"
        assert gateway.send(head.encode()).startswith(b"HTTP/1.1 200 "), target
    body = orjson.dumps(ask("claude-absolute"))
    said = gateway.send(
        b"POST http://vai.test/v1/messages HTTP/1.1\r\nhost: vai.test\r\nx-api-key: %b\r\n"
        b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (KEY.encode(), len(body), body)
    )
    assert said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("http://other.test/health", b"host_mismatch"),
        ("http://vai.test:81/health", b"host_mismatch"),
        ("http://user@vai.test/health", b"host_mismatch"),
        ("http:///health", b"bad_target"),
        ("ftp://vai.test/health", b"bad_target"),
        ("http://vai.test//health", b"bad_target"),
        ("http://vai.test/a b", b"bad_request_line"),
    ],
)
def test_an_ambiguous_absolute_form_is_refused(gateway: Gateway, target: str, code: bytes) -> None:
    said = gateway.send(f"GET {target} HTTP/1.1\r\nhost: vai.test\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"%b"' % code in said


def test_one_empty_line_before_a_request_is_ignored(gateway: Gateway) -> None:
    request = b"GET /health HTTP/1.1\r\nhost: vai.test\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    said = gateway.send(b"\r\n" + request + b"\r\n" + last)
    assert said.count(b"HTTP/1.1 200 ") == 2
    with gateway.raw() as sock:  # in pieces
        for piece in (b"\r", b"\n", last):
            sock.sendall(piece)
            time.sleep(0.05)
        assert read_all(sock).startswith(b"HTTP/1.1 200 ")
    assert gateway.send(b"\r\n\r\n" + last).startswith(b"HTTP/1.1 400 ")


# --- nothing in the log ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 70_000, 2_000_000])
def test_a_preflight_with_a_body_is_no_error(gateway: Gateway, size: int) -> None:
    asks = {"origin": LISTED, "access-control-request-method": "POST"}
    before = len(_lines(gateway))
    for path in ("/v1/messages", "/health", "/nothing", "/v1/models"):
        assert gateway.ask("OPTIONS", path, asks, b"x" * size).status == 204
        assert gateway.ask("OPTIONS", path, {}, b"x" * size).status in (404, 405)
    time.sleep(0.3)
    assert [line for line in _lines(gateway)[before:] if '"level":"error"' in line] == []


def _lines(gateway: Gateway) -> list[str]:
    return gateway.log.read_text().splitlines()


@pytest.mark.timing
def test_a_reader_that_takes_nothing_ends_with_a_reset(
    simulator: Simulated, pinging: Gateway
) -> None:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    message |= {"stop_reason": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    block = {"type": "text", "text": ""}
    delta = {"type": "text_delta", "text": "x" * 8000}
    first = _frame("message_start", message=message)
    first += _frame("content_block_start", index=0, content_block=block)
    piece = _frame("content_block_delta", index=0, delta=delta)
    events = {"content-type": "text/event-stream"}
    simulator.script("claude-deaf-reset", headers=events, chunks=[first, *[piece] * 800])
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", pinging.port))
        body = orjson.dumps(ask("claude-deaf-reset", stream=True))
        key = b"".join(b"%b: %b\r\n" % (n.encode(), v.encode()) for n, v in pinging.auth().items())
        sock.sendall(
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b"
            % (key, len(body), body)
        )
        _await_reset(sock)


def _await_reset(sock: socket.socket) -> None:
    began = time.monotonic()
    while _state(sock) == "established":
        assert time.monotonic() - began < 8
        time.sleep(0.05)
    with pytest.raises(ConnectionResetError):
        while sock.recv(65536):
            pass


def _list_models(gateway: Gateway, times: int) -> socket.socket:
    """A connection on which so many lists have been asked for at once."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in gateway.auth().items())
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(10)
    sock.connect(("127.0.0.1", gateway.port))
    sock.sendall(f"GET /v1/models HTTP/1.1\r\nhost: x\r\n{fields}\r\n".encode() * times)
    return sock


@pytest.mark.timing
def test_a_reader_that_takes_no_json_ends_with_a_reset(pinging: Gateway) -> None:
    with _list_models(pinging, 100) as sock:
        _await_reset(sock)


@pytest.mark.timing
def test_a_reader_that_is_slow_gets_all_its_json(pinging: Gateway) -> None:
    with _list_models(pinging, 20) as sock:
        came, began = b"", time.monotonic()
        while came.count(b"HTTP/1.1 200 OK") < 20:
            piece = sock.recv(65536)
            assert piece
            came += piece
            if time.monotonic() - began < 3:  # it may take nothing for 1 s
                time.sleep(0.02)


def _frame(kind: str, **said: object) -> str:
    return f"event: {kind}\ndata: {orjson.dumps({'type': kind, **said}).decode()}\n\n"


def _state(sock: socket.socket) -> str:
    """Of the connection as the kernel sees it (the first byte of TCP_INFO)."""
    state = struct.unpack("B", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1))[0]
    return "established" if state == 1 else "ended"

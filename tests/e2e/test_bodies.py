"""Large, unwanted and too many request bodies, sent by clients of all manners."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import orjson
import pytest

from tests.canary import KEY
from tests.e2e.rig import Gateway, Http, Simulated, ask, at_once, read_all, running, until

pytestmark = pytest.mark.e2e

_MEGABYTE = 1024 * 1024
_WORKER_BYTES = 4 * _MEGABYTE


@pytest.fixture(scope="module")
def gateway(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The default limit of a body, in one process."""
    settings = {
        "auth": {"mode": "api_key", "api_keys": {"alice": {"key": KEY}}},
        "providers": {"anthropic": {"api_key": "k", "base_url": simulator.base_url("anthropic")}},
        "max_held_request_bytes": 80 * _MEGABYTE,
    }
    folder = tmp_path_factory.mktemp("bodies")
    with running(settings, folder, "--single-process") as started:
        yield started


def _sized(size: int, model: str = "claude-bodies") -> bytes:
    """A Messages body of `size` bytes."""
    empty = orjson.dumps(ask(model, ""))
    return orjson.dumps(ask(model, "x" * (size - len(empty))))


def _head(size: int, key: str = KEY, *more: str) -> bytes:
    lines = [
        "POST /v1/messages HTTP/1.1",
        "Host: t",
        f"x-api-key: {key}",
        f"Content-Length: {size}",
    ]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def _memory(gateway: Gateway) -> int:
    """Bytes that the process has in memory."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def test_a_body_as_large_as_providers_take_is_served(gateway: Gateway) -> None:
    answer = gateway.post(_sized(32 * _MEGABYTE))
    assert answer.status == 200, answer.body[:200]


def _by_httpx(gateway: Gateway, body: bytes) -> tuple[int, bytes]:
    answer = httpx.post(f"{gateway.url}/v1/messages", content=body, headers={"x-api-key": KEY})
    return answer.status_code, answer.content


def _by_curl(gateway: Gateway, body: bytes, *options: str) -> tuple[int, bytes]:
    words = ["curl", "-sS", "-w", "\n%{http_code}", "--data-binary", "@-", *options]
    done = subprocess.run(
        [*words, "-H", f"x-api-key: {KEY}", f"{gateway.url}/v1/messages"],
        input=body,
        capture_output=True,
        check=True,
    )
    said, _, status = done.stdout.rpartition(b"\n")
    return int(status), said


def _by_curl_at_once(gateway: Gateway, body: bytes) -> tuple[int, bytes]:
    return _by_curl(gateway, body, "-H", "Expect:")


def _by_http_client(gateway: Gateway, body: bytes) -> tuple[int, bytes]:
    with Http(gateway.port) as client:
        answer = client.ask("POST", "/v1/messages", {"x-api-key": KEY}, body)
        return answer.status, answer.body


def _by_socket(gateway: Gateway, body: bytes) -> tuple[int, bytes]:
    """Everything is sent before anything is read, and a while passes in between."""
    with gateway.raw() as sock:
        sock.sendall(_head(len(body)) + body)
        time.sleep(0.2)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, said = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), said


@pytest.mark.parametrize(
    "send",
    [_by_httpx, _by_curl, _by_curl_at_once, _by_http_client, _by_socket],
    ids=lambda send: send.__name__[4:],
)
def test_every_client_reads_that_its_body_is_too_large(gateway: Gateway, send) -> None:  # type: ignore[no-untyped-def]
    for size in (34 * _MEGABYTE, 60 * _MEGABYTE):
        status, said = send(gateway, _sized(size))
        assert status == 413
        error = orjson.loads(said)["error"]
        assert error["type"] == "request_too_large"
        assert str(32 * _MEGABYTE) in error["message"]


def test_the_sdk_raises_its_own_class_for_a_body_that_is_too_large(gateway: Gateway) -> None:
    client = anthropic.Anthropic(base_url=gateway.url, api_key=KEY, max_retries=0)
    text = "x" * (34 * _MEGABYTE)
    with client, pytest.raises(anthropic.RequestTooLargeError) as caught:
        client.messages.create(
            model="claude-bodies", max_tokens=9, messages=[{"role": "user", "content": text}]
        )
    assert caught.value.status_code == 413


def test_too_large_a_body_costs_no_memory(gateway: Gateway) -> None:
    before = _memory(gateway)
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            sock = stack.enter_context(gateway.raw())
            sock.sendall(_head(60 * _MEGABYTE))
            sock.sendall(bytes(20 * _MEGABYTE))
        assert _memory(gateway) - before < 20 * _MEGABYTE


def test_memory_is_given_back(gateway: Gateway) -> None:
    """Eight bodies of 9 MB at once, three times."""
    body = _sized(9_000_000)
    assert {answer.status for answer in at_once(lambda _: gateway.post(body), range(2))} == {200}
    before = _memory(gateway)
    for _ in range(3):
        answers = at_once(lambda _: gateway.post(body), range(8))
        assert {answer.status for answer in answers} == {200}
    until(lambda: _memory(gateway) - before < 15 * _MEGABYTE)


def test_what_is_thrown_away_has_an_end(gateway: Gateway) -> None:
    """A client that never stops sending is cut off."""
    with gateway.raw() as sock:
        sock.sendall(_head(10**12))
        sent = 0
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            while sent < 400 * _MEGABYTE:
                sent += sock.send(bytes(_MEGABYTE))
    assert gateway.post(ask("claude-after")).status == 200


@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_a_key_the_answer_comes_with_the_head(gateway: Gateway, key: str) -> None:
    before = _memory(gateway)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(gateway.raw(3)) for _ in range(40)]
        for sock in socks:
            sock.sendall(_head(9_500_000, key) + b"{")
        for sock in socks:
            answer = read_all(sock)  # to its end: the gateway closes
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b"connection: close" in answer.lower()
        assert _memory(gateway) - before < 10 * _MEGABYTE


@pytest.mark.parametrize("key", [KEY, "wrong"])
@pytest.mark.parametrize("path", ["/", "/health", "/readyz", "/v1/models", "/models/claude-x"])
def test_what_reads_no_body_waits_for_none(gateway: Gateway, path: str, key: str) -> None:
    head = _head(30 * _MEGABYTE, key).replace(b"POST /v1/messages", f"GET {path}".encode())
    answer = gateway.send(head + b"x" * 1000, timeout=5)
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"\r\nconnection: close\r\n" in answer


def test_without_a_key_a_client_that_sends_all_first_reads_the_answer(gateway: Gateway) -> None:
    body = _sized(9_500_000)
    with gateway.raw() as sock:
        sock.sendall(_head(len(body), "wrong") + body)
        time.sleep(0.2)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert gateway.logged('"status":401')


@pytest.mark.parametrize(("key", "first"), [(KEY, b"100"), ("wrong", b"401")])
def test_only_a_known_caller_is_told_to_continue(gateway: Gateway, key: str, first: bytes) -> None:
    body = _sized(100_000)
    with gateway.raw(3) as sock:
        sock.sendall(_head(len(body), key, "Expect: 100-continue"))
        answer = sock.recv(4096)
        assert answer.split()[1] == first
        if first == b"100":
            sock.sendall(body)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        else:
            assert b"100 Continue" not in answer + read_all(sock)


@pytest.mark.parametrize(
    ("line", "status"),
    [("POST /nowhere", 404), ("DELETE /v1/messages", 405), ("OPTIONS /v1/messages", 405)],
)
def test_a_refusal_of_the_route_does_not_wait_for_the_body(
    gateway: Gateway, line: str, status: int
) -> None:
    with gateway.raw(3) as sock:
        head = f"{line} HTTP/1.1\r\nHost: t\r\nContent-Length: 9500000\r\n\r\n"
        sock.sendall(head.encode())
        assert read_all(sock).startswith(b"HTTP/1.1 %d " % status)


def test_a_refused_head_is_readable_while_the_client_still_sends(gateway: Gateway) -> None:
    with gateway.raw() as sock:
        sock.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock.sendall(b"100000\r\n" + bytes(20 * _MEGABYTE))
        time.sleep(0.2)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 411 ")


def test_a_small_body_that_nobody_wants_leaves_the_connection_usable(gateway: Gateway) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"
    with gateway.raw(3) as sock:
        for _ in range(3):
            sock.sendall(request)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.fixture(scope="module")
def small(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker that may hold little."""
    settings = {
        "auth": {"mode": "api_key", "api_keys": {"alice": {"key": KEY}}},
        "providers": {"anthropic": {"api_key": "k", "base_url": simulator.base_url("anthropic")}},
        "max_held_request_bytes": _WORKER_BYTES,
    }
    folder = tmp_path_factory.mktemp("small")
    with running(settings, folder, "--single-process") as started:
        yield started


def test_a_worker_that_is_full_says_so_and_cuts_nobody(small: Gateway) -> None:
    body = _sized(3 * _MEGABYTE)
    with small.raw() as held:
        held.sendall(_head(len(body)) + body[:1000])
        # Of the head alone: no byte of this body is sent.
        with small.raw(3) as sock:
            sock.sendall(_head(len(body)))
            answer = read_all(sock)
        assert answer.startswith(b"HTTP/1.1 503 ")
        error = orjson.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert error["code"] == "worker_full"
        assert error["type"] == "overloaded_error"
        assert b"retry-after: 1\r\n" in answer.lower()
        assert small.post(ask("claude-small")).status == 200, "small ones still fit"
        held.sendall(body[1000:])
        assert held.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert small.post(body).status == 200, "the room is free again"


def test_room_is_given_back_by_a_client_that_leaves(small: Gateway) -> None:
    body = _sized(3 * _MEGABYTE)
    for _ in range(3):
        with small.raw() as sock:
            sock.sendall(_head(len(body)) + body[:100_000])
    deadline = time.monotonic() + 3
    while small.post(body).status != 200:
        assert time.monotonic() < deadline


def test_a_large_body_refuses_no_small_one(small: Gateway) -> None:
    body = _sized(_WORKER_BYTES)
    with small.raw() as held:
        held.sendall(_head(len(body)) + body[:1000])
        for _ in range(5):
            assert small.post(ask("claude-small")).status == 200


def test_a_body_beyond_the_bound_of_a_worker_can_never_be_served(small: Gateway) -> None:
    answer = small.post(_sized(_WORKER_BYTES + 1))
    assert answer.status == 413
    assert str(_WORKER_BYTES) in answer.error["message"]

"""What a caller sees of a stream that is slow, breaks, or that nobody reads."""

from __future__ import annotations

import socket
import time

import orjson
import pytest

from tests.e2e.rig import Gateway, Http, Simulated, ask, events, frames, timed_read, until
from tests.providers.validator import check_stream

pytestmark = pytest.mark.e2e

MODES = ["claude-", "anthropic/", "openai/"]
PING = b": ping\n\n"
TWO_LENGTHS = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"
SPACE = 0.12
"""Seconds that a loaded machine may add."""


def upstream_name(model: str) -> str:
    """The model as the upstream is asked for it."""
    return model.partition("/")[2] or model


def watched(gateway: Gateway, model: str) -> tuple[int, float, list[tuple[float, bytes]]]:
    """A stream's status, when its head came, and what came when; in seconds since the request."""
    headers = {"content-type": "application/json", **gateway.auth()}
    body = orjson.dumps(ask(model, stream=True, max_tokens=20))
    with Http(gateway.port) as client:
        began = time.monotonic()
        response = client.begin("POST", "/v1/messages", headers, body)
        head = time.monotonic() - began
        return response.status, head, timed_read(response, began)


def one_error(body: bytes) -> dict:
    """The error that ended this stream, and that nothing followed."""
    found = check_stream(events(body), complete=False)
    assert [event["type"] for event in found].count("error") == 1
    assert found[-1]["type"] == "error"
    assert b"message_stop" not in body
    assert b"[DONE]" not in body
    return found[-1]["error"]


# --- heads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_head_of_a_stream(gateway, mode):
    answer = gateway.post(ask(f"{mode}sim", stream=True))
    assert answer.status == 200
    assert answer.header("content-type") == "text/event-stream; charset=utf-8"
    assert answer.header("cache-control") == "no-cache"
    assert answer.header("x-accel-buffering") == "no"
    assert answer.header("content-encoding") is None
    assert answer.header("content-length") is None
    assert answer.header("transfer-encoding") == "chunked"


# --- pings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_late_first_byte_is_announced_by_pings(pinging, mode):
    """Known bug 46: silence is no end."""
    status, head, pieces = watched(pinging, f"{mode}sim;ttft=1")
    assert status == 200
    assert head == pytest.approx(0.3, abs=SPACE)
    pings = [at for at, piece in pieces if piece == PING]
    assert pings == pytest.approx([0.3, 0.6, 0.9], abs=SPACE)
    whole = b"".join(piece for _, piece in pieces)
    check_stream(events(whole))
    assert whole.startswith(PING * 3 + b"event: message_start\n")


@pytest.mark.parametrize("mode", MODES)
def test_a_quick_stream_has_no_pings(pinging, mode):
    answer = pinging.post(ask(f"{mode}sim;tps=40;tokens=20", stream=True))
    assert PING not in answer.body


def test_a_ping_never_stands_in_a_frame(pinging, simulator):
    """The upstream's frames come in halves, with more than a ping's time between them."""
    parts = (
        (
            'event: message_start\ndata: {"type":"message_start","message":{"id":"m",'
            '"type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,'
            '"usage":{"input_tokens":1,"output_tokens":1}}}\n'
        ),
        '\nevent: content_block_start\ndata: {"type":"content_block_start",',
        '"index":0,"content_block":{"type":"text","text":""}}\n\n',
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\nevent: mess',
        (
            'age_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn",'
            '"stop_sequence":null},"usage":{"output_tokens":1}}\n\n'
            'event: message_stop\ndata: {"type":"message_stop"}\n\n'
        ),
    )
    chunks = [{"text": part, "delay": 0.4} for part in parts]
    simulator.script("claude-halves", headers={"content-type": "text/event-stream"}, chunks=chunks)
    answer = pinging.post(ask("claude-halves", stream=True))
    found = frames(answer.body)
    assert found.count(PING) >= 4
    assert b"".join(frame for frame in found if frame != PING) == "".join(parts).encode()


# --- failures after an early 200 ---------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rate_limit_error"), (500, "api_error"), (400, None)]
)
def test_an_error_after_an_early_200_is_an_event(pinging, mode, status, kind):
    answer = pinging.post(ask(f"{mode}sim;status={status};ttft=0.5", stream=True))
    assert answer.status == 200
    assert answer.header("content-type").startswith("text/event-stream")
    assert answer.body.startswith(PING)
    assert one_error(answer.body)["type"] == (kind or "invalid_request_error")


@pytest.mark.parametrize("mode", MODES)
def test_an_error_page_after_an_early_200(pinging, mode):
    answer = pinging.post(ask(f"{mode}sim;status=503;html;ttft=0.5", stream=True))
    assert answer.status == 200
    assert one_error(answer.body)


@pytest.mark.parametrize("mode", MODES)
def test_a_json_answer_after_an_early_200(pinging, simulator, mode):
    """The caller wants events and has been promised them; JSON among them is garbage."""
    model = f"{mode}unstreamed-{mode[:3]}"
    chat = {"id": "c", "object": "chat.completion", "model": "m", "created": 1, "choices": []}
    body = orjson.dumps(chat if mode == "openai/" else {"type": "message", "content": []}).decode()
    simulator.script(upstream_name(model), body=body, head_delay=0.5)
    answer = pinging.post(ask(model, stream=True))
    assert answer.status == 200
    assert one_error(answer.body)


@pytest.mark.parametrize("mode", MODES)
def test_a_timer_after_an_early_200(pinging, mode):
    answer = pinging.post(ask(f"{mode}sim;stall_at=-1", stream=True))
    assert answer.status == 200
    assert answer.body.startswith(PING * 3)
    assert one_error(answer.body)["code"] == "headers_timeout"


# --- an upstream that breaks off ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "rst"])
@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("mode", MODES)
def test_an_upstream_that_breaks_off(gateway, mode, framing, how):
    for at in (700, 1111, 1500, 1801):
        model = f"{mode}sim;{how}={at};framing={framing};tps=2000"
        answer = gateway.post(ask(model, stream=True))
        if answer.status == 502:  # nothing that counts had come
            assert answer.error["type"] == "provider_error"
            continue
        assert answer.status == 200
        error = one_error(answer.body)
        assert error["code"].startswith("upstream_"), error
        assert frames(answer.body)


@pytest.mark.parametrize("how", ["cut", "rst"])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("mode", MODES)
def test_an_upstream_that_breaks_off_before_its_head(gateway, mode, stream, how):
    answer = gateway.post(ask(f"{mode}sim;{how}=-1", stream=stream))
    assert answer.status == 502
    assert answer.error["code"] == "upstream_reset"


@pytest.mark.parametrize("how", ["cut", "rst"])
@pytest.mark.parametrize("mode", MODES)
def test_a_json_answer_that_breaks_off(gateway, mode, how):
    answer = gateway.post(ask(f"{mode}sim;{how}=100"))
    assert answer.status == 502
    assert answer.error["code"].startswith("upstream_")


@pytest.mark.parametrize(
    ("what", "stream"),
    [
        ("json", False),
        ("sse", True),
        *[("head", stream) for stream in (False, True)],
        ("chunk", True),
    ],
)
@pytest.mark.parametrize("mode", ["anthropic/", "openai/"])
def test_a_malformed_answer_is_the_providers_fault(gateway, mode, stream, what):
    answer = gateway.post(ask(f"{mode}sim;malformed={what}", stream=stream))
    if answer.status != 200:
        assert answer.status == 502, answer.body
        assert answer.error["type"] in ("api_error", "provider_error")
    elif mode == "openai/" or what in ("chunk", "head"):
        one_error(answer.body)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(
    ("mode", "what"), [("anthropic/", "type"), ("openai/", "type"), ("openai/", "utf8")]
)
def test_a_wrong_byte_or_label_is_no_damage(gateway, mode, stream, what):
    """A byte that is no UTF-8 is a replacement character; an odd label says nothing."""
    answer = gateway.post(ask(f"{mode}sim;malformed={what}", "Hello", stream=stream))
    assert answer.status == 200, answer.body
    answer.body.decode()
    if stream:
        found = check_stream(events(answer.body))
        assert found[-1]["type"] == "message_stop"
    else:
        assert answer.json["content"][0]["text"]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_is_none(gateway, simulator, mode, stream):
    """A success with nothing in it, or of another kind, is a failure of the provider's."""
    plain = {"headers": {"content-type": "text/plain"}}
    events_only = {"headers": {"content-type": "text/event-stream"}}
    for number, said in enumerate(
        [
            {"status": 204},
            {"body": ""},
            plain | {"body": "{}"},
            plain | {"body": "<html>"},
            events_only | {"body": ""},
            {"status": 304},
            {"raw": True, "body": "SSH-2.0-OpenSSH_9.6\r\n"},
            {
                "raw": True,
                "body": "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
            },
        ]
    ):
        model = f"{mode}none-{mode[:3]}-{stream}-{number}"
        simulator.script(upstream_name(model), **said)
        answer = gateway.post(ask(model, stream=stream))
        assert answer.status == 502, (said, answer)
        assert answer.error["type"] in ("api_error", "provider_error")


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("prefix", ["claude-", "anthropic/"])
def test_a_page_is_called_a_page(gateway, simulator, prefix, stream):
    """What stands before a provider answers in HTML; the caller gets it under its own name."""
    model = f"{prefix}page-{prefix[:3]}-{stream}"
    page = {"status": 503, "headers": {"content-type": "text/html"}, "body": "<html>busy</html>"}
    simulator.script(upstream_name(model), **page)
    answer = gateway.post(ask(model, stream=stream))
    assert (answer.status, answer.body) == (503, b"<html>busy</html>")
    assert answer.header("content-type") == "text/html"


def test_answers_nobody_asked_to_be_compressed(gateway):
    for mode in MODES:
        for stream in (False, True):
            answer = gateway.post(ask(f"{mode}sim;gzip", stream=stream))
            assert answer.status == 502, mode
            assert answer.error["code"] == "upstream_encoding"


def test_redirects_are_not_followed(gateway, simulator):
    before = simulator.last
    for mode in MODES:
        answer = gateway.post(ask(f"{mode}sim;status=307"))
        assert answer.status == 502
        assert answer.header("location") is None
    assert simulator.last == before + len(MODES)


def test_interim_answers_are_passed_over(gateway):
    for mode in MODES:
        check_stream(events(gateway.post(ask(f"{mode}sim;early=103", stream=True)).body))


def test_a_stream_in_drops(gateway):
    for mode in MODES:
        whole = gateway.post(ask(f"{mode}sim;chunk=4", stream=True))
        drops = gateway.post(ask(f"{mode}sim;chunk=4;drip=7", stream=True))
        texts = [
            [event.get("delta") for event in check_stream(events(answer.body))]
            for answer in (whole, drops)
        ]
        assert texts[0] == texts[1]


# --- callers that leave or do not read ---------------------------------------------------------


def left(simulator: Simulated, model: str) -> dict:
    """The journal's entry once the upstream connection has been closed."""

    def closed() -> list[dict]:
        entries = simulator.journal(upstream_name(model))
        return [entry for entry in entries if entry["client_closed"] is not None]

    (entry,) = until(closed, 4)
    return entry


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("phase", "knobs", "stream"),
    [
        ("before-the-head", "ttft=5", True),
        ("before-content", "head=0;ttft=5", True),
        ("in-the-middle", "tps=20;tokens=200", True),
        ("json", "ttft=5", False),
    ],
)
def test_a_caller_that_leaves_stops_the_upstream(gateway, simulator, mode, phase, knobs, stream):
    model = f"{mode}leaves-{phase}-{mode[:3]};{knobs}"
    body = orjson.dumps(ask(model, stream=stream, max_tokens=500))
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: t\r\nx-api-key: {gateway.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with gateway.raw() as sock:
        sock.sendall(head.encode() + body)
        until(lambda: simulator.journal(upstream_name(model)), 3)
        time.sleep(0.3)
        at = time.monotonic()
    entry = left(simulator, model)
    assert entry["outcome"] == "client_closed"
    assert entry["client_closed"] - at < 0.1 + SPACE


@pytest.mark.parametrize("mode", MODES)
def test_a_caller_that_does_not_read_is_cut_off(pinging, simulator, mode):
    model = f"{mode}unread-{mode[:3]};tokens=200000"
    body = orjson.dumps(ask(model, stream=True, max_tokens=300_000))
    head = (
        "POST /v1/messages HTTP/1.1\r\nHost: t\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", pinging.port))
        sock.sendall(head.encode() + body)
        entry = left(simulator, model)
    assert entry["outcome"] == "client_closed"
    assert 0.9 < entry["client_closed"] - entry["received"] < 2.2
    assert entry["sent"] < 8 << 20, "the upstream was not held back"
    line = pinging.logged(f'"model":"{model.partition("/")[0]}' if "/" in model else model)
    assert '"outcome":"client_left"' in line

"""Each timer fires at its own setting and says so with its own code."""

from __future__ import annotations

import threading
import time

import orjson
import pytest

from tests.e2e.conftest import TIMERS
from tests.e2e.rig import Gateway, Http, ask, at_once, events, read_all
from tests.providers.validator import check_stream

pytestmark = pytest.mark.e2e

MODES = ["claude-", "anthropic/", "openai/"]


def near(setting: float) -> object:
    """Within ten percent; what a loaded machine adds is counted separately."""
    return pytest.approx(setting, rel=0.1, abs=0.12)


def on_all_modes(gateway: Gateway, knobs: str, **more: object) -> list[tuple[float, object]]:
    """The same request on every mode, all at once: the waits are the test's time."""
    return at_once(lambda mode: timed_post(gateway, mode + knobs, **more), MODES)


def timed_post(gateway: Gateway, model: str, **more: object) -> tuple[float, object]:
    began = time.monotonic()
    answer = gateway.post(ask(model, **more))
    return time.monotonic() - began, answer


def refused(answer, code: str) -> None:
    assert answer.status == 504, answer
    assert answer.error["type"] == "timeout_error"
    assert answer.error["code"] == code


def broken_off(answer, code: str) -> list[dict]:
    """A stream that ended with this error, and with nothing else."""
    assert answer.status == 200, answer
    found = check_stream(events(answer.body), complete=False)
    assert [event["type"] for event in found].count("error") == 1
    assert found[-1]["error"]["code"] == code
    assert found[-1]["error"]["type"] == "timeout_error"
    assert b"[DONE]" not in answer.body
    return found


@pytest.mark.timing
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_connect(timed, stream):
    took, answer = timed_post(timed, "hole/x", stream=stream)
    refused(answer, "connect_timeout")
    assert took == near(TIMERS["connect"])


@pytest.mark.timing
def test_a_connection_that_is_not_free(timed):
    occupied = threading.Thread(target=timed.post, args=(ask("narrow/sim;ttft=1"),))
    occupied.start()
    time.sleep(0.2)
    took, answer = timed_post(timed, "narrow/sim")
    occupied.join()
    refused(answer, "pool_timeout")
    assert took == near(TIMERS["connect"])


@pytest.mark.timing
def test_headers(timed):
    for took, answer in on_all_modes(timed, "sim;stall_at=-1", stream=True):
        refused(answer, "headers_timeout")
        assert took == near(TIMERS["headers"])


@pytest.mark.timing
def test_first_token(timed):
    for took, answer in on_all_modes(timed, "sim;stall_at=0", stream=True):
        refused(answer, "first_token_timeout")
        assert took == near(TIMERS["first_token"])


@pytest.mark.timing
def test_first_token_after_a_start_without_content(timed):
    for took, answer in on_all_modes(timed, "sim;head=0;ttft=5", stream=True):
        if answer.status == 504:  # a Chat stream begins with nothing worth an event
            refused(answer, "first_token_timeout")
        else:
            broken_off(answer, "first_token_timeout")
        assert took == near(TIMERS["first_token"])


@pytest.mark.timing
def test_between_chunks(timed):
    for took, answer in on_all_modes(timed, "sim;stall_at=2000", stream=True):
        found = broken_off(answer, "inter_chunk_timeout")
        assert any(event["type"] == "content_block_delta" for event in found)
        assert took == near(TIMERS["inter_chunk"])


@pytest.mark.timing
def test_the_whole_of_a_stream(timed):
    said = {"stream": True, "max_tokens": 500}
    for took, answer in on_all_modes(timed, "sim;tps=10;tokens=100", **said):
        broken_off(answer, "total_timeout")
        assert took == near(TIMERS["total"])


@pytest.mark.timing
def test_the_whole_of_a_json_answer(timed):
    for took, answer in on_all_modes(timed, "sim;ttft=5"):
        refused(answer, "total_timeout")
        assert took == near(TIMERS["total"])


@pytest.mark.timing
def test_a_json_answer_that_stops_half_way(timed):
    for took, answer in on_all_modes(timed, "sim;stall_at=50"):
        refused(answer, "total_timeout")
        assert took == near(TIMERS["total"])


@pytest.mark.timing
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_nobody_there(timed, stream):
    took, answer = timed_post(timed, "nowhere/x", stream=stream)
    assert answer.status == 502
    assert answer.error["code"] == "upstream_connect"
    assert took < 0.3


def test_no_timer_outlives_its_request(timed):
    """What went well under these timers goes on going well on the same connection."""
    body = orjson.dumps(ask("nowhere/x"))
    with Http(timed.port) as client:
        for _ in range(3):
            answer = client.ask("POST", "/v1/messages", {"content-type": "application/json"}, body)
            assert answer.status == 502
        time.sleep(TIMERS["total"] + 0.2)
        assert client.ask("GET", "/health").status == 200


@pytest.mark.timing
def test_a_head_that_does_not_come(timed):
    with timed.raw() as sock:
        began = time.monotonic()
        sock.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: t\r\n")
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"type":"error"' in answer
    assert time.monotonic() - began == pytest.approx(0.7, abs=0.6)


@pytest.mark.timing
def test_a_body_that_does_not_come(timed):
    with timed.raw() as sock:
        began = time.monotonic()
        sock.sendall(
            b"POST /v1/messages HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b'Content-Length: 400\r\n\r\n{"model":'
        )
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"type":"error"' in answer
    assert time.monotonic() - began == pytest.approx(0.7, abs=0.6)

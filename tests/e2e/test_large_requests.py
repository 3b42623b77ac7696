"""Requests of many values or bytes: answered or refused, and nobody else waits for them."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import orjson
import pytest

from tests.e2e.rig import FACES, Answer, Gateway, Http, Simulated, ask, running, until

pytestmark = pytest.mark.e2e

MIB = 1 << 20
LARGEST = 32 * MIB
QUICK = 0.05
"""Seconds within which others are answered meanwhile."""
COPYING = 0.1
"""The same, while five processes of one machine copy 32 MiB each."""
MODES = [
    "claude-x",
    "anthropic/claude-x",
    "openai/x",
    "oai-resp/gpt-5.5",
    "gemini/gemini-3.5-flash",
]
PATHS = ["/v1/messages", "/v1/messages/count_tokens"]


@pytest.fixture(scope="module")
def roomy(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One worker, which takes the largest bodies there are by default."""
    said: dict[str, Any] = {
        "auth": {"mode": "none"},
        "retries": {"enabled": False},
        "breaker": {"enabled": False},
        "providers": {
            name: {"api_key": "k" * 20, "base_url": simulator.base_url(name)} for name in FACES
        },
    }
    with running(said, tmp_path_factory.mktemp("roomy"), "--single-process") as gateway:
        # The helper is started by the first large body; its start is no part of what is timed.
        assert gateway.post(ask("claude-x", "x" * MIB)).status == 200
        yield gateway


def body(model: str, content: Any, **more: Any) -> bytes:
    messages = [{"role": "user", "content": content}]
    return orjson.dumps({"model": model, "max_tokens": 5, "messages": messages, **more})


def _image() -> list[Any]:
    data = base64.b64encode(os.urandom(LARGEST * 3 // 4 - 10_000)).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return [{"type": "image", "source": source}]


CONTENTS = {
    "image": _image,
    "text": lambda: 'A fox, "quick", jumps.\n' * (LARGEST // 28),
    "signs": lambda: "\U0001f98a fox " * (LARGEST // 10),
    "blocks": lambda: [{"type": "text", "text": "x" * 40}] * 80_000,
}


class Watch:
    """Asks for /health all the time; `longest` is the longest wait for an answer."""

    def __init__(self, port: int) -> None:
        self.longest = 0.0
        self._http = Http(port)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._ends.is_set():
            began = time.perf_counter()
            assert self._http.ask("GET", "/health").status == 200
            self.longest = max(self.longest, time.perf_counter() - began)
            time.sleep(0.002)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self._http.connection.close()


def _ask(gateway: Gateway, path: str, raw: bytes) -> Answer:
    with Http(gateway.port, 60) as client:
        return client.ask("POST", path, {"content-type": "application/json"}, raw)


@pytest.mark.timing
@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("mode", ["claude-x", "openai/x"])
def test_others_are_answered_while_the_largest_bodies_are_worked_on(
    roomy: Gateway, mode: str, kind: str
) -> None:
    raw = body(mode, CONTENTS[kind]())
    assert len(raw) <= LARGEST
    with Watch(roomy.port) as watch:
        answer = _ask(roomy, "/v1/messages", raw)
    assert answer.status == (400 if kind == "image" else 200)  # noise is no picture
    assert watch.longest < (QUICK if kind == "blocks" else COPYING)


@pytest.mark.timing
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", MODES)
def test_others_are_answered_while_many_members_are_worked_on(
    roomy: Gateway, mode: str, path: str
) -> None:
    """Each body held a loop for seconds."""
    members = {f"k{number}": number for number in range(100_000)}
    bodies = [
        body(mode, "go", metadata=members),
        body(mode, "go", tools=[{"name": "f", "input_schema": {"type": "object"}, **members}]),
        body(mode, "go", extensions={"openai": members, "gemini": members}),
    ]
    with Watch(roomy.port) as watch:
        for raw in bodies:
            assert _ask(roomy, path, raw).status in (200, 400)
    assert watch.longest < QUICK


@pytest.mark.parametrize("mode", ["openai/x", "oai-resp/gpt-5.5", "gemini/gemini-3.5-flash"])
def test_what_is_dropped_of_many_members_fits_into_a_header(roomy: Gateway, mode: str) -> None:
    members = {f"k{number}": number for number in range(100_000)}
    answer = _ask(roomy, "/v1/messages", body(mode, "go", metadata=members))
    assert answer.status == 200
    told = answer.header("x-vai-dropped")
    assert told is not None
    assert len(told) <= 1024
    assert told.endswith(" more")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", MODES)
def test_a_body_of_too_many_values_is_refused(roomy: Gateway, mode: str, path: str) -> None:
    for raw in (body(mode, "go", metadata={"a": [0] * 250_000}), body(mode, [[]] * 3_000_000)):
        answer = _ask(roomy, path, raw)
        assert answer.status == 400
        assert answer.error["code"] == "too_many_values"
        assert "at most 250000 strings, numbers, objects and arrays" in answer.error["message"]


def test_a_helper_that_is_killed_is_replaced(roomy: Gateway) -> None:
    raw = body("openai/x", "x" * MIB)
    for _ in range(2):
        assert _ask(roomy, "/v1/messages", raw).status == 200
        helper = _helper_of(roomy.process.pid)
        os.kill(helper, signal.SIGKILL)
        until(partial(_is_dead, helper))
        answer = _ask(roomy, "/v1/messages", raw)
        assert answer.status in (200, 503)
        assert answer.status == 200 or answer.error["code"] == "helper_failed"
    assert _ask(roomy, "/v1/messages", raw).status == 200


def _helper_of(worker: int) -> int:
    children: list[str] = []
    for thread in Path(f"/proc/{worker}/task").iterdir():
        children += (thread / "children").read_text().split()
    helpers = [
        int(pid)
        for pid in children
        if b"vai.io.helper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return helpers[0]


def _is_dead(pid: int) -> bool:
    """Whether it is gone, or waits for its parent to take notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True

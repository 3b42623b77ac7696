"""Hostile bytes against the real server: refused, and without effect on anybody else."""

from __future__ import annotations

import re
import threading
import time
from typing import Self

import orjson
import pytest

from tests.codec.hostile_heads import GOOD, HOSTILE, Case, filled, head_of
from tests.e2e.rig import Http, ask, at_once

pytestmark = pytest.mark.e2e

QUICK = 0.06
"""Seconds in which a body that cannot be read is refused, at best of five. A machine that does
nothing else needs a third of it, for the largest."""


LONGEST_HEAD = 8192
"""Bytes of a head that are read at all; a longer one is refused before its lines are judged."""

ANSWER = re.compile(rb"HTTP/1\.1 \d{3} ")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def nonce(number: int) -> bytes:
    """A second request that must never run; the upstream would tell of it."""
    body = orjson.dumps(ask(f"claude-smuggled-{number}"))
    head = b"POST /v1/messages HTTP/1.1\r\nHost: vai.test\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def closing(case: Case, raw: bytes) -> bytes:
    """A body that is refused leaves its connection open unless it was asked not to."""
    if case.layer == "guard":
        return raw
    return raw.replace(b"Host: vai.test\r\n", b"Host: vai.test\r\nConnection: close\r\n", 1)


class GoodTraffic:
    """A client that asks on and on while a test does its worst."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.statuses: list[int] = []

    def _run(self) -> None:
        body = orjson.dumps(ask("claude-good"))
        with Http(self._port) as client:
            while not self._over.wait(0.01):
                answer = client.ask("POST", "/v1/messages", {}, body)
                self.statuses.append(answer.status)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20)


def test_every_hostile_request_is_refused_and_ends_its_connection(open_gateway, simulator):
    def attack(number: int) -> str | None:
        """What is wrong with the answer to case `number`, if anything."""
        case = HOSTILE[number]
        answer = open_gateway.send(closing(case, filled(case.raw, nonce(number))), 6)
        if not answer:
            return None  # closed without a word
        status = int(answer.split(b" ", 2)[1])
        head, _, body = answer.partition(b"\r\n\r\n")
        too_long = len(head_of(case.raw)) > LONGEST_HEAD
        if status not in case.statuses and not (too_long and status == 431):
            return f"{case.name}: answered {status}"
        if len(ANSWER.findall(answer)) != 1:
            return f"{case.name}: answered twice"
        if b"connection: close" not in head.lower():
            return f"{case.name}: does not say that it closes"
        if orjson.loads(body)["type"] != "error":
            return f"{case.name}: not in the error schema"
        return None

    with GoodTraffic(open_gateway.port) as good:
        wrong = []
        for begin in range(0, len(HOSTILE), 32):
            batch = range(begin, min(begin + 32, len(HOSTILE)))
            wrong += [found for found in at_once(attack, batch) if found]
    assert wrong == []
    assert len(HOSTILE) >= 200
    ran = {entry["model"] for entry in simulator.journal()}
    assert [n for n in ran if "smuggled" in n] == []
    assert set(good.statuses) == {200}
    assert len(good.statuses) > 10


def test_requests_that_look_odd_and_are_not(open_gateway):
    for case in GOOD:
        if not case.raw.startswith(b"POST /v1/messages ") or not case.raw.endswith(b"\r\n\r\n{}"):
            continue
        # A hostile head behind it ends the connection.
        answer = open_gateway.send(case.raw + b"BYE\r\n\r\n").removeprefix(CONTINUE)
        head, _, rest = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        body = rest[:length]
        assert orjson.loads(body)["error"].get("param") == "model", (case.name, answer)


OK = b'"model":"claude-bomb","max_tokens":9,"messages":[]'
BOMBS = {
    "deep-arrays": b"[" * 100_000,
    "deep-closed": b'{"a":' + b"[" * 400_000 + b"]" * 400_000 + b"," + OK + b"}",
    "deep-objects": b'{"a":' * 100_000,
    "sixty-five-deep": b"{" + OK + b',"a":' + b"[" * 64 + b"]" * 64 + b"}",
    "digits": b"{" + OK + b',"a":' + b"9" * 900_000 + b"}",
    "twenty-one-digits": b"{" + OK + b',"a":' + b"9" * 21 + b"}",
    "negative-digits": b"{" + OK + b',"a":-' + b"9" * 21 + b"}",
    "nan": b"{" + OK + b',"a":NaN}',
    "infinity": b"{" + OK + b',"a":-Infinity}',
    "beyond-a-double": b"{" + OK + b',"a":1e400}',
    "lone-surrogate": b"{" + OK + b',"a":"\\ud800"}',
    "low-surrogate": b"{" + OK + b',"a":"\\udc00\\ud800"}',
    "surrogate-key": b"{" + OK + b',"\\ud800":1}',
    "raw-surrogate": b"{" + OK + b',"a":"\xed\xa0\x80"}',
    "overlong": b"{" + OK + b',"a":"\xc0\xaf"}',
    "latin-1": b"{" + OK + b',"a":"\xe9"}',
    "bom": b"\xef\xbb\xbf{" + OK + b"}",
    "utf-16": ("{" + OK.decode() + "}").encode("utf-16"),
    "model-twice": b"{" + OK + b',"model":"openai/x"}',
    "model-twice-escaped": b"{" + OK + b',"mode\\u006c":"openai/x"}',
    "stream-twice": b"{" + OK + b',"stream":true,"stream":false}',
    "members": b"{" + b",".join(b'"k%d":0' % n for n in range(60_000)) + b"," + OK + b"}",
    "empty": b"",
    "blank": b" \n",
    "null": b"null",
    "array": b"[]",
    "string": b'"x"',
    "trailing": b"{" + OK + b"}}",
    "comma": b"{" + OK + b",}",
    "open": b"{" + OK,
    "zeros": b"\0" * 1000,
    "quotes": b'"' * 500_001,
    "backslashes": b'{"a":"' + b"\\" * 500_001,
    "form": b"model=claude-bomb&max_tokens=9",
}


@pytest.mark.timing
@pytest.mark.parametrize("model", [b"claude-bomb", b"openai/bomb", b"anthropic/bomb"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_body_that_is_a_bomb(gateway, simulator, name, model):
    before = simulator.last
    body = BOMBS[name].replace(b"claude-bomb", model)
    took = []
    with Http(gateway.port) as client:
        for _ in range(5):
            began = time.monotonic()
            answer = client.ask("POST", "/v1/messages", gateway.auth(), body)
            took.append(time.monotonic() - began)
            assert answer.status == 400, answer
            assert answer.error["type"] == "invalid_request_error"
            assert len(answer.body) < 1000
    assert simulator.last == before
    assert min(took) < QUICK


def test_sixty_four_deep_is_fine(gateway, simulator):
    deep = b"{" + OK.replace(b"bomb", b"deep") + b',"a":' + b"[" * 63 + b"]" * 63 + b"}"
    simulator.script("claude-deep", body='{"type":"message","content":[]}')
    assert gateway.post(deep).status == 200

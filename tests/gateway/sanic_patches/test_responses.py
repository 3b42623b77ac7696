"""A response written in one go is the one that Sanic writes, on real sockets."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import pytest
from sanic.http.http1 import HTTP_CONTINUE

from tests.gateway.group import Group, group, read_all, until

pytestmark = pytest.mark.e2e

POST = b"POST %b HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n%b\r\n%b"
EXPECTING = b"Expect: 100-continue\r\n"
CLOSING = b"Connection: close\r\n"


def same_in_both_ways(
    running: Group,
    path: bytes,
    query: dict[str, Any],
    lines: bytes,
    body: bytes,
    whole: bool,
    short: dict[str, int] | None = None,
) -> bytes:
    """The answer of `path`, in one go (if `whole`; the query `short` asks for it) as in Sanic's
    way."""
    answers = []
    for more in (short or {}, {"long": 1}):
        target = path + b"?" + urlencode(query | more).encode()
        request = POST % (target, len(body), lines, body)
        if not body:
            request = request.replace(b"POST", b"GET").replace(b"Content-Length: 0\r\n", b"")
        answers.append(running.exchange(request))
        said = running.get("/answer/whole")[2]
        assert said == (b"True" if whole and "long" not in more else b"False")
    assert answers[0] == answers[1]
    return answers[0]


@pytest.mark.parametrize(
    ("query", "lines", "body", "whole"),
    [
        ({}, b"", b"", True),
        ({"status": 404}, b"", b"", True),
        ({"size": 300_000}, b"", b"", True),
        ({}, CLOSING, b"", True),
        ({"read": 1}, b"", b"abc", True),
        ({"read": 1}, EXPECTING, b"abc", True),
        ({"value": "a\tb\x01\x7f"}, b"", b"", True),
        ({"value": "a\r\nx: y"}, b"", b"", False),
        ({"value": "a\nb"}, b"", b"", False),
        ({"value": "a\0b"}, b"", b"", False),
        ({"value": "caf\u00e9"}, b"", b"", False),
        ({"value": "\u20ac"}, b"", b"", False),
        ({"size": 0}, b"", b"", False),
        ({"status": 204, "size": 0}, b"", b"", False),
        ({}, b"", b"abc", False),
        ({}, EXPECTING, b"", True),  # an expectation without a body means nothing
        ({}, EXPECTING, b"abc", False),
    ],
)
def test_a_response_is_the_same_in_one_go_and_in_sanics_way(
    running: Group, query: dict[str, Any], lines: bytes, body: bytes, whole: bool
) -> None:
    answer = same_in_both_ways(running, b"/answer", query, lines, body, whole)
    assert b"\r\nx-figure: 1\r\nx-other: a: b\r\n" in answer
    assert answer.startswith((b"HTTP/1.1 %d " % query.get("status", 200), HTTP_CONTINUE))


@pytest.mark.parametrize(
    ("query", "lines", "body", "whole"),
    [
        ({}, b"", b"", True),
        ({}, CLOSING, b"", True),
        ({"size": 300_000}, b"", b"", True),
        ({"read": 1}, b"", b"abc", True),
        ({"read": 1}, EXPECTING, b"abc", True),
        ({"value": "a\nb"}, b"", b"", False),
        ({"value": "caf\u00e9"}, b"", b"", False),
        ({"size": 0}, b"", b"", False),
        ({"letters": "-"}, b"", b"", True),
        ({}, b"", b"abc", False),
    ],
)
def test_a_stream_is_the_same_in_one_go_and_in_sanics_way(
    running: Group, query: dict[str, Any], lines: bytes, body: bytes, whole: bool
) -> None:
    answer = same_in_both_ways(running, b"/chunks", query, lines, body, whole)
    assert answer.count(b"\r\n0\r\n\r\n") == 1


@pytest.mark.parametrize(
    ("query", "lines", "body", "at_once"),
    [
        ({}, b"", b"", True),
        ({}, CLOSING, b"", True),
        ({"size": 300_000}, b"", b"", True),
        ({"read": 1}, b"", b"abc", True),
        ({"value": "a\nb"}, b"", b"", False),
        ({"size": 0}, b"", b"", False),
        ({}, b"", b"abc", False),
    ],
)
def test_a_stream_begun_at_once_is_the_same(
    running: Group, query: dict[str, Any], lines: bytes, body: bytes, at_once: bool
) -> None:
    same_in_both_ways(running, b"/chunks", query, lines, body, at_once, short={"once": 1})


def test_middleware_sees_a_stream_that_could_begin_at_once() -> None:
    with group("--single-process", middleware="response") as started:
        started.ready(workers=1)
        answer = started.exchange(b"GET /chunks?once=1 HTTP/1.1\r\nHost: t\r\n\r\n")
        assert b"\r\nx-seen: 1\r\n" in answer


@pytest.mark.parametrize("path", [b"/answer", b"/chunks"])
@pytest.mark.parametrize("request_line", [b"HEAD %b HTTP/1.1", b"GET %b HTTP/1.0"])
def test_other_requests_have_the_same_response_too(
    running: Group, request_line: bytes, path: bytes
) -> None:
    for lines in (b"", CLOSING, b"Connection: keep-alive\r\n"):
        answers = {
            running.exchange(request_line % target + b"\r\nHost: t\r\n" + lines + b"\r\n")
            for target in (path, path + b"?long=1")
        }
        assert len(answers) == 1


def test_a_client_that_is_behind_is_waited_for(running: Group) -> None:
    """Responses in one go do not pile up in memory; the client gets all of them once it reads."""
    wanted, request = 60, b"GET /answer?size=300000 HTTP/1.1\r\nHost: t\r\n\r\n"

    def answered() -> int:
        return int(running.get("/answer/count")[2])

    def unchanged() -> int | None:
        now = answered()
        time.sleep(0.3)
        return now if answered() == now > before else None

    running.exchange(request)
    before = answered()
    with running.connect() as sock:
        sock.sendall(request * wanted + b"GET / HTTP/1.0\r\n\r\n")
        assert until(unchanged, 5) - before < wanted
        data = read_all(sock)
    assert data.count(b"HTTP/1.1 200 OK\r\nx-one: v\r\n") == wanted
    assert data.count(b"x" * 300_000) == wanted
    assert answered() - before == wanted

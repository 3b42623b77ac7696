"""A request is answered as Sanic answers it, on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.gateway.group import Group, group, read_all

pytestmark = pytest.mark.e2e

KINDS = ("text", "refused", "defect", "streamed", "defect in a stream", "")


@pytest.fixture(scope="module")
def running() -> Iterator[Group]:
    with group("--single-process") as started:
        started.ready(workers=1)
        yield started


@pytest.fixture(scope="module")
def sanics() -> Iterator[Group]:
    """The same app with middleware, for which Sanic's own function answers."""
    with group("--single-process", middleware=1) as started:
        started.ready(workers=1)
        yield started


def exchange(running: Group, request: str) -> bytes:
    with running.connect() as sock:
        sock.sendall(f"{request}\r\nHost: t\r\n\r\nGET /echo HTTP/1.0\r\n\r\n".encode())
        return read_all(sock)


@pytest.mark.parametrize(
    "request_line",
    [
        *(f"GET /outcome?kind={quote(kind)} HTTP/1.1" for kind in KINDS),
        *(f"GET /outcome/{quote(kind)} HTTP/1.1" for kind in KINDS),
        "GET /outcome?kind=text HTTP/1.0",
        "POST /outcome HTTP/1.1",
        "GET /nowhere HTTP/1.1",
        "TRACE / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
    ],
)
def test_a_request_is_answered_as_sanic_answers_it(
    running: Group, sanics: Group, request_line: str
) -> None:
    answer = exchange(running, request_line)
    assert answer.startswith(b"HTTP/1.1 ")
    assert answer == exchange(sanics, request_line)

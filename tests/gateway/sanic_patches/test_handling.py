"""A request is answered as Sanic answers it, on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.gateway.group import Group, group

pytestmark = pytest.mark.e2e

KINDS = ("text", "refused", "defect", "streamed", "defect in a stream", "")


@pytest.fixture(scope="module")
def sanics() -> Iterator[Group]:
    """The same app with middleware, for which Sanic's own function answers."""
    with group("--single-process", middleware=1) as started:
        started.ready(workers=1)
        yield started


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
    request = f"{request_line}\r\nHost: t\r\n\r\n".encode()
    # The last answer must have no pid in it, as the one to `GET /` has.
    answer, by_sanic = (
        server.exchange(request, b"GET /echo HTTP/1.0\r\n\r\n") for server in (running, sanics)
    )
    assert answer.startswith(b"HTTP/1.1 ")
    assert answer == by_sanic

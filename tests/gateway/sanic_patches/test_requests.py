"""A request that is made of its head by VAI, on real sockets."""

from __future__ import annotations

import json

import pytest

from tests.gateway.group import Group, read_all, split

pytestmark = pytest.mark.e2e


def test_a_request_has_its_fields_in_sanics_form_and_in_vais(running: Group) -> None:
    lines = b"Host: t\r\nX-A:  1\r\nx-b:\r\nX-a: 2 \r\nConnection: close\r\n"
    with running.connect() as sock:
        sock.sendall(b"GET http://T/fields HTTP/1.1\r\n" + lines + b"\r\n")
        said = json.loads(split(read_all(sock))[2])
    pairs = [["host", "t"], ["x-a", "1"], ["x-b", ""], ["x-a", "2 "], ["connection", "close"]]
    assert said["sanics"] == said["pairs"] == pairs
    assert said["first"] == {"host": "t", "x-a": "1", "x-b": "", "connection": "close"}


@pytest.mark.parametrize(
    ("start", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: t\r\n", True),
        (b"GET / HTTP/1.0\r\nHost: t\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: t\r\nConnection: CLOSE\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nConnection: keep-alive\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: t\r\nConnection: keep-alive\r\nConnection: close\r\n", False),
    ],
)
def test_a_connection_is_kept_as_its_client_says(running: Group, start: bytes, kept: bool) -> None:
    answer = running.exchange(start + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == (2 if kept else 1)

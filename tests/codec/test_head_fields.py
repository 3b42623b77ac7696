"""What a head says: the same as a second reading of its bytes, and as Sanic's own mapping."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sanic.compat import Header

from tests.codec.head_by_bytes import judge_head
from tests.codec.hostile_heads import GOOD, HOSTILE, head_of
from vai.codec.head import HeaderFields, HeadError, RequestHead, parse_head

CORPUS = [(one.name, head_of(one.raw)) for one in (*HOSTILE, *GOOD)]
LINES = [
    *(b"Host: a", b"hOsT:\ta:80 ", b"Host: a,b", b"Host:"),
    *(b"Content-Length: 2", b"CONTENT-LENGTH:0\t", b"Content-Length: +2", b"Content-Length:"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:"),
    *(b"Expect: 100-Continue ", b"Expect: x"),
    *(b"Upgrade: websocket", b"upgrade: h2c", b"Upgrade: WebSocket"),
    *(b"Connection: close", b"Connection: keep-alive"),
    *(b"X-Api-Key: k", b"x-api-key: l", b"X-A:", b"X-A: \t b \t", b" fold", b"X-A : b", b"\x80: b"),
]
STARTS = [
    *(b"POST / HTTP/1.1", b"POST / HTTP/1.0", b"POST / HTTP/2.0", b"OPTIONS * HTTP/1.1", b"x"),
    *(b"GET http://a HTTP/1.1", b"GET HTTPS://A:80/x?y HTTP/1.1", b"GET http://b/ HTTP/1.0"),
    *(b"GET http://a@b/ HTTP/1.0", b"GET http://\xe9/ HTTP/1.0", b"GET //a HTTP/1.1"),
]
HEADS = st.builds(
    lambda start, lines: b"\r\n".join([start, *lines]),
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(LINES), max_size=9),
)


def variants(head: bytes) -> Iterator[bytes]:
    """This head, and others with much more before the field lines or behind them."""
    yield head
    line, end, rest = head.partition(b"\r\n")
    yield line + end + b"X-Long: " + b"a" * 9000 + b"\r\n" + rest
    yield line.replace(b" HTTP", b"?" + b"a" * 9000 + b" HTTP") + end + rest
    yield head + b"\r\nX-Long: " + b"a" * 17_000


def check_head(head: bytes) -> None:
    plain, verdict = judge_head(head)
    parsed = parse_head(head)
    if verdict is not None:
        assert parsed == verdict
        return
    assert isinstance(parsed, RequestHead)
    assert parsed.raw == plain
    line, *lines = plain.decode().split("\r\n")
    assert f"{parsed.method} {parsed.target} HTTP/{parsed.version}" == line
    # Sanic's own lines.
    sanics = Header([(name.lower(), value.lstrip()) for name, value in split(lines)])
    assert parsed.fields.pairs == [*sanics.items()]
    assert parsed.body_size == int(sanics.get("content-length", 0))
    for name in {*sanics, "host", "expect"}:
        assert parsed.fields.get(name.lower()) == sanics.get(name)
        assert (name.lower() in parsed.fields) == (name in sanics)
        assert parsed.fields.get_all(name.lower()) == sanics.getall(name, [])


def split(lines: list[str]) -> Iterator[list[str]]:
    return (line.split(":", 1) for line in lines)


@pytest.mark.parametrize("head", [head for _, head in CORPUS], ids=[name for name, _ in CORPUS])
def test_a_head_is_read_as_from_its_bytes(head: bytes) -> None:
    for one in variants(head):
        check_head(one)


@given(HEADS)
def test_a_head_of_any_lines_is_read_as_from_its_bytes(head: bytes) -> None:
    check_head(head)


@given(HEADS, st.integers(0, 200), st.binary(max_size=3))
def test_a_damaged_head_is_read_as_from_its_bytes(head: bytes, at: int, damage: bytes) -> None:
    check_head(head[:at] + damage + head[at:])
    check_head(head[:at] + damage + head[at + len(damage) :])


def test_the_first_of_repeated_fields_counts_and_all_are_there() -> None:
    fields = HeaderFields([("a", "x"), ("b", ""), ("a", "y"), ("b", ""), ("a", "x")])
    assert dict(fields) == {"a": "x", "b": ""}
    assert fields.get_all("a") == ["x", "y", "x"]
    assert fields.get_all("c") == []
    assert [*fields.repeated] == ["a", "b", "a"]


def test_a_head_is_read_or_refused() -> None:
    assert isinstance(parse_head(b"GET / HTTP/1.0"), RequestHead)
    assert isinstance(parse_head(b"GET / HTTP/1.1"), HeadError)

"""Nothing malformed reaches the wire, and no error quotes what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vai.errors import InvalidRequest
from vai.io.http.head import Endpoint, Origin, encode_headers, encode_request_line


@pytest.mark.parametrize(
    ("base", "origin", "authority", "prefix"),
    [
        ("https://api.anthropic.com", ("https", "api.anthropic.com", 443), "api.anthropic.com", ""),
        ("https://h:8443/v1/", ("https", "h", 8443), "h:8443", "/v1"),
        ("http://[::1]:80/a%20b", ("http", "::1", 80), "[::1]", "/a%20b"),
        ("HTTP://EXAMPLE.com:443", ("http", "example.com", 443), "example.com:443", ""),
        ("https://bücher.de", ("https", "xn--bcher-kva.de", 443), "xn--bcher-kva.de", ""),
    ],
)
def test_base_urls(base, origin, authority, prefix):
    endpoint = Endpoint.from_base_url(base)
    assert endpoint == (Origin(*origin), prefix)
    assert endpoint.origin.authority == authority


@pytest.mark.parametrize(
    "base",
    ["", "api.x.com", "ftp://x", "https://", "https://u:p@x", "https://x?k=1", "https://x#f",
     "https://x/\n", "http://x:99999"],
)  # fmt: skip
def test_what_is_no_base_url(base):
    with pytest.raises(ValueError, match=r"URL"):
        Endpoint.from_base_url(base)


BAD = ["a\r\nX-Evil: 1", "a\rb", "a\nb", "a\x00b", "a\n b", "é", "\u0665", "\x7f", " lead", "a\x0b"]


@pytest.mark.parametrize("value", BAD)
def test_a_bad_value_is_named_and_not_quoted(value):
    for forwarded in (True, False):
        with pytest.raises(InvalidRequest) as caught:
            encode_headers([("x-ok", "1"), ("X-Bad", "sk-S" + value if value[0] != " " else value)],
                         forwarded=forwarded)  # fmt: skip
        assert caught.value.param == "X-Bad"
        assert "sk-S" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "é", "a\x00"])
def test_a_bad_name(name):
    with pytest.raises(InvalidRequest):
        encode_headers([(name, "1")], forwarded=False)


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "connection", "te", "accept-encoding",
     "Authorization", "X-API-KEY", "cookie", "expect", "upgrade", "proxy-authorization"],
)  # fmt: skip
def test_what_this_ring_writes_is_not_forwarded(name):
    with pytest.raises(InvalidRequest) as caught:
        encode_headers([(name, "1")], forwarded=True)
    assert caught.value.param == name
    assert encode_headers([(name, "1")], forwarded=False)
    assert encode_headers([(name + "-x", "1")], forwarded=True)


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=12)), max_size=4))
def test_what_passes_is_exactly_the_fields(fields):
    try:
        text = encode_headers(fields, forwarded=True)
    except InvalidRequest:
        return
    lines = text.encode("ascii").split(b"\r\n")
    assert lines.pop() == b""
    assert len(lines) == len(fields)
    assert [tuple(line.decode().split(": ", 1)) for line in lines] == fields


@pytest.mark.parametrize("target", ["", "x", "/a b", "/a\r\n", "/é", "http://evil/", "*"])
def test_bad_targets(target):
    with pytest.raises(InvalidRequest):
        encode_request_line("POST", target)


def test_a_request_line():
    assert encode_request_line("POST", "/v1/messages?beta=true") == (
        "POST /v1/messages?beta=true HTTP/1.1\r\n"
    )
    with pytest.raises(InvalidRequest):
        encode_request_line("PO ST", "/")

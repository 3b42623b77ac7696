"""Requests that must not be served, and requests that must be.

Data only. A `Case` is the raw bytes of a connection. `NEXT` marks where a second,
well-formed request is to be pipelined: it must never be executed, because the first
must close the connection. `layer` says who refuses:

- ``guard``: the request head is refused by `vai.codec.head.check`;
- ``json``: the head is fine, the body is refused by `vai.codec.json`.

`statuses` are the acceptable answers; closing the connection without one is always
acceptable too (`vai.codec.head` names the deliberate strictness).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["FOLLOWER", "GOOD", "HOSTILE", "NEXT", "Case", "Good", "filled", "head_of"]

NEXT = b"<<NEXT>>"
FOLLOWER = b"GET /smuggled HTTP/1.1\r\nHost: vai.test\r\n\r\n"


class Case(NamedTuple):
    """One hostile request; `rule` is what it breaks."""

    name: str
    raw: bytes
    statuses: frozenset[int]
    rule: str
    layer: Literal["guard", "json"] = "guard"


class Good(NamedTuple):
    """One request that the guard must let pass."""

    name: str
    raw: bytes


def filled(raw: bytes, follower: bytes = FOLLOWER) -> bytes:
    """The bytes to send, with `follower` at the mark."""
    return raw.replace(NEXT, follower)


def head_of(raw: bytes) -> bytes:
    """What the server hands to the guard: everything before the first empty line."""
    return filled(raw).partition(b"\r\n\r\n")[0]


HOSTILE: list[Case] = []
BAD = frozenset({400})
ANY = frozenset({400, 405, 408, 411, 413, 414, 417, 431, 501, 505})


def _raw(name: str, raw: bytes, rule: str, statuses: frozenset[int] = BAD) -> None:
    HOSTILE.append(Case(name, raw, statuses, rule))


def _post(
    name: str,
    *fields: bytes,
    rule: str,
    body: bytes = b"{}" + NEXT,
    line: bytes = b"POST /v1/messages HTTP/1.1",
    host: tuple[bytes, ...] = (b"Host: vai.test",),
    statuses: frozenset[int] = BAD,
) -> None:
    raw = b"\r\n".join([line, *host, *fields]) + b"\r\n\r\n" + body
    HOSTILE.append(Case(name, raw, statuses, rule))


CL2 = b"Content-Length: 2"
CHUNKED = b"Transfer-Encoding: chunked"
TINY = b"2\r\n{}\r\n0\r\n\r\n" + NEXT

# --- two lengths: RFC 9112 6.1 and 6.3 -------------------------------------------------
FRAMING = "RFC 9112 6.3"
_post("cl-te", b"Content-Length: 6", CHUNKED, body=b"0\r\n\r\nX" + NEXT, rule=FRAMING)
_post("te-cl", CHUNKED, b"Content-Length: 4", body=b"12\r\n" + NEXT, rule=FRAMING)
_post("cl-zero-te", b"Content-Length: 0", CHUNKED, body=TINY, rule=FRAMING)
_post("te-cl-zero", CHUNKED, b"Content-Length: 0", body=TINY, rule=FRAMING)
_post("cl-te-upper", CL2, b"TRANSFER-ENCODING: CHUNKED", body=TINY, rule=FRAMING)
_post(
    "cl-te-mixed-case", b"cOnTeNt-LeNgTh: 2", b"tRaNsFeR-eNcOdInG: cHuNkEd", body=TINY, rule=FRAMING
)
_post("cl-te-identity", CL2, b"Transfer-Encoding: identity", rule=FRAMING)
_post("cl-te-gzip", CL2, b"Transfer-Encoding: gzip", rule=FRAMING)
_post("cl-te-unknown", CL2, b"Transfer-Encoding: xchunked", rule=FRAMING)
_post("cl-te-empty", CL2, b"Transfer-Encoding:", rule=FRAMING)
_post("cl-te-quoted", CL2, b'Transfer-Encoding: "chunked"', rule=FRAMING)
_post("cl-te-tab", CL2, b"Transfer-Encoding:\tchunked", body=TINY, rule=FRAMING)
_post("cl-te-no-space", CL2, b"Transfer-Encoding:chunked", body=TINY, rule=FRAMING)
_post("cl-te-trailing-space", CL2, b"Transfer-Encoding: chunked ", body=TINY, rule=FRAMING)
_post("cl-te-http10", CL2, CHUNKED, line=b"POST / HTTP/1.0", body=TINY, rule=FRAMING)
_post("cl-cl-same", CL2, CL2, rule=FRAMING)
_post("cl-cl-differ", b"Content-Length: 0", b"Content-Length: 44", body=NEXT, rule=FRAMING)
_post("cl-cl-case", CL2, b"content-length: 2", rule=FRAMING)
_post("cl-cl-apart", CL2, b"Accept: */*", b"X-A: b", b"Content-Length: 3", rule=FRAMING)
_post("cl-three", CL2, CL2, CL2, rule=FRAMING)
_post("te-te", CHUNKED, CHUNKED, body=TINY, rule="RFC 9112 6.1")
_post("te-te-identity", CHUNKED, b"Transfer-Encoding: identity", body=TINY, rule="RFC 9112 6.1")
_post("te-te-x", b"Transfer-Encoding: x", CHUNKED, body=TINY, rule="RFC 9112 6.1")
_post("te-te-case", CHUNKED, b"TRANSFER-ENCODING: chunked", body=TINY, rule="RFC 9112 6.1")
_post("get-cl-te", CL2, CHUNKED, line=b"GET /v1/models HTTP/1.1", body=TINY, rule=FRAMING)

# --- Content-Length that is not 1*DIGIT: RFC 9110 8.6 ----------------------------------
for _name, _value in {
    "plus": b"+2",
    "minus": b"-2",
    "minus-zero": b"-0",
    "hex": b"0x2",
    "hex-bare": b"a",
    "octal": b"0o2",
    "binary": b"0b10",
    "underscore": b"1_0",
    "underscore-lead": b"_2",
    "exponent": b"2e0",
    "fraction": b"2.0",
    "list-same": b"2, 2",
    "list-differ": b"2,44",
    "list-tail": b"2,",
    "list-lead": b",2",
    "inner-space": b"2 2",
    "inner-tab": b"2\t2",
    "semicolon": b"2;x=1",
    "quoted": b'"2"',
    "empty": b"",
    "blank": b"  ",
    "word": b"two",
    "nan": b"NaN",
    "infinity": b"Infinity",
    "20-digits": b"18446744073709551618",
    "40-digits": b"0" * 39 + b"2",
    "5000-digits": b"9" * 5000,
    "arabic-digit": "\u0662".encode(),
    "fullwidth-digit": "\uff12".encode(),
    "superscript": "\u00b2".encode("latin-1"),
    "nbsp": b"\xa02",
    "vt-lead": b"\x0b2",
    "ff-lead": b"\x0c2",
    "nul-tail": b"2\x00",
    "nel-lead": b"\x852",
    "fs-lead": b"\x1c2",
}.items():
    _post(f"cl-{_name}", b"Content-Length: " + _value, rule="RFC 9110 8.6")

# --- Transfer-Encoding: refused whatever it says ---------------------------------------
for _name, _value in {
    "plain": b"chunked",
    "upper": b"CHUNKED",
    "gzip-chunked": b"gzip, chunked",
    "chunked-gzip": b"chunked, gzip",
    "chunked-chunked": b"chunked, chunked",
    "chunked-identity": b"chunked, identity",
    "identity": b"identity",
    "unknown": b"cow",
    "prefix": b"xchunked",
    "suffix": b"chunkedx",
    "parameter": b"chunked;q=1",
    "comma-lead": b",chunked",
    "comma-tail": b"chunked,",
    "quoted": b'"chunked"',
    "single-quoted": b"'chunked'",
    "empty": b"",
    "tab": b"\tchunked",
    "trailing-tab": b"chunked\t",
}.items():
    _post(
        f"te-{_name}",
        b"Transfer-Encoding: " + _value,
        body=TINY,
        rule="chunked requests are not served",
        statuses=frozenset({411, 400, 501}),
    )
for _name, _value in {
    "vt": b"\x0bchunked",
    "ff": b"\x0cchunked",
    "nul": b"chunked\x00",
    "nbsp": b"\xa0chunked",
    "nel": b"\x85chunked",
    "del": b"chunked\x7f",
    "bare-cr": b"\rchunked",
    "bare-lf": b"\nchunked",
    "utf8-k": "chun\u212aed".encode(),
}.items():
    _post(f"te-value-{_name}", b"Transfer-Encoding: " + _value, body=TINY, rule="RFC 9110 5.5")
_post(
    "te-http10",
    CHUNKED,
    line=b"POST /v1/messages HTTP/1.0",
    body=TINY,
    rule="RFC 9112 6.1",
    statuses=frozenset({400, 411}),
)

# --- chunk games: none is ever read, because the head is refused ------------------------
for _name, _body in {
    "size-hex-prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "size-plus": b"+2\r\n{}\r\n0\r\n\r\n",
    "size-minus": b"-2\r\n{}\r\n0\r\n\r\n",
    "size-underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "size-leading-space": b" 2\r\n{}\r\n0\r\n\r\n",
    "size-trailing-space": b"2 \r\n{}\r\n0\r\n\r\n",
    "size-overflow": b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "size-empty": b"\r\n{}\r\n0\r\n\r\n",
    "size-bare-lf": b"2\n{}\r\n0\r\n\r\n",
    "size-bare-cr": b"2\r{}\r\n0\r\n\r\n",
    "junk-after-data": b"2\r\n{}XX0\r\n\r\n",
    "data-bare-lf": b"2\r\n{}\n0\r\n\r\n",
    "data-too-long": b"2\r\n{}{}\r\n0\r\n\r\n",
    "extension": b"2;a=b\r\n{}\r\n0\r\n\r\n",
    "extension-lf": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "extension-64k": b"2;" + b"a" * 65536 + b"\r\n{}\r\n0\r\n\r\n",
    "extension-quoted-crlf": b'2;a="\r\n{}\r\n0\r\n\r\n',
    "trailer": b"2\r\n{}\r\n0\r\nX-A: b\r\n\r\n",
    "trailer-cl": b"2\r\n{}\r\n0\r\nContent-Length: 44\r\n\r\n",
    "trailer-te": b"2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer-request": b"2\r\n{}\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "last-many-zeros": b"2\r\n{}\r\n0000000000000000000000\r\n\r\n",
    "no-last": b"2\r\n{}\r\n",
}.items():
    _post(
        f"chunk-{_name}",
        CHUNKED,
        body=_body + NEXT,
        rule="chunked requests are not served",
        statuses=frozenset({411}),
    )

# --- field names: RFC 9110 5.1, RFC 9112 5.1 --------------------------------------------
NAME = "RFC 9112 5.1"
_post("name-space-te", b"Transfer-Encoding : chunked", body=TINY, rule=NAME)
_post("name-tab-te", b"Transfer-Encoding\t: chunked", body=TINY, rule=NAME)
_post("name-space-cl", b"Content-Length : 2", rule=NAME)
_post("name-tab-cl", b"Content-Length\t: 2", rule=NAME)
_post("name-space-host", b"Content-Length: 2", host=(b"Host : vai.test",), rule=NAME)
_post("name-space-inside", CL2, b"X A: b", rule=NAME)
_post("name-empty", CL2, b": b", rule=NAME)
_post("name-blank", CL2, b" : b", rule=NAME)
_post("no-colon", CL2, b"X-Header", rule=NAME)
_post("no-colon-te", CL2, b"Transfer-Encoding chunked", rule=NAME)
_post("name-utf8", CL2, "X-\u00e9: b".encode(), rule=NAME)
_post("name-latin1", CL2, b"X-\xe9: b", rule=NAME)
_post("name-kelvin-te", CL2, "Transfer-Encoding\u212a: chunked".encode(), rule=NAME)
_post("name-crlf-request", CL2, b"GET /smuggled HTTP/1.1", rule=NAME)
for _byte in b'"(),/;<=>?@[\\]{}':
    _post(f"name-delimiter-{_byte:02x}", CL2, b"X%cA: b" % _byte, rule="RFC 9110 5.6.2")
for _byte in (*range(9), *range(11, 13), *range(14, 32), 127):
    _post(f"name-control-{_byte:02x}", CL2, b"X%cA: b" % _byte, rule="RFC 9110 5.6.2")
for _byte in (0, 11, 12, 0x1C, 0x85, 0xA0):
    _post(
        f"name-te-tail-{_byte:02x}", b"Transfer-Encoding%c: chunked" % _byte, body=TINY, rule=NAME
    )

# --- field values and line ends: RFC 9110 5.5, RFC 9112 2.2 and 5.2 ----------------------
VALUE = "RFC 9110 5.5"
for _byte in (*range(9), *range(10, 32), 127):
    _post(f"value-control-{_byte:02x}", CL2, b"X-A: a%cb" % _byte, rule=VALUE)
for _byte in (0x80, 0x85, 0xA0, 0xE9, 0xFF):
    _post(f"value-obs-text-{_byte:02x}", CL2, b"X-A: a%cb" % _byte, rule="obs-text is refused")
_post("value-utf8", CL2, "X-A: \u2028".encode(), rule="obs-text is refused")
_post("fold-space", CL2, b"X-A: b", b" folded", rule="RFC 9112 5.2")
_post("fold-tab", CL2, b"X-A: b", b"\tfolded", rule="RFC 9112 5.2")
_post("fold-te", b"Transfer-Encoding:", b" chunked", body=TINY, rule="RFC 9112 5.2")
_post("fold-cl", b"Content-Length:", b" 2", rule="RFC 9112 5.2")
_post("fold-host", CL2, host=(b"Host:", b" vai.test"), rule="RFC 9112 5.2")
_post("fold-first-line", CL2, host=(b" Host: vai.test",), rule="RFC 9112 2.2")
_post("fold-hides-cl", CL2, b"X-A: b", b" Content-Length: 44", rule="RFC 9112 5.2")
_post("fold-only-blank", CL2, b"X-A: b", b" ", rule="RFC 9112 5.2")
_raw(
    "bare-lf-everywhere",
    b"POST /v1/messages HTTP/1.1\nHost: vai.test\nContent-Length: 2\n\n{}" + NEXT,
    "RFC 9112 2.2",
    frozenset({400, 408}),
)
_post("bare-lf-header", CL2 + b"\nX-A: b", rule="RFC 9112 2.2")
_post("bare-lf-te", b"X-A: b\nTransfer-Encoding: chunked", rule="RFC 9112 2.2")
_post("bare-lf-after-line", b"X-A: b", line=b"POST / HTTP/1.1\nX: y", rule="RFC 9112 2.2")
_post("bare-cr-header", CL2 + b"\rX-A: b", rule="RFC 9112 2.2")
_post("bare-cr-te", b"X-A: b\rTransfer-Encoding: chunked", rule="RFC 9112 2.2")
_post("cr-cr-lf", CL2 + b"\r", rule="RFC 9112 2.2")
_post("bare-cr-line", line=b"POST /v1/messages HTTP/1.1\r", rule="RFC 9112 2.2")
_post("lf-cr", CL2 + b"\n\rX-A: b", rule="RFC 9112 2.2")

# --- Host: RFC 9112 3.2 -----------------------------------------------------------------
HOST = "RFC 9112 3.2"
_post("host-none", CL2, host=(), rule=HOST)
_post("host-none-get", host=(), line=b"GET /v1/models HTTP/1.1", body=NEXT, rule=HOST)
_post("host-two", CL2, host=(b"Host: vai.test", b"Host: evil.test"), rule=HOST)
_post("host-two-same", CL2, host=(b"Host: vai.test", b"Host: vai.test"), rule=HOST)
_post("host-two-case", CL2, host=(b"Host: vai.test", b"hOsT: evil.test"), rule=HOST)
_post("host-two-apart", CL2, b"X-A: b", b"Host: evil.test", rule=HOST)
_post("host-two-http10", CL2, b"Host: b", line=b"POST / HTTP/1.0", rule=HOST)
for _name, _value in {
    "empty": b"",
    "blank": b" ",
    "list": b"vai.test, evil.test",
    "space": b"vai.test evil.test",
    "userinfo": b"user@vai.test",
    "userinfo-pass": b"a:b@vai.test",
    "path": b"vai.test/v1",
    "backslash": b"vai.test\\evil",
    "query": b"vai.test?x",
    "fragment": b"vai.test#x",
    "scheme": b"http://vai.test",
    "port-word": b"vai.test:http",
    "port-negative": b"vai.test:-1",
    "port-six-digits": b"vai.test:808080",
    "two-ports": b"vai.test:80:80",
    "bare-ipv6": b"::1",
    "open-bracket": b"[::1",
    "zone-id": b"[fe80::1%25eth0]",
    "bracket-name": b"[vai.test]",
    "percent": b"vai%2etest",
    "quote": b'"vai.test"',
    "angle": b"<vai.test>",
    "long": b"a" * 300,
    "utf8": "v\u00e4i.test".encode(),
    "nul": b"vai.test\x00.evil",
}.items():
    _post(f"host-{_name}", CL2, host=(b"Host: " + _value,), rule="RFC 9110 7.2")

# --- request line: RFC 9112 3 -------------------------------------------------------------
LINE = "RFC 9112 3"
for _name, _line in {
    "two-spaces": b"POST  /v1/messages HTTP/1.1",
    "tab": b"POST\t/v1/messages\tHTTP/1.1",
    "leading-space": b" POST /v1/messages HTTP/1.1",
    "trailing-space": b"POST /v1/messages HTTP/1.1 ",
    "trailing-word": b"POST /v1/messages HTTP/1.1 x",
    "space-in-target": b"POST /v1/mess ages HTTP/1.1",
    "no-version": b"POST /v1/messages",
    "no-target": b"POST HTTP/1.1",
    "only-method": b"POST",
    "empty": b"",
    "vt": b"POST\x0b/v1/messages\x0bHTTP/1.1",
    "method-empty": b" /v1/messages HTTP/1.1",
    "method-colon": b"PO:ST /v1/messages HTTP/1.1",
    "method-paren": b"PO(ST /v1/messages HTTP/1.1",
    "method-nul": b"POST\x00 /v1/messages HTTP/1.1",
    "method-utf8": "P\u00d6ST /v1/messages HTTP/1.1".encode(),
    "method-quote": b'"POST" /v1/messages HTTP/1.1',
    "method-slash": b"POST/ /v1/messages HTTP/1.1",
    "junk-before": b"\x16\x03\x01 / HTTP/1.1",
    "target-relative": b"POST v1/messages HTTP/1.1",
    "target-empty-query": b"POST ?x HTTP/1.1",
    "target-fragment": b"POST /v1/messages#x HTTP/1.1",
    "target-userinfo": b"POST http://user:pass@vai.test/ HTTP/1.1",
    "target-absolute-evil": b"POST http://evil.test/v1/messages HTTP/1.1",
    "target-file": b"POST file:///etc/passwd HTTP/1.1",
    "target-double-slash": b"POST //evil.test/v1/messages HTTP/1.1",
    "target-authority": b"POST vai.test:80 HTTP/1.1",
    "target-asterisk": b"POST * HTTP/1.1",
    "target-backslash": b"POST \\v1\\messages HTTP/1.1",
    "target-inner-backslash": b"POST /v1\\messages HTTP/1.1",
    "target-bad-percent": b"POST /v1/%zz HTTP/1.1",
    "target-half-percent": b"POST /v1/%4 HTTP/1.1",
    "target-nul": b"POST /v1/\x00 HTTP/1.1",
    "target-tab": b"POST /v1/\tx HTTP/1.1",
    "target-lf": b"POST /v1/\nx HTTP/1.1",
    "target-cr": b"POST /v1/\rx HTTP/1.1",
    "target-del": b"POST /v1/\x7f HTTP/1.1",
    "target-utf8": "POST /v1/\u00e9 HTTP/1.1".encode(),
    "target-quote": b'POST /v1/" HTTP/1.1',
    "target-angle": b"POST /v1/<x> HTTP/1.1",
    "target-brace": b"POST /v1/{x} HTTP/1.1",
    "target-caret": b"POST /v1/^ HTTP/1.1",
}.items():
    _post(f"line-{_name}", CL2, line=_line, rule=LINE)
_post(
    "connect",
    line=b"CONNECT vai.test:443 HTTP/1.1",
    body=NEXT,
    rule="RFC 9112 3.2.3",
    statuses=frozenset({400, 405, 501}),
)
_post("get-asterisk", line=b"GET * HTTP/1.1", body=NEXT, rule="RFC 9112 3.2.4")
_post("options-two-asterisks", line=b"OPTIONS ** HTTP/1.1", body=NEXT, rule="RFC 9112 3.2.4")

VERSION = frozenset({400, 505})
for _name, _version in {
    "0.9": b"HTTP/0.9",
    "1.2": b"HTTP/1.2",
    "1.9": b"HTTP/1.9",
    "2.0": b"HTTP/2.0",
    "3.0": b"HTTP/3.0",
    "9.9": b"HTTP/9.9",
    "2": b"HTTP/2",
    "1": b"HTTP/1",
    "1.": b"HTTP/1.",
    "1.10": b"HTTP/1.10",
    "01.1": b"HTTP/01.1",
    "1.01": b"HTTP/1.01",
    "comma": b"HTTP/1,1",
    "lower": b"http/1.1",
    "mixed": b"HtTP/1.1",
    "no-slash": b"HTTP1.1",
    "space": b"HTTP/ 1.1",
    "plus": b"HTTP/+1.1",
    "hex": b"HTTP/0x1.1",
    "unicode": "HTTP/1.\u0661".encode(),
    "icy": b"ICY/1.1",
    "empty": b"",
    "nul": b"HTTP/1.1\x00",
}.items():
    _post(
        f"version-{_name}",
        CL2,
        line=b"POST /v1/messages " + _version,
        rule="RFC 9112 2.3",
        statuses=VERSION,
    )
_raw("http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT, "RFC 9113 3.4", VERSION)

# --- sizes ---------------------------------------------------------------------------------
SIZE = frozenset({413, 431})
_post("head-20k-value", CL2, b"X-A: " + b"a" * 20_000, rule="head size", statuses=SIZE)
_post("head-20k-name", CL2, b"X" * 20_000 + b": a", rule="head size", statuses=SIZE)
_post("head-64k-value", CL2, b"X-A: " + b"a" * 65_536, rule="head size", statuses=SIZE)
_post("head-64k-key", CL2, b"X-API-Key: " + b"k" * 65_536, rule="head size", statuses=SIZE)
_post("headers-101", *[b"X-%d: a" % i for i in range(100)], rule="header count", statuses=SIZE)
_post("headers-1000", *[b"X-%d: a" % i for i in range(1000)], rule="header count", statuses=SIZE)
_post("headers-5000", *[b"a:" for i in range(5000)], rule="header count", statuses=SIZE)
_post(
    "target-9k",
    line=b"GET /" + b"a" * 9000 + b" HTTP/1.1",
    rule="target size",
    body=NEXT,
    statuses=frozenset({414}),
)
_post(
    "query-9k",
    line=b"GET /?" + b"a=b&" * 2250 + b" HTTP/1.1",
    rule="target size",
    body=NEXT,
    statuses=frozenset({414}),
)
_post(
    "target-70k",
    line=b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
    rule="target size",
    body=NEXT,
    statuses=frozenset({413, 414, 431}),
)
_post(
    "method-9k",
    line=b"A" * 9000 + b" / HTTP/1.1",
    rule="method size",
    body=NEXT,
    statuses=frozenset({400, 405, 414, 501}),
)

# --- Expect and Upgrade ----------------------------------------------------------------------
EXPECT = frozenset({417})
_post("expect-unknown", CL2, b"Expect: cookies", rule="RFC 9110 10.1.1", statuses=EXPECT)
_post("expect-list", CL2, b"Expect: 100-continue, x", rule="RFC 9110 10.1.1", statuses=EXPECT)
_post("expect-empty", CL2, b"Expect:", rule="RFC 9110 10.1.1", statuses=EXPECT)
_post("expect-200-ok", CL2, b"Expect: 200-ok", rule="RFC 9110 10.1.1", statuses=EXPECT)
_post(
    "expect-twice",
    CL2,
    b"Expect: 100-continue",
    b"Expect: 100-continue",
    rule="RFC 9110 10.1.1",
    statuses=EXPECT,
)
WEBSOCKET = (
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: " + b"A" * 22,
)
LIVE = b"GET /v1/messages/live HTTP/1.1"
_post("ws-body", b"Upgrade: websocket", *WEBSOCKET, CL2, line=LIVE, rule="RFC 6455 4.1")
_post("ws-body-list", b"Upgrade: h2c, WebSocket", *WEBSOCKET, CL2, line=LIVE, rule="RFC 6455 4.1")
_post(
    "ws-body-two-lines",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    *WEBSOCKET,
    CL2,
    line=LIVE,
    rule="RFC 6455 4.1",
)
_post(
    "ws-chunked",
    b"Upgrade: websocket",
    *WEBSOCKET,
    CHUNKED,
    line=LIVE,
    body=TINY,
    rule="RFC 6455 4.1",
    statuses=frozenset({400, 411}),
)
_post(
    "h2c-chunked",
    b"Connection: Upgrade, HTTP2-Settings",
    b"Upgrade: h2c",
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    CHUNKED,
    body=TINY,
    rule="chunked requests are not served",
    statuses=frozenset({411}),
)

# --- other protocols on our port ----------------------------------------------------------------
_raw("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" + NEXT, LINE, ANY)
_raw("smtp", b"EHLO vai.test\r\nMAIL FROM:<a@b>\r\n\r\n" + NEXT, LINE, ANY)
_raw("redis", b"*1\r\n$4\r\nPING\r\n\r\n" + NEXT, LINE, ANY)
_raw("ssh", b"SSH-2.0-OpenSSH_9.6\r\n\r\n" + NEXT, LINE, ANY)
_raw("http09", b"GET /\r\n\r\n" + NEXT, LINE, ANY)
_raw("leading-empty-lines", b"\r\n\r\n" + NEXT, "RFC 9112 2.2", ANY)
_raw("binary", bytes(range(256)) + b"\r\n\r\n" + NEXT, LINE, ANY)

# --- bodies that strict JSON refuses ------------------------------------------------------------
_OK = b'"model":"anthropic/m","max_tokens":1,"messages":[]'
for _name, _body in {
    "empty": b"",
    "blank": b" \r\n\t ",
    "null": b"null",
    "array": b"[" + b"{" + _OK + b"}]",
    "string": b'"text"',
    "number": b"1",
    "nan": b"{" + _OK + b',"temperature":NaN}',
    "infinity": b"{" + _OK + b',"temperature":Infinity}',
    "minus-infinity": b"{" + _OK + b',"temperature":-Infinity}',
    "1e400": b"{" + _OK + b',"temperature":1e400}',
    "minus-1e400": b"{" + _OK + b',"temperature":-1e400}',
    "21-digits": b"{" + _OK + b',"x":100000000000000000000}',
    "21-digits-nested": b"{" + _OK + b',"x":{"y":[100000000000000000000]}}',
    "21-digits-fraction": b"{" + _OK + b',"x":100000000000000000000.5}',
    "million-digits": b"{" + _OK + b',"x":' + b"9" * 1_000_000 + b"}",
    "depth-65": b"{" + _OK + b',"x":' + b"[" * 64 + b"]" * 64 + b"}",
    "depth-65-objects": b"{" + _OK + b',"x":' + b'{"a":' * 64 + b"1" + b"}" * 65,
    "depth-100k": b"[" * 100_000,
    "depth-100k-closed": b"{" + _OK + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "invalid-utf8": b"{" + _OK + b',"x":"\xff"}',
    "overlong-utf8": b"{" + _OK + b',"x":"\xc0\xaf"}',
    "truncated-utf8": b"{" + _OK + b',"x":"\xe2\x82"}',
    "raw-surrogate": b"{" + _OK + b',"x":"\xed\xa0\x80"}',
    "lone-high": b"{" + _OK + b',"x":"\\ud800"}',
    "lone-low": b"{" + _OK + b',"x":"\\udc00"}',
    "swapped-pair": b"{" + _OK + b',"x":"\\udc00\\ud800"}',
    "high-then-text": b"{" + _OK + b',"x":"\\ud800x"}',
    "bom": b"\xef\xbb\xbf{" + _OK + b"}",
    "utf16": ("{" + _OK.decode() + "}").encode("utf-16"),
    "nul-tail": b"{" + _OK + b"}\x00",
    "trailing-garbage": b"{" + _OK + b"}x",
    "two-documents": b"{" + _OK + b"}{" + _OK + b"}",
    "trailing-comma": b"{" + _OK + b",}",
    "comment": b"{" + _OK + b"/* x */}",
    "single-quotes": b"{'model':'m'}",
    "bare-key": b'{model:"m"}',
    "control-in-string": b"{" + _OK + b',"x":"a\nb"}',
    "nul-in-string": b"{" + _OK + b',"x":"a\x00b"}',
    "leading-zero": b"{" + _OK + b',"x":01}',
    "plus-number": b"{" + _OK + b',"x":+1}',
    "hex-number": b"{" + _OK + b',"x":0x1}',
    "bare-point": b"{" + _OK + b',"x":.5}',
    "bad-escape": b"{" + _OK + b',"x":"\\x41"}',
    "half-escape": b"{" + _OK + b',"x":"\\u00"}',
    "unterminated": b"{" + _OK,
    "unterminated-string": b"{" + _OK + b',"x":"abc',
    "vt-space": b"{\x0b" + _OK + b"}",
    "nbsp-space": b"{\xc2\xa0" + _OK + b"}",
    "form": b"model=anthropic%2Fm&stream=1",
    "multipart": b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n',
    "model-twice": b"{" + _OK + b',"model":"openai/n"}',
    "model-twice-same": b"{" + _OK + b',"model":"anthropic/m"}',
    "model-twice-escaped": b"{" + _OK + b',"\\u006dodel":"openai/n"}',
    "stream-twice": b"{" + _OK + b',"stream":false,"stream":true}',
    "keys-twice": b"{" + _OK + b',"provider_keys":{},"provider_keys":{}}',
    "max-tokens-twice": b"{" + _OK + b',"max_tokens":9}',
}.items():
    _head = (
        b"POST /v1/messages HTTP/1.1\r\nHost: vai.test\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(_body)
    )
    HOSTILE.append(Case(f"json-{_name}", _head + _body + NEXT, BAD, "RFC 8259", "json"))

# --- requests that must pass -----------------------------------------------------------------
GOOD: list[Good] = []


def _good(name: str, *lines: bytes, body: bytes = b"") -> None:
    GOOD.append(Good(name, b"\r\n".join(lines) + b"\r\n\r\n" + body))


POST = b"POST /v1/messages HTTP/1.1"
_good(
    "anthropic-sdk",
    POST,
    b"Host: 127.0.0.1:8080",
    b"Accept-Encoding: gzip, deflate",
    b"Connection: keep-alive",
    b"Accept: application/json",
    b"Content-Type: application/json",
    b"User-Agent: Anthropic/Python 2.12.0",
    b"X-Stainless-Lang: python",
    b"X-Stainless-OS: Linux",
    b"X-Stainless-Arch: x64",
    b"X-Stainless-Runtime: CPython",
    b"X-Stainless-Runtime-Version: 3.11.7",
    b"X-Api-Key: sk-ant-api03-AbC_d-0",
    b"anthropic-version: 2023-06-01",
    b"anthropic-beta: prompt-caching-2024-07-31,token-counting-2024-11-01",
    CL2,
    body=b"{}",
)
_good(
    "openai-sdk",
    POST,
    b"Host: localhost:8080",
    b"Accept-Encoding: gzip, deflate, br, zstd",
    b"Connection: keep-alive",
    b"Accept: application/json",
    b"Content-Type: application/json",
    b"User-Agent: AsyncOpenAI/Python 3.54.0",
    b"X-Stainless-Retry-Count: 0",
    b"x-stainless-read-timeout: 600",
    b"Authorization: Bearer sk-proj-a/b+c=d~e.f_g-h",
    CL2,
    body=b"{}",
)
_good("curl", POST, b"Host: vai.test", b"User-Agent: curl/8.5.0", b"Accept: */*", CL2, body=b"{}")
_good(
    "curl-http2-offer",
    POST,
    b"Host: vai.test",
    b"Connection: Upgrade, HTTP2-Settings",
    b"Upgrade: h2c",
    b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    CL2,
    body=b"{}",
)
_good("curl-large", POST, b"Host: vai.test", b"Expect: 100-continue", CL2, body=b"{}")
_good("expect-upper", POST, b"Host: vai.test", b"expect: 100-Continue", CL2, body=b"{}")
_good(
    "browser",
    b"GET /console?tab=chat&q=%C3%A9&a[]=1 HTTP/1.1",
    b"Host: vai.example.com",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    b"Accept-Language: en-US,en;q=0.5",
    b'Sec-CH-UA: "Chromium";v="140", "Not=A?Brand";v="24"',
    b"Sec-Fetch-Dest: document",
    b"Upgrade-Insecure-Requests: 1",
    b"Cookie: a=b; c={d}",
)
_good(
    "websocket",
    b"GET /v1/messages/live HTTP/1.1",
    b"Host: vai.test",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    b"Origin: https://vai.test",
)
_good(
    "websocket-firefox",
    b"GET /v1/messages/live HTTP/1.1",
    b"Host: vai.test",
    b"Upgrade: websocket",
    b"Connection: keep-alive, Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)
_good("websocket-cl-zero", LIVE, b"Host: a", b"Upgrade: websocket", b"Content-Length: 0")
_good("get", b"GET /health HTTP/1.1", b"Host: vai.test")
_good("head", b"HEAD /health HTTP/1.1", b"Host: vai.test")
_good("delete", b"DELETE /v1/x HTTP/1.1", b"Host: vai.test")
_good("options-asterisk", b"OPTIONS * HTTP/1.1", b"Host: vai.test")
_good(
    "preflight",
    b"OPTIONS /v1/messages HTTP/1.1",
    b"Host: vai.test",
    b"Origin: http://localhost:3000",
    b"Access-Control-Request-Method: POST",
)
_good("absolute", b"GET http://vai.test/health HTTP/1.1", b"Host: vai.test")
_good("absolute-https", b"GET HTTPS://vai.test/health?x=1 HTTP/1.1", b"Host: VAI.test")
_good("absolute-options", b"OPTIONS http://vai.test HTTP/1.1", b"Host: vai.test")
_good("absolute-http10", b"GET http://vai.test/health HTTP/1.0")
_good("http10", b"GET /health HTTP/1.0")
_good("http10-host", b"GET /health HTTP/1.0", b"Host: vai.test", b"Connection: close")
_good("host-ipv4", b"GET / HTTP/1.1", b"Host: 10.0.0.1:8080")
_good("host-ipv6", b"GET / HTTP/1.1", b"Host: [::1]:8080")
_good("host-underscore", b"GET / HTTP/1.1", b"Host: my_service:80")
_good("host-empty-port", b"GET / HTTP/1.1", b"Host: vai.test:")
_good("host-no-space", b"GET / HTTP/1.1", b"Host:vai.test")
_good("host-tab", b"GET / HTTP/1.1", b"Host:\tvai.test\t")
_good("host-last", b"GET / HTTP/1.1", b"Accept: */*", b"Host: vai.test")
_good("lower-case", b"GET / HTTP/1.1", b"host: vai.test", b"content-length: 0")
_good("empty-value", b"GET / HTTP/1.1", b"Host: vai.test", b"X-Empty:")
_good("odd-name", b"GET / HTTP/1.1", b"Host: vai.test", b"!#$%&'*+-.^_`|~: v")
_good("cl-trailing-space", POST, b"Host: vai.test", b"Content-Length: 2 ", body=b"{}")
_good("cl-leading-zeros", POST, b"Host: vai.test", b"Content-Length: 0002", body=b"{}")
_good("cl-19-digits", POST, b"Host: vai.test", b"Content-Length: " + b"9" * 19)
_good("odd-method", b"PURGE /x HTTP/1.1", b"Host: vai.test")
_good("target-dots", b"GET /a/../b;c=d/@:!$&'()*+,;= HTTP/1.1", b"Host: vai.test")
_good("target-later-slashes", b"GET /a//b HTTP/1.1", b"Host: vai.test")
_good("target-8k", b"GET /" + b"a" * 8191 + b" HTTP/1.1", b"Host: vai.test")
_good("headers-100", b"GET / HTTP/1.1", b"Host: vai.test", *[b"X-%d: a" % i for i in range(99)])
_good("value-10k", b"GET / HTTP/1.1", b"Host: vai.test", b"Cookie: " + b"a" * 10_000)
_good("jdk", POST, b"Host: a", b"Connection: Upgrade", b"Upgrade: h2c", CL2, body=b"{}")
_good("te-header", b"GET / HTTP/1.1", b"Host: a", b"TE: trailers", b"Connection: TE")
_good("repeated-other", b"GET / HTTP/1.1", b"Host: a", b"Accept: a/b", b"Accept: c/d")

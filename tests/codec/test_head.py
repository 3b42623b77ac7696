"""The request-head guard: a corpus of hostile heads, good ones, and every other byte string."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.hostile_heads import GOOD, HOSTILE, Case, Good, head_of
from vai.codec import head, json
from vai.codec.head import MAX_HEAD, HeadError, parse_head
from vai.errors import InvalidRequest

STATUSES = {400, 411, 414, 417, 431, 505}


def check_head(data: bytes) -> HeadError | None:
    """Why a head is refused."""
    parsed = parse_head(data)
    return parsed if isinstance(parsed, HeadError) else None


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_hostile_requests_are_refused(case: Case) -> None:
    refusal = check_head(head_of(case.raw))
    if case.layer == "json":
        assert refusal is None, "the head of a hostile body is in order"
        body = case.raw.partition(b"\r\n\r\n")[2].removesuffix(b"<<NEXT>>")
        with pytest.raises(InvalidRequest):
            json.load_object(body)
    else:
        assert refusal is not None
        assert refusal.status in case.statuses


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.name)
def test_good_requests_pass(good: Good) -> None:
    assert check_head(head_of(good.raw)) is None


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    names = [case.name for case in HOSTILE]
    assert len(names) == len(set(names)) >= 215
    assert len(GOOD) == len({good.name for good in GOOD})


def test_every_refusal_is_reached_by_the_corpus() -> None:
    declared = {value for value in vars(head).values() if isinstance(value, HeadError)}
    reached = {check_head(head_of(case.raw)) for case in HOSTILE if case.layer == "guard"}
    assert reached == declared


SHORT = [good for good in GOOD if len(head_of(good.raw)) < 1000]


@pytest.mark.parametrize("good", SHORT, ids=lambda good: good.name)
def test_one_forbidden_byte_anywhere_is_refused(good: Good) -> None:
    sound = head_of(good.raw)
    for at in range(len(sound)):
        for byte in b"\x00\n\x0b\x7f\x80\xff":
            assert check_head(sound[:at] + bytes([byte]) + sound[at:]) is not None


@given(st.binary(max_size=400))
def test_any_bytes_get_a_verdict(data: bytes) -> None:
    verdict = check_head(data)
    assert verdict is None or verdict.status in STATUSES


LINES = st.lists(
    st.sampled_from(
        [
            b"Host: a",
            b"Content-Length: 2",
            b"Content-Length: +2",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"Expect: x",
            b"Upgrade: websocket",
            b"X-A: b",
            b" fold",
            b"X-A : b",
        ]
    )
)


@given(st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"]), LINES)
def test_what_passes_obeys_the_rules(version: bytes, lines: list[bytes]) -> None:
    data = b"\r\n".join([b"POST / " + version, *lines])
    verdict = check_head(data)
    names = [line.partition(b":")[0] for line in lines]
    sound = (
        version != b"HTTP/2.0"
        and names.count(b"Host") <= 1
        and (version == b"HTTP/1.0" or names.count(b"Host") == 1)
        and names.count(b"Content-Length") <= 1
        and names.count(b"Expect") <= 1
        and not {b"Content-Length: +2", b"Expect: x", b" fold", b"X-A : b"} & set(lines)
        and b"Transfer-Encoding" not in names
        and not {b"Upgrade", b"Content-Length"} <= set(names)
    )
    assert (verdict is None) == sound


def test_a_refusal_never_quotes_the_head() -> None:
    for case in HOSTILE:
        refusal = check_head(head_of(case.raw))
        if refusal is not None:
            assert "evil" not in refusal.message
            assert "smuggled" not in refusal.message


def test_the_size_limit_is_exact() -> None:
    base = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    assert check_head(base + b"a" * (MAX_HEAD - len(base))) is None
    refusal = check_head(base + b"a" * (MAX_HEAD - len(base) + 1))
    assert refusal is not None
    assert refusal.status == 431


def test_the_slash_of_a_base_url_is_told_as_such():
    verdict = check_head(b"POST //v1/messages HTTP/1.1\r\nhost: a")
    assert verdict is not None
    assert (verdict.code, "base URL that ends without" in verdict.message) == ("bad_target", True)

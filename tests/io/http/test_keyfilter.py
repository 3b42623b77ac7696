"""A provider's key in an answer stops at the connection."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from vai.io.http.provider_keys import KeyFilter

KEY = "sk-ant-api03-abcdefghijklmnop_sk-ant-"


def fed(data: bytes, size: int, *keys: str) -> list[bytes]:
    one = KeyFilter(list(keys or (KEY,)))
    pieces = [one.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return [*pieces, one.flush()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 36, 37, 38, 1000])
def test_it_is_found_however_the_bytes_are_cut(size: int) -> None:
    text = f'data: {{"error":"wrong key {KEY}","param":"{KEY}{KEY}"}}\n\n'
    expected = text.replace(KEY, "[redacted]").encode()
    assert b"".join(fed(text.encode(), size)) == expected


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_it_is_found_as_json_and_urls_write_it(size: int) -> None:
    key = 'ab/cd+ef=="q\\z0123'
    forms = (key, json.dumps(key), json.dumps(key).replace("/", "\\/"), quote(key, safe=""))
    for form in (*forms, quote(key)):
        found = b"".join(fed(f"<{form}>".encode(), size, key)).decode()
        assert found.strip('<">') == "[redacted]"


@pytest.mark.parametrize("key", ["abcdefghij0123", "QZXQZXQZXQ", "sk-abc-ABC-abc-789", "~" * 10])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_it_is_found_whatever_bytes_it_is_made_of(size: int, key: str) -> None:
    text = f'data: {{"id":"{key}{key[1:]}","n":0}} {key[0]}{key}'
    assert b"".join(fed(text.encode(), size, key)) == text.replace(key, "[redacted]").encode()


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_only_begins_like_it_is_kept(size: int) -> None:
    text = f"{KEY[:-1]} sk-ant sk-an".encode()
    assert b"".join(fed(text, size)) == text


def test_whole_events_are_not_held_back() -> None:
    one = KeyFilter([KEY])
    event = b'data: {"text":"sk-ant"}\n\n'
    assert one.feed(event) == event
    assert one.feed(b"sk-ant-") == b""
    assert one.feed(b"!") == b"sk-ant-!"


@pytest.mark.parametrize("word", ["none", "lm-studio", "ollama", "simulated", ""])
def test_words_of_local_servers_are_no_secrets(word: str) -> None:
    text = f"ask {word} for {word}".encode()
    assert b"".join(fed(text, 3, word)) == text


def test_several_secrets_and_header_fields() -> None:
    other = "header-secret-0123456789"
    assert b"".join(fed(f"{KEY} {other}".encode(), 5, KEY, other)) == b"[redacted] [redacted]"
    one = KeyFilter([KEY, other])
    assert one.redact_headers({"a": f"x {KEY}", "b": "y"}) == {"a": "x [redacted]", "b": "y"}
    assert KEY not in repr(one)


def test_a_copy_finds_the_same_and_holds_back_its_own() -> None:
    first = KeyFilter([KEY])
    second = first.copy_for_response()
    assert first.feed(KEY[:9].encode()) == b""
    assert second.feed(f"{KEY[9:]} {KEY}".encode()) == f"{KEY[9:]} [redacted]".encode()
    assert first.feed(KEY[9:].encode()) == b"[redacted]"
    assert not first.is_empty
    assert KeyFilter(["none"]).is_empty


@pytest.mark.parametrize("keys", [[KEY], ['ab/cd+ef=="q\\z0123'], [KEY, "another-key-0123"], []])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 36, 37, 38, 1000])
def test_a_sink_gets_what_feeding_returns(size: int, keys: list[str]) -> None:
    text = "".join(f'{{"a":"{key}"}}\n\n{key[:-1]} {key[:5]}\n' for key in (KEY, *keys))
    pieces = [text.encode()[at : at + size] for at in range(0, len(text), size)]
    one, other, got = KeyFilter(keys), KeyFilter(keys), [b""]
    sink = other.filter_for(lambda data: bool(data) and not got.append(data))
    assert all(sink(piece) for piece in pieces)
    assert [data for data in got if data] == [data for p in pieces if (data := one.feed(p))]
    assert other.flush() == one.flush()

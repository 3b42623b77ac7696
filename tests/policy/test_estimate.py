"""Estimates: what weighs is counted, in proportion, and nothing of it fails."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from tests.codec.test_pictures import PNG
from vai.policy import estimate
from vai.policy.estimate import body_tokens, input_tokens, request_tokens, text_tokens
from vai.types import parse
from vai.types.provider import WireFormat


def tokens(kind: WireFormat = "openai", **said: Any) -> int:
    said.setdefault("messages", [{"role": "user", "content": "Hello"}])
    return request_tokens(parse.parse_request({"model": "m", **said}), kind)


def turn(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


def picture(data: bytes) -> dict[str, Any]:
    source = {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(data).decode(),
    }
    return {"type": "image", "source": source}


# What the vocabulary o200k makes of them.
TOLD = {
    "The quick brown fox jumps over the lazy dog, and nobody is surprised by it any more.": 19,
    'def area(width: float, height: float) -> float:\n    """In metres."""\n'
    "    return width * height\n": 24,
    '{"id": 12345, "name": "heron", "tags": ["bird", "grey"], "weight_kg": 1.75}': 33,
    "Der Reiher steht still am Ufer und wartet, bis ein Fisch vorbeischwimmt.": 19,
    "Цапля стоит неподвижно у берега и ждёт, пока мимо проплывёт рыба.": 24,  # noqa: RUF001
}


@pytest.mark.parametrize("text", TOLD)
def test_a_text_is_within_a_third_of_a_real_vocabulary(text: str) -> None:
    assert text_tokens(text) == pytest.approx(TOLD[text], rel=0.34)


def test_scripts_weigh_differently() -> None:
    assert text_tokens("鷺" * 100) > 3 * text_tokens("a" * 100)
    assert text_tokens("7" * 100) > 3 * text_tokens("a" * 100)
    assert text_tokens("") == 0
    assert text_tokens("\udc80") <= 2  # a lone surrogate is no reason to fail


@pytest.mark.parametrize("text", ["", "a Z 7\n\t.", "x" * 5000, '{"a": [1, 2]}', "\x7f\x00"])
def test_ascii_weighs_what_it_weighs_among_all_characters(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = estimate._weigh_text(text)
    monkeypatch.setattr(estimate, "_PER_ASCII_CODE", estimate._PER_CODE)
    assert estimate._weigh_text(text) == weight


def test_everything_that_is_said_weighs() -> None:
    least = tokens()
    words = "a heron stands still " * 20
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {"where": words}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": words}
    thought = {"type": "thinking", "thinking": words, "signature": "s"}
    search = {"type": "web_search_tool_result", "tool_use_id": "s", "content": words}
    found = {"type": "search_result", "source": "s", "title": "t", "content": words}
    schema = {"type": "object", "properties": {"where": {"type": "string", "description": words}}}
    for said in (
        {"system": words},
        {"system": [{"type": "text", "text": words}]},
        {"messages": turn({"type": "text", "text": words})},
        {"messages": [{"role": "assistant", "content": [thought, call]}]},
        {"messages": turn(result)},
        {"messages": turn({**result, "content": [{"type": "text", "text": words}]})},
        {"messages": [{"role": "assistant", "content": [search]}]},
        {"messages": turn(found)},
        {"tools": [{"name": "look", "input_schema": schema}]},
        {"tools": [{"name": "look", "description": words, "input_schema": {"type": "object"}}]},
        {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
    ):
        assert tokens(**said) >= least + text_tokens(words) - 5, said


def test_every_turn_has_its_marks() -> None:
    one = {"role": "user", "content": ""}
    assert tokens(messages=[one] * 101) - tokens(messages=[one]) == 400


@pytest.mark.parametrize(
    ("kind", "expected"),
    # 640 x 480: by area; two tiles of 512 by one; one tile of 768.
    [("anthropic", 410), ("openai", 85 + 170 * 2), ("gemini", 258)],
)
def test_a_picture_weighs_by_its_pixels(kind: WireFormat, expected: int) -> None:
    bare = tokens(kind, messages=turn())
    assert tokens(kind, messages=turn(picture(PNG))) - bare == expected
    # Not by its bytes: they are what compression left.
    assert tokens(kind, messages=turn(picture(PNG + bytes(200_000)))) - bare == expected


@pytest.mark.parametrize("kind", ["anthropic", "openai", "gemini", "code-assist", "responses"])
def test_a_picture_of_no_known_size_weighs_like_a_usual_one(kind: WireFormat) -> None:
    bare = tokens(kind, messages=turn())
    linked = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}
    for block in (linked, picture(b"not a picture")):
        assert 200 < tokens(kind, messages=turn(block)) - bare < 2000


def test_a_document_weighs_by_its_pages_or_its_bytes() -> None:
    def pdf(data: bytes) -> dict[str, Any]:
        return {**picture(data), "type": "document"}

    pages = b"%PDF-1.7 << /Type /Pages >>" + b"<< /Type /Page /Parent 1 >>" * 7
    bare = tokens(messages=turn())
    assert tokens(messages=turn(pdf(pages))) - bare == 7 * 2000
    assert tokens(messages=turn(pdf(bytes(120_000)))) - bare == 3 * 2000
    text = {"type": "document", "source": {"type": "text", "data": "a heron " * 100}}
    assert 100 < tokens(messages=turn(text)) - bare < 300


def test_sound_and_film_weigh_by_their_length() -> None:
    for kind in ("audio", "video"):
        source = {"type": "base64", "media_type": f"{kind}/x", "data": "AAAA" * 100_000}
        few = {"type": "base64", "media_type": f"{kind}/x", "data": "AAAA" * 10_000}
        many = tokens(messages=turn({"type": kind, "source": source}))
        assert many > 5 * tokens(messages=turn({"type": kind, "source": few}))


def test_broken_base64_is_the_providers_to_refuse() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A"}
    for kind in ("image", "document"):
        assert tokens(messages=turn({"type": kind, "source": source})) > 0


def test_anthropic_puts_words_of_its_own_before_tools() -> None:
    tool = {"name": "look", "input_schema": {"type": "object"}}
    assert tokens("anthropic", tools=[tool]) - tokens("anthropic") > 346
    assert tokens("anthropic", tools=[]) == tokens("anthropic")


def test_a_division_for_every_request() -> None:
    assert input_tokens(0) == 1
    assert input_tokens(4000) == 1000


def test_before_admission_media_are_set_apart_from_text() -> None:
    def body(*blocks: dict[str, Any]) -> tuple[int, int]:
        value = {"messages": turn(*blocks)}
        wire = orjson.dumps(value)
        return body_tokens(value, wire), len(wire)

    words = {"type": "text", "text": "a heron " * 5000}
    tokens, size = body(words)
    assert tokens == input_tokens(size)
    shown = picture(bytes(1_000_000))
    result = {"type": "tool_result", "tool_use_id": "t", "content": [shown]}
    assert abs(body(words, shown, result)[0] - tokens - 2 * 1600) < 200
    pages = {**picture(bytes(500_000)), "type": "document"}
    assert body(pages)[0] == pytest.approx(20_000, rel=0.1)
    assert body({**shown, "type": "audio"})[0] < 2000
    assert body({**shown, "type": "text"})[0] > 300_000  # what the provider may read as text


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"messages": 7},
        {"messages": [7, None, {"content": 7}, {"content": [7, None, []]}]},
        {"messages": [{"content": [{"type": [], "source": {"data": 7}, "content": [7]}]}]},
        {"messages": [{"content": [{"type": {}, "source": {"data": "A"}}]}]},
    ],
)
def test_before_admission_anything_may_come(value: Any) -> None:
    wire = b'"base64"' * 5000
    assert body_tokens(value, wire) == input_tokens(len(wire))

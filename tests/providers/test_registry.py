"""Rows, adapters, and the small things they share."""

from __future__ import annotations

import pytest

from vai.errors import InvalidRequest, UpstreamBroken
from vai.providers.decode import stream_body as incoming
from vai.providers.decode.stream_body import StreamBody
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.openai_models import traits_of_model
from vai.providers.translate.options import clamp_effort, effort_for_budget
from vai.providers.translate.reasoning import origin_of, unwrap_signature, wrap_signature
from vai.providers.translate.target import QUIRKS
from vai.types import parse
from vai.types.blocks import RedactedThinkingBlock, ThinkingBlock
from vai.types.provider import ProviderSpec

ENV = {
    "oai-resp": ("OPENAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "gemini-oauth": (),
}


def test_rows_are_sound():
    for name, row in PROVIDER_SPECS.items():
        assert row.id == name
        assert row.base_url.startswith("https://")
        assert not row.base_url.endswith("/")
        assert row.path.startswith("/") or row.kind in ("gemini", "code-assist")
        assert row.env == ENV.get(name, (f"{name.upper().replace('-', '_')}_API_KEY",))
        assert row.quirks <= QUIRKS
    assert PROVIDER_SPECS["anthropic"].bare_prefixes == ("claude-",)


def test_a_further_server_is_a_row():
    row = ProviderSpec(
        id="local",
        name="Local",
        kind="openai",
        base_url="http://127.0.0.1:9/v1",
        path="/chat/completions",
        auth="bearer",
        quirks=frozenset({"max_tokens"}),
    )
    adapter = make_adapter(row, "01TEST")
    request = parse.parse_request(
        {"model": "a/b:c", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    )
    assert b'"max_tokens":5' in adapter.build_request(request).body
    answer = b'{"model":"a/b:c","choices":[{"message":{"content":"y"},"finish_reason":"stop"}]}'
    assert adapter.parse_message(answer).model == "local/a/b:c"


def test_a_model_the_server_does_not_name_is_the_one_asked_for():
    adapter = make_adapter(PROVIDER_SPECS["groq"], "01TEST")
    message = {"role": "user", "content": "x"}
    adapter.build_request(parse.parse_request({"model": "a/b", "messages": [message]}))
    assert adapter.parse_message(b'{"choices":[{"message":{"content":"y"}}]}').model == "groq/a/b"


def test_the_estimate_reaches_the_first_event():
    adapter = make_adapter(PROVIDER_SPECS["openai"], "01TEST", input_estimate=12)
    (start, *_) = adapter.feed_bytes(b'data: {"choices":[{"delta":{"content":"y"}}]}\n\n')
    assert start.message.usage.input_tokens == 12


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":3}',
        b"<html>",
    ],
)
@pytest.mark.parametrize("provider", list(PROVIDER_SPECS))
def test_a_body_that_is_no_answer_is_a_fault(provider, body):
    with pytest.raises(UpstreamBroken) as caught:
        make_adapter(PROVIDER_SPECS[provider], "01TEST").parse_message(body)
    assert caught.value.provider == provider


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("before", [b"", b" \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n "])
def test_what_stands_before_the_first_character_does_not_matter(before, size):
    answer = b'{"choices":[{"message":{"content":"y"},"finish_reason":"stop"}]}'
    stream = b'data: {"choices":[{"delta":{"content":"y"},"finish_reason":"stop"}]}\n\n'
    if b"\n" in before and before.strip():
        stream = b": only the mark may stand before a field\n" + stream
    for body in (answer, stream):
        data = before + body
        adapter = make_adapter(PROVIDER_SPECS["openai"], "01TEST")
        for at in range(0, len(data), size):
            adapter.feed_bytes(data[at : at + size])
        adapter.end_stream()
        assert adapter.fault is None


def test_a_body_is_not_held_without_a_bound(monkeypatch):
    monkeypatch.setattr(incoming, "MAX_BODY", 100)
    body = StreamBody()
    for _ in range(20):
        assert body.feed_bytes(b"{" * 10) == []
    assert body.fault is not None
    assert body.end_body()[1] is None


def test_whose_reasoning_it_is():
    def of(sign):
        return origin_of(ThinkingBlock(thinking="t", signature=sign))

    sealed = wrap_signature("groq", "chat", "pay.load.")
    assert of(sealed) == "groq"
    assert unwrap_signature(sealed) == "pay.load."
    assert of("Eq/==") == "anthropic"
    assert unwrap_signature("Eq/==") is None
    assert of("") is of(None) is None
    assert origin_of(RedactedThinkingBlock(data=sealed)) == "groq"


def test_diagnostics_name_a_bounded_number_of_problems():
    diagnostics = Diagnostics("X")
    diagnostics.raise_if_refused()
    for index in range(100):
        diagnostics.note_refused(f"messages[{index}]", "no", "c")
    with pytest.raises(InvalidRequest) as caught:
        diagnostics.raise_if_refused()
    assert caught.value.param == "messages[0]"
    assert "and 80 more" in caught.value.message


@pytest.mark.parametrize(
    ("effort", "efforts", "found"),
    [
        ("low", ("low", "high"), "low"),
        ("max", ("low", "high"), "high"),
        ("none", ("low", "high"), "low"),
        ("medium", ("none", "default"), "default"),
        ("huge", ("low",), None),
        ("low", (), None),
    ],
)
def test_the_nearest_effort(effort, efforts, found):
    assert clamp_effort(effort, efforts) == found


def test_budgets_have_efforts():
    assert [effort_for_budget(n) for n in (1024, 2048, 8192, 24576, 65536)] == [
        "low",
        "medium",
        "high",
        "xhigh",
        "max",
    ]


@pytest.mark.parametrize(
    ("model", "efforts", "stop"),
    [
        ("gpt-4o", 0, True),
        ("gpt-4.1-mini", 0, True),
        ("o3", 3, False),
        ("gpt-5-mini", 4, False),
        ("gpt-5.1", 4, False),
        ("gpt-5.4-mini", 5, False),
        ("gpt-6-astra", 5, False),
        ("gpt-6.1-sol", 5, False),
        ("gpt-6-luna", 6, False),
        ("something-new", 0, True),
    ],
)
def test_models_are_told_by_their_names(model, efforts, stop):
    found = traits_of_model("openai", model)
    assert len(found.efforts) == efforts
    assert found.accepts_stop is stop

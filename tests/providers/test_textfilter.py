"""Text on its way through."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.validator import check_events
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.text_filter import StopAt, Unwrap
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse


def pass_through(passing, pieces):
    return "".join(map(passing.filter_text, pieces)) + passing.flush_text()


def pieces_of(draw, text):
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(
    st.data(),
    st.text("abc", max_size=20),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_stopping_does_not_depend_on_the_pieces(data, text, sequences):
    ends = [text.find(s) + len(s) for s in sequences if s in text]
    passing = StopAt(sequences)
    shown = pass_through(passing, pieces_of(data.draw, text))
    if not ends:
        assert (shown, passing.stop_sequence) == (text, None)
    else:
        assert passing.stop_sequence in sequences
        assert len(shown) + len(passing.stop_sequence) == min(ends)
        assert text.startswith(shown + passing.stop_sequence)


def test_no_more_is_held_than_could_be_a_beginning():
    passing = StopAt(["STOP"])
    assert passing.filter_text("abcST") == "abc"
    assert passing.filter_text("xST") == "STx"
    assert passing.filter_text("OP and more") == ""
    assert passing.stop_sequence == "STOP"
    assert passing.filter_text("more") == ""
    assert passing.flush_text() == ""


@given(st.data(), st.sampled_from(['[1,{"a":{}}]', '"x"', "3", "[]", '{"b":{"c":"}"}}']))
@pytest.mark.parametrize("form", ['{"value":%s}', ' {\n "value" : %s }\n'])
def test_unwrapping_does_not_depend_on_the_pieces(form, data, value):
    assert pass_through(Unwrap(), pieces_of(data.draw, form % value)) == value


@given(st.data(), st.sampled_from(["I cannot.", '{"values":1}', "[1]", "", '{"va']))
def test_what_is_not_wrapped_passes(data, text):
    assert pass_through(Unwrap(), pieces_of(data.draw, text)) == text


def test_endless_blanks_are_not_held():
    passing = Unwrap()
    passing.filter_text('{"value":[1]')
    assert sum(len(passing.filter_text(" " * 1000)) for _ in range(10)) >= 8000


def test_a_stop_sequence_ends_the_stream_at_once():
    adapter = make_adapter(PROVIDER_SPECS["openai"], "01TEST")
    adapter.build_request(
        parse.parse_request(
            {
                "model": "gpt-5.5",
                "messages": [{"role": "user", "content": "x"}],
                "stop_sequences": ["END"],
            }
        )
    )
    chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": "abcEND and more"}}]}
    frame = b"data: " + orjson.dumps(chunk) + b"\n\n"
    events = adapter.feed_bytes(frame)
    check_events(events)
    assert adapter.is_complete
    assert adapter.feed_bytes(frame) == []
    message = message_from_events(events)
    assert (message.content[0].text, message.stop_reason) == ("abc", "stop_sequence")
    assert message.stop_sequence == "END"

"""Every fixture, whole, cut to pieces, and cut off."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.providers.upstreams import OWN_ROWS
from tests.providers.validator import check_events
from vai.errors import UpstreamBroken
from vai.providers.decode.accumulate import events_from_message, message_from_events
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types.render import event_to_wire, message_to_wire

HERE = Path(__file__).parents[1] / "fixtures" / "streams"
STREAMS = sorted(HERE.glob("*.sse"))
WHOLE = sorted(HERE.glob("*.json"))
NAMES = [path.stem for path in STREAMS]


def adapter_for(path):
    owner = max((name for name in PROVIDER_SPECS if path.stem.startswith(f"{name}-")), key=len)
    if path.stem.startswith("anthropic-clone-"):
        owner = "own-messages"  # Anthropic itself sends no such stream
    return make_adapter(OWN_ROWS[owner], "01TEST", input_estimate=3)


def run(path, pieces):
    adapter = adapter_for(path)
    events = []
    for piece in pieces:
        events += adapter.feed_bytes(piece)
    events += adapter.end_stream()
    return events, adapter


def outcome(path, pieces):
    events, adapter = run(path, pieces)
    fault = adapter.fault
    return [event_to_wire(event) for event in events], str(fault) if fault else None, adapter.usage


@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_a_stream_is_well_formed_or_one_fault(path):
    events, adapter = run(path, [path.read_bytes()])
    failed = "-fault-" in path.stem
    check_events(events, complete=not failed)
    assert adapter.is_complete is not failed
    assert (adapter.fault is not None) is failed
    assert adapter.feed_bytes(path.read_bytes()) == []
    assert adapter.end_stream() == []


@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_the_end_of_stream_needs_no_call_where_the_stream_says_it(path):
    if "-fault-" in path.stem or path.stem.startswith("gemini-"):
        return  # nothing but its end tells that a stream of Gemini's is over
    if path.stem in ("openai-no-done", "openai-clone-usage-last"):
        return
    adapter = adapter_for(path)
    adapter.feed_bytes(path.read_bytes())
    assert adapter.is_complete


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_every_single_cut_gives_the_same(path):
    data = path.read_bytes()
    whole = outcome(path, [data])
    for at in range(1, len(data)):
        assert outcome(path, [data[:at], data[at:]]) == whole, at


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_a_thousand_random_choppings_give_the_same(path):
    data = path.read_bytes()
    whole = outcome(path, [data])
    dice = random.Random(path.stem)
    for _ in range(1000):
        cuts = sorted(dice.sample(range(1, len(data)), dice.randint(2, 12)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
        assert outcome(path, pieces) == whole, cuts


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_line_ends_do_not_matter(path, line_end):
    data = path.read_bytes()
    other = data.replace(b"\n", line_end)
    whole = outcome(path, [data])
    assert outcome(path, [other]) == whole
    assert outcome(path, [other[i : i + 1] for i in range(len(other))]) == whole


@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_no_space_behind_the_colon_is_the_same(path):
    data = path.read_bytes()
    other = data.replace(b"\ndata: ", b"\ndata:").replace(b"event: ", b"event:")
    if other.startswith(b"data: "):
        other = b"data:" + other[6:]
    assert outcome(path, [other]) == outcome(path, [data])


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", STREAMS, ids=NAMES)
def test_a_stream_cut_off_anywhere_is_complete_or_one_fault(path):
    data = path.read_bytes()
    whole, _, _ = outcome(path, [data])
    for at in range(len(data)):
        events, adapter = run(path, [data[:at]])
        check_events(events, complete=adapter.is_complete)
        assert adapter.is_complete is (adapter.fault is None), at
        if adapter.is_complete:
            seen = [event_to_wire(event) for event in events]
            # Usage may have been in what was lost; nothing else may.
            assert [e for e in seen if e["type"] != "message_delta"] == [
                e for e in whole if e["type"] != "message_delta"
            ]


@pytest.mark.parametrize("path", WHOLE, ids=[path.stem for path in WHOLE])
def test_a_stream_reads_to_the_message_that_is_answered_without_streaming(path):
    events, _ = run(path, [path.with_suffix(".sse").read_bytes()])
    message = adapter_for(path).parse_message(path.read_bytes())
    assert message_to_wire(message_from_events(events)) == message_to_wire(message)


@pytest.mark.parametrize("path", WHOLE, ids=[path.stem for path in WHOLE])
def test_json_in_answer_to_a_stream_request_is_converted(path):
    data = path.read_bytes()
    message = adapter_for(path).parse_message(data)
    for pieces in (
        [data],
        [b" \n" + data[:1], data[1:]],
        [data[i : i + 1] for i in range(len(data))],
    ):
        events, adapter = run(path, pieces)
        check_events(events)
        assert adapter.is_complete
        assert message_to_wire(message_from_events(events)) == message_to_wire(message)


@pytest.mark.parametrize("path", WHOLE, ids=[path.stem for path in WHOLE])
def test_a_replayed_message_accumulates_to_itself(path):
    message = adapter_for(path).parse_message(path.read_bytes())
    events = events_from_message(message)
    check_events(events)
    assert message_from_events(events) == message


@pytest.mark.parametrize("path", WHOLE, ids=[path.stem for path in WHOLE])
def test_json_cut_off_anywhere_is_a_fault(path):
    data = path.read_bytes().rstrip()
    for at in range(len(data)):
        events, adapter = run(path, [data[:at]])
        assert events == []
        assert adapter.fault is not None
        assert not adapter.is_complete


@pytest.mark.parametrize("provider", sorted(PROVIDER_SPECS))
@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[],"error":' + b"[" * 100_000,
        b'{"type":"content_block_delta","index":0,"delta":{"type":[]}}',
        b'{"note":"\xed\xa0\x80"}',
    ],
)
def test_rubbish_of_any_kind_is_a_fault_of_the_provider(provider, data):
    adapter = make_adapter(PROVIDER_SPECS[provider], "x1")
    adapter.feed_bytes(b"data: %b\n\n" % data)
    adapter.end_stream()
    assert isinstance(adapter.fault, UpstreamBroken)

"""Answers bent at random: whatever comes, the stream is well formed or there is one fault."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from tests.providers.test_streams import HERE
from tests.providers.validator import check_events
from vai.errors import UpstreamFault
from vai.providers.factory import make_adapter
from vai.providers.gemini.body import BodyParser
from vai.providers.registry import PROVIDER_SPECS

VALUES: list[Any] = [None, True, 0, -1, 1 << 60, 1.5, "", "x", "STOP", [], [None], {}, {"a": 1}]


def chunks_of(path):
    body = BodyParser()
    return [
        orjson.loads(text) for _, text in body.feed_bytes(path.read_bytes()) + body.end_body()[0]
    ]


CHUNKS = [chunks_of(path) for path in sorted(HERE.glob("gemini*.sse"))]


def bend(dice, chunks):
    """The same chunks with one or two values replaced, lost, or out of order."""
    chunks = orjson.loads(orjson.dumps(chunks))
    for _ in range(dice.randint(1, 2)):
        *way, last = dice.choice([place for place in places(chunks) if place])
        holder = chunks
        for step in way:
            holder = holder[step]
        if dice.random() < 0.3:
            del holder[last]
        else:
            holder[last] = orjson.loads(orjson.dumps(dice.choice(VALUES)))
        if not chunks:
            return [{}]
    if dice.random() < 0.2:
        dice.shuffle(chunks)
    return chunks


def places(value, found=()):
    """Every path into a value."""
    yield found
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*found, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*found, number))


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("provider", ["gemini", "gemini-oauth"])
def test_bent_answers(provider, seed):
    dice = random.Random(f"{provider}{seed}")
    endings = set()
    for _ in range(250):
        chunks = bend(dice, dice.choice(CHUNKS))
        adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
        data = b"".join(b"data: %b\r\n\r\n" % orjson.dumps(item) for item in chunks)
        events = adapter.feed_bytes(data) + adapter.end_stream()
        check_events(events, complete=adapter.is_complete)
        assert adapter.is_complete is (adapter.fault is None)
        endings.add(adapter.is_complete)
        whole = make_adapter(PROVIDER_SPECS[provider], "01TEST")
        try:
            whole.parse_message(orjson.dumps(chunks))
        except UpstreamFault as fault:
            endings.add(fault.provider == provider)
    assert endings == {True, False}

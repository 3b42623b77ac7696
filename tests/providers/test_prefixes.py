"""Two requests with one beginning are sent with one beginning: prompt caches live on it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.cases import IMAGE, MODELS, PDF
from vai.errors import InvalidRequest
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

UNHURRIED = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
"""The same examples in every run: what fails here fails everywhere, busy or not."""
ALL = [(row, model) for row in PROVIDER_SPECS for model in MODELS[row]]
WORDS = st.text(st.sampled_from("ab \né"), min_size=1, max_size=6).filter(str.strip)
TEXT = st.builds(lambda text: {"type": "text", "text": text}, WORDS)
SAID = st.lists(TEXT, min_size=1, max_size=2)
ASKED = st.one_of(
    WORDS,
    st.lists(st.one_of(TEXT, st.just(IMAGE)), min_size=1, max_size=3),
)
TOOLS = [
    {"name": name, "description": "d", "input_schema": {"type": "object", "properties": {}}}
    for name in ("look", "a.very/odd name")
]


@st.composite
def rounds(draw: Any) -> list[list[dict[str, Any]]]:
    """Exchanges, each of them whole: what was asked, done, and said."""
    found = []
    for number in range(draw(st.integers(2, 4))):
        turns = [{"role": "user", "content": draw(ASKED)}]
        names = draw(st.lists(st.sampled_from([tool["name"] for tool in TOOLS]), max_size=2))
        calls = [
            {"type": "tool_use", "id": f"call.{number}.{at}", "name": name, "input": {"x": at}}
            for at, name in enumerate(names)
        ]
        if calls:
            turns.append({"role": "assistant", "content": [*draw(SAID), *calls]})
            results = [
                {"type": "tool_result", "tool_use_id": call["id"], "content": draw(SAID)}
                for call in calls
            ]
            turns.append(
                {"role": "user", "content": [*draw(st.permutations(results)), *draw(SAID)]}
            )
        turns.append({"role": "assistant", "content": draw(SAID)})
        found.append(turns)
    return found


def sent(row: str, model: str, turns: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    adapter = make_adapter(PROVIDER_SPECS[row], "01TEST")
    body = {"model": model, "max_tokens": 99, "system": "s", "tools": TOOLS, "messages": turns}
    sent = orjson.loads(adapter.build_request(parse.parse_request({**body, **fields})).body)
    return sent.get("request", sent)


def split(body: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The conversation, and everything else."""
    name = next(name for name in ("messages", "input", "contents") if name in body)
    return body[name], {key: value for key, value in body.items() if key != name}


@pytest.mark.exhaustive
@pytest.mark.parametrize(("row", "model"), ALL)
@settings(UNHURRIED, max_examples=25)
@given(history=rounds())
def test_a_longer_conversation_begins_with_the_bytes_of_the_shorter(row, model, history):
    again = {"role": "user", "content": "and now?"}
    before: list[Any] = []
    rest = None
    for count in range(1, len(history) + 1):
        turns = [turn for exchange in history[:count] for turn in exchange]
        try:
            body = sent(row, model, [*turns, again])
        except InvalidRequest:
            return  # this model takes no images: then nothing was sent at all
        conversation, others = split(body)
        assert orjson.dumps(conversation[: len(before)]) == orjson.dumps(before)
        assert rest in (None, orjson.dumps(others))
        before, rest = conversation[:-1], orjson.dumps(others)


@pytest.mark.parametrize(("row", "model"), ALL)
def test_the_same_request_is_the_same_bytes(row, model):
    turns = [{"role": "user", "content": [{"type": "text", "text": "x"}, PDF]}]
    fields = {"metadata": {"user_id": "a@b"}, "cache_control": {"type": "ephemeral"}}
    try:
        first, second = (sent(row, model, turns, **fields) for _ in range(2))
    except InvalidRequest:
        return
    assert orjson.dumps(first) == orjson.dumps(second)

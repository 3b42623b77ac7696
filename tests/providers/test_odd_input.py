"""Whatever comes, from either side, is an answer or an error that is foreseen."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.cases import CASES, MODELS, USER
from tests.providers.validator import check_events
from vai.errors import InvalidRequest, UpstreamFault
from vai.providers.anthropic.calls import make_call_repairer
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

pytestmark = pytest.mark.exhaustive

UNHURRIED = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
"""The same examples in every run: what fails here fails everywhere, busy or not."""
ALL = [(row, model) for row in PROVIDER_SPECS for model in MODELS[row]]
HERE = Path(__file__).parents[1] / "fixtures" / "streams"
STREAMS = {path.stem: path.read_bytes() for path in sorted(HERE.glob("*.sse"))}
KINDS = (
    *("text", "image", "audio", "video", "document", "tool_use", "tool_result", "thinking"),
    *("redacted_thinking", "server_tool_use", "web_search_tool_result", "search_result"),
    *("container_upload", "brand_new", "base64", "object", "enabled", "aGk=", "gpt-4o"),
)
NAMES = (
    *("type", "text", "source", "data", "media_type", "url", "file_id", "content", "id", "name"),
    *("input", "tool_use_id", "is_error", "thinking", "signature", "citations", "title", "x"),
    *("cache_control", "context", "transcript", "config", "strict", "input_schema", "effort"),
    *("description", "format", "schema", "modalities", "budget_tokens", "display", "properties"),
    *("anthropic", "openai", "groq", "gemini", "items", "enum", "index", "delta", "choices"),
    *("message", "function", "arguments", "usage", "error", "code", "annotations", "reasoning"),
    *("model", "finish_reason", "audio", "executed_tools", "parts", "candidates"),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 2**40),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=6),
        st.sampled_from([*KINDS, *NAMES]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=4)), inner, max_size=4),
    ),
    max_leaves=12,
)
SEEDS = [
    {"max_tokens": 5000, "messages": [USER], **case.base, **case.fields} for case in CASES.values()
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every object, array and value within `value`."""
    found = [path]
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        items = ()
    for name, item in items:
        found += places(item, (*path, name))
    return found


def changed(value: Any, path: tuple[Any, ...], name: str | None, new: Any) -> Any:
    """`value` with `new` in the place of what is at `path`, or added there as `name`."""
    if not path:
        return {**value, name: new} if isinstance(value, dict) and name else new
    first, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {**value, first: changed(value[first], rest, name, new)}
    return [
        changed(item, rest, name, new) if at == first else item for at, item in enumerate(value)
    ]


@st.composite
def mutated(draw: Any, seeds: list[Any]) -> Any:
    """One of `seeds` with up to three places replaced, or with unknown members."""
    value = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        name = draw(st.one_of(st.none(), st.sampled_from(NAMES)))
        value = changed(value, path, name, draw(VALUES))
    return value


@settings(UNHURRIED, max_examples=250)
@given(target=st.sampled_from(ALL), body=mutated(SEEDS))
def test_a_request_is_translated_or_refused(target, body):
    row, model = target
    adapter = make_adapter(PROVIDER_SPECS[row], "01TEST")
    try:
        if isinstance(body, dict):
            body = {**body, "model": model}
        wire = adapter.build_request(parse.parse_request(body))
    except InvalidRequest:
        return
    orjson.loads(wire.body)


def chunks(data: bytes) -> list[Any]:
    lines = [line[5:].strip() for line in data.splitlines() if line.startswith(b"data:")]
    found = []
    for line in lines:
        try:
            found.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return found


def row_of(stem: str) -> str:
    return max((row for row in PROVIDER_SPECS if stem.startswith(f"{row}-")), key=len, default="")


CHUNKS = {row: [] for row in PROVIDER_SPECS}
for stem, data in STREAMS.items():
    if row_of(stem):
        CHUNKS[row_of(stem)].append(chunks(data))
READABLE = [row for row in PROVIDER_SPECS if CHUNKS[row]]


def read(row: str, data: bytes) -> None:
    """The stream must be well formed, or well formed up to one fault."""
    adapter = make_adapter(PROVIDER_SPECS[row], "01TEST")
    events = adapter.feed_bytes(data) + adapter.end_stream()
    if adapter.next_request is None:
        assert (adapter.fault is None) is adapter.is_complete
    # What Anthropic sends is forwarded, not framed: its order is Anthropic's.
    if PROVIDER_SPECS[row].kind != "anthropic":
        check_events(events, complete=adapter.is_complete)


@pytest.mark.parametrize("row", READABLE)
@settings(UNHURRIED, max_examples=80)
@given(data=st.data())
def test_a_stream_with_odd_objects_ends_or_is_one_fault(row, data):
    whole = data.draw(mutated(CHUNKS[row]))
    items = whole if isinstance(whole, list) else [whole]
    read(row, b"".join(b"data: %b\n\n" % orjson.dumps(item) for item in items))


@pytest.mark.parametrize("row", READABLE)
@settings(UNHURRIED, max_examples=40)
@given(data=st.data())
def test_a_whole_answer_that_is_odd_is_a_message_or_a_fault(row, data):
    value = data.draw(st.one_of(VALUES, mutated([item for found in CHUNKS[row] for item in found])))
    adapter = make_adapter(PROVIDER_SPECS[row], "01TEST")
    try:
        adapter.parse_message(orjson.dumps(value))
    except UpstreamFault:
        return


@pytest.mark.parametrize("row", READABLE)
def test_a_stream_with_flipped_bytes_ends_or_is_one_fault(row):
    dice = random.Random(row)
    for stem, stream in STREAMS.items():
        if row_of(stem) != row:
            continue
        for _ in range(15):
            broken = bytearray(stream)
            for _ in range(dice.randint(1, 4)):
                broken[dice.randrange(len(broken))] = dice.randrange(256)
            read(row, bytes(broken))


@pytest.mark.parametrize("row", PROVIDER_SPECS)
@settings(UNHURRIED, max_examples=40)
@given(status=st.integers(300, 599), body=st.one_of(st.binary(max_size=60), VALUES))
def test_any_error_is_told(row, status, body):
    adapter = make_adapter(PROVIDER_SPECS[row], "01TEST")
    data = body if isinstance(body, bytes) else orjson.dumps({"error": body})
    fault = adapter.parse_error(status, {}, data)
    assert fault.message
    orjson.dumps(fault.to_wire("req_1"))


def test_there_are_no_more_tools_than_a_catalogue_has() -> None:
    """Of 60,000 the names alone held the loop of the worker that they were sent to."""
    tools = [{"name": f"t{number}", "input_schema": {}} for number in range(parse.MAX_TOOLS + 1)]
    said = {"model": "m", "max_tokens": 5, "messages": [USER], "tools": tools}
    for refused in (
        lambda: parse.parse_request(said),
        lambda: make_call_repairer(said, "custom", "x1"),
    ):
        with pytest.raises(InvalidRequest, match="tools: expected at most 10000") as caught:
            refused()
        assert caught.value.param == "tools"
    said["tools"] = tools[1:]
    assert len(parse.parse_request(said).tools or ()) == parse.MAX_TOOLS
    make_call_repairer(said, "custom", "x1")

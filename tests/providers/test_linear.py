"""What a request costs grows no faster than the request, wherever it grows.

Each place of a request is filled with members once and with eight times as many; the time of
the processor that reading and translating takes may grow by little more than that. Anything
quadratic grows by sixty-four.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import orjson
import pytest

from vai.errors import InvalidRequest
from vai.policy.estimate import body_tokens, request_tokens
from vai.providers.counting import build_count_request
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate.reasoning import without_reasoning
from vai.types import parse
from vai.types.provider import ProviderSpec

pytestmark = pytest.mark.exhaustive

FEW = 300
TIMES = 8
SLACK = 2.0
"""Above the growth of the members: what grows with the logarithm, caches, a busy machine."""

USER = {"role": "user", "content": "go"}
MODELS = {
    "anthropic": "claude-opus-4-8",
    "openai": "gpt-4o",
    "groq": "openai/gpt-oss-120b",
    "cerebras": "gpt-oss-120b",
    "oai-resp": "gpt-5.5",
    "gemini": "gemini-3.5-flash",
    "gemini-oauth": "gemini-2.5-flash",
}
NARROWED = ProviderSpec(
    id="mine",
    name="Mine",
    kind="anthropic",
    base_url="http://mine.test",
    path="/v1/messages",
    auth="bearer",
    has_capability_override=True,
)
COMPATIBLE = ProviderSpec(
    id="other",
    name="Other",
    kind="openai",
    base_url="http://other.test",
    path="/chat/completions",
    auth="bearer",
)
ROWS_HERE = {
    **{name: PROVIDER_SPECS[name] for name in MODELS},
    "mine": NARROWED,
    "other": COMPATIBLE,
}
MODELS_HERE = MODELS | {"mine": "claude-mine", "other": "small"}

Fields = dict[str, Any]


def many(count: int) -> Fields:
    return {f"k{number}": number for number in range(count)}


def _tool(**members: Any) -> Fields:
    return {"tools": [{"name": "f", "input_schema": {"type": "object"}, **members}]}


def _user(*blocks: Any) -> Fields:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def _said(*blocks: Any) -> Fields:
    return {"messages": [USER, {"role": "assistant", "content": list(blocks)}, USER]}


def _schema(count: int, **member: Any) -> Fields:
    properties = {f"p{number}": {"type": "string", **member} for number in range(count)}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _calls(count: int) -> Fields:
    ids = [f"toolu_{number}" for number in range(count)]
    asked = [{"type": "tool_use", "id": call, "name": "f", "input": {}} for call in ids]
    given = [{"type": "tool_result", "tool_use_id": call, "content": "x"} for call in ids[::-1]]
    turns = [USER, {"role": "assistant", "content": asked}, {"role": "user", "content": given}]
    return {"messages": turns, **_tool()}


def _unknown_results(count: int) -> Fields:
    results = [
        {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "x"}
        for number in range(count)
    ]
    return _user(*results)


def _servers(count: int) -> Fields:
    servers = [{"name": f"s{number}", "url": "https://s.test"} for number in range(count)]
    sets = [{"type": "mcp_toolset", "mcp_server_name": f"s{number}"} for number in range(count)]
    return {"mcp_servers": servers, "tools": sets}


def _free_tools(count: int) -> Fields:
    tools = [
        {"name": f"free{number}", "format": {"type": "text"}, "type": "custom"}
        for number in range(count)
    ]
    names = [tool["name"] for tool in reversed(tools)]
    calls = [
        {"type": "tool_use", "id": f"t{number}", "name": name, "input": {"input": "x"}}
        for number, name in enumerate(names)
    ]
    return _said(*calls) | {"tools": tools}


def _chained_schemas(count: int) -> Fields:
    """Many small tools, each of references that double with every link."""
    links = {
        f"d{at}": {
            "type": "object",
            "properties": {
                side: {"$ref": f"#/$defs/d{at + 1}", "description": side} for side in "ab"
            },
        }
        for at in range(10)
    }
    links["d10"] = {"type": "string"}
    root = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0", "description": "x"}}}
    tools = [
        {"name": f"f{number}", "strict": True, "input_schema": {**root, "$defs": links}}
        for number in range(max(1, count // 100))
    ]
    return {"tools": tools}


def _wide_reference(count: int) -> Fields:
    """One large definition that many properties repeat."""
    wide = {"type": "string", **many(count)}
    properties = {
        f"p{number}": {"$ref": "#/$defs/wide", "description": "x"} for number in range(count)
    }
    schema = {"type": "object", "properties": properties, "$defs": {"wide": wide}}
    return {"tools": [{"name": "f", "strict": True, "input_schema": schema}]}


TEXT = {"type": "text", "text": "x"}
CACHED = {**TEXT, "cache_control": {"type": "ephemeral"}}
CITED = {**TEXT, "citations": [{"type": "char_location", "cited_text": "x"}]}
THOUGHT = {"type": "thinking", "thinking": "x", "signature": "s"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
RUN = {"type": "server_tool_use", "id": "srvtoolu_x", "name": "web_search", "input": {}}
CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}

PLACES: dict[str, Callable[[int], Fields]] = {
    "metadata": lambda n: {"metadata": many(n)},
    "body": many,
    "output": lambda n: {"output": many(n)},
    "output.modalities": lambda n: {"output": {"modalities": [f"m{k}" for k in range(n)]}},
    "extensions": lambda n: {"extensions": many(n)},
    "extensions.*": lambda n: {
        "extensions": {
            name: many(n)
            for name in ("anthropic", "openai", "oai-resp", "groq", "cerebras", "gemini", "other")
        }
    },
    "extensions.*.thinking": lambda n: {"extensions": {"gemini": {"thinking": many(n)}}},
    "extensions.anthropic.betas": lambda n: {
        "extensions": {"anthropic": {"betas": [f"b{k}" for k in range(n)]}}
    },
    "extensions.openai.include": lambda n: {
        "extensions": {"openai": {"include": [f"b{k}" for k in range(n)]}}
    },
    "tools[0]": lambda n: _tool(**many(n)),
    "tools[0].config": lambda n: _tool(config=many(n)),
    "tools[*]": lambda n: {
        "tools": [{"name": f"f{k}", "input_schema": {"type": "object"}} for k in range(n)],
        "tool_choice": {"type": "tool", "name": f"f{n - 1}"},
    },
    "tools[*].odd_names": lambda n: {"tools": [{"name": f"f {k}"} for k in range(n)]},
    "tools[*].no_names": lambda n: {"tools": [{"input_schema": {}} for _ in range(n)]},
    "tools[*].members": lambda n: {"tools": [{"name": "f", f"k{k}": 1} for k in range(n)]},
    "tools[*].free": _free_tools,
    "tools[*].hosted": lambda n: {"tools": [{"type": "web_search_20250305"}] * n},
    "tools[*].unknown": lambda n: {"tools": [{"type": f"t{k}"} for k in range(n)]},
    "tools[*].client": lambda n: {"tools": [{"type": "bash_20250124", **many(n)}]},
    "tools[0].hosted": lambda n: {"tools": [{"type": "web_search_20250305", **many(n)}]},
    "tools[0].hosted.config": lambda n: {"tools": [{"type": "web_search", "config": many(n)}]},
    "tools[0].computer": lambda n: {"tools": [{"type": "computer_20250124", **many(n)}]},
    "tools[0].input_examples": lambda n: _tool(input_examples=[{"a": 1}] * n),
    "tools[0].schema": lambda n: _tool(input_schema=_schema(n)),
    "tools[0].schema.notes": lambda n: _tool(
        strict=True, input_schema=_schema(n, minLength=1, default="x")
    ),
    "tools[0].schema.strict": lambda n: _tool(strict=True, input_schema=_schema(n)),
    "tools[0].schema.required": lambda n: _tool(
        strict=True, input_schema={**_schema(n), "required": [f"x{k}" for k in range(n)]}
    ),
    "tools[0].schema.any_of": lambda n: _tool(
        strict=True,
        input_schema={
            "type": "object",
            "properties": {"a": {"anyOf": [{"type": "string"}] * n}},
        },
    ),
    "tools[0].schema.references": _wide_reference,
    "tools[*].schema.references": _chained_schemas,
    "output_config.schema": lambda n: {
        "output_config": {"format": {"type": "json_schema", "schema": _schema(n)}}
    },
    "mcp_servers": _servers,
    "stop_sequences": lambda n: {"stop_sequences": [f"s{k}" for k in range(n)]},
    "system": lambda n: {"system": [CACHED] * n},
    "messages": lambda n: {"messages": [USER] * n},
    "messages.turns": lambda n: {
        "messages": [USER, {"role": "assistant", "content": "x"}] * n + [USER]
    },
    "messages.system": lambda n: {"messages": [{"role": "system", "content": "x"}] * n + [USER]},
    "messages.texts": lambda n: _user(*[CACHED] * n),
    "messages.members": lambda n: _user({**TEXT, **many(n)}),
    "messages.unknown": lambda n: _user(*[{"type": f"odd{k}"} for k in range(n)]),
    "messages.images": lambda n: _user(*[IMAGE] * n),
    "messages.documents": lambda n: _user(*[DOCUMENT] * n),
    "messages.document_content": lambda n: _user(
        {"type": "document", "source": {"type": "content", "content": [TEXT] * n}}
    ),
    "messages.assistant": lambda n: _said(*[CITED] * n),
    "messages.long_texts": lambda n: _said(*[{"type": "text", "text": "x" * 400}] * n),
    "messages.citations": lambda n: _said({**TEXT, "citations": CITED["citations"] * n}),
    "messages.thinking": lambda n: _said(*[THOUGHT] * n, TEXT),
    "messages.runs": lambda n: _said(*[{**RUN, "id": f"srvtoolu_x_{k}"} for k in range(n)], TEXT),
    "messages.odd_runs": lambda n: _said(
        *[{"type": f"k{k}_tool_result", "tool_use_id": "x", "content": []} for k in range(n)], TEXT
    ),
    "messages.calls": _calls,
    "messages.unanswered": lambda n: _said(
        *[{"type": "tool_use", "id": f"t{k}", "name": "f", "input": {}} for k in range(n)]
    ),
    "messages.same_calls": lambda n: _said(
        *[{"type": "tool_use", "id": "t", "name": "f", "input": {}}] * n
    ),
    "messages.results": _unknown_results,
    "messages.result_blocks": lambda n: {
        "messages": [
            USER,
            {"role": "assistant", "content": [CALL]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": [TEXT, IMAGE] * n}
                ],
            },
        ]
    },
    "messages.call_input": lambda n: _said(
        {"type": "tool_use", "id": "t", "name": "f", "input": many(n)}
    ),
}


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """No garbage collection, which costs by what all other tests have left behind."""
    gc.disable()
    yield
    gc.enable()


def _translate(provider: str, body: bytes) -> None:
    """All that the gateway does with a request that it has accepted."""
    row = ROWS_HERE[provider]
    raw = orjson.loads(body)
    body_tokens(raw, body)
    try:
        said = parse.parse_request(raw)
    except InvalidRequest:
        return
    said = msgspec.structs.replace(said, model=MODELS_HERE[provider])
    for step in (
        lambda: make_adapter(row, "01TEST", request=said).build_request(said),
        lambda: build_count_request(row, said, "01TEST", {}),
        lambda: request_tokens(said, row.kind),
        lambda: without_reasoning(said),
    ):
        with suppress(InvalidRequest):
            step()


def _cost(provider: str, body: bytes) -> float:
    """Seconds of the processor."""
    began = time.process_time()
    _translate(provider, body)
    return time.process_time() - began


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("provider", ROWS_HERE)
def test_eight_times_the_members_take_eight_times_as_long(provider: str, place: str) -> None:
    few, much = (
        orjson.dumps({"model": "m", "max_tokens": 5000, "messages": [USER], **PLACES[place](count)})
        for count in (FEW, FEW * TIMES)
    )
    growth = len(much) / len(few)
    # What does not grow (imports, tables made at the first use) is no part of the growth.
    _translate(provider, few)
    least = max(0.002, min(_cost(provider, few) for _ in range(3)))
    taken = []
    for _ in range(4):  # the least counts: a neighbour on the machine can only add to it
        taken.append(_cost(provider, much))
        if taken[-1] <= least * growth * SLACK:
            return
    pytest.fail(f"{least * 1e3:.1f} ms -> {min(taken) * 1e3:.1f} ms, {growth:.1f} times the bytes")


@pytest.mark.parametrize("provider", ROWS_HERE)
def test_a_refusal_of_many_places_is_short(provider: str) -> None:
    row = ROWS_HERE[provider]
    tools = [{"type": f"{'t' * 500}{number}"} for number in range(2000)]
    said = parse.parse_request({"model": "m", "max_tokens": 50, "messages": [USER], "tools": tools})
    if row.kind == "anthropic":
        make_adapter(row, "01TEST", request=said).build_request(said)  # a tool of a newer version
        return
    with pytest.raises(InvalidRequest, match=r"and \d+ more") as refusal:
        make_adapter(row, "01TEST", request=said).build_request(said)
    assert len(refusal.value.message) < 20_000


@pytest.mark.parametrize("provider", ROWS_HERE)
def test_what_was_dropped_is_told_in_few_words(provider: str) -> None:
    row, said = ROWS_HERE[provider], {"metadata": {"n" * 100 + str(k): 1 for k in range(5000)}}
    ask = parse.parse_request({"model": "m", "max_tokens": 5000, "messages": [USER], **said})
    adapter = make_adapter(row, "01TEST", request=ask)
    adapter.build_request(ask)
    told = ",".join(adapter.dropped)
    assert len(told) <= 1000
    assert adapter.dropped[-1].startswith("and ")
    assert adapter.dropped[-1].endswith(" more")

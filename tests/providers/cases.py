"""Everything a request can ask for, one thing at a time, and what becomes of it.

Invariants: a request that asks for a thing differs from its `base` in that
thing alone. So what is sent for both tells whether the thing was sent, and `dropped` and
the refusal tell what became of it otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from vai.errors import InvalidRequest
from vai.providers.decode.text_filter import StopAt, Unwrap, UnwrapAndStop
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse

__all__ = ["CASES", "MODELS", "SPECIALISTS", "Case", "outcome"]

USER = {"role": "user", "content": "go"}
SYSTEM = {"role": "system", "content": "s"}
SAID = {"type": "text", "text": "x"}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MODELS = {name: (spec.example_model,) for name, spec in PROVIDER_SPECS.items()} | {
    "anthropic": ("claude-opus-4-8", "claude-sonnet-4-5", "claude-opus-5-5"),
    "openai": ("gpt-4o", "gpt-5.2", "gpt-6-luna"),
    "groq": ("openai/gpt-oss-120b", "qwen/qwen3.8-27b"),
    "cerebras": ("gpt-oss-120b", "zai-glm-4.7"),
    "oai-resp": ("gpt-4.1", "gpt-5.5"),
    "gemini": ("gemini-2.5-flash", "gemini-3.5-flash"),
    "gemini-oauth": ("gemini-2.5-flash",),
}
SPECIALISTS = {
    "openai": ("gpt-4o-search-preview", "gpt-audio-1.5", "gpt-5.6-sol"),
    "oai-resp": ("gpt-5.6-sol",),
    "gemini": ("gemini-3.1-flash-image", "gemini-2.5-computer-use"),
    "gemini-oauth": ("gemini-3.5-flash", "gemini-3.1-flash-image"),
}
"""Models that can what their provider's others cannot."""


class Case(NamedTuple):
    """One thing to ask for; `path` is where it stands."""

    path: str
    fields: dict[str, Any]
    base: Mapping[str, Any] = MappingProxyType({})
    critical: bool = False
    """Whether an answer that ignores it is a wrong one: then it must be sent or refused."""


def outcome(provider: str, model: str, case: Case) -> tuple[str, str]:
    """What became of it, and in which words.

    ``sent``; ``named``: in `dropped`, sent as something near it or not at all;
    ``refused``; ``lost``: nothing was sent and nothing said; ``unasked``: the base alone
    was refused.
    """
    try:
        plain, noted = _sent(provider, model, case.base)
    except InvalidRequest as refusal:
        return "unasked", str(refusal)
    try:
        asked, dropped = _sent(provider, model, {**case.base, **case.fields})
    except InvalidRequest as refusal:
        return "refused", refusal.message
    if named := [path for path in dropped if path not in noted]:
        return "named", ", ".join(named)
    return ("sent" if asked != plain else "lost"), ""


def _sent(provider: str, model: str, fields: Mapping[str, Any]) -> tuple[Any, list[str]]:
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    fields = {"max_tokens": 5000, "messages": [USER], **fields}
    wire = adapter.build_request(parse.parse_request({"model": model, **fields}))
    return (wire.target, wire.headers, wire.body, _filters(adapter)), adapter.dropped


def _filters(adapter: Any) -> set[str]:
    """What the answer's text will pass through: what VAI does in the provider's stead."""
    held = list(vars(adapter).values())
    for _ in range(2):
        held += [value for owner in held for value in getattr(owner, "__dict__", {}).values()]
    return {
        type(value).__name__ for value in held if isinstance(value, StopAt | Unwrap | UnwrapAndStop)
    }


def _block(kind: str, /, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [SAID, {"type": kind, **fields}]}]}


def _said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [USER, {"role": "assistant", "content": [*blocks, SAID]}, USER]}


def _text() -> dict[str, Any]:
    return _block("text", text="y")


def _result(
    *content: dict[str, Any], call: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}, **(call or {})}
    answer = {"type": "tool_result", "tool_use_id": "a", "content": [SAID, *content], **more}
    return {
        "tools": [FUNCTION],
        "messages": [
            USER,
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [answer]},
        ],
    }


def _base64(media_type: str, data: str = "aGk=") -> dict[str, Any]:
    return {"type": "base64", "media_type": media_type, "data": data}


def _from(block: str, /, **source: Any) -> dict[str, Any]:
    return _block(block, source=source)


def _tool(**fields: Any) -> dict[str, Any]:
    return {"tools": [{**FUNCTION, **fields}]}


PROPERTIES = {"x": {"type": "integer"}}
FUNCTION = {
    "name": "f",
    "description": "d",
    "input_schema": {"type": "object", "properties": PROPERTIES, "required": ["x"]},
}
FORM = {"type": "json_schema", "schema": FUNCTION["input_schema"]}
VALUE = {"type": "json_schema", "schema": {"type": "array", "items": {"type": "integer"}}}
BARE = {"messages": [{"role": "user", "content": [SAID]}]}
CALLS = _tool()
STORE = {"vector_store_ids": ["v"]}
MARK = {"cache_control": {"type": "ephemeral"}}
RUN = {"type": "server_tool_use", "id": "ws_1", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "ws_1", "content": []}
IMAGE = {"type": "image", "source": _base64("image/png", PIXEL)}
PDF = {"type": "document", "source": _base64("application/pdf")}
PAGE = {"type": "text", "media_type": "text/plain", "data": "x"}
CITED = [{"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "x"}]
ENVELOPE = "vai1.elsewhere.chat."

CASES = {
    "temperature": Case("temperature", {"temperature": 0.5}),
    "top_p": Case("top_p", {"top_p": 0.5}),
    "top_k": Case("top_k", {"top_k": 5}),
    "stop_sequences": Case("stop_sequences", {"stop_sequences": ["x"]}, {}, True),
    "many stop_sequences": Case("stop_sequences", {"stop_sequences": list("abcdefg")}, {}, True),
    "stop_sequences in a value": Case(
        "stop_sequences", {"stop_sequences": ["x"]}, {"output_config": {"format": VALUE}}, True
    ),
    "user": Case("metadata.user_id", {"metadata": {"user_id": "u"}}),
    "metadata": Case("metadata.team", {"metadata": {"team": "u"}}),
    "flex": Case("service_tier", {"service_tier": "flex"}),
    "speed": Case("speed", {"speed": "fast"}),
    "inference_geo": Case("inference_geo", {"inference_geo": "us"}),
    "container": Case("container", {"container": "c"}),
    "diagnostics": Case("diagnostics", {"diagnostics": {"previous_message_id": "m"}}),
    "unknown member": Case("brand_new", {"brand_new": 1}),
    "mcp_servers": Case("mcp_servers", {"mcp_servers": [{"url": "https://a"}]}, {}, True),
    "no tokens": Case("max_tokens", {"max_tokens": 0}, {}, True),
    "cache": Case("cache_control", MARK),
    "cached system": Case(
        "system[*].cache_control",
        {"system": [{"type": "text", "text": "s", **MARK}]},
        {"system": [{"type": "text", "text": "s"}]},
    ),
    "cached block": Case(
        "messages[*].content[*].cache_control",
        {"messages": [{"role": "user", "content": [{**SAID, **MARK}]}]},
        BARE,
    ),
    "cached tool": Case("tools[*].cache_control", _tool(**MARK), CALLS),
    "tools": Case("tools", CALLS, {}, True),
    "strict tool": Case("tools[0].strict", _tool(strict=True), CALLS),
    "tool examples": Case("tools[0].input_examples", _tool(input_examples=[{"x": 1}]), CALLS),
    "deferred tool": Case("tools[*].defer_loading", _tool(defer_loading=True), CALLS),
    "eager tool": Case("tools[*].eager_input_streaming", _tool(eager_input_streaming=True), CALLS),
    "choice of nothing": Case("tool_choice", {"tool_choice": {"type": "auto"}}),
    "any tool": Case("tool_choice", {"tool_choice": {"type": "any"}}, CALLS, True),
    "one tool": Case("tool_choice", {"tool_choice": {"type": "tool", "name": "f"}}, CALLS, True),
    "no tool": Case("tool_choice", {"tool_choice": {"type": "none"}}, CALLS, True),
    "one call": Case(
        "tool_choice.disable_parallel_tool_use",
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {**CALLS, "tool_choice": {"type": "auto"}},
    ),
    **{
        name: Case(
            "tools[0]",
            {"tools": [{"type": name, **({"config": STORE} if name == "file_search" else {})}]},
            {},
            True,
        )
        for name in (
            *("web_search", "web_search_20250305", "web_fetch", "code_execution", "computer_use"),
            *("bash", "text_editor", "memory", "file_search", "image_generation", "nonsense"),
        )
    },
    "thinking": Case("thinking", {"thinking": {"type": "enabled", "budget_tokens": 3000}}),
    "adaptive": Case("thinking", {"thinking": {"type": "adaptive"}}),
    "effort": Case("output_config.effort", {"output_config": {"effort": "low"}}),
    "json_schema": Case("output_config.format", {"output_config": {"format": FORM}}, {}, True),
    "json_schema and tools": Case(
        "output_config.format", {"output_config": {"format": FORM}}, CALLS, True
    ),
    "image answer": Case("output.modalities", {"output": {"modalities": ["image"]}}, {}, True),
    "audio answer": Case("output.modalities", {"output": {"modalities": ["audio"]}}, {}, True),
    "system turn": Case("messages[*].role", {"messages": [USER, SYSTEM]}),
    "prefill": Case(
        "messages", {"messages": [USER, {"role": "assistant", "content": "s"}]}, {}, True
    ),
    "member of a turn": Case(
        "messages[*].brand_new", {"messages": [{**USER, "brand_new": 1}]}, {"messages": [USER]}
    ),
    "effort of a system turn": Case(
        "messages[*].output_config",
        {"messages": [USER, {**SYSTEM, "output_config": {"effort": "low"}}]},
        {"messages": [USER, SYSTEM]},
    ),
    "member of a text": Case(
        "messages[*].content[*].brand_new", _block("text", text="y", brand_new=1), _text()
    ),
    "cited question": Case(
        "messages[*].content[*].citations", _block("text", text="y", citations=CITED), _text()
    ),
    "member of the system": Case(
        "system[*].brand_new",
        {"system": [{"type": "text", "text": "s", "brand_new": 1}]},
        {"system": [{"type": "text", "text": "s"}]},
    ),
    "transformed image": Case(
        "messages[*].content[*].transformations",
        _block("image", **IMAGE, transformations={"oversized_image": "error"}),
        _block("image", **IMAGE),
    ),
    "member of a source": Case(
        "messages[*].content[*].source.brand_new",
        _from("document", **PAGE, brand_new=1),
        _from("document", **PAGE),
    ),
    "caller of a call": Case(
        "messages[*].content[*].caller",
        _result(call={"caller": {"type": "direct"}}),
        _result(),
    ),
    "member of a result": Case(
        "messages[*].content[*].toolset_name", _result(toolset_name="t"), _result()
    ),
    "member in a result": Case(
        "messages[*].content[*].content[*].brand_new",
        _result({**SAID, "brand_new": 1}),
        _result(SAID),
    ),
    "cached in a result": Case(
        "messages[*].content[*].cache_control", _result({**SAID, **MARK}), _result(SAID)
    ),
    "cached search_result": Case(
        "messages[*].content[*].cache_control",
        _block("search_result", source="s", title="t", content=[SAID], **MARK),
        _block("search_result", source="s", title="t", content=[SAID]),
    ),
    "cited search_result": Case(
        "messages[*].content[*].citations",
        _block("search_result", source="s", content=[SAID], citations={"enabled": True}),
        _block("search_result", source="s", content=[SAID]),
    ),
    "member of the choice": Case(
        "tool_choice.brand_new",
        {"tool_choice": {"type": "auto", "brand_new": 1}},
        {**CALLS, "tool_choice": {"type": "auto"}},
    ),
    "member of thinking": Case(
        "thinking.brand_new",
        {"thinking": {"type": "adaptive", "brand_new": 1}},
        {"thinking": {"type": "adaptive"}},
    ),
    "budget of the task": Case(
        "output_config.task_budget",
        {"output_config": {"effort": "low", "task_budget": {"type": "tokens", "total": 9}}},
        {"output_config": {"effort": "low"}},
    ),
    "member of the form": Case(
        "output_config.format.brand_new",
        {"output_config": {"format": {**FORM, "brand_new": 1}}},
        {"output_config": {"format": FORM}},
    ),
    "name of the form": Case(
        "output_config.format.name",
        {"output_config": {"format": {**FORM, "name": "n"}}},
        {"output_config": {"format": FORM}},
    ),
    "member of a tool": Case("tools[*].brand_new", _tool(brand_new=1), CALLS),
    "settings of a tool": Case("].config", _tool(config={"x": 1}), CALLS),
    "member of a known tool": Case(
        "tools[0].brand_new",
        {"tools": [{"type": "bash_20250124", "name": "bash", "brand_new": 1}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
    ),
    "cached known tool": Case(
        "tools[*].cache_control",
        {"tools": [{"type": "bash_20250124", "name": "bash", **MARK}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
    ),
    "tier and speed": Case(
        "service_tier", {"speed": "fast", "service_tier": "flex"}, {"speed": "fast"}
    ),
    "default tier": Case("service_tier", {"service_tier": "auto"}),
    "plain tier": Case("service_tier", {"service_tier": "standard_only"}),
    "voice": Case("voice", {"voice": {"output": {"voice": "v"}}}),
    "usual temperature": Case("temperature", {"temperature": 1}),
    "temperature and thinking": Case(
        "temperature",
        {"temperature": 1},
        {"thinking": {"type": "enabled", "budget_tokens": 3000}},
    ),
    "image": Case("messages[0].content[1]", _from("image", **IMAGE["source"]), BARE, True),
    "image url": Case(
        "messages[0].content[1]",
        _from("image", type="url", url="https://a.it/b.png"),
        BARE,
        True,
    ),
    "image file": Case(
        "messages[0].content[1]", _from("image", type="file", file_id="f"), BARE, True
    ),
    "audio": Case("messages[0].content[1]", _from("audio", **_base64("audio/wav")), BARE, True),
    "odd audio": Case("messages[0].content[1]", _from("audio", **_base64("audio/zz")), BARE, True),
    "video": Case("messages[0].content[1]", _from("video", **_base64("video/mp4")), BARE, True),
    "pdf": Case("messages[0].content[1]", _from("document", **PDF["source"]), BARE, True),
    "pdf url": Case(
        "messages[0].content[1]",
        _from("document", type="url", url="https://a.it/b.pdf"),
        BARE,
        True,
    ),
    "text document": Case("messages[0].content[1]", _from("document", **PAGE), BARE, True),
    "content document": Case(
        "messages[0].content[1]", _from("document", type="content", content=[SAID]), BARE, True
    ),
    "cited document": Case(
        "messages[*].content[*].citations",
        _block("document", source=PAGE, citations={"enabled": True}),
        _from("document", **PAGE),
    ),
    "search_result": Case(
        "messages[0].content[1]",
        _block("search_result", source="s", title="t", content=[SAID]),
        BARE,
        True,
    ),
    "container_upload": Case(
        "messages[0].content[1]", _block("container_upload", file_id="f"), BARE, True
    ),
    "image result": Case("messages[*].content[*].content[*].image", _result(IMAGE), _result()),
    "pdf result": Case("messages[*].content[*].content[*].document", _result(PDF), _result()),
    "film result": Case(
        "messages[*].content[*].content[*].video",
        _result({"type": "video", "source": _base64("video/mp4")}),
        _result(),
    ),
    "odd result": Case("messages[2].content[0]", _result({"type": "brand_new"}), _result(), True),
    "failed result": Case("messages[2].content[0]", _result(is_error=True), _result(), True),
    "cited history": Case(
        "messages[*].content[*].citations",
        {
            "messages": [
                USER,
                {"role": "assistant", "content": [{**SAID, "citations": CITED}]},
                USER,
            ]
        },
        _said(),
    ),
    "foreign thinking": Case(
        "messages[*].content[*].thinking",
        _said({"type": "thinking", "thinking": "t", "signature": ENVELOPE}),
        _said(),
    ),
    "foreign redacted": Case(
        "messages[*].content[*].redacted_thinking",
        _said({"type": "redacted_thinking", "data": ENVELOPE}),
        _said(),
    ),
    "foreign run": Case("messages[*].content[*].server_tool_use", _said(RUN, FOUND), _said()),
    "spoken history": Case(
        "messages[",
        _said({"type": "audio", "source": _base64("audio/wav"), "transcript": "t"}),
        _said(),
    ),
    "drawn history": Case("messages[1].content[0]", _said(IMAGE), _said(), True),
}

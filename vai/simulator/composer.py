"""The content of the simulated model's responses.

Invariants: the response is a function of the `ParsedRequest` alone, so the same request
gets the same text, calls and usage in every form and on every run. The arguments of a call
satisfy the tool's JSON Schema, and every recursion through a schema ends: optional members stop
at a shallow depth, required ones at a hard one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from vai.providers.registry import PROVIDER_SPECS
from vai.simulator import tokens
from vai.simulator.parsed_request import OfferedTool, ParsedRequest, SimulatedError
from vai.simulator.parts import (
    CallPart,
    CitedPage,
    CodeRunPart,
    DictatedUsage,
    ImagePart,
    Part,
    RefusalPart,
    SearchPart,
    SimulatedResponse,
    Stop,
    TextPart,
    ThoughtPart,
)

__all__ = [
    "SchemaHints",
    "SchemaTooDeep",
    "compose_response",
    "dictated_response",
    "make_example",
    "response_portion",
    "signature_of",
]

_TITLES: Final = {"oai-resp": "OpenAI", "gemini": "Gemini", "gemini-oauth": "Gemini"}
"""The names of providers in a text, where they differ from those in the registry."""
_REMARKS: Final = (
    "Nothing here left your machine, and nothing was charged.",
    "A real model would think longer about this, and cost more.",
    "Set a provider key and the same request goes to the real thing.",
    "Every answer of mine can be foretold from the request alone.",
    "My words arrive one after another, as they would over the wire.",
    "Ask for a tool by its name and I will call it.",
    "I can also be told to fail, to stall or to hang up half way.",
    "The tokens counted below are the ones you just read.",
)
_WORD = re.compile(r"[a-z0-9]+")
_COMMON: Final = frozenset({"get", "set", "the", "tool", "and", "for", "list", "read", "make"})


_OPTIONAL_DEPTH: Final = 4
_DEPTH: Final = 32
_MOST_VALUES: Final = 10_000
_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2026-11-22T12:00:00Z",
    "date": "2026-11-22",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "ada@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "5f0c7d9e-1b2a-4c3d-8e4f-0123456789ab",
}
_NAME = re.compile(r"(?<!^)(?<![.!?] )\b[A-Z]\w{2,}")
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,6})?")


class SchemaTooDeep(ValueError):
    """A schema whose required members never end, or are too many."""


class SchemaHints(msgspec.Struct, frozen=True):
    """The values that a question suggests: its first proper name and number."""

    word: str = "example"
    number: float = 1.0

    @classmethod
    def from_question(cls, question: str) -> SchemaHints:
        name, number = _NAME.search(question[:2000]), _NUMBER.search(question[:2000])
        return cls(name[0] if name else "example", float(number[0]) if number else 1.0)


def make_example(schema: Any, hints: SchemaHints) -> Any:
    """Build a value for `schema`.

    Raises:
        SchemaTooDeep: its required members recurse without end.
    """
    return _Maker(schema, hints).make_value(schema, 0)


class _Maker:
    """Makes values for one schema document, in which it resolves ``$ref``."""

    def __init__(self, root: Any, hints: SchemaHints) -> None:
        self._root = root
        self._hints = hints
        self._values = 0

    def make_value(self, schema: Any, depth: int) -> Any:
        self._values += 1
        if depth > _DEPTH or self._values > _MOST_VALUES:
            raise SchemaTooDeep("schema nests without end")
        if not isinstance(schema, dict):
            return self._hints.word
        if "$ref" in schema:
            return self.make_value(self._resolve_ref(schema["$ref"]), depth + 1)
        for fixed in ("const", "default"):
            if fixed in schema:
                return schema[fixed]
        if schema.get("enum"):
            return schema["enum"][0]
        for union in ("anyOf", "oneOf"):
            if schema.get(union):
                return self.make_value(self._choose_variant(schema[union]), depth + 1)
        if schema.get("allOf"):
            return self.make_value(self._merge_all_of(schema), depth + 1)
        return self._make_typed(schema, depth)

    def _make_typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((k for k in kind if k != "null"), "null")
        match kind:
            case "object":
                return self._make_object(schema, depth)
            case "array":
                item = schema.get("items", {"type": "string"})
                return [
                    self.make_value(item, depth + 1)
                    for _ in range(min(schema.get("minItems", 1), 64))
                ]
            case "boolean":
                return True
            case "null":
                return None
            case "integer" | "number":
                return self._make_number(schema, kind)
        return self._make_string(schema)

    def _make_object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required") or []
        return {
            name: self.make_value(member, depth + 1)
            for name, member in (schema.get("properties") or {}).items()
            if name in required or depth < _OPTIONAL_DEPTH
        }

    def _make_number(self, schema: dict[str, Any], kind: str) -> float | int:
        value = self._hints.number
        if "exclusiveMinimum" in schema:
            value = max(value, schema["exclusiveMinimum"] + 1)
        if "exclusiveMaximum" in schema:
            value = min(value, schema["exclusiveMaximum"] - 1)
        value = min(value, schema.get("maximum", value))
        value = max(value, schema.get("minimum", value))
        step = schema.get("multipleOf")
        if step:
            value = -(-value // step) * step
        return int(value) if kind == "integer" or value == int(value) else value

    def _make_string(self, schema: dict[str, Any]) -> str:
        text = _FORMATS.get(schema.get("format", ""), self._hints.word)
        text = text.ljust(min(schema.get("minLength", 0), 10_000), "x")
        return text[: schema.get("maxLength", len(text))]

    def _resolve_ref(self, ref: Any) -> Any:
        node = self._root
        for step in str(ref).removeprefix("#").strip("/").split("/"):
            if step:
                node = node.get(step, {}) if isinstance(node, dict) else {}
        return node

    @staticmethod
    def _choose_variant(variants: list[Any]) -> Any:
        """The first variant that is not null, because a null value shows nothing."""
        return next(
            (v for v in variants if not (isinstance(v, dict) and v.get("type") == "null")),
            variants[0],
        )

    def _merge_all_of(self, schema: dict[str, Any]) -> dict[str, Any]:
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            if isinstance(part, dict) and "$ref" in part:
                part = self._resolve_ref(part["$ref"])
            if not isinstance(part, dict):
                continue
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", []), *part.get("required", [])]
            merged |= part
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged


def compose_response(request: ParsedRequest) -> SimulatedResponse:
    """Compose the response to `request` within its limits.

    Raises:
        SimulatedError: 400, a schema that nests without end.
    """
    parts: list[Part] = []
    thought = _compose_thought(request)
    if thought:
        parts.append(ThoughtPart(thought, hidden=request.knobs.sealed))
    try:
        calls = _compose_calls(request)
        parts += calls or _compose_parts(request)
    except SchemaTooDeep:
        raise SimulatedError(400, "Invalid schema: it nests without end.") from None
    stop: Stop = "tool" if calls else "refusal" if request.knobs.refuse else "end"
    matched = _cut_at_stop(parts, request.stop)
    limited = _limit_tokens(parts, "stop" if matched else stop, matched, request.max_tokens)
    return (
        response_portion(limited, request.hop, request.knobs.hops)
        if request.knobs.hops
        else limited
    )


def dictated_response(
    request: ParsedRequest, parts: list[Part], stop: Stop | None, usage: DictatedUsage
) -> SimulatedResponse:
    """The response of a script to `request`: its parts; its figures replace the counted ones."""
    if stop is None:
        called = any(isinstance(part, CallPart) for part in parts)
        refused = any(isinstance(part, RefusalPart) for part in parts)
        stop = "tool" if called else "refusal" if refused else "end"
    answer = _limit_tokens(parts, stop, None, None)
    if request.knobs.hops:
        answer = response_portion(answer, request.hop, request.knobs.hops)
    for name in ("cache_read", "cache_write", "cache_write_1h"):
        if (figure := getattr(usage, name)) is not None:
            setattr(request, name, figure)
    request.tokens = request.tokens if usage.input is None else usage.input
    answer.tokens = answer.tokens if usage.output is None else usage.output
    if usage.thinking is not None:
        answer.thought_tokens = usage.thinking
    return answer


def response_portion(answer: SimulatedResponse, hop: int, hops: int) -> SimulatedResponse:
    """The part of `answer` that request number `hop` of ``hops + 1`` gets."""
    size = -(-answer.tokens // (hops + 1))
    first, total = hop * size, 0
    parts: list[Part] = []
    for part in answer.parts:
        pieces = tokens.split_tokens(_words_of(part))
        mine = pieces[max(0, first - total) : max(0, first + size - total)]
        total += len(pieces)
        if mine:
            parts.append(_with_words(part, "".join(mine)))
    last = hop >= hops
    return _limit_tokens(parts, answer.stop if last else "continue", answer.stop_sequence, None)


def signature_of(thought: str) -> str:
    """The signature of a thinking block; a client must send it back unchanged."""
    seal = hashlib.sha256(b"simulated thought\0" + thought.encode("utf-8", "replace")).digest()
    return base64.b64encode(b"\x12\x20" + seal * 2).decode()


def _compose_thought(request: ParsedRequest) -> str:
    if request.knobs.think:
        return _repeat_to_count(request.knobs.think, "Let me think about that, step by step.")
    if not request.thinks:
        return ""
    question = _quote_text(request.question)
    return f"The question is {question}. I am simulated, so a short answer will do."


def _compose_parts(request: ParsedRequest) -> list[Part]:
    """The parts of a response that calls no client tool."""
    if request.knobs.refuse:
        return [RefusalPart("I'm sorry, but I can't help with that.")]
    parts: list[Part] = []
    sources: list[CitedPage] = []
    words = set(_WORD.findall(request.question.lower()[:4000]))
    if request.knobs.search or (request.searches and words & {"search", "latest", "news"}):
        sources = [
            CitedPage(f"https://example.com/{number}", f"Result {number}")
            for number in range(1, min(max(1, request.knobs.search), 64) + 1)
        ]
        parts.append(SearchPart(" ".join(request.question[:60].split()) or "news", sources))
    if request.knobs.run or (request.runs and words & {"code", "python", "compute", "calculate"}):
        parts.append(CodeRunPart("print(6 * 7)", "42\n"))
    parts.append(TextPart(_compose_text(request), sources))
    if request.knobs.image or (request.draws and words & {"draw", "picture", "image", "paint"}):
        parts.append(ImagePart())
    return parts


def _compose_text(request: ParsedRequest) -> str:
    knobs = request.knobs
    if knobs.echo:
        text = request.question
    elif request.schema is not None:
        text = orjson.dumps(
            make_example(request.schema, SchemaHints.from_question(request.question))
        ).decode()
    else:
        text = _echo_words(request)
    return text if knobs.tokens is None else _repeat_to_count(knobs.tokens, text)


def _echo_words(request: ParsedRequest) -> str:
    title = _TITLES.get(request.provider) or PROVIDER_SPECS[request.provider].name
    sentences = [f"Hello! I am {request.model.partition(';')[0]}, a simulated {title} model."]
    if request.results:
        sentences.append(
            f"The tool answered {_quote_text('; '.join(request.results))}, so that is settled."
        )
    elif request.question:
        sentences.append(f"You said: {_quote_text(request.question)}.")
    if request.pictures:
        sizes = ", ".join(map(str, request.pictures[:8]))
        many = "an image" if len(request.pictures) == 1 else f"{len(request.pictures)} images"
        sentences.append(f"I see {many} ({sizes}).")
    first = request.seed % len(_REMARKS)
    sentences += [_REMARKS[first], _REMARKS[(first + 1 + request.seed // 8 % 7) % len(_REMARKS)]]
    return " ".join(sentences)


def _quote_text(text: str) -> str:
    short = " ".join(text[:400].split())
    return f'"{short if len(short) <= 120 else short[:119].rstrip() + "…"}"'


def _repeat_to_count(count: int, text: str) -> str:
    """`text` repeated, and cut so that it splits into `count` tokens again."""
    pieces = tokens.split_tokens(f" {text.strip() or '.'}")
    full_copies, rest = divmod(count, len(pieces))
    return ("".join(pieces) * full_copies + "".join(pieces[:rest])).lstrip()


def _compose_calls(request: ParsedRequest) -> list[CallPart]:
    hints = SchemaHints.from_question(request.question)
    if request.knobs.tool:
        schema = next(
            (t.schema for t in request.tools if t.name == request.knobs.tool), {"type": "object"}
        )
        return [_compose_call(OfferedTool(request.knobs.tool, schema), hints)] * min(
            request.knobs.calls, 64
        )
    return [_compose_call(tool, hints) for tool in _tools_to_call(request)]


def _compose_call(tool: OfferedTool, hints: SchemaHints) -> CallPart:
    value = make_example(tool.schema, hints)
    return CallPart(tool.name, orjson.dumps(value if isinstance(value, dict) else {}).decode())


def _tools_to_call(request: ParsedRequest) -> list[OfferedTool]:
    """The tools that the request forces, or that the last user turn mentions."""
    if request.choice == "none" or not request.tools:
        return []
    if request.choice.startswith("="):
        return [tool for tool in request.tools if tool.name == request.choice[1:]]
    if request.results and request.choice == "auto":
        return []
    words = set(_WORD.findall(request.question.lower()[:4000]))
    named = [tool for tool in request.tools if _is_mentioned(tool.name, request.question, words)]
    if request.choice == "any" and not named:
        named = request.tools[:1]
    return named if request.parallel else named[:1]


def _is_mentioned(name: str, question: str, words: set[str]) -> bool:
    if re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", question):
        return True
    parts = set(_WORD.findall(re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))
    telling = {part for part in parts if len(part) > 3} - _COMMON
    return bool(telling) and telling <= words


def _cut_at_stop(parts: list[Part], stops: list[str]) -> str | None:
    """Cut the text at the earliest stop sequence; reasoning and arguments stay whole."""
    last = next((part for part in parts if isinstance(part, TextPart)), None)
    if last is None:
        return None
    matches = [(at, stop) for stop in stops if stop and (at := last.text.find(stop)) >= 0]
    if not matches:
        return None
    at, stop = min(matches)
    last.text = last.text[:at]
    return stop


def _limit_tokens(
    parts: list[Part], stop: Stop, matched: str | None, limit: int | None
) -> SimulatedResponse:
    """Keep the first `limit` tokens of all parts together."""
    limited: list[Part] = []
    output = thought = 0
    for part in parts:
        pieces = tokens.split_tokens(_words_of(part))
        if not pieces and not isinstance(part, CodeRunPart | SearchPart | ImagePart):
            continue
        room = len(pieces) if limit is None else limit - output
        if room <= 0 and pieces:
            stop, matched = "length", None
            break
        if len(pieces) > room:
            pieces, stop, matched = pieces[:room], "length", None
            part = _with_words(part, "".join(pieces))
        limited.append(part)
        output += len(pieces)
        thought += len(pieces) if isinstance(part, ThoughtPart) else 0
    return SimulatedResponse(limited, stop, matched, output, thought)


def _words_of(part: Part) -> str:
    """The text of `part` that counts as output and can be cut."""
    match part:
        case CallPart():
            return part.arguments
        case ThoughtPart() | TextPart() | RefusalPart():
            return part.text
    return ""


def _with_words(part: Part, words: str) -> Part:
    member = "arguments" if isinstance(part, CallPart) else "text"
    return msgspec.structs.replace(part, **{member: words})

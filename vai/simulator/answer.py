"""What the simulated model says.

The law of this module: the answer is a function of the `Ask` alone, so the same request
gets the same text, calls and usage in every form and on every run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any, Final, Literal

import msgspec
import orjson

from vai.simulator import tokens
from vai.simulator.ask import Ask, Refused, Tool
from vai.simulator.schema import Hints, SchemaTooDeep, example

__all__ = ["Answer", "Call", "Text", "Thought", "compose", "signature_of"]

Stop = Literal["end", "length", "stop", "tool"]

_TITLES: Final = {"anthropic": "Anthropic", "openai": "OpenAI", "groq": "Groq"} | {
    "cerebras": "Cerebras"
}
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


class Thought(msgspec.Struct):
    """Reasoning ahead of the answer."""

    text: str


class Text(msgspec.Struct):
    """Plain words."""

    text: str


class Call(msgspec.Struct):
    """A tool call. The arguments are JSON text, cut short when the tokens ran out."""

    name: str
    arguments: str

    @property
    def input(self) -> Any:
        try:
            return orjson.loads(self.arguments)
        except orjson.JSONDecodeError:
            return {}


class Answer(msgspec.Struct):
    """The parts in their order, and why they end."""

    parts: list[Thought | Text | Call]
    stop: Stop
    stop_sequence: str | None
    tokens: int
    """All output, reasoning included."""
    thought_tokens: int


def compose(ask: Ask) -> Answer:
    """Answer `ask` within its limits.

    Raises:
        Refused: a schema that cannot be satisfied.
    """
    parts: list[Thought | Text | Call] = []
    thought = _thought(ask)
    if thought:
        parts.append(Thought(thought))
    try:
        calls = _calls(ask)
        parts += calls or [Text(_text(ask))]
    except SchemaTooDeep:
        raise Refused(400, "Invalid schema: it nests without end.") from None
    stop: Stop = "tool" if calls else "end"
    matched = _stopped(parts, ask.stop)
    return _limited(parts, "stop" if matched else stop, matched, ask.max_tokens)


def signature_of(thought: str) -> str:
    """The seal on a thinking block; a replayed block must carry it unchanged."""
    seal = hashlib.sha256(b"simulated thought\0" + thought.encode("utf-8", "replace")).digest()
    return base64.b64encode(b"\x12\x20" + seal * 2).decode()


def _thought(ask: Ask) -> str:
    if ask.knobs.think:
        return _exactly(ask.knobs.think, "Let me think about that, step by step.")
    if not ask.thinks:
        return ""
    return f"The question is {_quoted(ask.question)}. I am simulated, so a short answer will do."


def _text(ask: Ask) -> str:
    knobs = ask.knobs
    if knobs.echo:
        text = ask.question
    elif ask.schema is not None:
        text = orjson.dumps(example(ask.schema, Hints.of(ask.question))).decode()
    else:
        text = _words(ask)
    return text if knobs.tokens is None else _exactly(knobs.tokens, text)


def _words(ask: Ask) -> str:
    title = _TITLES.get(ask.provider, ask.provider)
    said = [f"Hello! I am {ask.model.partition(';')[0]}, a simulated {title} model."]
    if ask.results:
        said.append(f"The tool answered {_quoted('; '.join(ask.results))}, so that is settled.")
    elif ask.question:
        said.append(f"You said: {_quoted(ask.question)}.")
    if ask.pictures:
        sizes = ", ".join(map(str, ask.pictures[:8]))
        many = "an image" if len(ask.pictures) == 1 else f"{len(ask.pictures)} images"
        said.append(f"I see {many} ({sizes}).")
    first = ask.seed % len(_REMARKS)
    said += [_REMARKS[first], _REMARKS[(first + 1 + ask.seed // 8 % 7) % len(_REMARKS)]]
    return " ".join(said)


def _quoted(text: str) -> str:
    short = " ".join(text[:400].split())
    return f'"{short if len(short) <= 120 else short[:119].rstrip() + "…"}"'


def _exactly(count: int, text: str) -> str:
    """`text` over and over, cut so that it splits into `count` tokens again."""
    found = tokens.split(f" {text.strip() or '.'}")
    whole, rest = divmod(count, len(found))
    return ("".join(found) * whole + "".join(found[:rest])).lstrip()


def _calls(ask: Ask) -> list[Call]:
    hints = Hints.of(ask.question)
    if ask.knobs.tool:
        schema = next((t.schema for t in ask.tools if t.name == ask.knobs.tool), {"type": "object"})
        return [_call(Tool(ask.knobs.tool, schema), hints)] * min(ask.knobs.calls, 64)
    return [_call(tool, hints) for tool in _wanted(ask)]


def _call(tool: Tool, hints: Hints) -> Call:
    value = example(tool.schema, hints)
    return Call(tool.name, orjson.dumps(value if isinstance(value, dict) else {}).decode())


def _wanted(ask: Ask) -> list[Tool]:
    """The tools that are forced, or whose names the last user turn mentions."""
    if ask.choice == "none" or not ask.tools:
        return []
    if ask.choice.startswith("="):
        return [tool for tool in ask.tools if tool.name == ask.choice[1:]]
    if ask.results and ask.choice == "auto":
        return []
    words = set(_WORD.findall(ask.question.lower()[:4000]))
    named = [tool for tool in ask.tools if _mentioned(tool.name, ask.question, words)]
    if ask.choice == "any" and not named:
        named = ask.tools[:1]
    return named if ask.parallel else named[:1]


def _mentioned(name: str, question: str, words: set[str]) -> bool:
    if name in question:
        return True
    parts = set(_WORD.findall(re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))
    telling = {part for part in parts if len(part) > 3} - _COMMON
    return bool(telling) and telling <= words


def _stopped(parts: list[Thought | Text | Call], stops: list[str]) -> str | None:
    """Cut the text at the earliest stop sequence; reasoning and arguments are spared."""
    last = parts[-1]
    if not isinstance(last, Text):
        return None
    found = [(at, stop) for stop in stops if stop and (at := last.text.find(stop)) >= 0]
    if not found:
        return None
    at, stop = min(found)
    last.text = last.text[:at]
    return stop


def _limited(
    parts: list[Thought | Text | Call], stop: Stop, matched: str | None, limit: int | None
) -> Answer:
    """Keep the first `limit` tokens of all parts together."""
    kept: list[Thought | Text | Call] = []
    spent = thought = 0
    for part in parts:
        found = tokens.split(part.arguments if isinstance(part, Call) else part.text)
        if not found:
            continue
        room = len(found) if limit is None else limit - spent
        if room <= 0:
            stop, matched = "length", None
            break
        if len(found) > room:
            found, stop, matched = found[:room], "length", None
            text = "".join(found)
            part = Call(part.name, text) if isinstance(part, Call) else type(part)(text)
        kept.append(part)
        spent += len(found)
        thought += len(found) if isinstance(part, Thought) else 0
    return Answer(kept, stop, matched, spent, thought)

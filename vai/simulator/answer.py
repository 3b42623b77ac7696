"""What the simulated model says.

Invariants: the answer is a function of the `Ask` alone, so the same request
gets the same text, calls and usage in every form and on every run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

import msgspec
import orjson

from vai.providers.registry import PROVIDER_SPECS
from vai.simulator import tokens
from vai.simulator.ask import Ask, Refused, Tool
from vai.simulator.parts import (
    Answer,
    Call,
    Drawing,
    Part,
    Refusal,
    Run,
    Search,
    Source,
    Stop,
    Text,
    Thought,
    Usage,
)
from vai.simulator.schema import Hints, SchemaTooDeep, example

__all__ = ["compose", "dictated", "portion", "signature_of"]

_TITLES: Final = {"oai-resp": "OpenAI", "gemini": "Gemini", "gemini-oauth": "Gemini"}
"""What a provider is called where that is not its name in the registry."""
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


def compose(ask: Ask) -> Answer:
    """Answer `ask` within its limits.

    Raises:
        Refused: a schema that cannot be satisfied.
    """
    parts: list[Part] = []
    thought = _thought(ask)
    if thought:
        parts.append(Thought(thought, hidden=ask.knobs.sealed))
    try:
        calls = _calls(ask)
        parts += calls or _said(ask)
    except SchemaTooDeep:
        raise Refused(400, "Invalid schema: it nests without end.") from None
    stop: Stop = "tool" if calls else "refusal" if ask.knobs.refuse else "end"
    matched = _stopped(parts, ask.stop)
    whole = _limited(parts, "stop" if matched else stop, matched, ask.max_tokens)
    return portion(whole, ask.hop, ask.knobs.hops) if ask.knobs.hops else whole


def dictated(ask: Ask, parts: list[Part], stop: Stop | None, usage: Usage) -> Answer:
    """The answer a script gives to `ask`: its parts, and its figures over the counted ones."""
    if stop is None:
        called = any(isinstance(part, Call) for part in parts)
        refused = any(isinstance(part, Refusal) for part in parts)
        stop = "tool" if called else "refusal" if refused else "end"
    answer = _limited(parts, stop, None, None)
    if ask.knobs.hops:
        answer = portion(answer, ask.hop, ask.knobs.hops)
    for name in ("cache_read", "cache_write", "cache_write_1h"):
        if (figure := getattr(usage, name)) is not None:
            setattr(ask, name, figure)
    ask.tokens = ask.tokens if usage.input is None else usage.input
    answer.tokens = answer.tokens if usage.output is None else usage.output
    if usage.thinking is not None:
        answer.thought_tokens = usage.thinking
    return answer


def portion(answer: Answer, hop: int, hops: int) -> Answer:
    """The piece of `answer` that comes with request number `hop` of ``hops + 1``."""
    size = -(-answer.tokens // (hops + 1))
    first, kept = hop * size, 0
    parts: list[Part] = []
    for part in answer.parts:
        found = tokens.split(_words_of(part))
        mine = found[max(0, first - kept) : max(0, first + size - kept)]
        kept += len(found)
        if mine:
            parts.append(_reworded(part, "".join(mine)))
    last = hop >= hops
    return _limited(parts, answer.stop if last else "continue", answer.stop_sequence, None)


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


def _said(ask: Ask) -> list[Part]:
    """Everything the answer says when it calls no tool of the client's."""
    if ask.knobs.refuse:
        return [Refusal("I'm sorry, but I can't help with that.")]
    parts: list[Part] = []
    sources: list[Source] = []
    words = set(_WORD.findall(ask.question.lower()[:4000]))
    if ask.knobs.search or (ask.searches and words & {"search", "latest", "news"}):
        sources = [
            Source(f"https://example.com/{number}", f"Result {number}")
            for number in range(1, min(max(1, ask.knobs.search), 64) + 1)
        ]
        parts.append(Search(" ".join(ask.question[:60].split()) or "news", sources))
    if ask.knobs.run or (ask.runs and words & {"code", "python", "compute", "calculate"}):
        parts.append(Run("print(6 * 7)", "42\n"))
    parts.append(Text(_text(ask), sources))
    if ask.knobs.image or (ask.draws and words & {"draw", "picture", "image", "paint"}):
        parts.append(Drawing())
    return parts


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
    title = _TITLES.get(ask.provider) or PROVIDER_SPECS[ask.provider].name
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
    if re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", question):
        return True
    parts = set(_WORD.findall(re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))
    telling = {part for part in parts if len(part) > 3} - _COMMON
    return bool(telling) and telling <= words


def _stopped(parts: list[Part], stops: list[str]) -> str | None:
    """Cut the text at the earliest stop sequence; reasoning and arguments are spared."""
    last = next((part for part in parts if isinstance(part, Text)), None)
    if last is None:
        return None
    found = [(at, stop) for stop in stops if stop and (at := last.text.find(stop)) >= 0]
    if not found:
        return None
    at, stop = min(found)
    last.text = last.text[:at]
    return stop


def _limited(parts: list[Part], stop: Stop, matched: str | None, limit: int | None) -> Answer:
    """Keep the first `limit` tokens of all parts together."""
    kept: list[Part] = []
    spent = thought = 0
    for part in parts:
        found = tokens.split(_words_of(part))
        if not found and not isinstance(part, Run | Search | Drawing):
            continue
        room = len(found) if limit is None else limit - spent
        if room <= 0 and found:
            stop, matched = "length", None
            break
        if len(found) > room:
            found, stop, matched = found[:room], "length", None
            part = _reworded(part, "".join(found))
        kept.append(part)
        spent += len(found)
        thought += len(found) if isinstance(part, Thought) else 0
    return Answer(kept, stop, matched, spent, thought)


def _words_of(part: Part) -> str:
    """What of `part` counts as output and can be cut."""
    match part:
        case Call():
            return part.arguments
        case Thought() | Text() | Refusal():
            return part.text
    return ""


def _reworded(part: Part, words: str) -> Part:
    member = "arguments" if isinstance(part, Call) else "text"
    return msgspec.structs.replace(part, **{member: words})

"""A request of any wire format, as far as a response depends on it.

Invariants: two equal requests, one for JSON and one for a stream, become the same `ParsedRequest`
except for the members about the stream, and so the same response.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import orjson

from vai.simulator.knobs import Knobs
from vai.simulator.pictures import Picture

__all__ = ["OfferedTool", "ParsedRequest", "SimulatedError", "read_question", "seed_of"]

_APPLICATION_TEXT: Final = re.compile(
    r"(<system-reminder>|\A<system>).*?(?:</system(?:-reminder)?>|\Z)", re.DOTALL | re.IGNORECASE
)
"""The text that an agent's program adds to the user's words: Claude Code puts its reminders into
user turns, and a gateway can only write a system turn that way for Gemini."""


class SimulatedError(Exception):
    """The error with which the provider refuses a request."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


class OfferedTool(msgspec.Struct, frozen=True):
    """A tool on offer and the schema of its arguments."""

    name: str
    schema: Any


class ParsedRequest(msgspec.Struct, kw_only=True):
    """The content of a request. Token counts are of the input."""

    provider: str
    model: str
    knobs: Knobs
    seed: int
    question: str = ""
    """The last text of the last user turn, without the text that the client's program added."""
    results: list[str] = []
    """Tool results that the conversation ends with."""
    pictures: list[Picture] = []
    tools: list[OfferedTool] = []
    choice: str = "auto"
    """auto, any, none, or ``=name`` for one tool."""
    parallel: bool = True
    max_tokens: int | None = None
    stop: list[str] = []
    thinks: bool = False
    shows_thought: bool = True
    schema: Any = None
    """Set when the text must be JSON."""
    searches: bool = False
    """The request offers a web search as a server tool."""
    runs: bool = False
    """The request offers code execution as a server tool."""
    draws: bool = False
    """The client requests pictures."""
    hop: int = 0
    """How many requests before this one continued the same response."""
    include: frozenset[str] = frozenset()
    """Members that a response has only when the client requests them."""
    echo: dict[str, Any] = {}
    """Settings that the response repeats."""
    stream: bool = False
    framed: bool = True
    """The stream is one of events; Google's other form is one long JSON array."""
    usage_chunk: bool = False
    tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0


def seed_of(body: dict[str, Any]) -> int:
    """A number below 10^16 from the content of a request, the same on every run.

    It ignores the knobs: a fault must not change the response that it disturbs.
    """
    members = [body.get(name) for name in ("messages", "system", "tools")]
    others = ("input", "instructions", "contents", "systemInstruction")
    members += [body[name] for name in others if name in body]
    members.append(body["model"].partition(";")[0])
    digest = hashlib.blake2b(orjson.dumps(members), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 10**16


def read_question(texts: Iterable[str]) -> str:
    """Return the last of a turn's `texts` that has words beside the reminders in it.

    An agent's turn holds its reminders, which name its tools, beside the words of the user.
    """
    question = ""
    for text in texts:
        words, count = _APPLICATION_TEXT.subn("", text)
        if words.strip():
            question = words.strip() if count else text
    return question

"""From a request to its reply.

Invariants: a pure decision over what the simulator remembers (scripts,
seen prefixes, the journal); it sends nothing and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from vai.simulator import asides, dialects, messages
from vai.simulator.answer import compose, dictated
from vai.simulator.ask import Ask, Refused
from vai.simulator.caches import Prefixes
from vai.simulator.faces import (
    Face,
    Target,
    aim,
    answer_headers,
    authenticate,
    request_id_of,
)
from vai.simulator.faults import fault_body, fault_headers
from vai.simulator.journal import Entry, Journal
from vai.simulator.knobs import Knobs, KnobsUnreadable, parse
from vai.simulator.parts import Answer
from vai.simulator.reply import Reply, whole
from vai.simulator.scripts import Script, Scripts
from vai.simulator.threads import Threads
from vai.simulator.tries import Tries

__all__ = ["World"]

_BENCH: Final = "bench"
_MISREAD: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""The checks name what clients get wrong in practice. A member of a type that makes no
sense fails where it is read, and is no less the client's fault."""


class World:
    """The providers and their memory."""

    def __init__(self, pace: Knobs, journal: Journal) -> None:
        self.pace = pace
        self.journal = journal
        self.scripts = Scripts()
        self.tries = Tries()
        self._prefixes = Prefixes()
        self._threads = Threads()
        self._bench: dict[tuple[str, bool, bool], Reply] = {}

    def answer(self, entry: Entry, headers: Mapping[str, str]) -> Reply:
        """The reply to a request outside the control paths."""
        target = aim(entry.target)
        face = target.face
        entry.provider = face.name
        entry.request_id = request_id_of(face, entry.n)
        try:
            authenticate(face, headers)
            if target.action == "complete":
                if entry.method != "POST":
                    raise Refused(405, "Method Not Allowed")
                return self._complete(target, entry, headers)
            said = self._aside(target, entry, headers)
        except Refused as fault:
            return _refusal(face, fault, entry.request_id)
        given = answer_headers(face, entry.request_id, stream=False)
        return whole(200, given, orjson.dumps(said))

    def _complete(self, target: Target, entry: Entry, headers: Mapping[str, str]) -> Reply:
        face, body = target.face, _decoded(entry.body)
        model = dialects.model_of(target, body)
        entry.model = model if isinstance(model, str) else ""
        script = self.scripts.take(entry.model)
        if script is not None and script.answer is None:
            return script.reply()
        if entry.model == _BENCH:
            return self._benched(target, body)
        try:
            knobs = parse(entry.model, self.pace)
        except KnobsUnreadable as why:
            raise Refused(400, f"model: {why}") from None
        knobs = self.tries.weigh(f"{face.name}/{entry.model}", knobs)
        if knobs.status != 200:
            fault = Refused(knobs.status, "", code=knobs.code)
            return _refusal(face, fault, entry.request_id, knobs)
        try:
            threaded = face.dialect == "messages" and body.get("thread") is not None
            if threaded:
                body = self._threads.complete(body, headers)
            ask = dialects.read(target, body, headers, knobs, self._prefixes)
            answer = _answered(ask, script)
            if threaded:
                message_id, content = messages.kept(ask, answer)
                self._threads.keep(body, len(entry.body), message_id, content)
            return _drawn(face, ask, answer, entry.request_id)
        except _MISREAD:
            raise Refused(400, "A member of the request has the wrong type.") from None

    def _benched(self, target: Target, body: Any) -> Reply:
        """The same bytes for every request to `bench`: a load test measures others."""
        stream = body.get("stream") is True if target.stream is None else target.stream
        key = (target.path, stream, target.framed)
        kept = self._bench.get(key)
        if kept is None:
            said, headers = dialects.plain(target, _BENCH, stream), {"anthropic-version": "1"}
            ask = dialects.read(target, said, headers, Knobs(), self._prefixes)
            kept = _drawn(target.face, ask, compose(ask), "req_bench")
            kept.body = list(kept.body)
            self._bench[key] = kept
        return msgspec.structs.replace(kept)

    def _aside(self, target: Target, entry: Entry, headers: Mapping[str, str]) -> Any:
        """What the endpoints next to the answering one say."""
        if target.action != "count":
            return asides.tell(target, entry.method, entry.body)
        body = _decoded(entry.body)
        entry.model = str(dialects.model_of(target, body) or "")
        try:
            return dialects.count(target, body, headers)
        except _MISREAD:
            raise Refused(400, "A member of the request has the wrong type.") from None


def _answered(ask: Ask, script: Script | None) -> Answer:
    if script is None or script.answer is None:
        return compose(ask)
    said = script.answer
    return dictated(ask, list(said.parts), said.stop, said.usage)


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Refused(400, "The request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "The request body is not a JSON object")
    return body


def _drawn(face: Face, ask: Ask, answer: Answer, request_id: str) -> Reply:
    knobs = ask.knobs
    dialect = dialects.DIALECTS[face.dialect]
    headers = answer_headers(face, request_id, stream=ask.stream and ask.framed)
    if ask.stream:
        opening = knobs.ttft if knobs.head is None else knobs.head
        body = dialect.events(ask, answer, request_id)
        reply = Reply(
            status=200, headers=headers, body=body, head_at=opening, framing="chunked", knobs=knobs
        )
    else:
        at = knobs.ttft + (answer.tokens / knobs.tps if knobs.tps else 0.0)
        data = dialect.body(ask, answer, request_id)
        reply = whole(200, headers, data, at=at, tokens=answer.tokens)
        reply.knobs = knobs
    reply.input_tokens, reply.output_tokens = ask.tokens, answer.tokens
    return reply


def _refusal(face: Face, fault: Refused, request_id: str, knobs: Knobs = Knobs()) -> Reply:  # noqa: B008
    headers = fault_headers(face, fault, request_id, knobs.retry_after)
    if 300 <= fault.status < 400:
        headers.append(("location", "https://elsewhere.example/v1/messages"))
    data = orjson.dumps(fault_body(face, fault, request_id, knobs.retry_after))
    reply = whole(fault.status, headers, data, at=knobs.ttft)
    reply.knobs = knobs
    return reply

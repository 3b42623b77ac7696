"""From a request to its reply.

The law of this module: a pure decision over what the simulator remembers (scripts,
seen prefixes, the journal); it sends nothing and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from vai.simulator import chat, chat_check, messages, messages_check
from vai.simulator.answer import compose
from vai.simulator.ask import Ask, Refused
from vai.simulator.caches import Prefixes
from vai.simulator.faces import (
    FACES,
    Face,
    answer_headers,
    authenticate,
    fault_body,
    fault_headers,
    request_id_of,
)
from vai.simulator.journal import Entry, Journal
from vai.simulator.knobs import Knobs, KnobsUnreadable, parse
from vai.simulator.reply import Reply, whole
from vai.simulator.scripts import Scripts

__all__ = ["World"]

_BENCH: Final = "bench"
_MODELS: Final = ("sim-1", "sim-1-mini", "bench")
_BY_PATH: Final = {face.path: face for face in FACES}
_BY_PREFIX: Final = {face.name: face for face in FACES}


class World:
    """The four providers and their memory."""

    def __init__(self, pace: Knobs, journal: Journal) -> None:
        self.pace = pace
        self.journal = journal
        self.scripts = Scripts()
        self._prefixes = Prefixes()
        self._bench: dict[tuple[str, bool], Reply] = {}

    def answer(self, entry: Entry, headers: Mapping[str, str]) -> Reply:
        """The reply to a request outside the control paths."""
        path = entry.target.partition("?")[0]
        face = _BY_PATH.get(path) or _BY_PREFIX.get(path.split("/", 2)[1]) or FACES[1]
        entry.provider = face.name
        entry.request_id = request_id_of(face, entry.n)
        try:
            authenticate(face, headers)
            if path != face.path:
                return self._aside(face, entry, path, headers)
            if entry.method != "POST":
                raise Refused(405, "Method Not Allowed")
            return self._complete(face, entry, headers)
        except Refused as fault:
            return _refusal(face, fault, entry.request_id)

    def _complete(self, face: Face, entry: Entry, headers: Mapping[str, str]) -> Reply:
        body = _decoded(entry.body)
        model = body.get("model")
        entry.model = model if isinstance(model, str) else ""
        script = self.scripts.take(entry.model)
        if script is not None:
            return script.reply()
        if entry.model == _BENCH:
            return self._benched(face, body)
        try:
            knobs = parse(entry.model, self.pace)
        except KnobsUnreadable as why:
            raise Refused(400, f"model: {why}") from None
        if knobs.status != 200:
            fault = Refused(knobs.status, "", code=knobs.code)
            return _refusal(face, fault, entry.request_id, knobs)
        try:
            ask = self._read(face, body, headers, knobs)
            return _drawn(face, ask, entry.request_id)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            # The checks name what clients get wrong in practice. A member of a type that
            # makes no sense fails where it is read, and is no less the client's fault.
            raise Refused(400, "A member of the request has the wrong type.") from None

    def _read(self, face: Face, body: Any, headers: Mapping[str, str], knobs: Knobs) -> Ask:
        if face.dialect == "messages":
            return messages_check.read(body, headers, knobs, self._prefixes)
        return chat_check.read(body, face.name, knobs)

    def _benched(self, face: Face, body: Any) -> Reply:
        """The same bytes for every request to `bench`: a load test measures others."""
        key = (face.name, body.get("stream") is True)
        kept = self._bench.get(key)
        if kept is None:
            said: dict[str, Any] = {"model": _BENCH, "max_tokens": 40, "stream": key[1]}
            said["messages"] = [{"role": "user", "content": "Hello"}]
            ask = self._read(face, said, {"anthropic-version": "2023-06-01"}, Knobs())
            kept = _drawn(face, ask, "req_bench")
            kept.body = list(kept.body)
            self._bench[key] = kept
        return msgspec.structs.replace(kept)

    def _aside(self, face: Face, entry: Entry, path: str, headers: Mapping[str, str]) -> Reply:
        """The endpoints next to the main one."""
        given = answer_headers(face, entry.request_id, stream=False)
        if path == face.models_path and entry.method == "GET":
            return whole(200, given, orjson.dumps(_models(face)))
        if path == f"{face.path}/count_tokens" and face.dialect == "messages":
            body = _decoded(entry.body)
            entry.model = str(body.get("model", ""))
            ask = messages_check.read(body, headers, Knobs(), Prefixes(), counting=True)
            return whole(200, given, orjson.dumps({"input_tokens": ask.tokens}))
        if path == "/cerebras/v1/tcp_warming":
            return whole(200, given, b"{}")
        raise Refused(404, "Not found" if face.dialect == "messages" else f"Invalid URL ({path})")


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Refused(400, "The request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "The request body is not a JSON object")
    return body


def _drawn(face: Face, ask: Ask, request_id: str) -> Reply:
    answer = compose(ask)
    knobs = ask.knobs
    headers = answer_headers(face, request_id, stream=ask.stream)
    if ask.stream:
        if face.dialect == "messages":
            body = messages.events(ask, answer)
        else:
            body = chat.events(ask, answer, request_id)
        opening = knobs.ttft if knobs.head is None else knobs.head
        reply = Reply(
            status=200, headers=headers, body=body, head_at=opening, framing="chunked", knobs=knobs
        )
    else:
        if face.dialect == "messages":
            data = messages.body(ask, answer)
        else:
            data = chat.body(ask, answer, request_id)
        at = knobs.ttft + (answer.tokens / knobs.tps if knobs.tps else 0.0)
        reply = whole(200, headers, data, at=at, tokens=answer.tokens)
        reply.knobs = knobs
    reply.input_tokens, reply.output_tokens = ask.tokens, answer.tokens
    return reply


def _refusal(face: Face, fault: Refused, request_id: str, knobs: Knobs = Knobs()) -> Reply:  # noqa: B008
    headers = fault_headers(face, fault, request_id, knobs.retry_after)
    if 300 <= fault.status < 400:
        headers.append(("location", "https://elsewhere.example/v1/messages"))
    data = orjson.dumps(fault_body(face, fault, request_id))
    reply = whole(fault.status, headers, data, at=knobs.ttft)
    reply.knobs = knobs
    return reply


def _models(face: Face) -> dict[str, Any]:
    if face.dialect == "messages":
        rows = [
            {"type": "model", "id": m, "display_name": m, "created_at": "2026-01-01T00:00:00Z"}
            for m in _MODELS
        ]
        return {"data": rows, "has_more": False, "first_id": _MODELS[0], "last_id": _MODELS[-1]}
    owned = [
        {"id": m, "object": "model", "created": 1_790_000_000, "owned_by": face.name}
        for m in _MODELS
    ]
    return {"object": "list", "data": owned}

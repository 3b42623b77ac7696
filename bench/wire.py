"""The bytes of the load: requests, and the answers of both wire formats, built once.

The name of the model says what the mock answers (`Kind`), `max_tokens` how many delta
events a stream has. Every delta carries `MARK` and a stamp of fixed width, so that the
load generator counts events and measures their way without parsing them; a gateway
that translates has to carry the text, and with it the stamp.
"""

from __future__ import annotations

from typing import Literal

import orjson

__all__ = [
    "MARK",
    "PERIOD_MS",
    "STAMP_DIGITS",
    "AnswerForm",
    "Kind",
    "anthropic_form",
    "http_request",
    "message_request",
    "openai_form",
]

Kind = Literal["json", "paced", "flat", "bulk", "step"]
"""`paced` sends one event per `PERIOD_MS`, `step` one whenever it is told to. `flat` and `bulk`
send what the connection takes: an event per write, as a model does that is never waited for, or
many."""

PERIOD_MS = 50
"""20 events a second: what a fast model streams to one reader."""

MARK = b"~"
"""Stands before each stamp and nowhere else in an answer."""

STAMP_DIGITS = 19
"""Digits of a reading of CLOCK_MONOTONIC in nanoseconds, zero-padded."""

_STAMP = b"%019d"
_SENTENCE = "The quick brown fox jumps over the lazy dog.\nNobody asked it to. "


def message_request(model: str, *, stream: bool, max_tokens: int, size: int = 0) -> bytes:
    """A Messages request of a few hundred bytes, or of about `size` bytes of conversation."""
    turns = [{"role": "user", "content": "What does a proxy cost? Answer in one sentence."}]
    while size > sum(len(turn["content"]) + 32 for turn in turns):
        role = "assistant" if len(turns) % 2 else "user"
        turns.append({"role": role, "content": _SENTENCE * 40})
    if turns[-1]["role"] == "assistant":
        turns.append({"role": "user", "content": "And now?"})
    return orjson.dumps(
        {
            "model": model,
            "max_tokens": max_tokens,
            "system": "You answer briefly.",
            "messages": turns,
            "temperature": 0.5,
            "stream": stream,
        }
    )


def http_request(port: int, body: bytes, headers: dict[str, str]) -> bytes:
    """The POST to ``/v1/messages`` that carries `body`, as an SDK would send it."""
    fields = {
        "host": f"127.0.0.1:{port}",
        "accept": "application/json",
        "content-type": "application/json",
        "user-agent": "vai-bench",
        "anthropic-version": "2023-06-01",
        **headers,
        "content-length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /v1/messages HTTP/1.1\r\n{head}\r\n".encode() + body


class AnswerForm:
    """The precomputed answers of one wire format.

    `opening` and `closing` frame a stream's body, `event(ns)` is one delta with its
    stamp. All of them are HTTP chunks of their own, as upstreams send them, and
    `closing` ends the body.
    """

    def __init__(
        self, answer: bytes, opening: list[bytes], delta: bytes, closing: list[bytes]
    ) -> None:
        self.json = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: req_bench\r\n"
            b"content-length: %d\r\n\r\n" % len(answer)
        ) + answer
        self.opening = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"request-id: req_bench\r\ncache-control: no-cache\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        ) + b"".join(map(_chunk, opening))
        self._delta = _chunk(delta)
        self.closing = b"".join(map(_chunk, closing)) + b"0\r\n\r\n"

    def event(self, stamp_ns: int) -> bytes:
        """One delta event that says it was sent at `stamp_ns`."""
        return self._delta % stamp_ns


def _chunk(data: bytes) -> bytes:
    # A template's place holder is shorter than the stamp that replaces it.
    length = len(data) + data.count(_STAMP) * (STAMP_DIGITS - len(_STAMP))
    return b"%x\r\n" % length + data + b"\r\n"


def anthropic_form() -> AnswerForm:
    """Messages: JSON, and SSE with named events."""
    message: dict[str, object] = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "mock",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 21, "output_tokens": 1},
    }
    answer = {
        **message,
        "content": [{"type": "text", "text": _SENTENCE}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 21, "output_tokens": 17},
    }
    block = {"type": "text", "text": ""}
    delta = {"type": "text_delta", "text": MARK.decode() + _STAMP.decode() + " word"}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return AnswerForm(
        orjson.dumps(answer),
        [
            _named({"type": "message_start", "message": message}),
            _named({"type": "content_block_start", "index": 0, "content_block": block}),
        ],
        _named({"type": "content_block_delta", "index": 0, "delta": delta}),
        [
            _named({"type": "content_block_stop", "index": 0}),
            _named({"type": "message_delta", "delta": end, "usage": {"output_tokens": 17}}),
            _named({"type": "message_stop"}),
        ],
    )


def openai_form() -> AnswerForm:
    """Chat completions: JSON, and SSE closed by usage and ``[DONE]``."""
    usage = {"prompt_tokens": 21, "completion_tokens": 17, "total_tokens": 38}
    said = {"role": "assistant", "content": _SENTENCE, "refusal": None}
    answer = {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "mock",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
    }
    word = {"content": MARK.decode() + _STAMP.decode() + " word"}
    return AnswerForm(
        orjson.dumps(answer),
        [_completion({"role": "assistant", "content": ""})],
        _completion(word),
        [
            _completion({}, finish="stop"),
            _completion(None, usage=usage),
            b"data: [DONE]\n\n",
        ],
    )


def _named(event: dict[str, object]) -> bytes:
    return f"event: {event['type']}\ndata: ".encode() + orjson.dumps(event) + b"\n\n"


def _completion(
    delta: dict[str, str] | None,
    *,
    finish: str | None = None,
    usage: dict[str, int] | None = None,
) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "mock",
        "choices": [] if delta is None else [choice],
        "usage": usage,
    }
    return b"data: " + orjson.dumps(chunk) + b"\n\n"

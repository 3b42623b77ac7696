"""A request that meets a defect of ours is told so, wherever it is by then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.test_answers import call
from vai.exchange.exchange import ResponseStart
from vai.gateway.routes.messages import _relay_stream


class Exchange:
    """Answers with one batch, and breaks."""

    def __init__(self) -> None:
        self.mode = FakeMode()

    async def start(self) -> ResponseStart[bytes]:
        return ResponseStart(200, {}, True, b"data: 1\n\n")

    async def relay_batches(self, write: object) -> bool:
        return True

    async def read_batch(self) -> bytes:
        raise RuntimeError("a defect")


class Events:
    """What the caller has been sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.finished = False

    @property
    def is_started(self) -> bool:
        return bool(self.sent)

    def add_headers(self, headers: dict[str, str]) -> None:
        pass

    def write_frames(self, frames: bytes) -> bool:
        self.sent.append(frames)
        return True

    async def send_frames(self, frames: bytes) -> None:
        self.sent.append(frames)

    async def finish_stream(self) -> None:
        self.finished = True


class FakeMode:
    """A translated mode that dropped nothing."""

    is_verbatim = False
    dropped_fields = ()


async def test_a_defect_in_the_middle_of_a_stream_is_its_last_event() -> None:
    exchange: Any = Exchange()
    events: Any = Events()
    service: Any = None
    served = call()
    with pytest.raises(RuntimeError):
        await _relay_stream(service, served, exchange, events)
    assert events.sent[0] == b"data: 1\n\n"
    assert events.sent[1].startswith(b"event: error\n")
    assert b"Internal server error" in events.sent[1]
    assert events.finished
    assert served.error is not None
    assert (served.status, served.error.type) == (200, "api_error")

"""An answer that goes on in further requests is one exchange: one lease, one total, one end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.exchange.rig import CUT, FOREVER, JSON, SILENCE, SSE, Rig, Said
from vai.errors import UpstreamBroken, UpstreamFault, UpstreamRejected, UpstreamTimeout
from vai.policy.timers import Timers
from vai.types.message import Usage
from vai.types.provider import WireRequest

TIMERS = Timers(connect=1, headers=2, first_token=3, inter_chunk=4, total=20)


def wire(name: bytes) -> WireRequest:
    return WireRequest("POST", "/x", (), name, streams=True)


class FakeMode:
    """Goes on `more` times; each body ends with or without the end of the answer."""

    is_verbatim = False
    ended_early = False
    forwarded_error: UpstreamFault | None = None
    stream_error: UpstreamFault | None = None

    def __init__(self, more: int, *, streaming: bool = True) -> None:
        self.more = more
        self.is_streaming = streaming
        self.usage = Usage(input_tokens=1, output_tokens=2)
        self.stop_reason: str | None = None
        self.dropped_fields: list[str] = []
        self.has_content = self.is_complete = False
        self.continuation: WireRequest | None = None
        self.bodies = 0
        self.upstream_request = wire(b"first")

    def accepts_media_type(self, media_type: str) -> bool:
        return media_type in ("text/event-stream", "application/json")

    def parse_rejection(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamFault:
        return UpstreamRejected("no", status=status)

    def forward_rejection(self, fault: UpstreamFault, body: bytes) -> bytes:
        raise fault

    def decode_json_body(self, body: bytes) -> bytes | None:
        return body if self._ends() else None

    def feed_stream(self, data: bytes) -> bytes | None:
        self.has_content = True
        return data

    def end_stream(self) -> bytes | None:
        self.is_complete = self._ends()
        return b"|"

    def estimate_usage(self) -> Usage:
        return self.usage

    def _ends(self) -> bool:
        self.bodies += 1
        self.continuation = wire(b"again%d" % self.bodies) if self.bodies <= self.more else None
        if self.continuation is None:
            self.stop_reason = "end_turn"
        return self.continuation is None


async def test_a_stream_goes_on_in_the_next_body() -> None:
    rig = Rig(FakeMode(2), [b"a", b"b"], then=[Said([b"c"]), Said([b"d"])])
    assert await rig.run() == [b"a", b"b", b"|", b"c", b"|", b"d", b"|"]
    assert [sent.body for sent in rig.upstream.sent] == [b"first", b"again1", b"again2"]
    assert [reply.closed for reply in rig.upstream.replies] == [1, 1, 1]
    assert all(reply.kept for reply in rig.upstream.replies)
    assert rig.assert_settled_once().outcome == "completed"
    assert len(rig.admission.charged) == 1


async def test_a_json_answer_goes_on_in_the_next_body() -> None:
    mode = FakeMode(1, streaming=False)
    rig = Rig(mode, [b"one"], headers=JSON, then=[Said([b"two"], headers=JSON)])
    assert await rig.run() == [b"two"]
    assert [reply.closed for reply in rig.upstream.replies] == [1, 1]
    assert rig.assert_settled_once().outcome == "completed"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    "said",
    [
        Said([b"{}"], status=500, headers=JSON),
        Said([b"{}"], status=429, headers=JSON),
        Said([CUT], headers=SSE),
        Said([b"x"], headers={"content-type": "text/html"}),
        Said([b""], status=302, headers={}),
    ],
)
async def test_what_follows_and_fails_ends_the_answer_as_failed(streaming, said) -> None:
    rig = Rig(
        FakeMode(1, streaming=streaming), [b"a"], headers=SSE if streaming else JSON, then=[said]
    )
    with pytest.raises(UpstreamFault):
        await rig.run()
    settlement = rig.assert_settled_once()
    assert settlement.outcome == "upstream_failed"
    assert settlement.usage.output_tokens == 2
    assert [reply.closed for reply in rig.upstream.replies] == [1, 1]


async def test_the_total_timer_holds_over_all_bodies() -> None:
    steps = [Said([3.5, b"x"]) for _ in range(9)]
    rig = Rig(FakeMode(100), [3.5, b"a"], then=steps, timers=TIMERS)
    with pytest.raises(UpstreamTimeout) as caught:
        await rig.run()
    assert caught.value.code == "total_timeout"
    assert rig.clock.now < 1020 + 3.5
    rig.assert_settled_once()


async def test_silence_in_what_follows_is_between_two_reads() -> None:
    rig = Rig(FakeMode(1), [b"a"], then=[Said([SILENCE])], timers=TIMERS)
    with pytest.raises(UpstreamTimeout) as caught:
        await rig.run()
    assert caught.value.code == "inter_chunk_timeout"


async def test_an_end_that_is_none_is_a_fault_and_no_endless_loop() -> None:
    mode = FakeMode(0)
    mode.end_stream = lambda: None  # type: ignore[method-assign]
    rig = Rig(mode, [b"a"])
    with pytest.raises(UpstreamBroken) as caught:
        await rig.run()
    assert caught.value.code == "upstream_truncated"
    assert rig.assert_settled_once().outcome == "upstream_failed"


@pytest.mark.parametrize("steps", range(8))
async def test_a_caller_who_leaves_leaves_nothing_open(steps: int) -> None:
    rig = Rig(FakeMode(2), [b"a"], then=[Said([b"c"]), Said([FOREVER])])
    task = asyncio.create_task(rig.run())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if not rig.settlements:
        return  # it never ran
    assert rig.assert_settled_once().outcome == "client_left"
    assert all(reply.closed >= 1 for reply in rig.upstream.replies)

"""In process, too, what passes by itself is tried once more, and only before the first byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.rig import Simulated
from vai.direct import DirectClient
from vai.errors import UpstreamRejected
from vai.policy.retry import RetryRules
from vai.simulator.process import start_simulator
from vai.types.events import MessageStop

QUICK = RetryRules(base_delay=0.01)
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulated]:
    with start_simulator() as process:
        simulated = Simulated(process.url)
        yield simulated
        simulated.close()


def direct(simulator: Simulated, retries: RetryRules | None) -> DirectClient:
    urls = {"openai": simulator.base_url("openai")}
    return DirectClient({"openai": "sk-own"}, base_urls=urls, retries=retries)


async def test_a_failure_that_passes_is_not_seen(simulator: Simulated) -> None:
    async with direct(simulator, QUICK) as vai:
        message = await vai.create({"model": "openai/once;fail=1x503", "messages": HELLO})
        assert message.stop_reason == "end_turn"
        ask = {"model": "openai/again;fail=1x429;retry_after=0", "messages": HELLO}
        events = [event async for event in vai.stream(ask)]
    assert isinstance(events[-1], MessageStop)
    assert len(simulator.journal("once;fail=1x503")) == 2
    assert len(simulator.journal("again;fail=1x429;retry_after=0")) == 2


async def test_without_retries_there_is_one_attempt(simulator: Simulated) -> None:
    async with direct(simulator, None) as vai:
        with pytest.raises(UpstreamRejected):
            await vai.create({"model": "openai/single;fail=1x503", "messages": HELLO})
    assert len(simulator.journal("single;fail=1x503")) == 1


async def test_nothing_is_tried_after_the_first_event(simulator: Simulated) -> None:
    model = "broken;tokens=50;tps=500;error_at=3"
    async with direct(simulator, QUICK) as vai:
        with pytest.raises(UpstreamRejected):
            async for _ in vai.stream({"model": f"openai/{model}", "messages": HELLO}):
                pass
    assert len(simulator.journal(model)) == 1

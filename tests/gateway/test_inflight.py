"""Every exchange is counted once, and told once."""

from __future__ import annotations

import asyncio
import time

import pytest

from vai.errors import Overloaded
from vai.gateway.admission.inflight import InFlightExchanges


def test_slots_are_counted_and_mirrored() -> None:
    inflight, seen = InFlightExchanges(limit=2), []
    inflight.publish_count_to(seen.append)
    with (
        inflight.start_exchange(),
        inflight.start_exchange(),
        pytest.raises(Overloaded, match="worker_full"),
    ):
        inflight.start_exchange()
    assert seen == [0, 1, 2, 1, 0]


def test_a_failing_exchange_leaves_the_count() -> None:
    inflight = InFlightExchanges()
    with pytest.raises(ZeroDivisionError), inflight.start_exchange():
        raise ZeroDivisionError
    assert inflight.count == 0


def test_refusing_says_draining() -> None:
    inflight = InFlightExchanges()
    inflight.refusing = True
    with pytest.raises(Overloaded) as refused:
        inflight.start_exchange()
    assert refused.value.code == "draining"
    assert refused.value.status == 503
    assert refused.value.retry_after


def test_expire_tells_each_exchange_once_and_late_listeners_too() -> None:
    inflight, told = InFlightExchanges(), []
    with inflight.start_exchange() as early, inflight.start_exchange() as late:
        early.on_expire(lambda: told.append("early"))
        assert inflight.expire_all() == 2
        inflight.expire_all()
        late.on_expire(lambda: told.append("late"))
    assert told == ["early", "late"]


@pytest.mark.timing
def test_empty_waits_no_longer_than_told() -> None:
    async def main() -> tuple[bool, float]:
        inflight = InFlightExchanges()
        with inflight.start_exchange():
            began = time.monotonic()
            return await inflight.wait_until_empty(0.1), time.monotonic() - began

    emptied, took = asyncio.run(main())
    assert not emptied
    assert took < 0.5

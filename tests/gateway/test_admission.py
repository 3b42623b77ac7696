"""What is taken is given back, and a refusal says what to do about it."""

from __future__ import annotations

import asyncio
import mmap

import pytest

from vai.errors import Overloaded, RateLimited
from vai.gateway.admission.controller import AdmissionController
from vai.gateway.admission.inflight import InFlightExchanges
from vai.io.limits.layout import section_size
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal
from vai.types.message import Usage

NOTHING = Usage(input_tokens=0, output_tokens=0)


class Rig:
    """A door before a real store, with a clock that stands still."""

    def __init__(self, **limits: int) -> None:
        view = memoryview(mmap.mmap(-1, section_size(64, 64)))
        self.store = SharedLimits(LimitsSection.prepare(view, 64, 64), 0, 1)
        self.inflight = InFlightExchanges()
        self.now = 100.0
        self.door = AdmissionController(self.inflight, self.store, lambda: self.now)
        self.principals = (Principal(GATEWAY), Principal("user:a", LimitSet(**limits)))
        self.told: list[Decision] = []

    async def enter(self, tokens: int = 0):
        return await self.door.admit(self.principals, self.told.append, tokens)

    def used(self) -> tuple[int, int, int]:
        (use,) = [
            use
            for use in asyncio.run(self.store.read_snapshot(self.now)).principals
            if use.name == "user:a"
        ]
        return use.running, use.requests, use.tokens


def test_what_was_used_is_charged_in_place_of_what_was_reserved():
    rig = Rig(tokens=1000)

    async def scenario():
        lease = await rig.enter(600)
        with pytest.raises(RateLimited) as caught:
            await rig.enter(600)
        assert caught.value.code == "tokens_limit"
        assert caught.value.retry_after > 0
        lease.settle(
            Usage(
                input_tokens=10,
                output_tokens=20,
                cache_read_input_tokens=30,
                cache_creation_input_tokens=40,
                thinking_tokens=5,
            )
        )

    asyncio.run(scenario())
    assert rig.used() == (0, 1, 100)
    assert rig.inflight.count == 0


def test_a_refusal_takes_nothing():
    rig = Rig(requests=1)

    async def scenario():
        (await rig.enter()).settle(NOTHING)
        with pytest.raises(RateLimited) as caught:
            await rig.enter()
        assert caught.value.code == "requests_limit"
        assert caught.value.message.startswith("Your limit of requests per minute")
        assert 60 <= caught.value.retry_after <= 65

    asyncio.run(scenario())
    assert rig.inflight.count == 0
    assert [decision.is_admitted for decision in rig.told] == [True, False]


def test_whose_limit_it_is_is_said():
    rig = Rig()
    rig.principals = (Principal(GATEWAY, LimitSet(concurrency=1)), Principal("user:a"))

    async def scenario():
        await rig.enter()
        with pytest.raises(RateLimited, match="The gateway's limit of requests that run at once"):
            await rig.enter()

    asyncio.run(scenario())


def test_a_draining_worker_charges_nobody():
    rig = Rig(requests=5)
    rig.inflight.refusing = True

    async def scenario():
        with pytest.raises(Overloaded):
            await rig.enter()

    asyncio.run(scenario())
    assert rig.told == []


def test_more_callers_than_can_be_counted_is_no_fault_of_theirs():
    rig = Rig(requests=5)

    async def scenario():
        with pytest.raises(Overloaded) as caught:
            for number in range(500):
                rig.principals = (Principal(GATEWAY), Principal(f"address:{number}"))
                await rig.enter()
        assert (caught.value.status, caught.value.code) == (503, "limits_full")

    asyncio.run(scenario())


def test_without_a_store_everybody_comes_in():
    door = AdmissionController(InFlightExchanges(), None, lambda: 0.0)

    async def scenario():
        lease = await door.admit((), pytest.fail, 10**9)
        lease.settle(NOTHING)

    asyncio.run(scenario())

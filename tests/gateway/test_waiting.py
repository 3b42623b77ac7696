"""Who waits is served in turn, and what came too late is given back."""

from __future__ import annotations

import asyncio
import mmap
import time

import pytest

from vai.gateway.admission import controller
from vai.gateway.admission.controller import AdmissionQueue
from vai.io.limits.layout import section_size
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal


@pytest.fixture
def store():
    view = memoryview(mmap.mmap(-1, section_size(64, 64)))
    return SharedLimits(LimitsSection.prepare(view, 64, 64), 0, 1)


def who(name: str, *, mine: int = 1, everybody: int = 0) -> tuple[Principal, ...]:
    return (
        Principal(GATEWAY, LimitSet(concurrency=everybody)),
        Principal(name, LimitSet(concurrency=mine)),
    )


class Rig:
    """A queue, and the places that were given."""

    def __init__(self, store, longest: float = 5.0) -> None:
        self.store = store
        self.queue = AdmissionQueue(store, time.monotonic, max_wait=longest)
        self.order: list[str] = []

    async def enter(self, name: str, label: str = "", **limits: int):
        decision = await self.queue.admit(who(name, **limits), 0)
        if decision.is_admitted:
            self.order.append(label or name)
        return decision

    def leave(self, decision) -> None:
        assert self.store.settle(decision.handle, 0, time.monotonic())
        self.queue.notify_freed()

    async def waits(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.queue.waiting_count != count:
                await asyncio.sleep(0)


def test_without_a_wait_a_refusal_comes_at_once(store):
    async def scenario():
        rig = Rig(store, longest=0)
        assert (await rig.enter("a")).is_admitted
        assert (await rig.enter("a")).refused == "concurrency"
        assert rig.queue.waiting_count == 0

    asyncio.run(scenario())


def test_the_order_of_arrival_holds(store):
    async def scenario():
        rig = Rig(store)
        held = await rig.enter("a", "0")
        tasks = []
        for label in "1234":
            tasks.append(asyncio.create_task(rig.enter("a", label)))
            await rig.waits(len(tasks))
        for task in tasks:
            rig.leave(held)
            held = await task
        assert rig.order == list("01234")

    asyncio.run(scenario())


def test_principals_take_turns(store):
    async def scenario():
        rig = Rig(store)
        limits = {"mine": 0, "everybody": 1}
        held = await rig.enter("greedy", **limits)
        tasks = [asyncio.create_task(rig.enter("greedy", **limits)) for _ in range(6)]
        await rig.waits(6)
        tasks.append(asyncio.create_task(rig.enter("modest", **limits)))
        await rig.waits(7)
        for _ in range(7):
            rig.leave(held)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            (first,) = done
            tasks.remove(first)
            held = first.result()
        # Its turn comes after one of the six, not after all of them.
        assert rig.order.index("modest") <= 2

    asyncio.run(scenario())


def test_a_full_principal_keeps_nobody_else_waiting(store):
    async def scenario():
        rig = Rig(store)
        await rig.enter("a")
        waiter = asyncio.create_task(rig.enter("a"))
        await rig.waits(1)
        async with asyncio.timeout(1):
            assert (await rig.enter("b")).is_admitted
        waiter.cancel()

    asyncio.run(scenario())


def test_a_place_of_another_worker_is_noticed(store):
    async def scenario():
        rig = Rig(store)
        held = await rig.enter("a")
        waiter = asyncio.create_task(rig.enter("a"))
        await rig.waits(1)
        assert store.settle(held.handle, 0, time.monotonic())  # nobody tells the queue
        async with asyncio.timeout(5):
            assert (await waiter).is_admitted

    asyncio.run(scenario())


def test_a_wait_that_is_over_is_refused_with_what_refused(store):
    async def scenario():
        rig = Rig(store, longest=0.05)
        await rig.enter("a")
        decision = await rig.enter("a")
        assert (decision.refused, decision.principal) == ("concurrency", "a")
        assert rig.queue.waiting_count == 0

    asyncio.run(scenario())


def test_callers_that_leave_take_no_place_with_them(store):
    async def scenario():
        rig = Rig(store)
        for pause in range(30):
            held = await rig.enter("a")
            tasks = [asyncio.create_task(rig.enter("a")) for _ in range(3)]
            await rig.waits(3)
            rig.leave(held)
            for _ in range(pause % 5):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for answer in answers:
                if not isinstance(answer, BaseException):
                    rig.leave(answer)
            await rig.waits(0)
            async with asyncio.timeout(5):  # whatever was given to nobody has come back
                again = await rig.enter("a")
            rig.leave(again)
        assert (await store.read_snapshot(time.monotonic())).leases == ()

    asyncio.run(scenario())


def test_no_more_wait_than_can_be_held(store, monkeypatch):
    monkeypatch.setattr(controller, "MAX_WAITING", 2)

    async def scenario():
        rig = Rig(store)
        await rig.enter("a")
        tasks = [asyncio.create_task(rig.enter("a")) for _ in range(2)]
        await rig.waits(2)
        async with asyncio.timeout(1):
            assert (await rig.enter("a")).refused == "concurrency"
        for task in tasks:
            task.cancel()

    asyncio.run(scenario())

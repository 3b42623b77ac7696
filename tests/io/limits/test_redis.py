"""The store on a server keeps the contract, and computes what the one in memory computes."""

from __future__ import annotations

import asyncio
import itertools
import os
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io.limits.contract import ALICE, BOB, Contract, Machine
from tests.io.limits.redis_server import limits_at, running
from tests.io.limits.test_shared import memory
from vai.io.limits.redis.store import RedisLimits
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal

FULL = os.environ.get("VAI_CHAOS_FULL") == "1"


class Family:
    """Workers on one prefix, counting by the times that are passed in."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.prefix = uuid4().hex
        self.members: list[RedisLimits] = []

    def another(self) -> Heard:
        claim = len(self.members) + 5
        limits = limits_at(running().url, self.prefix, claim=claim, own_time=False)
        # Handles begin at random; the order of places must not depend on it, for hypothesis
        # draws from them and expects what it drew before.
        limits._numbers = itertools.count((1 << 62) + (claim << 32))
        self.members.append(limits)
        return Heard(self, limits, claim)

    def close(self) -> None:
        for limits in self.members:
            self.runner.run(limits.aclose())
        self.runner.close()


class Heard:
    """A store whose returns are delivered at once, so that the server's answer can be told.

    A place is given back by whoever took it, as the law has it.
    """

    def __init__(self, family: Family, limits: RedisLimits, claim: int) -> None:
        self.family, self.limits, self.claim = family, limits, claim
        self.admit, self.acquire_session = limits.admit, limits.acquire_session
        self.record_heartbeat, self.list_sessions = limits.record_heartbeat, limits.list_sessions
        self.expire_sessions, self.reclaim_leases = limits.expire_sessions, limits.reclaim_leases
        self.read_snapshot = limits.read_snapshot

    def settle(self, handle: int, used: int, now: float, /) -> bool:
        taker = self._taker(handle)
        return taker.settle(handle, used, now) and self._told(taker)

    def release(self, handle: int, /) -> bool:
        taker = self._taker(handle)
        return taker.release(handle) and self._told(taker)

    def _taker(self, handle: int) -> RedisLimits:
        return next((one for one in self.family.members if one.is_holding(handle)), self.limits)

    def _told(self, taker: RedisLimits) -> bool:
        (answer,) = self.family.runner.run(taker.deliver_returns())
        return answer


class TestRedis(Contract):
    @pytest.fixture(autouse=True)
    def family(self):
        self.members = Family(asyncio.Runner())
        yield
        self.members.close()

    @pytest.fixture
    def store(self, family) -> Heard:
        return self.members.another()

    @pytest.fixture
    def other(self, family) -> Heard:
        return self.members.another()

    def run(self, work):
        return self.members.runner.run(work)

    def owner_of(self, store) -> int:
        return store.claim


class RedisMachine(Machine):
    def open(self):
        self.family = Family(self.runner)
        return [self.another(), self.another()]

    def another(self):
        worker = self.family.another()
        return worker.claim, worker

    def teardown(self) -> None:
        if hasattr(self, "family"):
            self.family.close()


RedisMachine.TestCase.settings = settings(
    max_examples=1000 if FULL else 10,
    stateful_step_count=40,
    deadline=None,
    derandomize=not FULL,
)
TestMachine = RedisMachine.TestCase


LIMITS = st.builds(
    LimitSet,
    st.sampled_from([0, 1, 3, 60, 1000]),
    st.sampled_from([0, 10, 100, 6000, 10**9]),
    st.sampled_from([0, 1, 2, 5]),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
)
STEPS = st.tuples(
    st.sampled_from(
        ["admit", "admit", "admit", "settle", "settle", "acquire", "release", "beat", "expire"]
    ),
    st.integers(0, 2**16),
    st.one_of(st.integers(0, 150), st.sampled_from([5000, 10**9])),
    st.sampled_from([0.0, 0.0, 0.001, 0.4, 1.7, 4.999, 5.0, 59.9, 65.0, -3.0, 700.0]),
)


@settings(max_examples=5000 if FULL else 60, deadline=None, derandomize=not FULL)
@given(
    limits=st.lists(LIMITS, min_size=3, max_size=3),
    steps=st.lists(STEPS, min_size=40, max_size=120),
    start=st.sampled_from([0.0, 4.2, 1000.0, 1.8e9]),
)
def test_both_stores_decide_alike(limits, steps, start) -> None:
    """Every figure of every decision, whatever came before."""
    with asyncio.Runner() as runner:
        run = runner.run
        here = SharedLimits(memory(), 0, owner=5)
        there = limits_at(running().url, uuid4().hex, own_time=False)
        people = [
            Principal(name, limits)
            for name, limits in zip([GATEWAY, ALICE, BOB], limits, strict=True)
        ]
        held: list[tuple[int, int]] = []
        now = start
        for what, number, tokens, wait in steps:
            now = max(0.0, now + wait)
            principals = (people[0], *[people[1 + n] for n in (0, 1) if number >> n & 1])
            pick = held[number % len(held)] if held else (0, 0)
            if what in {"admit", "acquire"}:
                if what == "admit":
                    pair = [run(store.admit(principals, tokens, now)) for store in (here, there)]
                else:
                    pair = [run(store.acquire_session(principals, now)) for store in (here, there)]
                assert figures(pair[0]) == figures(pair[1]), (what, now)
                if pair[0].is_admitted:
                    held.append((pair[0].handle, pair[1].handle))
            elif what == "expire":
                count = len(run(here.expire_sessions(now - 50)))
                assert count == len(run(there.expire_sessions(now - 50)))
            elif what == "beat":
                told = [
                    run(s.record_heartbeat(h, now))
                    for s, h in zip((here, there), pick, strict=True)
                ]
                assert told[0] == told[1]
            else:
                used = () if what == "release" else (tokens, now)
                act = what
                told = getattr(here, act)(pick[0], *used)
                if tokens % 4 and held:  # else it is given back twice, in time
                    held.remove(pick)
                assert (
                    getattr(there, act)(pick[1], *used) and run(there.deliver_returns())[0]
                ) == told
        assert uses(run(here.read_snapshot(now))) == uses(run(there.read_snapshot(now)))
        run(there.aclose())


def figures(decision) -> list[object]:
    fields = [field for field in decision.__struct_fields__ if field != "handle"]
    return [decision.is_admitted, *[getattr(decision, field) for field in fields]]


def uses(snapshot) -> dict[str, tuple[int, ...]]:
    found = {
        one.name: (one.running, one.sessions, one.requests, one.tokens)
        for one in snapshot.principals
    }
    return {name: figures for name, figures in found.items() if any(figures)}

"""What holds when several machines count on one server, and when one of them dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from tests.io.limits.redis_node import HELD, KINDS, LIMITS
from tests.io.limits.redis_server import limits_at, running
from vai.policy.limits.sets import LimitSet, Principal

ROOT = Path(__file__).parents[3]
ALICE = "user:alice"


def node(what: str, prefix: str, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.io.limits.redis_node", what, running().url, prefix, name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def test_three_machines_are_given_exactly_the_limit_together() -> None:
    prefix = uuid4().hex
    nodes = [node("fill", prefix, f"n{number}") for number in range(3)]
    try:
        found = [orjson.loads(one.communicate(timeout=50)[0]) for one in nodes]
    finally:
        for one in nodes:
            one.kill()
    for kind in KINDS:
        for limit in LIMITS:
            assert sum(one[f"{kind}:{limit}"] for one in found) == limit, (kind, limit, found)


def test_what_a_dead_machine_held_lapses_and_no_more_than_that_is_given() -> None:
    prefix = uuid4().hex
    dying = node("hold", prefix, "dying")
    try:
        assert dying.stdout is not None
        assert int(dying.stdout.readline()) == 3
        asyncio.run(_take_over(prefix, dying))
    finally:
        dying.kill()
        dying.communicate()


async def _take_over(prefix: str, dying: subprocess.Popen[bytes]) -> None:
    heir = limits_at(running().url, prefix, node="heir")
    first = min([one.handle for one in await heir._list_leases()])
    key = f"{{{prefix}}}:o:dying:1"
    for _ in range(2):  # a live machine has its places last
        before = await _score(key, first)
        deadline = time.monotonic() + 30
        while await _score(key, first) == before:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    assert not (await heir.admit((HELD,), 1, 0.0)).is_admitted
    dying.kill()
    dying.wait()
    passed, deadline = 0, time.monotonic() + 30
    while passed < 3:
        assert time.monotonic() < deadline
        if (await heir.admit((HELD,), 1, 0.0)).is_admitted:
            passed += 1
        else:
            await asyncio.sleep(0.05)
    assert not (await heir.admit((HELD,), 1, 0.0)).is_admitted
    (used,) = (await heir.read_snapshot(0.0)).principals
    assert (used.running, used.requests) == (3, 6), "what the dead had charged stays charged"
    await heir.aclose()


async def _score(key: str, handle: int) -> float:
    from redis.asyncio import Redis

    async with Redis.from_url(running().url) as client:
        found = await client.zscore(key, str(handle))
        assert found is not None
        return float(found)


def test_an_idle_principal_leaves_nothing_behind_that_does_not_vanish() -> None:
    prefix = uuid4().hex

    async def use() -> None:
        limits = limits_at(running().url, prefix)
        who = (Principal("", LimitSet()), Principal(ALICE, LimitSet(requests=60, smooth=True)))
        taken = [await limits.admit(who, 10, 0.0) for _ in range(3)]
        session = await limits.acquire_session(who, 0.0)
        assert await limits.record_heartbeat(session.handle, 0.0)
        limits.settle(taken[0].handle, 5, 0.0)
        limits.release(taken[1].handle)
        await limits.deliver_returns()
        await limits.reclaim_leases(77)
        await limits.aclose()

    asyncio.run(use())
    import redis

    with redis.Redis.from_url(running().url) as client:
        keys = list(client.scan_iter(match=f"{{{prefix}}}*"))
        names = client.pttl(f"{{{prefix}}}:names")
        ages = {key: client.pttl(key) for key in keys}
    assert len(keys) > 8
    assert all(0 < age <= 3_600_000 for age in ages.values()), (ages, names)


def test_the_server_s_clock_counts_and_times_are_told_in_the_caller_s() -> None:
    async def use() -> None:
        limits = limits_at(running().url)
        who = (Principal(ALICE, LimitSet(requests=2)),)
        before = time.monotonic()
        taken = await limits.acquire_session(who, -1e9)
        assert (await limits.admit(who, 1, 1e9)).is_admitted
        refused = await limits.admit(who, 1, 1e12)
        assert refused.refused == "requests"
        assert 0 < refused.retry_after <= 65
        (held,) = await limits.list_sessions()
        assert (held.handle, held.owner) == (taken.handle, 1)
        # The two clocks are read one after the other, and the server rounds.
        assert before - 1 <= held.since <= time.monotonic() + 1
        assert await limits.expire_sessions(before - 5) == ()
        assert await limits.expire_sessions(time.monotonic() + 5) == (taken.handle,)
        await limits.aclose()

    asyncio.run(use())


def test_of_another_node_no_claim_is_told_and_none_is_reclaimed() -> None:
    async def use() -> None:
        prefix = uuid4().hex
        mine, other = (limits_at(running().url, prefix, node=name) for name in "ab")
        taken = await other.admit((Principal(ALICE),), 1, 0.0)
        assert [one.owner for one in (await mine.read_snapshot(0.0)).leases] == [0]
        assert await mine.reclaim_leases(1) == 0
        assert await mine.reclaim_leases(0) == 0
        assert other.settle(taken.handle, 1, 0.0)
        assert await other.deliver_returns() in ([True], [])
        assert (await mine.read_snapshot(0.0)).leases == ()
        await mine.aclose()
        await other.aclose()

    asyncio.run(use())


@pytest.mark.parametrize("count", [200])
def test_many_callers_at_once_share_the_line(count) -> None:
    async def use() -> None:
        limits = limits_at(running().url, timeout=30.0)
        who = (Principal(ALICE, LimitSet(concurrency=50)),)
        leaving = [asyncio.create_task(limits.admit(who, 1, 0.0)) for _ in range(count)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        found = await asyncio.gather(*[limits.admit(who, 1, 0.0) for _ in range(count)])
        await asyncio.gather(*leaving, return_exceptions=True)
        for one in found:
            if one.is_admitted:
                assert limits.settle(one.handle, 1, 0.0)
        await limits.renew_leases()
        (used,) = (await limits.read_snapshot(0.0)).principals
        assert used.running == 0, "whoever left holds nothing"
        assert not limits._held
        await limits.aclose()

    asyncio.run(use())

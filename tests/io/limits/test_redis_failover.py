"""The server dies, hangs, forgets or does not let us in: no caller learns of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import redis

from tests.canary import KEY
from tests.io.limits.contract import ALICE, user
from tests.io.limits.redis_server import Server, limits_at, running
from tests.io.limits.test_shared import memory
from vai.io.limits.redis.client import RedisClient
from vai.io.limits.redis.failover import Failover, FailoverLimits
from vai.io.limits.redis.store import RedisLimits
from vai.io.limits.shared import SharedLimits

NOW = 1000.0


class Door:
    """A failover over a real server, what it told, and its two stores.

    It is patient, so that a busy machine does not look like a server that hangs.
    """

    def __init__(self, url: str) -> None:
        self.told: list[Failover] = []
        self.local = SharedLimits(memory(), 0, 1)
        self.remote = limits_at(url)
        self.limits = FailoverLimits(
            self.local, self.remote, self.told.append, lease=3.0, probe=(0.05, 0.1)
        )

    def waits_for(self, seconds: float) -> None:
        self.remote._client._timeout = seconds

    async def reaches(self, state: str) -> None:
        await until(lambda: self.limits.state == state)


@asynccontextmanager
async def door(url: str) -> AsyncIterator[Door]:
    found = Door(url)
    await found.limits.open()
    try:
        yield found
    finally:
        await found.limits.aclose()


async def until(true: Callable[[], bool], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture
def server():
    found = Server()
    yield found
    found.go_on() if found.process.poll() is None else None
    found.kill()


class Load:
    """Callers that come and go; none of them may hear of a failure."""

    def __init__(self, where: Door, limit: int = 5) -> None:
        self.where = where
        self.who = (user(concurrency=limit),)
        self.turns = 0
        self.ended = False
        self.tasks = [asyncio.create_task(self._come_and_go()) for _ in range(12)]

    async def _come_and_go(self) -> None:
        while not self.ended:
            found = await self.where.limits.admit(self.who, 10, NOW)
            assert found.refused in {"", "concurrency"}
            await asyncio.sleep(0.001)
            if found.is_admitted:
                assert self.where.limits.settle(found.handle, 5, NOW)
            self.turns += 1

    async def some_more(self) -> None:
        before = self.turns
        await until(lambda: self.turns > before + 50)

    async def end(self) -> None:
        self.ended = True
        async with asyncio.timeout(30):
            await asyncio.gather(*self.tasks)


@pytest.mark.chaos
def test_a_server_killed_under_load_and_started_again_is_rejoined(server) -> None:
    async def use() -> None:
        async with door(server.url) as at:
            await at.reaches("redis")
            load = Load(at)
            early = await at.limits.admit((user("early", concurrency=1),), 100, NOW)
            session = await at.limits.acquire_session((user("talk", sessions=1),), NOW)
            await load.some_more()
            server.kill()
            await at.reaches("local")
            await load.some_more()
            between = await at.limits.admit((user("between", concurrency=1),), 1, NOW)
            assert not at.remote.is_holding(between.handle)
            assert await at.limits.record_heartbeat(session.handle, NOW)
            assert server.start()
            await at.reaches("redis")
            await load.some_more()
            # What began before and goes on counts again, though the server forgot it.
            assert (await at.limits.admit((user("early", concurrency=1),), 1, NOW)).refused
            assert (await at.limits.acquire_session((user("talk", sessions=1),), NOW)).refused
            assert await at.limits.record_heartbeat(session.handle, NOW)
            assert at.limits.settle(between.handle, 1, NOW)
            assert not at.limits.settle(between.handle, 1, NOW)
            assert at.limits.settle(early.handle, 40, NOW)
            assert at.limits.release(session.handle)
            await load.end()
            await at.remote.deliver_returns()
            for store in (at.local, at.remote):
                for one in (await store.read_snapshot(NOW)).principals:
                    assert (one.running, one.sessions) == (0, 0), one
                    assert one.requests >= 0
                    assert one.tokens >= 0
            assert [one.to for one in at.told][:3] == ["redis", "local", "redis"]
            assert [one.number for one in at.told] == list(range(1, len(at.told) + 1))

    asyncio.run(use())


@pytest.mark.chaos
def test_a_server_that_hangs_is_left_and_rejoined(server) -> None:
    async def use() -> None:
        async with door(server.url) as at:
            await at.reaches("redis")
            load = Load(at)
            at.waits_for(0.2)
            await load.some_more()
            server.stop()
            await at.reaches("local")
            await load.some_more()
            server.go_on()
            at.waits_for(5.0)
            await at.reaches("redis")
            await load.some_more()
            await load.end()
            await at.reaches("redis")
            await at.remote.deliver_returns()
            # A place whose answer was lost is given back all the same.
            assert not at.remote._held
            deadline = asyncio.get_running_loop().time() + 30
            while any(one.running for one in (await at.remote.read_snapshot(NOW)).principals):
                assert asyncio.get_running_loop().time() < deadline
            assert "the Redis server did not respond in time" in {one.reason for one in at.told}

    asyncio.run(use())


def test_it_begins_without_a_server_and_joins_when_there_is_one(server) -> None:
    server.kill()

    async def use() -> None:
        async with door(server.url) as at:
            assert at.limits.state == "local"
            assert at.limits.switches == 0
            assert at.told[0].number == 0
            found = await at.limits.admit((user(concurrency=1),), 1, NOW)
            assert found.is_admitted
            assert server.start()
            await at.reaches("redis")
            assert at.limits.reason == ""
            (held,) = (await at.limits.read_snapshot(NOW)).leases
            assert held.handle == found.handle
            assert at.limits.settle(found.handle, 1, NOW)
            assert (await at.limits.read_snapshot(NOW)).leases == ()

    asyncio.run(use())


def test_a_script_that_was_flushed_is_loaded_again() -> None:
    async def use() -> None:
        limits = limits_at(running().url)
        assert (await limits.admit((user(concurrency=2),), 1, NOW)).is_admitted
        with redis.Redis.from_url(running().url) as client:
            client.script_flush()
        found = await asyncio.gather(
            *[limits.admit((user(concurrency=2),), 1, NOW) for _ in range(5)]
        )
        assert sum(one.is_admitted for one in found) == 1
        await limits.aclose()

    asyncio.run(use())


def test_a_wrong_password_is_told_without_a_word_of_it() -> None:
    guarded = Server("right")
    url = f"redis://:{KEY}@127.0.0.1:{guarded.port}/0"

    async def use() -> None:
        async with door(url) as at:
            assert at.limits.state == "local"
            assert (await at.limits.admit((user(),), 1, NOW)).is_admitted
            texts = [repr(at.told), at.limits.reason, repr(at.limits), repr(at.remote)]
            texts += [repr(vars(at.remote)), repr(vars(at.remote._client))]
            with pytest.raises(Exception) as caught:
                await at.remote.rejoin()
            texts += [repr(caught.value), str(caught.value), str(caught.value.__context__)]
            assert not any(KEY in text or str(guarded.port) in text for text in texts)
            assert at.limits.reason in {
                "the Redis server refused the user name or the password",
                "the Redis server did not respond in time",
            }
        async with door(guarded.url) as at:
            await at.reaches("redis")

    try:
        asyncio.run(use())
    finally:
        guarded.kill()


def test_a_url_that_is_none_is_refused_without_a_word_of_it() -> None:
    with pytest.raises(ValueError, match="no URL") as caught:
        RedisClient(f"http://:{KEY}@h", ca_file=None, prefix="p", timeout=1, lease=1)
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_what_cannot_be_given_back_is_kept_and_bounded(server, monkeypatch) -> None:
    monkeypatch.setattr("vai.io.limits.redis.store.MAX_HELD", 8)

    async def use() -> None:
        remote = limits_at(server.url)
        who = (user(concurrency=100),)
        taken = [await remote.admit(who, 5, NOW) for _ in range(10)]
        assert [one.is_admitted for one in taken] == [True] * 8 + [False] * 2
        assert taken[-1].refused == "capacity"
        server.stop()
        for one in taken[:8]:
            assert remote.settle(one.handle, 5, NOW)
            assert not remote.settle(one.handle, 5, NOW)
        assert (await remote.admit(who, 5, NOW)).refused == "capacity"
        assert len(remote._returned) == 8
        server.go_on()
        await remote.rejoin()
        assert (await remote.read_snapshot(NOW)).leases == ()
        assert (await remote.admit(who, 5, NOW)).is_admitted
        await remote.aclose()

    asyncio.run(use())


def test_calls_that_wait_are_bounded_and_end_in_time(server, monkeypatch) -> None:
    monkeypatch.setattr("vai.io.limits.redis.client._MAX_WAITING", 20)

    async def use() -> None:
        async with door(server.url) as at:
            await at.reaches("redis")
            at.waits_for(0.1)
            server.stop()
            async with asyncio.timeout(20):
                found = await asyncio.gather(
                    *[at.limits.admit((user(concurrency=1000),), 1, NOW) for _ in range(60)]
                )
            assert all(one.is_admitted for one in found), "each from the local store"
            assert at.limits.switches == 2, "left once, not once for each"
            server.go_on()
            at.waits_for(5.0)
            await at.reaches("redis")
            for one in found:
                assert at.limits.settle(one.handle, 1, NOW)

    asyncio.run(use())


def test_an_idle_worker_notices_that_the_server_went_and_renews_while_it_is_there(server) -> None:
    async def use() -> None:
        async with door(server.url) as at:
            await at.reaches("redis")
            taken = await at.limits.admit((user(concurrency=1),), 1, NOW)
            server.kill()
            await at.reaches("local")
            assert at.limits.settle(taken.handle, 1, NOW)

    asyncio.run(use())


def test_sessions_are_listed_and_expired_wherever_they_are(server) -> None:
    async def use() -> None:
        async with door(server.url) as at:
            await at.reaches("redis")
            who = (user(ALICE, sessions=2),)
            there = await at.limits.acquire_session(who, NOW)
            server.kill()
            await at.reaches("local")
            here = await at.limits.acquire_session(who, NOW)
            assert [one.handle for one in await at.limits.list_sessions()] == [here.handle]
            assert server.start()
            await at.reaches("redis")
            listed = {one.handle for one in await at.limits.list_sessions()}
            assert listed == {here.handle, there.handle}
            assert await at.limits.reclaim_leases(1) == 2
            assert not await at.limits.record_heartbeat(there.handle, NOW)
            assert not await at.limits.record_heartbeat(here.handle, NOW)

    asyncio.run(use())


def test_a_prefix_of_its_own_is_a_count_of_its_own() -> None:
    async def use() -> None:
        prefixes = [uuid4().hex for _ in range(2)]
        stores: list[RedisLimits] = [limits_at(running().url, one) for one in prefixes]
        for store in stores:
            assert (await store.admit((user(concurrency=1),), 1, NOW)).is_admitted
            assert not (await store.admit((user(concurrency=1),), 1, NOW)).is_admitted
        for store in stores:
            await store.aclose()

    asyncio.run(use())

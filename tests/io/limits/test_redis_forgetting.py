"""A server that forgets: what still runs is made known to it again, and its operator is warned."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from uuid import uuid4

import pytest
from redis import exceptions

from tests.io.limits.contract import ALICE, user
from tests.io.limits.redis_server import Server, limits_at
from tests.io.limits.test_shared import memory
from vai.io.limits.redis.client import reason_of
from vai.io.limits.redis.failover import Failover, FailoverLimits
from vai.io.limits.shared import SharedLimits

NOW = 1000.0
ONE = (user(ALICE, concurrency=1),)
ONE_SESSION = (user(ALICE, sessions=1),)


@pytest.fixture
def server():
    found = Server()
    yield found
    found.kill()


async def until(true: Callable[[], bool], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_what_runs_is_known_again_after_the_next_renewal(server, command) -> None:
    async def use() -> None:
        prefix = uuid4().hex
        one = limits_at(server.url, prefix, claim=1)
        other = limits_at(server.url, prefix, claim=2)
        taken = await one.admit(ONE, 5, NOW)
        session = await one.acquire_session(ONE_SESSION, NOW)
        assert (await other.admit(ONE, 5, NOW)).refused == "concurrency"
        assert server.say(command).startswith(b"+OK")
        await one.renew_leases()
        assert (await other.admit(ONE, 5, NOW)).refused == "concurrency"
        assert (await other.acquire_session(ONE_SESSION, NOW)).refused == "sessions"
        # What it used is counted when it ends, and its place is free then.
        assert one.settle(taken.handle, 70, NOW)
        assert one.release(session.handle)
        assert await one.deliver_returns() == [True, True]
        (seen,) = (await other.read_snapshot(NOW)).principals
        assert (seen.running, seen.sessions, seen.tokens) == (0, 0, 70)
        assert (await other.admit(ONE, 5, NOW)).is_admitted
        await one.aclose()
        await other.aclose()

    asyncio.run(use())


def test_a_sign_of_life_makes_a_session_known_again(server) -> None:
    async def use() -> None:
        prefix = uuid4().hex
        one, other = limits_at(server.url, prefix, claim=1), limits_at(server.url, prefix, claim=2)
        session = await one.acquire_session(ONE_SESSION, NOW)
        server.say("FLUSHALL")
        assert await one.record_heartbeat(session.handle, NOW)
        assert (await other.acquire_session(ONE_SESSION, NOW)).refused == "sessions"
        assert not await other.record_heartbeat(session.handle + 1, NOW)
        await one.aclose()
        await other.aclose()

    asyncio.run(use())


def test_what_was_ended_stays_ended(server) -> None:
    async def use() -> None:
        prefix = uuid4().hex
        one, other = limits_at(server.url, prefix, claim=1), limits_at(server.url, prefix, claim=2)
        session = await one.acquire_session(ONE_SESSION, NOW)
        assert await other.expire_sessions(asyncio.get_running_loop().time() + 1e6) == (
            session.handle,
        )
        await one.renew_leases()
        assert not one.is_holding(session.handle)
        taken = await one.admit(ONE, 5, NOW)
        assert await other.reclaim_leases(1) == 1
        await one.renew_leases()
        assert not one.is_holding(taken.handle)
        assert (await other.admit(ONE, 5, NOW)).is_admitted
        assert (await other.acquire_session(ONE_SESSION, NOW)).is_admitted
        await one.aclose()
        await other.aclose()

    asyncio.run(use())


def test_workers_make_it_known_by_themselves(server) -> None:
    async def use() -> None:
        told: list[Failover] = []
        local = SharedLimits(memory(), 0, 1)
        prefix = uuid4().hex
        remote = limits_at(server.url, prefix, claim=1)
        limits = FailoverLimits(local, remote, told.append, lease=0.6, probe=(0.05, 0.1))
        other = limits_at(server.url, prefix, claim=2)
        await limits.open()
        taken = await limits.admit(ONE, 5, NOW)
        assert remote.is_holding(taken.handle)
        server.say("FLUSHALL")
        async with asyncio.timeout(20):
            while not (await other.read_snapshot(NOW)).leases:
                await asyncio.sleep(0.02)
        assert (await other.admit(ONE, 5, NOW)).refused == "concurrency"
        assert limits.settle(taken.handle, 5, NOW)
        await limits.aclose()
        await other.aclose()

    asyncio.run(use())


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "volatile-ttl"])
def test_an_eviction_policy_is_warned_of_once(server, policy) -> None:
    async def use() -> None:
        warned: list[str] = []
        server.say("CONFIG", "SET", "maxmemory-policy", policy)
        limits = FailoverLimits(
            SharedLimits(memory(), 0, 1),
            limits_at(server.url),
            lambda _: None,
            on_eviction_policy=warned.append,
            lease=0.3,
            probe=(0.05, 0.1),
        )
        await limits.open()
        await until(lambda: limits.state == "redis")
        await asyncio.sleep(0.5)  # renewals look again
        server.kill()
        await until(lambda: limits.state == "local")
        assert server.start()
        server.say("CONFIG", "SET", "maxmemory-policy", policy)
        await until(lambda: limits.state == "redis")
        await asyncio.sleep(0.3)
        await limits.aclose()
        assert warned == ([] if policy == "noeviction" else [policy])

    asyncio.run(use())


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


ADDRESS = "redis://:secret@10.0.0.7:6379"
_LOST = exceptions.ConnectionError(ADDRESS)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(ADDRESS), "did not respond in time"),
        (exceptions.TimeoutError(ADDRESS), "did not respond in time"),
        (exceptions.AuthenticationError(ADDRESS), "refused the user name or the password"),
        (exceptions.NoPermissionError(ADDRESS), "does not let this user"),
        (exceptions.ReadOnlyError(ADDRESS), "is a replica"),
        (exceptions.BusyLoadingError(ADDRESS), "still loading"),
        (exceptions.ResponseError(f"ERR script -OOM {ADDRESS}"), "memory is full"),
        (exceptions.ResponseError(f"ERR {ADDRESS}"), "answered with an error"),
        (exceptions.InvalidResponse(ADDRESS), "is no Redis server"),
        (_caused(exceptions.ConnectionError(ADDRESS), ConnectionRefusedError()), "nothing listens"),
        (_caused(exceptions.ConnectionError(ADDRESS), socket.gaierror()), "cannot be resolved"),
        (_caused(exceptions.ConnectionError(ADDRESS), ssl.SSLCertVerificationError()), "trusted"),
        (ConnectionResetError(ADDRESS), "connection to the Redis server broke"),
        (_LOST, "connection to the Redis server broke"),
    ],
)
def test_the_reason_is_a_sentence_without_a_word_of_the_error(error, words) -> None:
    reason = reason_of(error)
    assert words in reason
    assert "10.0.0.7" not in reason
    assert len(reason.split()) > 3
    assert "Error" not in reason


def test_a_server_that_is_not_there_is_told_so(server) -> None:
    async def use() -> None:
        server.kill()
        limits = limits_at(server.url)
        with pytest.raises(Exception, match="nothing listens at the address") as caught:
            await limits.admit(ONE, 1, NOW)
        assert str(server.port) not in str(caught.value)
        await limits.aclose()

    asyncio.run(use())

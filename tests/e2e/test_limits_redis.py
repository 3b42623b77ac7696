"""Two gateways, one Redis server: together they let in exactly what the limit says."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from tests.canary import KEY
from tests.e2e.books import Books
from tests.e2e.conftest import PATIENT, lent_key
from tests.e2e.rig import Gateway, Simulated, ask, running, until
from tests.io.limits.redis_server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PASSWORD = KEY + "-redis"
LIMITS = {1: 40, 7: 40, 60: 160}
"""Requests per minute -> how many are tried."""


def _settings(simulator: Simulated, server: Server) -> dict[str, Any]:
    keys = {f"rpm-{limit}": {"rate_limit": limit} for limit in LIMITS}
    keys |= {"one": {"concurrent_requests": 1}, "lost": {"rate_limit": 3}, "free": {}}
    return PATIENT | {
        "auth": {
            "api_keys": {
                name: {"key": f"{KEY}-{name}", "name": name} | said for name, said in keys.items()
            }
        },
        "providers": {
            "openai": {"api_key": lent_key("openai"), "base_url": simulator.base_url("openai")}
        },
        "limits": {"store": "redis", "redis": {"url": server.url, "lease": 4}},
    }


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(PASSWORD)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def pair(simulator: Simulated, server: Server, tmp_path_factory) -> Iterator[list[Gateway]]:
    settings = _settings(simulator, server)
    with (
        running(settings, tmp_path_factory.mktemp("first")) as first,
        running(settings, tmp_path_factory.mktemp("second")) as second,
    ):
        for gateway in (first, second):
            until(lambda gateway=gateway: place_of(gateway) == "ok", 20)
        yield [first, second]


def place_of(gateway: Gateway) -> str:
    """Where a worker counts now; every request may reach another one."""
    seen = {gateway.ask("GET", "/health").json["limits"]["state"] for _ in range(8)}
    return seen.pop() if len(seen) == 1 else "both"


def say(gateway: Gateway, name: str, model: str = "openai/sim"):
    return gateway.ask(
        "POST",
        "/v1/messages",
        {"content-type": "application/json", "x-api-key": f"{KEY}-{name}"},
        orjson.dumps(ask(model)),
    )


@pytest.mark.parametrize("limit", LIMITS)
def test_two_gateways_let_in_exactly_the_limit(pair, limit):
    def one(number: int) -> int:
        return say(pair[number % 2], f"rpm-{limit}").status

    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(one, range(LIMITS[limit])))
    assert statuses.count(200) == limit
    assert statuses.count(429) == LIMITS[limit] - limit


def test_what_one_holds_the_other_cannot_have(pair, simulator):
    before = simulator.last
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(say, pair[0], "one", "openai/sim;ttft=1.5")
        until(lambda: simulator.journal(after=before), 10)
        refused = say(pair[1], "one")
        assert refused.status == 429
        assert refused.error["code"] == "concurrency_limit"
        assert held.result().status == 200
    until(lambda: say(pair[1], "one").status == 200, 10)


def test_a_server_that_was_flushed_knows_what_runs_again(pair, server, simulator):
    """The lease is four seconds, and renewed three times in one."""
    before = simulator.last
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(say, pair[0], "one", "openai/sim;ttft=4")
        until(lambda: simulator.journal(after=before), 10)
        assert server.say("FLUSHALL").startswith(b"+OK")
        until(lambda: server.say("KEYS", "*:l:*").startswith(b"*1"), 10)
        assert say(pair[1], "one").status == 429
        assert held.result().status == 200


def test_a_dead_workers_place_is_free_at_once(pair, simulator):
    """Long before its lease would have lapsed: the manager frees it on the server."""
    gateway = pair[0]
    before = simulator.last
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(_whatever, gateway)
        until(lambda: simulator.journal(after=before), 10)
        assert say(pair[1], "one").status == 429
        for pid in workers_of(gateway):
            os.kill(pid, signal.SIGKILL)
        until(lambda: say(pair[1], "one").status == 200, 20)
        held.result()
    until(lambda: place_of(gateway) == "ok", 30)


def _whatever(gateway: Gateway) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):  # its worker is killed
        say(gateway, "one", "openai/sim;ttft=30")


def workers_of(gateway: Gateway) -> list[int]:
    return [row.owner.pid for row in Books(gateway.process.pid).control_block.taken_slots()]


def test_a_server_that_dies_costs_no_caller_anything(pair, server):
    """Each gateway goes on for itself, says so, and comes back by itself."""
    server.kill()
    try:
        statuses = [say(pair[number % 2], "free").status for number in range(30)]
        assert statuses == [200] * 30
        assert [place_of(gateway) for gateway in pair] == ["local", "local"]
        # Alone, each allows what its limits say.
        alone = [say(pair[0], "lost").status for _ in range(6)]
        assert alone.count(200) == 3
    finally:
        assert server.start()
    for gateway in pair:
        until(lambda gateway=gateway: place_of(gateway) == "ok", 30)
    assert say(pair[0], "free").status == 200
    log = pair[0].log.read_text()
    # A kept connection breaks at the next call; without one, or once redis-py has noticed its
    # end, the call connects anew and is refused.
    reasons = (
        "nothing listens at the address of the Redis server",
        "the connection to the Redis server broke",
    )
    assert any(f"Redis is unavailable: {reason}" in log for reason in reasons)
    assert "counted on the Redis server" in log
    assert PASSWORD not in log


def test_a_server_that_hangs_is_left(pair, server):
    server.stop()
    try:
        assert [say(gateway, "free").status for gateway in pair * 4] == [200] * 8
    finally:
        server.go_on()
    for gateway in pair:
        until(lambda gateway=gateway: place_of(gateway) == "ok", 30)


def test_a_server_that_may_forget_is_warned_of_once(simulator, tmp_path):
    server = Server(PASSWORD)
    try:
        server.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with running(_settings(simulator, server), tmp_path) as gateway:
            until(lambda: place_of(gateway) == "ok", 20)
        assert gateway.log.read_text().count("maxmemory-policy is allkeys-lru") == 1
    finally:
        server.kill()

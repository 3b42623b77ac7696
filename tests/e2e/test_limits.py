"""Exactly as many as the limit says: eight workers, up to a thousand callers at once.

Callers of a concurrency limit are answered by streams that stand still after their first
token, so that all the places are taken when the last caller is refused. Limits of a minute
are used once by each key: there are as many keys as trials. VAI_CHAOS_FULL=1 runs a thousand
trials, which takes some minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import uvloop

from tests.canary import KEY
from tests.e2e.books import Books
from tests.e2e.burst import Burst, Caller, comes_true, statuses, wire
from tests.e2e.conftest import PATIENT, lent_key
from tests.e2e.rig import Gateway, Simulated, ask, events, running, until

FULL = os.environ.get("VAI_CHAOS_FULL") == "1"

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800 if FULL else 120)]

WORKERS = 8
LIMITS = {1: 24, 7: 48, 100: 220}
"""Limit -> how many come at once for it."""
TRIALS = {1: 150, 7: 150, 100: 34} if FULL else {1: 6, 7: 6, 100: 3}
"""For each of the three kinds of limits."""
HELD = ";tokens=9;tps=0.01"
"""The first token at once, the next in 100 seconds."""
MOST = 64


def key_of(name: str) -> str:
    return f"{KEY}-{name}"


def _keys() -> dict[str, dict[str, Any]]:
    cost = reserved(held_body())
    limits: dict[str, dict[str, int]] = {"ledger": {"tokens_per_minute": 10_000_000}}
    for limit, trials in TRIALS.items():
        limits[f"held-{limit}"] = {"concurrent_requests": limit}
        for trial in range(trials):
            limits[f"rpm-{limit}-{trial}"] = {"rate_limit": limit}
            limits[f"tpm-{limit}-{trial}"] = {"tokens_per_minute": limit * cost + cost - 1}
    return {name: {"key": key_of(name), "name": name} | said for name, said in limits.items()}


def held_body() -> dict[str, Any]:
    return ask(f"openai/sim{HELD}", stream=True, max_tokens=MOST)


def reserved(body: dict[str, Any]) -> int:
    """What is set aside for a request: a token for four bytes, and all that it may answer."""
    return len(orjson.dumps(body)) // 4 + int(body["max_tokens"])


@pytest.fixture(scope="module")
def crowd(
    simulator: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Books]]:
    settings = PATIENT | {
        "auth": {"mode": "api_key", "api_keys": _keys()},
        "providers": {
            name: {"api_key": lent_key(name), "base_url": simulator.base_url(name)}
            for name in ("anthropic", "openai")
        },
        "manager": {"hung_after": 60},
    }
    with running(settings, tmp_path_factory.mktemp("crowd"), f"--workers={WORKERS}") as gateway:
        books = Books(gateway.process.pid)
        until(lambda: len(books.control_block.taken_slots()) == WORKERS, 60)
        yield gateway, books


def _judge(callers: list[Caller], limit: int, code: str) -> None:
    told = statuses(callers)
    assert told == {200: limit, 429: len(callers) - limit}, told
    for caller in callers:
        if caller.status == 429:
            error = orjson.loads(caller.body)["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", code)


def _leave(callers: list[Caller]) -> None:
    for caller in callers:
        if caller.status == 200:
            caller.leave()


@pytest.mark.parametrize("limit", LIMITS)
def test_exactly_so_many_run_at_once(crowd: tuple[Gateway, Books], limit: int) -> None:
    gateway, books = crowd
    sent = wire(held_body(), key_of(f"held-{limit}"))

    async def trials() -> None:
        burst = Burst(gateway.port)
        for trial in range(TRIALS[limit]):
            count = 1000 if (limit, trial) == (100, 0) else LIMITS[limit]
            callers = await burst.send(count, sent)
            _judge(callers, limit, "concurrency_limit")
            assert books.running == books.use(f"key:held-{limit}").running == limit
            _leave(callers)
            await comes_true(books.at_rest)
        burst.close()

    uvloop.run(trials())


@pytest.mark.parametrize("limit", LIMITS)
def test_exactly_so_many_begin_within_a_minute(crowd: tuple[Gateway, Books], limit: int) -> None:
    gateway, books = crowd

    async def trials() -> None:
        burst = Burst(gateway.port)
        for trial in range(TRIALS[limit]):
            name = f"rpm-{limit}-{trial}"
            sent = wire(ask("openai/sim;tokens=1"), key_of(name))
            _judge(await burst.send(LIMITS[limit], sent), limit, "requests_limit")
            await comes_true(books.at_rest)
            assert books.use(f"key:{name}").requests == limit
        burst.close()

    uvloop.run(trials())


@pytest.mark.parametrize("limit", LIMITS)
def test_exactly_so_many_tokens_are_set_aside(crowd: tuple[Gateway, Books], limit: int) -> None:
    gateway, books = crowd
    body = held_body()

    async def trials() -> None:
        burst = Burst(gateway.port)
        for trial in range(TRIALS[limit]):
            name = f"tpm-{limit}-{trial}"
            callers = await burst.send(LIMITS[limit], wire(body, key_of(name)))
            _judge(callers, limit, "tokens_limit")
            assert books.use(f"key:{name}").tokens == limit * reserved(body)
            _leave(callers)
            await comes_true(books.at_rest)
            # Nobody knows what those used who left: it is estimated, and it is not nothing.
            assert limit < books.use(f"key:{name}").tokens < limit * reserved(body)
        burst.close()

    uvloop.run(trials())


def test_the_ledger_is_the_providers(crowd: tuple[Gateway, Books], simulator: Simulated) -> None:
    gateway, books = crowd
    after = simulator.last
    before = books.use().tokens
    shapes = [
        wire(ask(f"{model};tokens={tokens}", stream=stream, max_tokens=4000), key_of("ledger"))
        for model in ("claude-ledger", "anthropic/claude-ledger", "openai/ledger")
        for stream in (False, True)
        for tokens in (1, 17, 60)
    ]

    async def run() -> list[Caller]:
        callers = await Burst(gateway.port).callers(10 * len(shapes))
        for number, caller in enumerate(callers):
            caller.send(shapes[number % len(shapes)])
        for caller in callers:
            assert await caller.ended() == 200
        for caller in callers:
            caller.leave()
        return callers

    callers = uvloop.run(run())
    until(books.at_rest)
    entries = simulator.journal(after=after)
    ledger = [entry["tokens_in"] + entry["tokens_out"] for entry in entries]
    assert len(ledger) == len(callers)
    assert sum(_reported(caller) for caller in callers) == sum(ledger)
    assert books.use("key:ledger").tokens == sum(ledger)
    assert books.use("key:ledger").requests == len(callers)
    assert books.use().tokens - before == sum(ledger)


def _reported(caller: Caller) -> int:
    """The tokens that an answer says were used."""
    if caller.head["content-type"] == "application/json":
        usage = orjson.loads(caller.body)["usage"]
    else:
        usage = {}
        for event in events(_unchunked(caller.body)):
            usage |= event.get("message", {}).get("usage", {}) | event.get("usage", {})
    return int(usage["input_tokens"]) + int(usage["output_tokens"])


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return whole

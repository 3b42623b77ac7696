"""What callers meet at a limit: the answer, the wait, and no way around it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import orjson
import pytest
import uvloop

from tests.canary import KEY
from tests.e2e.books import Books
from tests.e2e.burst import Burst, comes_true, statuses, wire
from tests.e2e.conftest import PATIENT, lent_key
from tests.e2e.rig import Answer, Gateway, Simulated, ask, running, until

pytestmark = pytest.mark.e2e

HELD = "openai/sim;tokens=9;tps=0.01"
OUTSIDER, PROXY = "127.0.0.2", "127.0.0.1"
"""Addresses that callers come from; the second is trusted."""
PER_ADDRESS = 5


def key_of(name: str) -> str:
    return f"{KEY}-{name}"


def _settings(simulator: Simulated, **more: Any) -> dict[str, Any]:
    return PATIENT | {
        "providers": {
            name: {"api_key": lent_key(name), "base_url": simulator.base_url(name)}
            for name in ("anthropic", "openai")
        },
        "aliases": {"short": "openai/sim"},
        **more,
    }


@pytest.fixture(scope="module")
def limited(
    simulator: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Books]]:
    """Each key with limits of its own; who finds all places taken may wait for a while."""
    keys: dict[str, dict[str, Any]] = {
        "rpm": {"rate_limit": 3, "tokens_per_minute": 1000},
        "tpm": {"rate_limit": 50, "tokens_per_minute": 100},
        "sdk": {"rate_limit": 1},
        "count": {"rate_limit": 2, "tokens_per_minute": 1000},
        "names": {"rate_limit": 8},
        "one": {"concurrent_requests": 1},
        "late": {"concurrent_requests": 1},
        "gone": {"concurrent_requests": 1},
    }
    auth = {name: {"key": key_of(name), "name": name} | said for name, said in keys.items()}
    said = _settings(
        simulator,
        auth={"mode": "api_key", "api_keys": auth},
        limits={"max_queue_ms": 1500},
    )
    with running(said, tmp_path_factory.mktemp("limited")) as gateway:
        yield gateway, Books(gateway.process.pid)


@pytest.fixture(scope="module")
def anonymous(
    simulator: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Books]]:
    """Everybody may call, five times; one proxy is trusted."""
    said = _settings(
        simulator,
        auth={"mode": "none"},
        trusted_proxies=[f"{PROXY}/32"],
        limits={"per_user": {"requests_per_minute": PER_ADDRESS}},
    )
    with running(said, tmp_path_factory.mktemp("anonymous")) as gateway:
        yield gateway, Books(gateway.process.pid)


def _set_of(answer: Answer, prefix: str) -> set[str]:
    return {name for name, _ in answer.headers if name.startswith(prefix)}


X_SET = {
    f"x-ratelimit-{what}-{name}"
    for what in ("limit", "remaining", "reset")
    for name in ("requests", "tokens")
}
A_SET = {
    f"anthropic-ratelimit-{name}-{what}"
    for what in ("limit", "remaining", "reset")
    for name in ("requests", "tokens")
}


def _post(gateway: Gateway, name: str, body: dict[str, Any], path: str = "/v1/messages") -> Answer:
    headers = {"x-api-key": key_of(name), "content-type": "application/json"}
    return gateway.ask("POST", path, headers, orjson.dumps(body))


def test_each_answer_tells_what_is_left_and_a_refusal_when_to_come(
    limited: tuple[Gateway, Books],
) -> None:
    gateway, _ = limited
    for stream, left in ((False, 2), (True, 1), (False, 0)):
        answer = _post(gateway, "rpm", ask("openai/sim;tokens=2", stream=stream))
        assert answer.status == 200
        assert _set_of(answer, "x-ratelimit-") == X_SET
        assert not _set_of(answer, "anthropic-ratelimit-")
        assert answer.header("x-ratelimit-remaining-requests") == str(left)
    refused = _post(gateway, "rpm", ask("openai/sim;tokens=2"))
    assert refused.status == 429
    error = refused.error
    assert (error["type"], error["code"]) == ("rate_limit_error", "requests_limit")
    assert 50 < error["retry_after"] <= 65
    wait = refused.header("retry-after")
    assert wait is not None
    assert error["retry_after"] <= int(wait) <= 65
    assert _set_of(refused, "x-ratelimit-") == X_SET
    assert _set_of(refused, "anthropic-ratelimit-") == A_SET
    assert refused.header("x-ratelimit-remaining-requests") == "0"
    assert refused.header("anthropic-ratelimit-requests-limit") == "3"


def test_tokens_that_are_set_aside_refuse(limited: tuple[Gateway, Books]) -> None:
    gateway, books = limited
    body = ask("openai/sim;tokens=40", max_tokens=40)
    first = _post(gateway, "tpm", body)
    assert first.status == 200
    used = sum(first.json["usage"][name] for name in ("input_tokens", "output_tokens"))
    assert books.use("key:tpm").tokens == used
    refused = _post(gateway, "tpm", body)
    assert (refused.status, refused.error["code"]) == (429, "tokens_limit")
    assert refused.header("x-ratelimit-remaining-tokens") == str(100 - used)
    assert books.use("key:tpm").requests == 1


def test_the_official_client_raises_its_own_error(limited: tuple[Gateway, Books]) -> None:
    gateway, _ = limited
    with anthropic.Anthropic(api_key=key_of("sdk"), base_url=gateway.url, max_retries=0) as client:
        said: Any = {"max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
        client.messages.create(model="claude-x;tokens=1", **said)
        with pytest.raises(anthropic.RateLimitError) as told:
            client.messages.create(model="claude-x;tokens=1", **said)
    assert int(told.value.response.headers["retry-after"]) > 50
    assert told.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_counting_is_a_request_of_no_tokens(limited: tuple[Gateway, Books]) -> None:
    gateway, books = limited
    path = "/v1/messages/count_tokens"
    for left in ("1", "0"):
        answer = _post(gateway, "count", ask("openai/sim"), path)
        assert answer.status == 200
        assert answer.header("x-ratelimit-remaining-requests") == left
        assert answer.header("x-ratelimit-remaining-tokens") == "1000"
    refused = _post(gateway, "count", ask("openai/sim"), path)
    assert (refused.status, refused.error["code"]) == (429, "requests_limit")
    use = books.use("key:count")
    assert (use.requests, use.tokens, use.running) == (2, 0, 0)


def test_a_key_is_one_caller_however_it_is_shown(limited: tuple[Gateway, Books]) -> None:
    gateway, books = limited
    key = key_of("names")
    shown = [{"x-api-key": key}, {"X-API-KEY": key}, {"Authorization": f"Bearer {key}"}]
    shown.append({"authorization": f"bEARER   {key} "})
    for number in range(12):
        model = ("short", "openai/sim", "openai/sim;tokens=1", "claude-x")[number % 4]
        headers = {**shown[number % 3 if number < 6 else 3], "content-type": "application/json"}
        path = "/messages" if number % 2 else "/v1/messages"
        answer = gateway.ask("POST", path, headers, orjson.dumps(ask(model, max_tokens=2)))
        assert answer.status == (200 if number < 8 else 429)
    other_case = gateway.ask(
        "POST",
        "/v1/messages",
        {"x-api-key": key.swapcase(), "content-type": "application/json"},
        orjson.dumps(ask("short")),
    )
    assert other_case.status == 401
    assert books.use("key:names").requests == 8


def test_what_a_stranger_says_of_its_address_counts_for_nothing(
    anonymous: tuple[Gateway, Books],
) -> None:
    gateway, books = anonymous

    async def run() -> None:
        burst = Burst(gateway.port, OUTSIDER)
        callers = await burst.callers(40)
        for number, caller in enumerate(callers):
            address = f"10.1.{number}.9"
            name = ("x_forwarded_for", "x_real_ip", "forwarded", "true_client_ip")[number % 4]
            value = f"for={address}" if name == "forwarded" else address
            caller.send(wire(ask("openai/sim;tokens=1"), **{name: value}))
        for caller in callers:
            await caller.begun()
        assert statuses(callers) == {200: PER_ADDRESS, 429: 40 - PER_ADDRESS}
        burst.close()

    uvloop.run(run())
    assert books.use(f"address:{OUTSIDER}").requests == PER_ADDRESS


def test_a_trusted_proxy_says_whose_request_it_is(anonymous: tuple[Gateway, Books]) -> None:
    gateway, books = anonymous
    inventions = ("1.2.3.4, 10.2.0.7", "10.9.9.9,10.2.0.7", "10.2.0.7", "junk, 10.2.0.7")
    for number in range(8):
        headers = {"content-type": "application/json"}
        headers["x-forwarded-for"] = inventions[number % 4]
        answer = gateway.post(ask("openai/sim;tokens=1"), headers)
        assert answer.status == (200 if number < PER_ADDRESS else 429)
    neighbour = gateway.post(ask("openai/sim;tokens=1"), {"x-forwarded-for": "10.2.0.8"})
    assert neighbour.status == 200
    assert books.use("address:10.2.0.7").requests == PER_ADDRESS
    assert books.use(f"address:{PROXY}").requests == 0


def test_who_waits_is_served_when_the_place_is_free(limited: tuple[Gateway, Books]) -> None:
    gateway, books = limited

    async def run() -> None:
        burst = Burst(gateway.port)
        holder, waiter = await burst.callers(2)
        holder.send(wire(ask(HELD, stream=True), key_of("one")))
        assert await holder.begun() == 200
        waiter.send(wire(ask("openai/sim;tokens=1"), key_of("one")))
        await asyncio.sleep(0.2)
        assert not waiter.data
        holder.leave()
        assert await waiter.ended() == 200
        await comes_true(books.at_rest)
        burst.close()

    uvloop.run(run())
    assert books.use("key:one").requests == 2


def test_a_wait_has_an_end(limited: tuple[Gateway, Books]) -> None:
    gateway, books = limited

    async def run() -> None:
        burst = Burst(gateway.port)
        holder, *waiters = await burst.callers(6)
        holder.send(wire(ask(HELD, stream=True), key_of("late")))
        assert await holder.begun() == 200
        for waiter in waiters:
            waiter.send(wire(ask("openai/sim;tokens=1"), key_of("late")))
        for waiter in waiters:
            assert await waiter.ended() == 429
            assert orjson.loads(waiter.body)["error"]["code"] == "concurrency_limit"
        holder.leave()
        await comes_true(books.at_rest)
        burst.close()

    uvloop.run(run())
    assert books.use("key:late").requests == 1


def test_who_leaves_while_waiting_takes_nothing(limited: tuple[Gateway, Books]) -> None:
    gateway, books = limited

    async def run() -> None:
        burst = Burst(gateway.port)
        holder, *waiters = await burst.callers(6)
        holder.send(wire(ask(HELD, stream=True), key_of("gone")))
        assert await holder.begun() == 200
        for waiter in waiters:
            waiter.send(wire(ask("openai/sim;tokens=1"), key_of("gone")))
        await comes_true(
            lambda: sum(row.inflight for row in books.control_block.taken_slots()) == 6
        )
        for waiter in waiters:
            waiter.leave()
        await comes_true(
            lambda: sum(row.inflight for row in books.control_block.taken_slots()) == 1
        )
        holder.leave()
        await comes_true(books.at_rest)
        burst.close()

    uvloop.run(run())
    assert books.use("key:gone").requests == 1


def test_keys_take_turns_and_a_stop_ends_the_wait(simulator: Simulated, tmp_path: Path) -> None:
    """One place for all: a key with twenty in the line costs another no more than its turn."""
    keys = {name: {"key": key_of(name), "name": name} for name in ("many", "few")}
    said = _settings(
        simulator,
        auth={"mode": "api_key", "api_keys": keys},
        limits={"max_queue_ms": 60_000, "global": {"concurrent_requests": 1}},
        drain_grace=0.3,
    )
    with running(said, tmp_path, "--workers=1") as gateway:
        books = Books(gateway.process.pid)

        def inside() -> int:
            return sum(row.inflight for row in books.control_block.taken_slots())

        async def run() -> None:
            burst = Burst(gateway.port)
            holder, *others = await burst.callers(26)
            many, few = others[:20], others[20:23]
            holder.send(wire(ask(HELD, stream=True), key_of("many")))
            assert await holder.begun() == 200
            after = simulator.last
            for caller in many:
                caller.send(wire(ask("openai/many;tokens=1"), key_of("many")))
            await comes_true(lambda: inside() == 21)
            for caller in few:
                caller.send(wire(ask("openai/few;tokens=1"), key_of("few")))
            await comes_true(lambda: inside() == 24)
            holder.leave()
            for caller in (*many, *few):
                assert await caller.ended() == 200
            order = [entry["model"].partition(";")[0] for entry in simulator.journal(after=after)]
            assert order.count("many") == 20
            assert max(at for at, model in enumerate(order) if model == "few") < 8, order

            holder, waiter = others[23:]
            holder.send(wire(ask(HELD, stream=True), key_of("few")))
            assert await holder.begun() == 200
            waiter.send(wire(ask("openai/sim;tokens=1"), key_of("many")))
            await comes_true(lambda: inside() == 2)
            gateway.process.send_signal(signal.SIGTERM)
            assert await waiter.ended() == 503
            assert orjson.loads(waiter.body)["error"]["code"] == "draining"
            burst.close()

        uvloop.run(run())
        until(lambda: gateway.process.poll() is not None, 15)

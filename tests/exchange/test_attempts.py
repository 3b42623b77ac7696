"""Attempts before the first byte: how many, where, in whose words, and one settlement for all."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from tests.exchange.rig import CUT, FOREVER, JSON, SSE, Clock, Rig, Said, Upstream
from vai.codec.sse import encode_events
from vai.errors import UpstreamFault, UpstreamRejected, UpstreamTimeout, UpstreamUnreachable
from vai.exchange.attempts import Attempt, ProviderHealth, TargetRetries
from vai.exchange.mode import ExchangeMode
from vai.exchange.translated_mode import TranslatedMode
from vai.exchange.verbatim_mode import VerbatimMode
from vai.policy.breaker import BreakerRules
from vai.policy.retry import RetryRules
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.provider import WireRequest

STREAMS = Path(__file__).parents[1] / "fixtures" / "streams"
ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello there"}]}
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
GOOD = {
    "anthropic": Said([(STREAMS / "anthropic-text.sse").read_bytes()]),
    "openai": Said([(STREAMS / "openai-text.sse").read_bytes()]),
}
BUSY = Said([OVERLOADED], status=529, headers=JSON)
GONE = UpstreamUnreachable("gone", code="upstream_connect")
STALE = UpstreamUnreachable("stale", code="upstream_stale")
SILENT = UpstreamTimeout("silent", code="headers_timeout")


def error_event(kind: str) -> Said:
    error = orjson.dumps({"type": "error", "error": {"type": kind, "message": "m"}})
    return Said([b"event: error\ndata: %b\n\n" % error])


def pure(*, uses_gateway_key: bool = True) -> ExchangeMode[bytes]:
    wire = WireRequest("POST", "/v1/messages", (), orjson.dumps(ASK), True)
    return VerbatimMode(
        wire,
        PROVIDER_SPECS["anthropic"],
        streaming=True,
        edited=False,
        uses_gateway_key=uses_gateway_key,
    )


def translated(provider: str) -> ExchangeMode[bytes]:
    adapter = make_adapter(PROVIDER_SPECS[provider], "x1")
    ask = parse.parse_request({**ASK, "stream": True})
    return TranslatedMode(
        adapter, ask, events=encode_events, message=lambda _: b"", uses_gateway_key=True
    )


class Target(NamedTuple):
    name: tuple[str, str]
    mode: Callable[[], ExchangeMode[bytes]]
    upstream: Upstream
    own_key: bool = False
    mended: Callable[[], ExchangeMode[bytes]] | None = None


class Listed:
    """A plan over a list of targets."""

    def __init__(self, health: ProviderHealth, targets: list[Target]) -> None:
        self.retries = TargetRetries(health)
        self.targets = targets
        self.at = -1
        self.delays: list[float] = []
        self.closed = 0
        self._turn()

    async def build_retry(self, *, without_reasoning: bool) -> Attempt[bytes] | None:
        return self._made(mended=without_reasoning)

    def _made(self, *, mended: bool) -> Attempt[bytes] | None:
        target = self.targets[self.at]
        make = target.mended if mended else target.mode
        return None if make is None else Attempt(make(), target.upstream)

    async def build_next_target(self) -> Attempt[bytes] | None:
        return self._turn()

    def _turn(self) -> Attempt[bytes] | None:
        if self.at + 1 >= len(self.targets):
            return None
        self.at += 1
        target = self.targets[self.at]
        self.retries.enter_target(target.name, is_byok=target.own_key)
        return self._made(mended=False)

    async def next_attempt(
        self, fault: UpstreamFault, remaining: float, /
    ) -> Attempt[bytes] | None:
        self.retries.record_failure(fault)
        attempt = await self.retries.next_attempt(self, fault, remaining)
        if attempt is not None:
            self.delays.append(attempt.delay)
        return attempt

    def close(self, *, answered: bool) -> None:
        self.closed += 1
        self.retries.close(answered=answered)


class World:
    """What exchanges of one process share."""

    def __init__(self, *, chance: float = 0.0, breaker: bool = True, **retries: Any) -> None:
        self.clock = Clock()
        self.health = ProviderHealth(
            RetryRules(**{"max_attempts": 3} | retries),
            BreakerRules(failures=5, open_for=5.0) if breaker else None,
            clock=self.clock,
            random_jitter=lambda: chance,
        )

    def target(
        self, *said: Any, mode: Callable[[], ExchangeMode[bytes]] = pure, **more: Any
    ) -> Target:
        model = more.pop("model", "m")
        return Target(("anthropic", model), mode, Upstream(self.clock, list(said)), **more)

    def rig(self, *targets: Target) -> tuple[Rig, Listed]:
        plan = Listed(self.health, list(targets))
        rig = Rig(targets[0].mode(), [], plan=plan, clock=self.clock)
        rig.exchange._upstream = targets[0].upstream
        return rig, plan


def assert_all_given_back(*targets: Target) -> None:
    for target in targets:
        assert [reply.closed for reply in target.upstream.replies] == [1] * len(
            target.upstream.replies
        )


@pytest.mark.parametrize("failure", [BUSY, GONE, STALE, error_event("overloaded_error")])
@pytest.mark.parametrize("mode", [pure, lambda: translated("anthropic")])
async def test_what_passes_by_itself_is_repeated(failure: Any, mode: Any) -> None:
    world = World()
    target = world.target(failure, failure, GOOD["anthropic"], mode=mode)
    rig, plan = world.rig(target)
    sent = b"".join(await rig.run())
    assert sent.count(b'"message_start"') == 1
    assert b"event: error" not in sent
    assert len(target.upstream.sent) == 3
    assert rig.assert_settled_once().outcome == "completed"
    assert len(rig.admission.charged) == 1
    assert plan.closed == 1
    assert_all_given_back(target)


@pytest.mark.parametrize(
    "failure",
    [
        SILENT,
        UpstreamUnreachable("reset", code="upstream_reset"),
        Said([b"{}"], status=400, headers=JSON),
        Said([b"{}"], status=404, headers=JSON),
        Said([b"<html>"], headers={"content-type": "text/html"}),
        Said([CUT]),
        error_event("invalid_request_error"),
    ],
)
async def test_what_does_not_is_asked_once(failure: Any) -> None:
    world = World()
    target = world.target(failure, GOOD["anthropic"])
    rig, _ = world.rig(target)
    with contextlib.suppress(UpstreamFault):
        await rig.run()
    assert len(target.upstream.sent) == 1
    assert rig.assert_settled_once().outcome in ("rejected", "upstream_failed")
    assert_all_given_back(target)


async def test_a_kept_connection_that_ends_late_had_the_request_on_it() -> None:
    world = World()
    target = world.target(STALE, GOOD["anthropic"])
    rig, _ = world.rig(target)
    send = target.upstream.send_request

    async def late(*args: Any, **until: Any) -> Any:
        world.clock.now += 2.5
        return await send(*args, **until)

    target.upstream.send_request = late  # type: ignore[method-assign]
    with pytest.raises(UpstreamUnreachable) as caught:
        await rig.run()
    assert caught.value.code == "upstream_reset"
    assert len(target.upstream.sent) == 1


async def test_after_the_last_attempt_the_caller_has_the_upstreams_own_bytes() -> None:
    world = World()
    target = world.target(BUSY, BUSY, Said([b" {} \n"], status=529, headers=JSON))
    rig, _ = world.rig(target)
    assert await rig.run() == [b" {} \n"]
    assert rig.assert_settled_once().outcome == "rejected"
    world = World()
    mapped = world.target(GONE, GONE, BUSY, mode=lambda: translated("anthropic"), model="n")
    rig, _ = world.rig(mapped)
    with pytest.raises(UpstreamRejected) as caught:
        await rig.run()
    assert caught.value.type == "overloaded_error"
    assert rig.assert_settled_once().outcome == "rejected"


async def test_an_error_event_is_an_error_status_when_nothing_is_left_to_try() -> None:
    world = World(max_attempts=1)
    target = world.target(error_event("overloaded_error"))
    rig, _ = world.rig(target)
    with pytest.raises(UpstreamRejected) as caught:
        await rig.run()
    assert (caught.value.type, caught.value.status) == ("overloaded_error", 529)
    assert rig.assert_settled_once().outcome == "upstream_failed"


async def test_targets_are_entered_in_order_each_with_its_own_mode() -> None:
    world = World(max_attempts=1)
    first = world.target(BUSY)
    second = world.target(SILENT, model="n")
    third = world.target(GOOD["openai"], mode=lambda: translated("openai"), model="o")
    rig, plan = world.rig(first, second, third)
    sent = b"".join(await rig.run())
    assert b'"model":"openai/' in sent
    assert plan.at == 2
    assert rig.assert_settled_once().outcome == "completed"
    assert_all_given_back(first, second, third)


async def test_attempts_are_bounded_whatever_fails_and_how() -> None:
    chance = random.Random(11)
    for _ in range(200):
        world = World(max_attempts=3, budget=1.0, breaker=False)
        for _ in range(1000):
            world.health.retry_budget("anthropic", is_byok=False).record_request(world.clock())
        targets = [
            world.target(
                *[chance.choice([BUSY, GONE, STALE, SILENT]) for _ in range(9)], model=f"m{number}"
            )
            for number in range(8)
        ]
        rig, _ = world.rig(*targets)
        with contextlib.suppress(UpstreamFault):
            await rig.run()
        assert all(1 <= len(target.upstream.sent) <= 3 for target in targets)
        rig.assert_settled_once()
        assert_all_given_back(*targets)


async def test_a_callers_own_mistake_is_told_and_tried_nowhere_else() -> None:
    world = World()
    bad = Said([b'{"error":{"message":"bad"}}'], status=400, headers=JSON)
    first, second = world.target(bad), world.target(GOOD["anthropic"], model="n")
    rig, _ = world.rig(first, second)
    assert await rig.run() == bad.script
    assert not second.upstream.sent


async def test_a_target_that_asks_for_a_long_wait_is_left_for_the_next() -> None:
    world = World()
    limited = Said([b"{}"], status=429, headers=JSON | {"retry-after": "60"})
    first, second = world.target(limited), world.target(GOOD["anthropic"], model="n")
    rig, plan = world.rig(first, second)
    await rig.run()
    assert plan.at == 1
    breaker = world.health.find_breaker(first.name)
    assert breaker is not None
    assert breaker.is_paused(world.clock())
    assert not breaker.is_open


async def test_no_wait_reaches_the_end_of_the_exchange() -> None:
    world = World(chance=1.0, base_delay=5.0, max_delay=5.0)
    target = world.target(BUSY, GOOD["anthropic"])
    rig, plan = world.rig(target)
    rig.exchange._total_at = world.clock() + 4.9
    assert await rig.run() == [OVERLOADED]
    assert plan.delays == []


async def test_a_caller_who_leaves_during_a_wait_stops_everything() -> None:
    world = World(chance=1.0, base_delay=5.0)
    target = world.target(BUSY, GOOD["anthropic"])
    rig, plan = world.rig(target)
    task = asyncio.create_task(rig.run())
    while not plan.delays:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(target.upstream.sent) == 1
    assert rig.assert_settled_once().outcome == "client_left"
    assert_all_given_back(target)
    assert plan.closed == 1


async def test_a_refused_request_is_mended_once() -> None:
    world = World()
    words = (
        b'{"error":{"type":"invalid_request_error","message":"Invalid `signature` in thinking"}}'
    )
    refused = Said([words], status=400, headers=JSON)
    target = world.target(refused, GOOD["anthropic"], mended=pure)
    rig, _ = world.rig(target)
    await rig.run()
    assert len(target.upstream.sent) == 2
    target = world.target(refused, refused, GOOD["anthropic"], mended=pure)
    rig, _ = world.rig(target)
    assert await rig.run() == [words]
    assert len(target.upstream.sent) == 2
    unmendable = world.target(refused, GOOD["anthropic"])
    rig, _ = world.rig(unmendable)
    assert await rig.run() == [words]
    assert len(unmendable.upstream.sent) == 1


async def test_a_mended_request_stays_mended_when_it_is_repeated() -> None:
    world = World()
    words = (
        b'{"error":{"type":"invalid_request_error","message":"Invalid `signature` in thinking"}}'
    )
    made: list[str] = []

    def mode(kind: str) -> ExchangeMode[bytes]:
        made.append(kind)
        return pure()

    target = world.target(
        Said([words], status=400, headers=JSON),
        BUSY,
        GOOD["anthropic"],
        mode=lambda: mode("whole"),
        mended=lambda: mode("mended"),
    )
    rig, _ = world.rig(target)
    made.clear()
    await rig.run()
    assert made == ["mended", "mended"]


async def test_a_provider_that_is_down_is_asked_little_more_than_there_are_requests() -> None:
    world = World(breaker=False, max_attempts=2)
    asked, requests = 0, 3000
    for _ in range(requests):
        world.clock.now += 0.002
        target = world.target(BUSY, BUSY, BUSY)
        rig, _ = world.rig(target)
        await rig.run()
        asked += len(target.upstream.sent)
    assert asked <= 1.1 * requests + 3
    assert asked > requests


async def test_a_target_that_keeps_failing_is_stopped_by_its_breaker_and_then_probed() -> None:
    world = World(max_attempts=1)
    for _ in range(5):
        rig, _ = world.rig(world.target(BUSY))
        await rig.run()
    breaker = world.health.find_breaker(("anthropic", "m"))
    assert breaker is not None
    assert breaker.seconds_until_retry(world.clock()) == 5.0
    world.clock.now += 5
    assert breaker.seconds_until_retry(world.clock()) == 0
    rig, _ = world.rig(world.target(GOOD["anthropic"]))
    assert breaker.seconds_until_retry(world.clock()) > 0, "one probe at a time"
    await rig.run()
    assert not breaker.is_open


async def test_no_repeat_goes_to_a_target_that_has_just_been_given_up() -> None:
    world = World(max_attempts=9, budget=1.0)
    target = world.target(*[BUSY] * 9)
    rig, _ = world.rig(target)
    for _ in range(20):
        world.health.retry_budget("anthropic", is_byok=False).record_request(world.clock())
    await rig.run()
    assert len(target.upstream.sent) == 5


async def test_a_probe_whose_caller_leaves_makes_room_for_the_next() -> None:
    world = World(max_attempts=1)
    for _ in range(5):
        rig, _ = world.rig(world.target(BUSY))
        await rig.run()
    world.clock.now += 5
    rig, _ = world.rig(world.target(Said([FOREVER])))
    task = asyncio.create_task(rig.run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    breaker = world.health.find_breaker(("anthropic", "m"))
    assert breaker is not None
    assert breaker.is_open
    assert breaker.seconds_until_retry(world.clock()) == 0


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_what_callers_own_keys_meet_with_counts_against_nobody(status: int) -> None:
    world = World(max_attempts=1)
    for _ in range(1000):
        said = Said([b"{}"], status=status, headers=JSON)
        rig, _ = world.rig(
            world.target(said, own_key=True, mode=lambda: pure(uses_gateway_key=False))
        )
        await rig.run()
    assert world.health.find_breaker(("anthropic", "m")) is None


async def test_callers_own_keys_have_a_budget_of_their_own() -> None:
    world = World(budget=0.0, max_attempts=2)
    for _ in range(10):
        rig, _ = world.rig(world.target(BUSY, BUSY, own_key=True))
        await rig.run()
    target = world.target(BUSY, GOOD["anthropic"])
    rig, _ = world.rig(target)
    await rig.run()
    assert len(target.upstream.sent) == 2


async def test_nothing_is_tried_again_once_the_caller_has_had_something() -> None:
    """Many seeded exchanges with failures anywhere: a batch is followed by no other attempt."""
    chance = random.Random(7)
    whole = GOOD["anthropic"].script[0]
    for _ in range(500):
        world = World(max_attempts=3, budget=1.0)
        cut = chance.randrange(1, len(whole))
        script = [whole[:cut], chance.choice([CUT, b"", error_event("overloaded_error").script[0]])]
        said = [chance.choice([BUSY, GONE, STALE]) for _ in range(chance.randrange(3))]
        target = world.target(*said, Said(script), GOOD["anthropic"], GOOD["anthropic"])
        rig, _ = world.rig(target)
        handed = []
        with contextlib.suppress(UpstreamFault), rig.exchange as exchange:
            answer = await exchange.start()
            asked = len(target.upstream.sent)
            handed.append(answer.first_batch)
            while (batch := await exchange.read_batch()) is not None:
                handed.append(batch)
        if handed:
            assert len(target.upstream.sent) == asked
        assert b"".join(handed).count(b'"message_start"') <= 1
        rig.assert_settled_once()
        assert_all_given_back(target)


async def test_a_lent_keys_refusal_is_no_401_in_any_mode() -> None:
    world = World()
    refused = Said([b'{"error":{"message":"wrong key sk-abc"}}'], status=401, headers=JSON)
    for mode in (pure, lambda: translated("anthropic"), lambda: translated("openai")):
        rig, _ = world.rig(world.target(refused, mode=mode))
        with pytest.raises(UpstreamRejected) as caught:
            await rig.run()
        assert (caught.value.status, caught.value.code) == (502, "upstream_auth")
        assert "sk-abc" not in str(caught.value.to_wire())
        assert rig.assert_settled_once().outcome == "rejected"


async def test_a_streams_head_is_what_the_caller_gets_only_of_the_attempt_that_answered() -> None:
    world = World()
    target = world.target(
        Said([OVERLOADED], status=529, headers=JSON | {"request-id": "one"}),
        Said(GOOD["anthropic"].script, headers=SSE | {"request-id": "two"}),
    )
    rig, _ = world.rig(target)
    with rig.exchange as exchange:
        answer = await exchange.start()
        assert answer.headers["request-id"] == "two"
        assert exchange.mode.has_content

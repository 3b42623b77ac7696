"""A token is renewed ahead of its end, once for all who ask, and never for nothing."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from tests.canary import PROVIDER_KEY
from tests.io.google.fake import Google, access, login
from vai.errors import UpstreamFault
from vai.io.google.upstream import LoginTokens
from vai.secret import Secret


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def bearer(google: Google, clock: Clock, left: float, **other: Any) -> LoginTokens:
    """One whose token has `left` seconds to live."""
    known = login(expiry=clock.now + left, **other)
    return LoginTokens(known, endpoints=google.endpoints, now=clock)


async def until(probe: Any) -> None:
    async with asyncio.timeout(20):
        while not probe():
            await asyncio.sleep(0.005)


async def test_a_token_with_time_left_is_sent_as_it_is(google: Google) -> None:
    source = bearer(google, Clock(), 3000)
    assert (await source.get_token()).reveal() == access(0)
    assert google.seen == []


async def test_a_hundred_who_ask_at_once_cause_one_refresh(google: Google) -> None:
    clock = Clock()
    source = bearer(google, clock, -10)
    tokens = await asyncio.gather(*[source.get_token() for _ in range(100)])
    assert {token.reveal() for token in tokens} == {access(1)}
    assert len(google.at("/token")) == 1
    clock.now += 3599
    assert (await source.get_token()).reveal() == access(2)


async def test_near_its_end_it_is_renewed_while_it_is_still_sent(google: Google) -> None:
    google.gate.clear()
    source = bearer(google, Clock(), 200)
    for _ in range(10):
        assert (await source.get_token()).reveal() == access(0)
    google.gate.set()
    await until(lambda: source._running is None)
    assert (await source.get_token()).reveal() == access(1)
    assert len(google.at("/token")) == 1


async def test_a_refused_token_is_renewed_once_for_all(google: Google) -> None:
    source = bearer(google, Clock(), 3000)
    refused = await source.get_token()
    again = await asyncio.gather(*[source.replace_token(refused) for _ in range(50)])
    assert {token.reveal() for token in again} == {access(1)}
    assert (await source.replace_token(refused)).reveal() == access(1)
    assert len(google.at("/token")) == 1


async def test_one_who_leaves_takes_nothing_along(google: Google) -> None:
    google.gate.clear()
    source = bearer(google, Clock(), -10)
    first, second = (asyncio.ensure_future(source.get_token()) for _ in range(2))
    await until(lambda: google.at("/token"))
    first.cancel()
    google.gate.set()
    assert (await second).reveal() == access(1)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_login_that_has_ended_is_not_asked_for_again(google: Google) -> None:
    clock = Clock()
    source = bearer(google, clock, -10, refresh_token=Secret(f"{PROVIDER_KEY}-revoked"))
    for _ in range(3):
        with pytest.raises(UpstreamFault) as failed:
            await source.get_token()
        clock.now += 3600
    assert failed.value.code == "login_expired"
    assert failed.value.status == 502  # 401 would say that the caller's own key is wrong
    assert failed.value.should_retry is False
    assert len(google.at("/token")) == 1


async def test_after_a_failure_google_is_left_alone_for_a_while(google: Google) -> None:
    clock = Clock()
    google.said["/token"] = [(503, {"error": "backend_error"})]
    source = bearer(google, clock, -10)
    for _ in range(5):
        with pytest.raises(UpstreamFault) as failed:
            await source.get_token()
    assert failed.value.code == "login_unavailable"
    assert len(google.at("/token")) == 1
    clock.now += 6
    google.said.clear()
    assert (await source.get_token()).reveal() == access(1)


async def test_while_a_token_lives_a_failed_refresh_hurts_nobody(google: Google) -> None:
    google.said["/token"] = [(503, {})]
    source = bearer(google, Clock(), 200)
    await source.get_token()
    await until(lambda: google.at("/token") and source._running is None)
    assert (await source.get_token()).reveal() == access(0)


async def test_the_end_of_a_worker_ends_a_refresh(google: Google) -> None:
    google.gate.clear()
    source = bearer(google, Clock(), 200)
    await source.get_token()
    await until(lambda: google.at("/token"))
    await source.aclose()
    assert source._running is None
    google.gate.set()
    gc.collect()  # a task that nobody awaited would complain now


async def test_no_text_form_shows_a_token(google: Google) -> None:
    source = bearer(google, Clock(), -10)
    await source.get_token()
    for thing in (source, login(), vars(source)):
        assert PROVIDER_KEY not in f"{thing!r} {thing}"

"""Asking a counter: what is an answer, what an estimate stands in for, and who lets go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.exchange.rig import CUT, FOREVER, JSON, SILENCE, Clock, Said, Upstream
from vai.errors import UpstreamUnreachable
from vai.exchange.count import COUNT_TIMEOUT, MAX_RESPONSE, TokenCount, send_count_request
from vai.policy.timers import Timers
from vai.types.provider import WireRequest

WIRE = WireRequest("POST", "/count", (), b"{}")


async def asked(
    status: int, *script: object, headers: Mapping[str, str] = JSON
) -> tuple[TokenCount | None, Upstream]:
    clock = Clock()
    upstream = Upstream(clock, [Said(status=status, headers=headers, script=list(script))])
    return await send_count_request(WIRE, upstream, timers=Timers(), clock=clock), upstream


@pytest.mark.parametrize("status", [200, 400, 401, 403, 413, 429])
async def test_what_the_caller_must_know_is_an_answer(status: int) -> None:
    told, upstream = await asked(status, b'{"input_', b'tokens":1}')
    assert told == TokenCount(status, JSON, b'{"input_tokens":1}')
    assert upstream.reply.closed == 1


@pytest.mark.parametrize("status", [302, 404, 405, 500, 502, 503, 529])
async def test_no_counter_or_one_that_is_down_is_none(status: int) -> None:
    told, upstream = await asked(status, b"{}")
    assert told is None
    assert upstream.reply.closed == 1


@pytest.mark.parametrize("step", [CUT, SILENCE, b"x" * (MAX_RESPONSE + 1)])
async def test_a_broken_silent_or_endless_answer_is_none(step: object) -> None:
    told, upstream = await asked(200, b"{", step)
    assert told is None
    assert upstream.reply.closed == 1


async def test_a_provider_that_cannot_be_reached_is_none() -> None:
    clock = Clock()
    nowhere = Upstream(clock, [UpstreamUnreachable("no connection")])
    assert await send_count_request(WIRE, nowhere, timers=Timers(), clock=clock) is None


async def test_it_is_not_waited_for_longer_than_a_count_is_worth() -> None:
    _, upstream = await asked(200, b"{}")
    connect, headers = upstream.deadlines
    assert connect == 1000.0 + Timers().connect
    assert headers == 1000.0 + COUNT_TIMEOUT


async def test_a_caller_who_leaves_takes_the_connection_along() -> None:
    clock = Clock()
    upstream = Upstream(clock, [Said(status=200, headers=JSON, script=[b"{", FOREVER])])
    task = asyncio.ensure_future(send_count_request(WIRE, upstream, timers=Timers(), clock=clock))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert upstream.reply.closed == 1
    assert not upstream.reply.kept

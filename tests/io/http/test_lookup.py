"""Names of upstreams that cannot be looked up, in time or at all."""

from __future__ import annotations

import asyncio
import gc
import math
from typing import Any

import pytest
import uvloop

from tests.io.http.scripted import serving
from vai.errors import UpstreamFault
from vai.io.http.head import Origin
from vai.io.http.pool import Pool, PoolLimits


def test_a_look_up_that_nothing_waits_for_any_more_leaves_no_error() -> None:
    complaints: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(context["message"])

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(note)
        pool = Pool(Origin("http", "no-such-host.invalid", 80), None, PoolLimits())
        for delay in (0.0, 0.0001, 0.0002, 0.0005) * 5:
            with pytest.raises(UpstreamFault):
                await pool.acquire(math.inf, loop.time() + delay)
            asked = asyncio.create_task(pool.acquire(math.inf, math.inf))
            await asyncio.sleep(delay)
            asked.cancel()
            await asyncio.wait([asked])
            asked.cancelled() or asked.exception()
        await asyncio.sleep(0.2)
        gc.collect()
        assert pool.get_stats().open == 0
        await pool.aclose()

    uvloop.run(main())
    assert complaints == []


def test_every_address_of_a_name_is_tried() -> None:
    """`localhost` is ::1 as well on most machines; the server listens on 127.0.0.1 alone."""

    async def hold(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        async with serving(hold) as port:
            pool = Pool(Origin("http", "localhost", port), None, PoolLimits())
            connection = await pool.acquire(math.inf, math.inf)
            assert not connection.closed
            connection.abort()
            await pool.aclose()

    uvloop.run(main())

"""Each test runs its coroutine on a fresh loop: uvloop as the gateway, asyncio as the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine; whatever the loop would only have logged is a failure."""

    def runner(main: Coroutine[Any, Any, None]) -> None:
        complaints: list[dict[str, Any]] = []

        async def watched() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            async with asyncio.timeout(60):
                await main

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as loop:
            loop.run(watched())
        assert complaints == []

    return runner

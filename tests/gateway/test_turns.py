"""A crowd of requests does not make a long turn of the loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from vai.gateway.service import TurnGate


async def _work(gate: TurnGate, number: int, order: list[int], seconds: float) -> None:
    if not gate.try_start():
        await gate.wait_for_turn()
    order.append(number)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def _longest_turn(until: asyncio.Future[object]) -> float:
    longest = 0.0
    while not until.done():
        began = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - began)
    return longest


@pytest.mark.timing
def test_a_turn_starts_few_requests_in_the_order_of_their_arrival() -> None:
    async def main() -> None:
        gate = TurnGate(asyncio.get_running_loop(), 8)
        order: list[int] = []
        crowd = asyncio.gather(*(_work(gate, n, order, 0.001) for n in range(256)))
        longest = await _longest_turn(crowd)
        assert order == list(range(256))
        # Of 256 ms of work in all.
        assert longest < 0.05, longest

    asyncio.run(main())


def test_a_few_requests_do_not_wait() -> None:
    async def main() -> None:
        gate = TurnGate(asyncio.get_running_loop(), 8)
        assert [gate.try_start() for _ in range(9)] == [True] * 8 + [False]
        await asyncio.sleep(0)
        assert gate.try_start()

    asyncio.run(main())


def test_a_client_that_leaves_takes_no_place() -> None:
    async def main() -> None:
        gate = TurnGate(asyncio.get_running_loop(), 1)
        order: list[int] = []
        tasks = [asyncio.create_task(_work(gate, n, order, 0)) for n in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait(tasks, timeout=1)
        assert order == [0, 2, 3]
        assert all(task.done() for task in tasks)

    asyncio.run(main())

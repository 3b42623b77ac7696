"""Unfair servers are seen as such."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial

import pytest

from bench import ways
from bench.fairness import answers_spread, describe, is_fair, latency_tail
from bench.job import Measured, quantiles
from bench.suite import Options, Suite
from bench.ways import Way

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
_CONNECTIONS = 8


def _measured(answers: list[int], latency: list[float]) -> Measured:
    return Measured(
        requests=sum(answers),
        events=0,
        errors=0,
        seconds=1.0,
        cpu=0.0,
        generator=0.0,
        core=0.0,
        latency=quantiles(latency),
        answers=answers,
    )


def test_the_spread_is_that_of_the_connection_farthest_from_the_median() -> None:
    assert answers_spread(_measured([90, 100, 100, 120], [1.0])) == pytest.approx(20)
    assert answers_spread(_measured([70, 100, 100, 120], [1.0])) == pytest.approx(30)
    assert answers_spread(_measured([0, 0], [])) == float("inf")


def test_the_goals_are_met_at_their_bounds_and_missed_beyond() -> None:
    slow = [1.0] * 90 + [2.0] * 10
    assert latency_tail(_measured([100], slow)) == 2.0
    assert is_fair(_measured([85, 100, 115], slow))
    assert not is_fair(_measured([84, 100, 115], slow))
    assert not is_fair(_measured([85, 100, 115], [1.0] * 90 + [2.1] * 10))
    assert "goals missed" in describe(_measured([], []))


@pytest.fixture(params=[0.0, 0.03], ids=["alike", "a-slow-one"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    """A server that answers in 10 ms, on its first connection as much later as told."""
    numbers = itertools.count()
    started: Future[tuple[int, Callable[[], object]]] = Future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        delay = 0.01 + (request.param if next(numbers) == 0 else 0)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                await asyncio.sleep(delay)
                writer.write(_ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ended = asyncio.Event()
        stop = partial(asyncio.get_running_loop().call_soon_threadsafe, ended.set)
        started.set_result((server.sockets[0].getsockname()[1], stop))
        async with server:
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    port, stop = started.result(5)
    yield port, request.param == 0
    stop()
    thread.join(5)


@pytest.mark.timing
def test_a_connection_that_waits_longer_is_seen(server: tuple[int, bool]) -> None:
    port, alike = server
    way = Way(name="server", port=port)
    suite = Suite(Options(seconds=0.6, warmup=0.2), way, [], print)
    seen = suite.measure(
        "test",
        way,
        cores=ways.all_cores(),
        shape="closed",
        model="mock-json",
        concurrency=_CONNECTIONS,
    )
    assert len(seen.answers) == _CONNECTIONS
    assert sum(seen.answers) == seen.requests
    assert (answers_spread(seen) < 40) is alike
    assert (answers_spread(seen) > 60) is not alike

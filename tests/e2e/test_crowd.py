"""Hundreds of busy connections hold up neither each other nor a probe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from statistics import median

import orjson
import pytest
import uvloop

from tests.e2e.rig import Gateway, Simulated, ask, running

pytestmark = [pytest.mark.e2e, pytest.mark.timing]

_CONNECTIONS = 256
_SECONDS = 4.0
_BODY = orjson.dumps(ask("claude-crowd"))
_REQUEST = b"POST /v1/messages HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)
_PROBE = b"GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module", params=["--workers=2", "--single-process"])
def gateway(
    simulator: Simulated, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Gateway]:
    settings = {
        "auth": {"mode": "none"},
        "providers": {"anthropic": {"api_key": "k", "base_url": simulator.base_url("anthropic")}},
    }
    folder = tmp_path_factory.mktemp("crowd")
    with running(settings, folder, request.param) as started:
        yield started


async def _busy(port: int, until: float, times: list[float]) -> None:
    """One request after the other on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (began := time.monotonic()) < until:
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head[:100]
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        times.append(time.monotonic() - began)
    writer.close()


async def _probe(port: int, until: float) -> list[float]:
    """Seconds that `/health` took, each on a connection of its own."""
    times = []
    while (began := time.monotonic()) < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_PROBE)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        times.append(time.monotonic() - began)
        writer.close()
        await asyncio.sleep(0.05)
    return times


def test_nobody_starves_in_a_crowd(gateway: Gateway) -> None:
    async def main() -> None:
        until = time.monotonic() + _SECONDS
        times: list[float] = []
        probing = asyncio.create_task(_probe(gateway.port, until))
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(_busy(gateway.port, until, times))
        probes = await probing
        times.sort()
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        print(f"p50 {p50:.3f}, p99 {p99:.3f}, health {median(probes):.3f} to {max(probes):.3f}")
        assert p99 / p50 <= 3, f"p99 {p99:.3f} s, p50 {p50:.3f} s"
        assert median(probes) < 0.1, f"{median(probes):.3f} s"

    uvloop.run(main())

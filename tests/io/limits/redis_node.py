"""A program: one machine among several on one server.

fill URL PREFIX NODE    clients take what there is, of each limit; prints how many passed
hold URL PREFIX NODE    takes running places until refused, prints how many, and keeps them
                        until it is killed
"""

from __future__ import annotations

import asyncio
import sys

import orjson

from tests.io.limits.redis_server import limits_at
from tests.io.limits.test_shared import memory
from vai.io.limits.redis.failover import FailoverLimits
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import LimitSet, Principal

KINDS = ("concurrency", "requests", "tokens")
LIMITS = (1, 7, 100)
CLIENTS = 8
LEASE = 4.0
"""Seconds, of what `hold` holds."""
HELD = Principal("held", LimitSet(concurrency=3))


def filled(kind: str, limit: int) -> Principal:
    return Principal(f"{kind}:{limit}", LimitSet(**{kind: limit}))


async def fill(url: str, prefix: str, node: str) -> dict[str, int]:
    limits = limits_at(url, prefix, node=node, timeout=30.0)
    found = {}
    for kind in KINDS:
        for limit in LIMITS:
            who = (Principal("", LimitSet()), filled(kind, limit))

            async def client() -> int:
                passed = refused = 0
                while refused < 3:
                    if (await limits.admit(who, 1, 0.0)).is_admitted:  # noqa: B023
                        passed += 1
                    else:
                        refused += 1
                return passed

            found[f"{kind}:{limit}"] = sum(
                await asyncio.gather(*[client() for _ in range(CLIENTS)])
            )
    await limits.aclose()
    return found


async def hold(url: str, prefix: str, node: str) -> None:
    remote = limits_at(url, prefix, node=node, timeout=30.0, lease=LEASE)
    local = SharedLimits(memory(), 0, 1)
    limits = FailoverLimits(local, remote, lambda _: None, lease=LEASE)
    await limits.open()
    passed = 0
    while (await limits.admit((HELD,), 1, 0.0)).is_admitted:
        passed += 1
    sys.stdout.write(f"{passed}\n")
    sys.stdout.flush()
    await asyncio.sleep(300)


if __name__ == "__main__":
    work = {"fill": fill, "hold": hold}[sys.argv[1]]
    sys.stdout.buffer.write(orjson.dumps(asyncio.run(work(*sys.argv[2:5]))))

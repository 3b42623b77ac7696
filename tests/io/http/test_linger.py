"""The end of a stream that comes a packet behind its last event."""

from __future__ import annotations

import asyncio

from tests.io.http.scripted import always, limited, send, serving, soon
from vai.io.http import pool as pools
from vai.io.http.connection import LEFTOVER_LIMIT

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_EVENT = b"5\r\nlast\n\r\n"
END = b"0\r\n\r\n"


async def finished(transport, port):
    reply = await send(transport, port)
    assert await reply.read(soon()) == b"last\n"
    reply.release_connection()
    reply.close()  # a late close must not hurt


async def settled(transport, **wanted: int):
    """The pool's figures, once they are as wanted or half a second has passed."""
    for _ in range(50):
        stats = transport.get_stats()
        if all(getattr(stats, name) == value for name, value in wanted.items()):
            break
        await asyncio.sleep(0.01)
    return stats


async def test_a_late_end_keeps_the_connection():
    transport = limited(1)
    async with serving(always(HEAD + LAST_EVENT, END, pause=0.05)) as port:
        for _ in range(3):
            await finished(transport, port)
            assert (await settled(transport, idle=1)).idle == 1
        assert transport.get_stats().open == 1
        await transport.aclose()


async def test_an_end_that_never_comes_costs_the_connection(monkeypatch):
    monkeypatch.setattr(pools, "LINGER", 0.05)
    transport = limited(1)
    async with serving(always(HEAD + LAST_EVENT)) as port:
        await finished(transport, port)
        assert (await settled(transport, open=0)).open == 0
        await finished(transport, port)  # its place is free again
        await transport.aclose()


async def test_an_end_that_is_none_costs_the_connection():
    more = LEFTOVER_LIMIT + 1
    chunk = b"%x\r\n%b\r\n" % (more, b"x" * more)
    transport = limited(1)
    async with serving(always(HEAD + LAST_EVENT, chunk, pause=0.05)) as port:
        await finished(transport, port)
        assert (await settled(transport, open=0)).open == 0
        await transport.aclose()

"""The adapter of pytest-sanic: a server in the test's own loop, with streams and WebSockets."""

from __future__ import annotations

import asyncio

import pytest
from sanic import Sanic
from sanic.response import text


@pytest.fixture
def app():
    app = Sanic("adapter")
    app.ctx.trail = []
    app.before_server_start(lambda app: app.ctx.trail.append("before start"))
    app.after_server_stop(lambda app: app.ctx.trail.append("after stop"))

    @app.get("/")
    async def hello(_):
        return text("hello")

    @app.get("/stream")
    async def stream(request):
        answer = await request.respond()
        try:
            for number in range(1000):
                await answer.send(f"{number}\n")
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            app.ctx.trail.append("client left")
            raise

    @app.websocket("/echo")
    async def echo(_, ws):
        async for message in ws:
            await ws.send(message)

    return app


async def test_a_request(app, sanic_client):
    client = await sanic_client(app)
    assert (await client.get("/")).text == "hello"
    assert app.ctx.trail == ["before start"]


async def test_the_loop_is_uvloop(loop):
    assert type(loop).__module__.startswith("uvloop")


async def test_two_servers_at_once_and_twenty_streams(app, sanic_client):
    client = await sanic_client(app)
    other = Sanic("other")
    other.get("/")(lambda _: text("other"))
    second = await sanic_client(other)

    async def first_lines():
        async with client.session.stream("GET", client.make_url("/stream")) as answer:
            lines = answer.aiter_lines()
            return [await anext(lines) for _ in range(3)]

    streams = await asyncio.gather(*(first_lines() for _ in range(20)))
    assert streams == [["0", "1", "2"]] * 20
    assert (await second.get("/")).text == "other"


async def test_a_client_that_leaves_is_noticed(app, sanic_client):
    client = await sanic_client(app)
    async with client.session.stream("GET", client.make_url("/stream")) as answer:
        await anext(answer.aiter_bytes())
    for _ in range(100):
        if "client left" in app.ctx.trail:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the handler still runs")


async def test_a_websocket(app, sanic_client):
    client = await sanic_client(app)
    ws = await client.ws_connect("/echo")
    await ws.send("ping")
    assert await ws.recv() == "ping"
    await ws.close()
    await client.close()
    assert app.ctx.trail[-1] == "after stop"

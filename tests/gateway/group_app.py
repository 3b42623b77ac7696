"""A small app of the process parts alone, for tests that run real `sanic` groups."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, cast

from sanic import Request, Sanic, Websocket
from sanic.response import HTTPResponse, json, text

from vai.errors import InvalidRequest, VaiError
from vai.gateway import sanic_patches as repairs
from vai.gateway.admission.inflight import InFlightExchanges
from vai.gateway.process import drain, main_process, workers
from vai.gateway.process.workers import CONTROL_BLOCK_VARIABLE
from vai.gateway.request.responses import GatewayResponse
from vai.gateway.sanic_patches.body import ReceivingHttp
from vai.gateway.sanic_patches.request import PatchedRequest
from vai.gateway.sanic_patches.websocket import send_or_cut


def _setting(name: str, default: float) -> float:
    return float(os.environ.get(f"TEST_{name}", default))


if (refusal := os.environ.get("TEST_REFUSE_FILE")) and Path(refusal).exists():
    raise SystemExit(2)  # as bad settings end a worker: before it is on the control block

_slow = time.monotonic() + _setting("SLOW_START", 0)
while "SANIC_WORKER_NAME" in os.environ and time.monotonic() < _slow:
    time.sleep(0.09)  # as with a tenth of a core: it gets on, and takes its time
    _burn = time.monotonic() + 0.01
    while time.monotonic() < _burn:
        pass

Sanic.start_method = "spawn"
app = Sanic("GroupApp", configure_logging=True)
app.config.ACCESS_LOG = False
app.config.MOTD = False
app.config.AUTO_EXTEND = False
app.config.RESPONSE_TIMEOUT = 600
app.config.KEEP_ALIVE_TIMEOUT = 60
app.config.WEBSOCKET_PING_INTERVAL = _setting("PING", 20)
app.config.WEBSOCKET_PING_TIMEOUT = _setting("PING", 20)
grace = _setting("GRACE", 5)
hung_after = _setting("HUNG", 10)
inflight = InFlightExchanges()

repairs.install_patches(
    app,
    limits=repairs.ReceiveLimits(
        head=_setting("HEAD", 10), body=_setting("BODY", 300), window=_setting("WINDOW", 5)
    ),
    drain_grace=grace,
)
workers.attach_worker(app, inflight, hung_after=hung_after)
main_process.attach_main(app, hung_after=hung_after)


@app.before_server_start
async def fail(app: Sanic[Any, Any]) -> None:
    switch = os.environ.get("TEST_FAIL_FILE", "")
    if switch and Path(switch).exists():
        raise RuntimeError("bad setting")
    if os.environ.get("TEST_DIE_AT_START"):
        os.kill(os.getpid(), 9)


@app.exception(VaiError)
async def refused(request: Request, error: VaiError) -> HTTPResponse:
    headers = {"retry-after": "1"} if error.retry_after else {}
    return json(error.to_wire(), status=error.status, headers=headers)


if os.environ.get("TEST_MIDDLEWARE"):

    @app.on_request
    async def look(request: Request) -> None:
        """Without effect; but a request with middleware goes Sanic's own way."""


if os.environ.get("TEST_MIDDLEWARE") == "response":

    @app.on_response
    async def mark(request: Request, response: HTTPResponse) -> None:
        response.headers["x-seen"] = "1"


@app.get("/")
async def hello(request: Request) -> HTTPResponse:
    with inflight.start_exchange():
        return text(str(os.getpid()))


@app.get("/control_block")
async def control_block(request: Request) -> HTTPResponse:
    rows = [
        {"pid": r.owner.pid, "state": r.state.name, "number": r.number, "inflight": r.inflight}
        for r in app.ctx.membership.control_block.taken_slots()
    ]
    own = app.ctx.membership.control_block
    return json(
        {
            "rows": rows,
            "manager": own.manager.pid,
            "main": own.owner.pid,
            "path": os.environ.get(CONTROL_BLOCK_VARIABLE) or str(own.path),
        }
    )


@app.post("/echo")
async def echo(request: Request) -> HTTPResponse:
    return text(str(len(request.body)))


class Answer(GatewayResponse):
    """It tells the app when it was written in one go."""

    async def send(self, data: Any = None, end_stream: bool | None = None) -> None:
        await super().send(data, end_stream)
        app.ctx.written_whole = self._headers is None


@app.route("/chunks", methods=["GET", "HEAD", "POST"], stream=True)
async def stream_chunks(request: Request) -> None:
    """What the query wants, in chunks; with `long`, in Sanic's own way; with `once`, begun without
    its coroutines, and `written_whole` says whether it was."""
    made = Answer(headers={"x-one": request.args.get("value", "v")}, content_type="text/plain")
    if "read" in request.args:
        await cast("ReceivingHttp", request.stream).receive_body()
    if "long" in request.args:
        assert made.headers
    pieces = [
        letter.encode() * int(request.args.get("size", 3))
        for letter in request.args.get("letters", "abc")
    ]
    begun = "once" in request.args and made.begin_at_once(
        cast("PatchedRequest", request), pieces[0]
    )
    if not begun:
        await request.respond(made)
    for piece in pieces[begun:]:
        await made.send(piece)
    await made.send(end_stream=True)
    if "once" in request.args:
        app.ctx.written_whole = begun


@app.route("/answer", methods=["GET", "HEAD", "POST"], stream=True)
async def answer(request: Request) -> HTTPResponse:
    """What the query wants; with `long`, in Sanic's own way."""
    app.ctx.answers = getattr(app.ctx, "answers", 0) + 1
    if "read" in request.args:
        await cast("ReceivingHttp", request.stream).receive_body()
    made = Answer(
        b"x" * int(request.args.get("size", 3)),
        int(request.args.get("status", 200)),
        {"x-one": request.args.get("value", "v"), "x-two": ""},
        "application/json",
        "x-figure: 1\r\nx-other: a: b\r\n",
    )
    if "long" in request.args:
        assert made.headers
    return made


@app.get("/answer/whole")
async def written_whole(request: Request) -> HTTPResponse:
    return text(str(app.ctx.written_whole))


@app.get("/answer/count")
async def count_answers(request: Request) -> HTTPResponse:
    return text(str(app.ctx.answers))


@app.get("/outcome/<kind:str>", stream=True)
async def named_outcome(request: Request, kind: str) -> HTTPResponse | None:
    return await outcome(request, kind)


@app.get("/outcome", stream=True)
async def outcome(request: Request, kind: str = "") -> HTTPResponse | None:
    """What a handler can do."""
    kind = kind or request.args.get("kind", "")
    if kind == "refused":
        raise InvalidRequest("no", param="kind")
    if kind == "defect":
        raise ValueError(kind)
    if kind == "streamed":
        response = await request.respond(content_type="text/plain")
        await response.send("one")
        return None
    if kind == "defect in a stream":
        response = await request.respond(content_type="text/plain")
        await response.send("one")
        raise ValueError(kind)
    return text(kind) if kind else None


@app.get("/fields")
async def fields(request: Request) -> HTTPResponse:
    """The header fields of the request, in Sanic's form and in VAI's."""
    made = cast("PatchedRequest", request).header_fields
    return json({"sanics": [*request.headers.items()], "pairs": made.pairs, "first": made})


@app.get("/stream/<count:int>")
async def stream(request: Request, count: int) -> None:
    with inflight.start_exchange() as slot:
        over = asyncio.Event()
        slot.on_expire(over.set)
        response = await request.respond(content_type="text/event-stream")
        for number in range(count):
            if over.is_set():
                await response.send("event: error\ndata: expired\n\n")
                break
            await response.send(f"data: {number}\n\n")
            await asyncio.sleep(0.05)
        else:
            await response.send("data: end\n\n")
        await response.eof()


@app.get("/block/<seconds:int>")
async def block(request: Request, seconds: int) -> HTTPResponse:
    time.sleep(seconds)
    return text("awake")


@app.get("/turns/<count:int>")
async def turns(request: Request, count: int) -> HTTPResponse:
    """As a busy worker: so many turns of the loop last 50 ms each."""
    for _ in range(count):
        time.sleep(0.05)
        await asyncio.sleep(0)
    return text("quiet")


@app.websocket("/ws/echo")
async def ws_echo(request: Request, ws: Websocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket("/ws/deaf")
async def ws_deaf(request: Request, ws: Websocket) -> None:
    await asyncio.sleep(_setting("DEAF", 3))
    await ws.send(f"{len(await ws.recv_burst())}")


@app.websocket("/ws/flood")
async def ws_flood(request: Request, ws: Websocket) -> None:
    started = time.monotonic()
    try:
        while True:
            await send_or_cut(ws, b"x" * 65536, 0.3)
    except VaiError as error:
        print(f"flood ended: {error.code} after {time.monotonic() - started:.1f} s", flush=True)


drain.attach_drain(app, inflight, grace=grace)

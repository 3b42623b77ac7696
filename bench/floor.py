"""The floor: bare Sanic that passes a body on and its answer back, and does nothing else.

No identity, no limits, no metrics, no log line, no look at the body: what is left is the
price of Sanic and of the gateway's upstream client, and so the least that a gateway made
of them can cost.

Run as ``python -m bench.floor PORT UPSTREAM_PORT``.
"""

from __future__ import annotations

import math
import sys

from sanic import HTTPResponse, Request, Sanic
from sanic.response import empty, raw

from vai.io.http import Endpoint, HttpUpstream, VaiTransport
from vai.types.provider import WireRequest

__all__ = ["create_app"]

_HEADERS = (("Content-Type", "application/json"),)


def create_app(upstream_port: int) -> Sanic:  # type: ignore[type-arg]
    """An app that forwards every POST to the mock."""
    app = Sanic("floor", configure_logging=False)
    # AUTO_EXTEND: sanic-ext attaches itself to every app where it is installed, and costs.
    app.config.update(ACCESS_LOG=False, MOTD=False, RESPONSE_TIMEOUT=600, AUTO_EXTEND=False)
    endpoint = Endpoint.from_base_url(f"http://127.0.0.1:{upstream_port}")
    upstream = HttpUpstream(VaiTransport(), endpoint)

    @app.get("/ready")
    async def ready(request: Request) -> HTTPResponse:
        return empty()

    @app.post("/<path:path>")
    async def forward(request: Request, path: str) -> HTTPResponse | None:
        wire = WireRequest("POST", request.path, _HEADERS, request.body)
        reply = await upstream.send_request(
            wire, connect_deadline=math.inf, headers_deadline=math.inf
        )
        try:
            kind = reply.headers["content-type"]
            if not kind.startswith("text/event-stream"):
                body = b""
                while piece := await reply.read(math.inf):
                    body += piece
                return raw(body, reply.status, content_type=kind)
            response = await request.respond(status=reply.status, content_type=kind)
            while piece := await reply.read(math.inf):
                await response.send(piece)
            await response.eof()
        finally:
            reply.close()
        return None

    return app


if __name__ == "__main__":
    create_app(int(sys.argv[2])).run(
        "127.0.0.1", int(sys.argv[1]), single_process=True, access_log=False
    )

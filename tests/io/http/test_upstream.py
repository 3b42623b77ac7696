"""One provider: what stands on the wire, what never does, and both kinds of transport."""

from __future__ import annotations

import asyncio
import gzip
import resource

import httpx
import pytest

from tests.io.http.scripted import OK, POST, always, eventually, heard, origin, serving, soon, whole
from vai.errors import InvalidRequest, UpstreamBroken
from vai.io.http import (
    Credential,
    Endpoint,
    HttpUpstream,
    UpstreamSettings,
    VaiTransport,
    build_transport,
)
from vai.io.http.proxy_transport import ProxyTransport
from vai.secret import Secret
from vai.types.provider import WireRequest

KEY = Secret("sk-CANARY-1")


def recording(log, answer=OK):
    async def handler(reader, writer):
        while True:
            log.append(await heard(reader))
            writer.write(answer)

    return handler


@pytest.mark.parametrize("stock", [False, True], ids=["vai", "stock"])
def test_what_stands_on_the_wire(run, stock):
    async def main():
        log = []
        transport = httpx.AsyncHTTPTransport() if stock else VaiTransport()
        async with serving(recording(log)) as port, transport:
            home = origin(port)
            for style in ("x-api-key", "bearer"):
                upstream = HttpUpstream(
                    transport, Endpoint(home, "/base"), Credential(KEY, home), style
                )
                reply = await upstream.send_request(
                    POST, connect_deadline=soon(), headers_deadline=soon()
                )
                assert (reply.status, reply.headers) == (200, {"content-length": "5"})
                assert await whole(reply) == b"hello"
                assert await reply.read(soon()) == b""
                reply.close()
            get = WireRequest("GET", "/v1/models", (), b"")
            await whole(
                await upstream.send_request(get, connect_deadline=soon(), headers_deadline=soon())
            )
        heads = [head.lower().split(b"\r\n") for head, _ in log]
        assert heads[0][0] == b"post /base/v1/messages http/1.1"
        assert log[0][1] == b"{}"
        common = {b"host: 127.0.0.1:%d" % port, b"accept-encoding: identity",
                  b"content-type: application/json", b"content-length: 2"}  # fmt: skip
        assert {*heads[0][1:-2]} == common | {b"x-api-key: sk-canary-1"}
        assert {*heads[1][1:-2]} == common | {b"authorization: bearer sk-canary-1"}
        assert not [line for line in heads[2] if line.startswith((b"content-", b"cookie"))]

    run(main())


def test_a_credential_is_refused_at_another_origin():
    bound = Credential(KEY, origin(1))
    with pytest.raises(ValueError, match="another origin"):
        HttpUpstream(VaiTransport(), Endpoint(origin(2), ""), bound)


def test_a_redirect_is_an_answer_and_a_cookie_is_forgotten(run):
    async def main():
        log = []
        answer = OK.replace(b"200 OK", b"307 Moved").replace(
            b"\r\n\r\n", b"\r\nLocation: http://127.0.0.1:1/\r\nSet-Cookie: a=b\r\n\r\n"
        )
        async with serving(recording(log, answer)) as port, VaiTransport() as transport:
            upstream = HttpUpstream(transport, Endpoint(origin(port), ""))
            for _ in range(2):
                reply = await upstream.send_request(
                    POST, connect_deadline=soon(), headers_deadline=soon()
                )
                assert (reply.status, await whole(reply)) == (307, b"hello")
            assert len(log) == 2
            assert b"cookie" not in log[1][0].lower()

    run(main())


def test_an_injected_header_never_leaves(run):
    async def main():
        log = []
        async with serving(recording(log)) as port, VaiTransport() as transport:
            upstream = HttpUpstream(transport, Endpoint(origin(port), ""))
            for value in ("a\r\nX-Evil: 1", "a\x00", "a\n", "é"):
                request = WireRequest("POST", "/", (("x-extra", value),), b"")
                with pytest.raises(InvalidRequest):
                    await upstream.send_request(
                        request, connect_deadline=soon(), headers_deadline=soon()
                    )
            assert log == []
            assert transport.get_stats() == (0, 0, 0)

    run(main())


@pytest.mark.parametrize("stock", [False, True], ids=["vai", "stock"])
def test_a_bomb_is_not_unpacked(run, stock):
    async def main():
        bomb = gzip.compress(bytes(100 << 20))
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        transport = httpx.AsyncHTTPTransport() if stock else VaiTransport()
        async with serving(always(head % len(bomb) + bomb)) as port, transport:
            upstream = HttpUpstream(transport, Endpoint(origin(port), ""))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with pytest.raises(UpstreamBroken) as caught:
                await whole(
                    await upstream.send_request(
                        POST, connect_deadline=soon(), headers_deadline=soon()
                    )
                )
            assert caught.value.code == "upstream_encoding"
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10
            await asyncio.sleep(0.01)

    run(main())


def test_settings_make_the_transport(certificates):
    plain = build_transport(UpstreamSettings(base_url="https://x", max_connections=3))
    assert isinstance(plain, VaiTransport)
    assert plain._limits.max_connections == 3
    secret = Secret("http://user:CANARY@127.0.0.1:3128")
    settings = UpstreamSettings(base_url="https://x", proxy=secret, ca_file=str(certificates.ca))
    assert "CANARY" not in repr(settings)
    proxied = build_transport(settings)
    assert isinstance(proxied, ProxyTransport)
    assert "CANARY" not in repr(proxied)
    with pytest.raises(ValueError, match="proxy") as caught:
        build_transport(UpstreamSettings(base_url="https://x", proxy=Secret("CANARY://x:y@z")))
    assert "CANARY" not in str(caught.value)
    assert caught.value.__context__ is None


def test_churn_through_the_port(run):
    """Straight through HttpUpstream: one connection serves a thousand exchanges."""

    async def main():
        log = []
        async with serving(recording(log)) as port, VaiTransport() as transport:
            upstream = HttpUpstream(transport, Endpoint(origin(port), ""))
            for _ in range(1000):
                reply = await upstream.send_request(
                    POST, connect_deadline=soon(), headers_deadline=soon()
                )
                assert await whole(reply) == b"hello"
            assert transport.get_stats() == (1, 1, 0)
            assert len(log) == 1000
            await eventually(lambda: transport.get_stats().idle == 1)

    run(main())

"""Certificates and names are checked, sessions are resumed."""

from __future__ import annotations

import pytest

from tests.io.http.scripted import OK, POST, always, origin, serving, soon, whole
from vai.errors import UpstreamUnreachable
from vai.io.http import tls
from vai.io.http.head import Endpoint
from vai.io.http.pool import PoolLimits
from vai.io.http.tls import get_tls_context
from vai.io.http.transport import VaiTransport
from vai.io.http.upstream import HttpUpstream


async def ask(transport, port, host="127.0.0.1"):
    upstream = HttpUpstream(transport, Endpoint(origin(port, "https", host), ""))
    return await whole(
        await upstream.send_request(POST, connect_deadline=soon(), headers_deadline=soon())
    )


def test_the_right_ca_opens_and_everything_else_is_refused(run, certificates):
    async def main():
        ca = str(certificates.ca)
        async with serving(always(OK), certificates.server, "0.0.0.0") as port:
            for context, host, opens in (
                (get_tls_context(ca), "127.0.0.1", True),
                (get_tls_context(ca), "localhost", True),
                (get_tls_context(ca), "127.0.0.2", False),  # not in the certificate
                (get_tls_context(), "127.0.0.1", False),  # not in the built-in store
                (get_tls_context(verify=False), "127.0.0.2", True),
            ):
                async with VaiTransport(context) as transport:
                    if opens:
                        assert await ask(transport, port, host) == b"hello"
                        continue
                    with pytest.raises(UpstreamUnreachable) as caught:
                        await ask(transport, port, host)
                    assert caught.value.code == "upstream_tls"
                    assert transport.get_stats() == (0, 0, 0)

    run(main())


def test_a_plain_server_is_a_tls_failure(run):
    async def main():
        async def handler(reader, writer):
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with serving(handler) as port, VaiTransport() as transport:
            with pytest.raises(UpstreamUnreachable) as caught:
                await ask(transport, port)
            assert caught.value.code in ("upstream_tls", "upstream_connect")

    run(main())


def test_the_second_connection_resumes_the_first_ones_session(run, certificates):
    async def main():
        resumed = []

        async def handler(reader, writer):
            resumed.append(writer.get_extra_info("ssl_object").session_reused)
            await always(OK)(reader, writer)

        tls._make_context.cache_clear()
        context = get_tls_context(str(certificates.ca))
        async with serving(handler, certificates.server) as port:
            for _ in range(3):
                async with VaiTransport(context, PoolLimits(max_idle=0)) as transport:
                    await ask(transport, port, "localhost")
        assert resumed == [False, True, True]

    run(main())


def test_contexts_are_shared(certificates):
    assert get_tls_context() is get_tls_context(None, True)
    assert get_tls_context() is not get_tls_context(str(certificates.ca))
    with pytest.raises(OSError, match="No such file"):
        get_tls_context("/no/such/file.pem")

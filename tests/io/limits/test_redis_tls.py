"""With rediss:// the server is who it says it is, or it is not used."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.io.limits.contract import user
from tests.io.limits.redis_server import running
from vai.io.limits.redis.client import RedisClient, RedisUnavailable
from vai.io.limits.redis.store import RedisLimits


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    found = tmp_path_factory.mktemp("tls")
    for name in ("mine", "strange"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost"),
                *("-keyout", found / f"{name}.key", "-out", found / f"{name}.pem"),
            ],
            check=True,
            capture_output=True,
        )
    return found


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Between a client that speaks TLS and the server that does not."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(65536):
                target.write(piece)
        except OSError:
            pass
        target.close()

    inside = await asyncio.open_connection("127.0.0.1", running().port)
    await asyncio.gather(copy(reader, inside[1]), copy(inside[0], writer))
    await asyncio.gather(inside[1].wait_closed(), writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize(
    ("trusted", "host", "reached"),
    [("mine", "localhost", True), ("strange", "localhost", False), ("mine", "127.0.0.1", False)],
)
def test_only_the_server_that_is_trusted_is_used(folder, trusted, host, reached) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "mine.pem", folder / "mine.key")

    async def use() -> None:
        relays = []

        def relayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            relays.append(asyncio.create_task(_relay(reader, writer)))

        relay = await asyncio.start_server(relayed, "127.0.0.1", 0, ssl=context)
        port = relay.sockets[0].getsockname()[1]
        line = RedisClient(
            f"rediss://{host}:{port}/0",
            ca_file=str(folder / f"{trusted}.pem"),
            prefix=uuid4().hex,
            timeout=20.0,
            lease=30.0,
        )
        limits = RedisLimits(line, node="n", generation=1)
        try:
            if reached:
                assert (await limits.admit((user(requests=1),), 1, 0.0)).is_admitted
                assert (await limits.admit((user(requests=1),), 1, 0.0)).refused == "requests"
            else:
                with pytest.raises(RedisUnavailable) as caught:
                    await limits.admit((user(),), 1, 0.0)
                assert caught.value.reason == "the Redis server's certificate is not trusted"
        finally:
            await limits.aclose()
            relay.close()
            await relay.wait_closed()
            await asyncio.gather(*relays)

    asyncio.run(use())

"""What is sent to Code Assist carries the token of the moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.canary import PROVIDER_KEY
from tests.io.google.fake import Google, access, login
from vai.config import Settings
from vai.config.schema import Provider
from vai.errors import UpstreamFault, UpstreamTimeout
from vai.exchange.ports import Upstream
from vai.io.clock import monotonic
from vai.io.google.login import write_login
from vai.io.google.upstream import GoogleUpstream, LoginTokens
from vai.io.http.head import Endpoint
from vai.io.http.upstream import UpstreamSettings, build_transport
from vai.io.providers import Providers, build_specs
from vai.types.provider import WireRequest

PATH = "/v1internal:generateContent"
WIRE = WireRequest("POST", PATH, (("content-type", "application/json"),), b"{}")


@pytest.fixture
async def way(google: Google) -> AsyncIterator[Callable[[float], GoogleUpstream]]:
    """An upstream whose token has that many seconds to live."""
    transport = build_transport(UpstreamSettings(base_url=""))
    sources: list[LoginTokens] = []

    def way(left: float) -> GoogleUpstream:
        sources.append(LoginTokens(login(expiry=time.time() + left), endpoints=google.endpoints))
        return GoogleUpstream(transport, Endpoint.from_base_url(google.url), sources[-1])

    yield way
    for source in sources:
        await source.aclose()
    await transport.aclose()


async def send(upstream: Upstream, seconds: float = 20) -> int:
    now = monotonic()
    reply = await upstream.send_request(
        WIRE, connect_deadline=now + 5, headers_deadline=now + seconds
    )
    while await reply.read(now + 20):
        pass
    reply.close()
    return reply.status


def presented(google: Google) -> list[str]:
    return [seen.headers["authorization"] for seen in google.at(PATH)]


async def test_a_request_carries_the_token(google: Google, way: Any) -> None:
    upstream = way(3000)
    assert [await send(upstream), await send(upstream)] == [200, 200]
    assert presented(google) == [f"Bearer {access(0)}"] * 2
    assert google.at("/token") == []


async def test_a_refused_token_is_renewed_and_the_request_sent_again(
    google: Google, way: Any
) -> None:
    google.said[PATH] = [(401, {"error": {"status": "UNAUTHENTICATED"}}), (200, {})]
    assert await send(way(3000)) == 200
    assert presented(google) == [f"Bearer {access(0)}", f"Bearer {access(1)}"]


async def test_a_second_refusal_is_the_answer(google: Google, way: Any) -> None:
    google.said[PATH] = [(401, {"error": {}})]
    upstream = way(3000)
    assert await send(upstream) == 401
    assert len(presented(google)) == 2
    # It is not the token's fault: the next ones are neither renewed nor sent again.
    for _ in range(5):
        assert await send(upstream) == 401
    assert len(presented(google)) == 7
    assert len(google.at("/token")) == 1


async def test_a_hundred_requests_with_a_token_that_has_ended(google: Google, way: Any) -> None:
    upstream = way(-10)
    assert set(await asyncio.gather(*[send(upstream) for _ in range(100)])) == {200}
    assert set(presented(google)) == {f"Bearer {access(1)}"}
    assert len(google.at("/token")) == 1


async def test_a_login_that_is_not_renewed_in_time(google: Google, way: Any) -> None:
    google.gate.clear()
    with pytest.raises(UpstreamTimeout):
        await send(way(-10), 0.05)
    assert presented(google) == []


def settings(google: Google, file: Any, *, enabled: bool = True) -> Settings:
    own = Provider(enabled=enabled, credentials_file=str(file), base_url=google.url)
    return Settings(providers={"gemini-oauth": own})


async def test_the_provider_exists_once_it_is_enabled(google: Google, tmp_path: Any) -> None:
    file = tmp_path / "login.json"
    write_login(file, login(expiry=time.time() + 3000, project="heron-9"))
    assert "gemini-oauth" not in build_specs(Settings())
    assert "gemini-oauth" not in build_specs(settings(google, file, enabled=False))
    providers = Providers(settings(google, file), google=google.endpoints)
    assert providers.specs["gemini-oauth"].project == "heron-9"
    assert not providers.is_simulated("gemini-oauth")
    lent = providers.get_gateway_upstream("gemini-oauth")
    assert lent is not None
    assert await send(lent) == 200
    assert presented(google) == [f"Bearer {access(0)}"]
    assert PROVIDER_KEY not in f"{providers!r} {vars(providers)!r} {lent!r}"
    await providers.aclose()


async def test_a_login_that_has_been_revoked_is_told_as_the_operators_business(
    google: Google, tmp_path: Any
) -> None:
    file = tmp_path / "login.json"
    write_login(file, login())
    google.said["/token"] = [(400, {"error": "invalid_grant"})]
    providers = Providers(settings(google, file), google=google.endpoints)
    lent = providers.get_gateway_upstream("gemini-oauth")
    assert lent is not None
    with pytest.raises(UpstreamFault) as failed:
        await send(lent)
    assert failed.value.code == "login_expired"
    await providers.aclose()

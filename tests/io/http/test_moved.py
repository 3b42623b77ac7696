"""OpenAI behind a proxy that sees all traffic: no request goes around it, whoever pays."""

from __future__ import annotations

import pytest

from tests.canary import PROVIDER_KEY
from tests.io.http.scripted import heard, serving, soon, whole
from vai.config import load
from vai.config.openai import PAIR
from vai.io.http.provider_keys import ProviderKey
from vai.io.providers import Providers
from vai.providers.factory import make_adapter
from vai.secret import Secret
from vai.types import parse

CALLERS = f"{PROVIDER_KEY}-of-a-caller"


@pytest.mark.parametrize("moved", PAIR)
@pytest.mark.parametrize("more", [{}, {"VAI_SIMULATE": "true"}, {"VAI_AUTH__MODE": "passthrough"}])
def test_both_endpoints_are_reached_at_the_address_of_either(run, moved, more):
    asked: list[tuple[str, str]] = []

    async def handler(reader, writer):
        while True:
            head = (await heard(reader))[0].decode()
            key = head.partition("Bearer ")[2].partition("\r\n")[0]
            asked.append((head.split(" ")[1], key))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()

    async def main():
        async with serving(handler) as port:
            variable = f"VAI_PROVIDERS__{moved.upper().replace('-', '_')}__BASE_URL"
            environ = {
                "VAI_AUTH__MODE": "none",
                "OPENAI_API_KEY": PROVIDER_KEY,
                variable: f"http://127.0.0.1:{port}/v1",
            }
            providers = Providers(load(environ | more), "http://127.0.0.1:1")
            for name in PAIR:
                ask = parse.parse_request(
                    {
                        "model": "gpt-5.4",
                        "max_tokens": 50,
                        "messages": [{"role": "user", "content": "hi"}],
                    }
                )
                wire = make_adapter(providers.specs[name], "x1", request=ask).build_request(ask)
                brought = providers.get_byok_upstream(name, ProviderKey(Secret(CALLERS)))
                for upstream in (providers.get_gateway_upstream(name), brought):
                    until = soon()
                    reply = await upstream.send_request(
                        wire, connect_deadline=until, headers_deadline=until
                    )
                    await whole(reply)
            await providers.aclose()

    run(main())
    own = "" if more.get("VAI_AUTH__MODE") == "passthrough" else PROVIDER_KEY
    assert asked == [
        ("/v1/chat/completions", own),
        ("/v1/chat/completions", CALLERS),
        ("/v1/responses", own),
        ("/v1/responses", CALLERS),
    ]

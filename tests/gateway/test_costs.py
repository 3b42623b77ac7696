"""What a request costs is told by where the settings send it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from vai.config import load
from vai.gateway.admission.inflight import InFlightExchanges
from vai.gateway.service import GatewayService
from vai.io.providers import Providers
from vai.types.message import Usage

BASE = 0.002 + 0.01
"""USD of a thousand tokens each way of GPT-6 Sol, and of whatever has its price."""


@pytest.mark.parametrize(
    ("provider", "url", "factor"),
    [
        ("openai", "https://api.openai.com/v1", 1),
        ("openai", "https://eu.api.openai.com/v1", 1.1),
        ("oai-resp", "https://us.api.openai.com/v1", 1.1),
        ("far", "https://eu.api.openai.com/v1", 1.1),
        ("far", "https://10.0.0.5/v1", 1),
    ],
)
def test_a_regional_host_makes_requests_dearer(
    provider: str, url: str, factor: float, tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    lines = [f"[providers.{provider}]", f"base_url = '{url}'", "api_key = 'k'"]
    if provider == "far":
        lines += ["kind = 'openai'", "price_as = 'openai/gpt-6-sol'"]
    file.write_text("\n".join(["auth.mode = 'none'", *lines]))
    settings = load({"VAI_CONFIG": str(file)})

    async def cost() -> float | None:
        service = GatewayService(settings, Providers(settings), InFlightExchanges())
        terms = service.find_terms(service.find_routes(f"{provider}/gpt-6-sol")[0], streamed=False)
        await service.aclose()
        return terms.cost(Usage(input_tokens=1000, output_tokens=1000))

    assert asyncio.run(cost()) == pytest.approx(BASE * factor, abs=1e-12)

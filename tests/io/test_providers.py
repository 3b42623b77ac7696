"""The rows that settings make."""

from __future__ import annotations

import msgspec
import orjson

from vai.config import Settings
from vai.config.schema import Provider
from vai.io.providers import build_specs
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types import parse
from vai.types.provider import Capabilities

MINE = Provider(kind="openai", base_url="http://10.0.0.5:8000/v1")


def test_a_server_of_ones_own_is_asked_in_words_every_server_knows() -> None:
    row = build_specs(Settings(providers={"mine": MINE}))["mine"]
    ask = parse.parse_request(
        {
            "model": "llama",
            "max_tokens": 7,
            "system": [{"type": "text", "text": "be brief"}],
            "metadata": {"user_id": "u1"},
            "messages": [{"role": "user", "content": "hi"}],
        }
    )
    body = orjson.loads(make_adapter(row, "x1").build_request(ask).body)
    assert (body["max_tokens"], body["user"]) == (7, "u1")
    assert body["messages"][0] == {"role": "system", "content": "be brief"}
    assert not {"max_completion_tokens", "safety_identifier"} & set(body)


def test_a_server_of_ones_own_claims_no_names_and_no_variables() -> None:
    rows = build_specs(
        Settings(providers={"mine": Provider(kind="anthropic", base_url="http://x")})
    )
    assert (rows["mine"].env, rows["mine"].bare_prefixes) == ((), ())
    assert rows["anthropic"] == PROVIDER_SPECS["anthropic"]


def test_either_version_of_geminis_api_can_be_asked() -> None:
    for version in ("v1", "v1beta"):
        row = build_specs(Settings(providers={"gemini": Provider(api_version=version)}))["gemini"]
        assert row.base_url == f"https://generativelanguage.googleapis.com/{version}"
        assert row.auth == "x-goog-api-key"
    own = Provider(base_url="http://10.0.0.5:8000/gemini/v1")
    assert build_specs(Settings(providers={"gemini": own}))["gemini"].base_url == own.base_url


def test_a_server_of_ones_own_can_what_its_operator_says() -> None:
    told = msgspec.structs.replace(MINE, capabilities=("images", "tools"))
    row = build_specs(Settings(providers={"mine": told}))["mine"]
    assert row.capabilities == Capabilities(
        images=True,
        parallel_tools=False,
        forced_tool=False,
        structured_output=False,
        structured_output_with_tools=False,
        stop_sequences=False,
    )
    assert row.has_capability_override
    untold = build_specs(Settings(providers={"mine": MINE}))["mine"]
    assert (untold.capabilities, untold.has_capability_override) == (
        PROVIDER_SPECS["openai"].capabilities,
        False,
    )
    nothing = msgspec.structs.replace(MINE, capabilities=())
    assert not build_specs(Settings(providers={"mine": nothing}))["mine"].capabilities.tools

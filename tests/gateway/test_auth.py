"""Who is calling: a total function of key and settings."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from vai.config import Settings
from vai.config.schema import ApiKey, Auth, Cors
from vai.errors import AuthenticationFailed, PermissionDenied
from vai.gateway.admission import byok
from vai.gateway.admission.auth import Keyring
from vai.gateway.admission.principals import PrincipalRegistry
from vai.providers.registry import PROVIDER_SPECS
from vai.secret import Secret

FOREIGN = ["http://evil.test", "null", "http://127.0.0.1:8080", "https://good.test.evil.test"]


def keyring(*origins: str) -> Keyring:
    """No auth, and these pages."""
    settings = Settings(auth=Auth(mode="none"), cors=Cors(allowed_origins=origins))
    return Keyring(settings, PrincipalRegistry(settings))


@pytest.mark.parametrize("origin", FOREIGN)
def test_without_auth_a_foreign_page_is_refused(origin: str) -> None:
    for made in (keyring(), keyring("https://good.test")):
        with pytest.raises(PermissionDenied) as caught:
            made.identify({"origin": origin})
        assert (caught.value.status, caught.value.code) == (403, "origin_not_allowed")
        assert origin not in str(caught.value)


def test_without_auth_programs_and_listed_pages_may_call() -> None:
    assert keyring().identify({}).user_id == "anonymous"
    assert keyring("https://good.test").identify({"origin": "https://good.test"})
    assert keyring("*").identify({"origin": "http://evil.test"})


KEYS = [f"key-{number:04}-of-many" for number in range(1000)]


def with_keys() -> Keyring:
    auth = Auth(mode="api_key", api_keys=tuple(ApiKey(key=Secret(key)) for key in KEYS))
    settings = Settings(auth=auth)
    return Keyring(settings, PrincipalRegistry(settings))


def test_known_and_unknown_keys_take_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """One digest, one look-up, one comparison: whatever the key, and however many there are."""
    steps: list[str] = []
    made = with_keys()
    compare, digest = hmac.compare_digest, hashlib.blake2b

    def compared(one: bytes, other: bytes) -> bool:
        steps.append(f"compare {len(one)} {len(other)}")
        return compare(one, other)

    def digested(*args: Any, **named: Any) -> Any:
        steps.append("digest")
        return digest(*args, **named)

    monkeypatch.setattr("vai.gateway.admission.auth.hmac.compare_digest", compared)
    monkeypatch.setattr("vai.gateway.admission.auth.hashlib.blake2b", digested)
    seen = []
    for key in (KEYS[0], KEYS[-1], "key-0000-of-manz", "xey-0000-of-many", "x"):
        steps.clear()
        with suppress(AuthenticationFailed):
            made.identify({"x-api-key": key})
        seen.append([*steps])
    assert seen == [["digest", "compare 32 32"]] * 5


def test_a_key_is_known_to_the_letter() -> None:
    made = with_keys()
    for number in (0, 500, 999):
        assert made.identify({"x-api-key": KEYS[number]}).key_name == f"key_{number + 1}"
        for wrong in (KEYS[number][:-1], KEYS[number] + "x", KEYS[number].upper(), "\ud800"):
            with pytest.raises(AuthenticationFailed):
                made.identify({"x-api-key": wrong})


FORMED = "sk-ant-api03-whatever"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "Missing API key; expected this gateway's key in `Authorization: Bearer KEY` or `x-a"),
        ({"x-api-key": " "}, "Missing API key; expected"),
        ({"authorization": "Basic bm86bm8="}, "Missing API key: Authorization is there, and hol"),
        ({"authorization": "key-0001-of-many"}, "Missing API key: Authorization is there"),
        ({"x-goog-api-key": "k"}, "Missing API key: x-goog-api-key is read for a provider's"),
    ],
)
def test_a_missing_key_names_the_headers(headers, said):
    with pytest.raises(AuthenticationFailed) as caught:
        with_keys().identify(headers)
    message = caught.value.message
    assert message.startswith(said)
    for name in ("`Authorization: Bearer KEY`", "`x-api-key: KEY`", "`X-VAI-Key: KEY`"):
        assert name in message
    assert not any(value.strip() and value in message for value in headers.values() if value != "k")


@pytest.mark.parametrize(
    ("headers", "field", "said"),
    [
        ({"authorization": "Bearer no"}, "Authorization", "no key of this gateway"),
        ({"x-api-key": "no"}, "x-api-key", "no key of this gateway"),
        ({"x-api-key": '"no"'}, "x-api-key", "expected it without quotes, and not the name of a"),
        ({"authorization": "Bearer $KEY"}, "Authorization", "not the name of a variable"),
        ({"x-api-key": "no", "authorization": "Basic x"}, "x-api-key", "no key of this gateway"),
        ({"authorization": "Bearer no", "x-api-key": KEYS[1]}, "Authorization", "no key of this"),
        ({"x-vai-key": "no", "x-api-key": KEYS[1]}, "X-VAI-Key", "no key of this gateway"),
        ({"x-api-key": FORMED}, "x-api-key", "a provider's key; expected one of this gateway, in"),
        ({"x-vai-key": FORMED}, "X-VAI-Key", "the form of a provider's key; expected one of this"),
    ],
)
def test_an_invalid_key_names_the_header_it_was_read_from(headers, field, said):
    with pytest.raises(AuthenticationFailed) as caught:
        with_keys().identify(headers)
    assert caught.value.message.startswith(f"Invalid API key in {field}: ")
    assert said in caught.value.message
    assert caught.value.param == field.lower()
    assert not any(value in caught.value.message for value in (FORMED, KEYS[1], "Basic x"))


def test_a_wrong_key_beside_named_providers_is_told_in_passthrough():
    settings = Settings(auth=Auth(mode="passthrough", api_keys=(ApiKey(key=Secret("one-two")),)))
    made = Keyring(settings, PrincipalRegistry(settings))
    headers = {"x-api-key": "no", "x-provider-key-groq": "gsk_1"}
    with pytest.raises(AuthenticationFailed, match="Invalid API key in x-api-key: "):
        made.identify(headers)


@pytest.mark.parametrize(
    ("provider", "own", "operator"),
    [
        ("anthropic", "`x-api-key: KEY`", "ANTHROPIC_API_KEY or providers.anthropic.api_key"),
        ("openai", "`Authorization: Bearer KEY`", "OPENAI_API_KEY or providers.openai.api_key"),
        ("oai-resp", "`Authorization: Bearer KEY`", "OPENAI_API_KEY or providers.oai-resp.api"),
        ("groq", "`Authorization: Bearer KEY`", "GROQ_API_KEY or providers.groq.api_key"),
        ("cerebras", "`Authorization: Bearer KEY`", "CEREBRAS_API_KEY or providers.cerebras.api"),
        ("gemini", "`x-goog-api-key: KEY`", "GEMINI_API_KEY or providers.gemini.api_key"),
        ("gemini-oauth", None, "vai login gemini"),
    ],
)
def test_a_missing_key_of_a_provider_names_where_it_is_read(provider, own, operator):
    name = byok.header_name(provider)
    asked = byok.missing_key_error(PROVIDER_SPECS[provider], may_use_gateway_key=False)
    assert name in asked.message
    assert (own or name) in asked.message
    assert "operator" not in asked.message
    lent = byok.missing_key_error(PROVIDER_SPECS[provider], may_use_gateway_key=True)
    assert operator in lent.message
    for error in (asked, lent):
        assert (error.status, error.code, error.param) == (401, "provider_key_missing", name)


def test_a_provider_of_the_settings_has_no_variable():
    row = msgspec.structs.replace(PROVIDER_SPECS["openai"], id="mine", auth="X-Key", env=())
    assert (
        "sets providers.mine.api_key"
        in byok.missing_key_error(row, may_use_gateway_key=True).message
    )
    assert "`" not in byok.missing_key_error(row, may_use_gateway_key=False).message

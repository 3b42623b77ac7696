"""Who is calling: a total function of key and settings."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from typing import Any

import pytest

from vai.config import Settings
from vai.config.schema import ApiKey, Auth, Cors
from vai.errors import AuthenticationFailed, PermissionDenied
from vai.gateway.auth import Keyring
from vai.gateway.subjects import Subjects
from vai.secret import Secret

FOREIGN = ["http://evil.test", "null", "http://127.0.0.1:8080", "https://good.test.evil.test"]


def keyring(*origins: str) -> Keyring:
    """No auth, and these pages."""
    settings = Settings(auth=Auth(mode="none"), cors=Cors(allowed_origins=origins))
    return Keyring(settings, Subjects(settings))


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
    return Keyring(settings, Subjects(settings))


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

    monkeypatch.setattr("vai.gateway.auth.hmac.compare_digest", compared)
    monkeypatch.setattr("vai.gateway.auth.hashlib.blake2b", digested)
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

"""Who is calling: a total function of key and settings."""

from __future__ import annotations

import pytest

from vai.config import Settings
from vai.config.schema import Auth, Cors
from vai.errors import PermissionDenied
from vai.gateway.auth import Keyring
from vai.gateway.subjects import Subjects

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

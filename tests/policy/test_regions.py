"""Which hosts process in one region."""

from __future__ import annotations

import msgspec
import pytest

from vai.policy.cost import regions_of_hosts
from vai.providers.registry import PROVIDER_SPECS


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://api.openai.com/v1", {}),
        ("https://eu.api.openai.com/v1", {"openai": "regional"}),
        ("https://US.api.openai.com:443/v1", {"openai": "regional"}),
        ("https://eu.api.openai.com./v1", {"openai": "regional"}),
        ("https://eu.api.openai.com.evil.test/v1", {}),
        ("https://notapi.openai.com/v1", {}),
        ("http://10.0.0.5:8000/v1", {}),
        ("http://[::1]:8000/eu.api.openai.com", {}),
    ],
)
def test_the_host_tells_the_region(url, found):
    row = msgspec.structs.replace(PROVIDER_SPECS["openai"], base_url=url)
    assert regions_of_hosts([row]) == found


def test_no_provider_is_regional_unless_it_is_configured_so():
    assert regions_of_hosts(PROVIDER_SPECS.values()) == {}

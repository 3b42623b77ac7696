"""What of a failure is a provider's or the settings', and what is kept of it until a success."""

from __future__ import annotations

from typing import Any

import pytest

from vai.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from vai.policy.error_attribution import hide_gateway_key_error
from vai.policy.provider_errors import ProviderErrors, classify_trouble, gateway_code
from vai.providers.decode.upstream_errors import fault_from_response


def answered(status: int, body: bytes = b'{"error":{"message":"m","code":"theirs"}}') -> Any:
    return fault_from_response("p", "P", status, {}, body)


@pytest.mark.parametrize(
    ("fault", "lent", "own"),
    [
        (answered(404, b""), "address", "address"),
        (UpstreamBroken("", code="upstream_redirect"), "address", "address"),
        (UpstreamBroken("", code="upstream_content_type"), "address", "address"),
        (UpstreamUnreachable("", code="upstream_dns"), "way", "way"),
        (UpstreamUnreachable("", code="upstream_tls"), "way", "way"),
        (UpstreamUnreachable("", code="upstream_proxy"), "way", "way"),
        (UpstreamTimeout("", code="connect_timeout"), "way", "way"),
        (answered(401), "key", ""),
        (hide_gateway_key_error(answered(401)), "key", "key"),
        (answered(402), "key", ""),
        (answered(403), "key", ""),
        (answered(429), "limit", ""),
        (answered(500), "outage", ""),
        (answered(529), "outage", ""),
        (UpstreamTimeout("", code="headers_timeout"), "outage", ""),
        (answered(404), "", ""),
        (answered(400), "", ""),
        (answered(413), "", ""),
        (UpstreamTimeout("", code="pool_timeout"), "", ""),
        (UpstreamUnreachable("", code="upstream_stale"), "", ""),
    ],
)
def test_whose_trouble_it_is(fault: UpstreamFault, lent: str, own: str) -> None:
    assert classify_trouble(fault, is_byok=False) == lent
    if fault.code != "upstream_auth":
        assert classify_trouble(fault, is_byok=True) == own


def test_a_providers_own_code_is_not_taken_for_vais() -> None:
    assert gateway_code(answered(500)) is None
    assert gateway_code(hide_gateway_key_error(answered(401))) == "upstream_auth"
    assert gateway_code(answered(404, b"")) == "upstream_address"
    assert gateway_code(UpstreamTimeout("", code="headers_timeout")) == "headers_timeout"


def test_an_error_is_kept_until_a_success_that_speaks_of_it() -> None:
    troubles = ProviderErrors()
    troubles.record_failure("p", hide_gateway_key_error(answered(401)), "key", 5.0)
    kept = troubles.last_errors["p"]
    assert (kept.type, kept.status, kept.upstream_status, kept.at) == ("api_error", 502, 401, 5.0)
    troubles.record_response("p", is_byok=True)
    troubles.record_response("other", is_byok=False)
    assert "p" in troubles.last_errors
    troubles.record_response("p", is_byok=False)
    assert not troubles.last_errors
    troubles.record_failure("p", UpstreamUnreachable("", code="upstream_dns"), "way", 6.0)
    troubles.record_response("p", is_byok=True)
    assert not troubles.last_errors


def test_a_target_that_is_always_missed_is_told_of_after_a_few_requests() -> None:
    troubles = ProviderErrors()
    assert [troubles.record_fallback("a", 1.0) is None for _ in range(5)] == [True] * 4 + [False]
    troubles.clear_fallbacks("a")
    assert troubles.record_fallback("a", 2.0) is None


def test_or_after_a_minute_of_few_requests() -> None:
    troubles = ProviderErrors()
    assert troubles.record_fallback("a", 0.0) is None
    assert troubles.record_fallback("a", 59.0) is None
    told = troubles.record_fallback("a", 60.0)
    assert told is not None
    assert told.requests == 3


def test_aliases_do_not_add_up_for_ever() -> None:
    troubles = ProviderErrors()
    for number in range(10_000):
        troubles.record_fallback(f"a{number}", 0.0)
    assert len(troubles.fallback_runs) <= 256

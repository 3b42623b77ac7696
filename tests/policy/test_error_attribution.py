"""Who is told, who is asked next, and whom it counts against."""

from __future__ import annotations

import pytest

from vai.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from vai.policy.error_attribution import (
    UPSTREAM_AUTH,
    hide_gateway_key_error,
    is_outage,
    may_fall_back,
)
from vai.providers.decode.upstream_errors import fault_from_response


def answered(status: int, body: bytes = b"{}") -> UpstreamFault:
    return fault_from_response("p", "P", status, {}, body)


def test_a_lent_key_that_is_refused_is_the_gateways_affair() -> None:
    body = b'{"error":{"type":"authentication_error","message":"Incorrect key: sk-secret123"}}'
    told = hide_gateway_key_error(answered(401, body))
    assert (told.status, told.type, told.code) == (502, "api_error", UPSTREAM_AUTH)
    assert "sk-secret123" not in str(told.to_wire())
    assert told.provider == "p"
    assert told.should_retry is False


@pytest.mark.parametrize("status", [400, 402, 403, 404, 429, 500, 529])
def test_all_else_is_told_as_it_is(status: int) -> None:
    fault = answered(status)
    assert hide_gateway_key_error(fault) is fault


@pytest.mark.parametrize(
    ("fault", "lent", "own"),
    [
        (answered(400), False, False),
        (answered(413), False, False),
        (answered(422), False, False),
        (answered(402), True, False),
        (answered(403), True, False),
        (answered(404), True, True),
        (answered(429), True, True),
        (answered(500), True, True),
        (answered(529), True, True),
        (answered(401), True, False),
        (hide_gateway_key_error(answered(401)), True, True),
        (UpstreamTimeout("", code="headers_timeout"), True, True),
        (UpstreamUnreachable("", code="upstream_reset"), True, True),
        (UpstreamBroken("", code="upstream_content_type"), True, True),
    ],
)
def test_only_what_is_not_the_callers_mistake_moves_on(
    fault: UpstreamFault, lent: bool, own: bool
) -> None:
    assert may_fall_back(fault, is_byok=False) is lent
    assert may_fall_back(fault, is_byok=True) is own


@pytest.mark.parametrize(
    ("fault", "outage"),
    [
        *((answered(status), False) for status in (400, 401, 402, 403, 404, 409, 413, 422, 429)),
        *((answered(status), True) for status in (408, 498, 500, 502, 503, 504, 529)),
        (answered(418), False),
        (hide_gateway_key_error(answered(401)), False),
        (UpstreamTimeout("", code="connect_timeout"), True),
        (UpstreamTimeout("", code="total_timeout"), True),
        (UpstreamUnreachable("", code="upstream_connect"), True),
        (UpstreamBroken("", code="upstream_content_type"), True),
        (UpstreamTimeout("", code="pool_timeout"), False),
        (UpstreamUnreachable("", code="upstream_stale"), False),
        (UpstreamUnreachable("", code="upstream_closed"), False),
    ],
)
def test_what_counts_against_a_provider(fault: UpstreamFault, outage: bool) -> None:
    assert is_outage(fault) is outage

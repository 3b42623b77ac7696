"""Whose fault an upstream's failure is: that decides what the client sees and what is tried next.

Invariants: a client's own mistakes are the client's. No other target gets them
and they count against no provider; what went wrong with the provider or with the gateway's key is
never shown as if the client could correct it.
"""

from __future__ import annotations

from typing import Final

from vai.errors import UPSTREAM_SENTENCES, UpstreamFault, UpstreamRejected

__all__ = ["UPSTREAM_AUTH", "hide_gateway_key_error", "is_outage", "may_fall_back"]

UPSTREAM_AUTH: Final = "upstream_auth"
"""The code of a failure that the gateway's own key met with."""

_OURS: Final = frozenset({"pool_timeout", "upstream_closed", "upstream_stale"})
"""Codes that concern this side of the connection, or nothing."""
_ACCOUNT: Final = frozenset({"authentication_error", "billing_error", "permission_error"})
"""What an account is refused for; whose account it is says whom it concerns."""
_CALLERS: Final = frozenset({"invalid_request_error", "request_too_large"})
"""What only the client can correct."""


def hide_gateway_key_error(fault: UpstreamFault) -> UpstreamFault:
    """`fault` as a client sees it whose request used the gateway's key.

    A refused key becomes a 502 without the upstream's words, which may quote the key.
    """
    if fault.type != "authentication_error":
        return fault
    return UpstreamRejected(
        UPSTREAM_SENTENCES[UPSTREAM_AUTH],
        type="api_error",
        status=502,
        code=UPSTREAM_AUTH,
        provider=fault.provider,
        should_retry=False,
        upstream_request_id=fault.upstream_request_id,
        upstream_status=fault.upstream_status,
    )


def may_fall_back(fault: UpstreamFault, *, is_byok: bool) -> bool:
    """Whether another target may serve what this one failed at.

    A model that is not there is the settings' mistake, because they name the targets.
    """
    if not isinstance(fault, UpstreamRejected):
        return True
    if fault.type in _ACCOUNT:
        return not is_byok
    return fault.type not in _CALLERS


def is_outage(fault: UpstreamFault) -> bool:
    """Whether the provider is to blame, as opposed to the request, the key or this side."""
    if isinstance(fault, UpstreamRejected):
        broken = fault.status >= 500 and fault.code != UPSTREAM_AUTH
        return broken and fault.should_retry is not False
    return fault.code not in _OURS

"""Whose fault an upstream's failure is: this decides what the client sees and what follows.

Invariants: a client's own mistakes stay with the client: no other target receives the request, and
they count against no provider. The gateway never presents a failure of the provider or of its own
key as if the client could correct it.
"""

from __future__ import annotations

from typing import Final

from vai.errors import UPSTREAM_SENTENCES, UpstreamFault, UpstreamRejected

__all__ = ["UPSTREAM_AUTH", "hide_gateway_key_error", "is_outage", "may_fall_back"]

UPSTREAM_AUTH: Final = "upstream_auth"
"""The code of a failure that concerns the gateway's own key."""

_OURS: Final = frozenset({"pool_timeout", "upstream_closed", "upstream_stale"})
"""Codes of failures on VAI's side of the connection, or of neither side."""
_ACCOUNT: Final = frozenset({"authentication_error", "billing_error", "permission_error"})
"""Refusals of an account; the owner of the account decides whom they concern."""
_CLIENT_ERRORS: Final = frozenset({"invalid_request_error", "request_too_large"})
"""Errors that only the client can correct."""


def hide_gateway_key_error(fault: UpstreamFault) -> UpstreamFault:
    """`fault` as the client of a request with the gateway's key sees it.

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

    A missing model is a mistake of the settings, because they name the targets.
    """
    if not isinstance(fault, UpstreamRejected):
        return True
    if fault.type in _ACCOUNT:
        return not is_byok
    return fault.type not in _CLIENT_ERRORS


def is_outage(fault: UpstreamFault) -> bool:
    """Whether the provider is to blame, as opposed to the request, the key or this side."""
    if isinstance(fault, UpstreamRejected):
        broken = fault.status >= 500 and fault.code != UPSTREAM_AUTH
        return broken and fault.should_retry is not False
    return fault.code not in _OURS

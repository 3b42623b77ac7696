"""Provider failures for operators: the last error, and targets that VAI never reaches.

Invariants: a client's mistakes, and failures of its own keys, are no fault of a provider's. The
module stores only VAI's own error names, and no text of an upstream's, which may quote a request.
Targets that work have no entry.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final, Literal

import msgspec

from vai.errors import ErrorType, UpstreamFault, UpstreamRejected
from vai.policy.error_attribution import UPSTREAM_AUTH, is_outage

__all__ = [
    "ADDRESS",
    "FallbackRun",
    "LastError",
    "ProviderErrors",
    "Trouble",
    "classify_trouble",
    "gateway_code",
]

Trouble = Literal["", "address", "way", "key", "limit", "outage"]
"""What is wrong: the address in the settings, the way there (DNS, TCP, TLS, a proxy), the gateway's
key or its account, a limit of the provider's, the provider itself; "" for none of these."""

ADDRESS: Final = frozenset({"upstream_address", "upstream_content_type", "upstream_redirect"})
"""Codes of responses that do not come from the API of a provider."""
_WAY: Final = frozenset(
    {"connect_timeout", "upstream_connect", "upstream_dns", "upstream_proxy", "upstream_tls"}
)
_ACCOUNT: Final = frozenset({"authentication_error", "billing_error", "permission_error"})
_OWN: Final = frozenset({UPSTREAM_AUTH, "upstream_address"})
"""Codes that VAI gives to a provider's responses. All other codes of responses are upstreams'."""

_IN_A_ROW: Final = 5
_AT_LEAST: Final = 2
_A_WHILE: Final = 60.0
_MOST_MISSED: Final = 256


def classify_trouble(fault: UpstreamFault, *, is_byok: bool) -> Trouble:
    """What `fault` shows about the provider or of the settings.

    Args:
        is_byok: whether the client sent the key. Then every failure that concerns the key, or
            that a request with it causes at the provider, concerns only the client.
    """
    if fault.code in ADDRESS:
        return "address"
    if fault.code in _WAY and not isinstance(fault, UpstreamRejected):
        return "way"
    if is_byok:
        return ""
    if fault.code == UPSTREAM_AUTH or fault.type in _ACCOUNT:
        return "key"
    if fault.type == "rate_limit_error":
        return "limit"
    return "outage" if is_outage(fault) else ""


def gateway_code(fault: UpstreamFault) -> str | None:
    """The code of `fault` if VAI gave it."""
    return None if isinstance(fault, UpstreamRejected) and fault.code not in _OWN else fault.code


class LastError(msgspec.Struct, frozen=True):
    """A provider's failure and its time: a reading of the clock, in seconds."""

    trouble: Trouble
    type: ErrorType
    status: int
    code: str | None
    upstream_status: int | None
    at: float


class FallbackRun(msgspec.Struct):
    """A target that fallbacks replace: since when, and for how many requests in a row."""

    since: float
    requests: int = 0


class ProviderErrors:
    """The failing providers. They are those of the settings, so they are few.

    Args:
        failing: holds the last errors, by provider; None: only this object does.
    """

    __slots__ = ("fallback_runs", "last_errors")

    def __init__(self, failing: MutableMapping[str, LastError] | None = None) -> None:
        self.last_errors: MutableMapping[str, LastError] = {} if failing is None else failing
        self.fallback_runs: dict[str, FallbackRun] = {}

    def record_failure(
        self, provider: str, fault: UpstreamFault, trouble: Trouble, now: float
    ) -> None:
        """Keep `fault` as the provider's last error."""
        self.last_errors[provider] = LastError(
            trouble, fault.type, fault.status, gateway_code(fault), fault.upstream_status, now
        )

    def record_response(self, provider: str, *, is_byok: bool) -> None:
        """The provider answered a request; with a BYOK key that shows nothing about the
        gateway's key."""
        last = self.last_errors.get(provider)
        if last is not None and (not is_byok or last.trouble in ("address", "way")):
            self.last_errors.pop(provider, None)

    def record_fallback(self, name: str, now: float) -> FallbackRun | None:
        """A request went to another target than the first one, whose name is `name`.

        Returns:
            The notice, once this has happened several times in a row.
        """
        missed = self.fallback_runs.get(name)
        if missed is None:
            if len(self.fallback_runs) >= _MOST_MISSED:
                del self.fallback_runs[next(iter(self.fallback_runs))]
            missed = self.fallback_runs[name] = FallbackRun(now)
        missed.requests += 1
        if missed.requests >= _IN_A_ROW:
            return missed
        lasts = now - missed.since >= _A_WHILE
        return missed if lasts and missed.requests >= _AT_LEAST else None

    def clear_fallbacks(self, name: str) -> None:
        """The first target `name` answered."""
        self.fallback_runs.pop(name, None)

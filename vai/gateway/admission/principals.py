"""Whom a request counts for, and how much those may use.

A key counts for its user; a key with limits of its own (a tier, or single ones) counts for
itself, because its use must not be cut off by the smaller limit of all users. Callers without
a key count by address. Everybody counts for the gateway.
"""

from __future__ import annotations

from functools import lru_cache

from vai.config.schema import ApiKey, LimitBudget, Settings
from vai.policy.client_address import principal_address
from vai.policy.limits.sets import EVERYBODY, LimitSet, Principal

__all__ = ["PrincipalRegistry"]

_ADDRESSES_KNOWN = 4096


class PrincipalRegistry:
    """The principals of all callers under these settings."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        smooth = limits.mode == "smooth"
        self._everybody = Principal(EVERYBODY, _limits(limits.global_, smooth=smooth))
        self._users = _limits(limits.per_user, smooth=smooth)
        self._tiers = {
            name: self._users.replaced_by(_limits(tier, smooth=smooth))
            for name, tier in limits.tiers.items()
        }
        self.of_address = lru_cache(_ADDRESSES_KNOWN)(self._of_address)

    def of_key(self, key: ApiKey, user_id: str, key_name: str) -> tuple[Principal, ...]:
        """The principals of a caller with this key."""
        own = LimitSet(
            requests=key.rate_limit,
            tokens=key.tokens_per_minute,
            concurrency=key.concurrent_requests,
            sessions=key.concurrent_sessions,
        )
        if not key.tier and not any(own[:4]):
            return (self._everybody, Principal(f"user:{user_id}", self._users))
        limits = self._tiers[key.tier] if key.tier else self._users
        return (self._everybody, Principal(f"key:{key_name}", limits.replaced_by(own)))

    def _of_address(self, address: str) -> tuple[Principal, ...]:
        """The principals of a caller without a key."""
        name = f"address:{principal_address(address)}"
        return (self._everybody, Principal(name, self._users, listed=False))


def _limits(budget: LimitBudget, *, smooth: bool) -> LimitSet:
    return LimitSet(
        requests=budget.requests_per_minute,
        tokens=budget.tokens_per_minute,
        concurrency=budget.concurrent_requests,
        sessions=budget.concurrent_sessions,
        smooth=smooth,
    )

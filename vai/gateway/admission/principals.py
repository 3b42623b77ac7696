"""The principals that a request counts for, and how much they may use.

A key counts for its user; a key with its own limits (a tier, or single ones) counts for
itself, because the smaller limit of all users must not cut off its use. Clients without a key
count by address. Every request counts for the gateway.
"""

from __future__ import annotations

from functools import lru_cache

from vai.config.schema import ApiKey, LimitBudget, Settings
from vai.policy.client_address import principal_address
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal

__all__ = ["PrincipalRegistry"]

_MAX_CACHED_ADDRESSES = 4096


class PrincipalRegistry:
    """The principals of all clients under these settings."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        smooth = limits.mode == "smooth"
        self._gateway = Principal(GATEWAY, _limit_set(limits.global_, smooth=smooth))
        self._users = _limit_set(limits.per_user, smooth=smooth)
        self._tiers = {
            name: self._users.overridden_by(_limit_set(tier, smooth=smooth))
            for name, tier in limits.tiers.items()
        }
        self.principals_of_address = lru_cache(_MAX_CACHED_ADDRESSES)(
            self._compute_principals_of_address
        )

    def principals_of_key(self, key: ApiKey, user_id: str, key_name: str) -> tuple[Principal, ...]:
        """The principals of a client with this key."""
        key_limits = LimitSet(
            requests=key.rate_limit,
            tokens=key.tokens_per_minute,
            concurrency=key.concurrent_requests,
            sessions=key.concurrent_sessions,
        )
        if not key.tier and not any(key_limits[:4]):
            return (self._gateway, Principal(f"user:{user_id}", self._users))
        limits = self._tiers[key.tier] if key.tier else self._users
        return (self._gateway, Principal(f"key:{key_name}", limits.overridden_by(key_limits)))

    def _compute_principals_of_address(self, address: str) -> tuple[Principal, ...]:
        """The principals of a client without a key."""
        name = f"address:{principal_address(address)}"
        return (self._gateway, Principal(name, self._users, listed=False))


def _limit_set(budget: LimitBudget, *, smooth: bool) -> LimitSet:
    return LimitSet(
        requests=budget.requests_per_minute,
        tokens=budget.tokens_per_minute,
        concurrency=budget.concurrent_requests,
        sessions=budget.concurrent_sessions,
        smooth=smooth,
    )

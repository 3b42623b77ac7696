"""Which limits hold for whom under these settings, as `vai check` shows them.

Invariant: the gateway's own rules say what a tier or a key is allowed
(`vai.gateway.admission.principals`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from vai.config import Settings
from vai.config.schema import ApiKey
from vai.gateway.admission.principals import PrincipalRegistry
from vai.policy.limits.sets import LimitSet
from vai.secret import Secret

__all__ = ["Allowed", "limits_in_force", "limits_in_words"]

_MOST_NAMES: Final = 8
_UNITS: Final = (
    ("requests", "requests/min"),
    ("tokens", "tokens/min"),
    ("concurrency", "at once"),
    ("sessions", "live sessions"),
)


class Allowed(NamedTuple):
    """What one sort of caller may use."""

    whom: str
    limits: LimitSet
    keys: tuple[str, ...] = ()
    """The names of the keys that have these limits; only of a tier."""

    def as_json(self) -> dict[str, Any]:
        """For programs; 0 means no limit."""
        shown: dict[str, Any] = {"whom": self.whom, **self.limits._asdict()}
        return {**shown, "keys": list(self.keys)} if self.whom.startswith("tier ") else shown

    def __str__(self) -> str:
        numbers = [
            f"{getattr(self.limits, name):,} {unit}"
            for name, unit in _UNITS
            if getattr(self.limits, name)
        ]
        text = f"{self.whom}: {', '.join(numbers) or 'no limit'}"
        if not self.whom.startswith("tier "):
            return text
        more = len(self.keys) - _MOST_NAMES
        names = ", ".join(self.keys[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        return f"{text} (keys: {names or 'none'})"


def limits_in_force(settings: Settings) -> list[Allowed]:
    """The limits of all callers together, of each user, of the tiers, of single keys."""
    return list(_rows(settings)) if settings.limits.enabled else []


def limits_in_words(settings: Settings) -> list[tuple[str, str]]:
    """The same as rows of (principal, text)."""
    rows = limits_in_force(settings)
    if not rows:
        return [("limits", "off: nothing is limited")]
    limits = settings.limits
    where = "Redis" if limits.store == "redis" else "the workers of this gateway"
    return [("limits", f"{limits.mode}, counted over {where}"), *(("limits", str(r)) for r in rows)]


def _rows(settings: Settings) -> Iterator[Allowed]:
    principals = PrincipalRegistry(settings)
    plain = ApiKey(key=Secret("none"))
    everyone, user = principals.principals_of_key(plain, "", "")
    yield Allowed("all callers together", everyone.limits)
    yield Allowed("each user" if settings.auth.api_keys else "each address", user.limits)
    keys = [
        (key.name or f"auth.api_keys[{number}]", key)
        for number, key in enumerate(settings.auth.api_keys)
    ]
    for tier in settings.limits.tiers:
        of_tier = principals.principals_of_key(ApiKey(key=plain.key, tier=tier), "", "")[-1]
        names = tuple(name for name, key in keys if key.tier == tier)
        yield Allowed(f"tier {tier}", of_tier.limits, names)
    for name, key in keys:
        if (
            key.rate_limit
            or key.tokens_per_minute
            or key.concurrent_requests
            or key.concurrent_sessions
        ):
            yield Allowed(f"key {name}", principals.principals_of_key(key, "", "")[-1].limits)

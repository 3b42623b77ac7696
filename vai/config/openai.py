"""Joins OpenAI's two endpoints, which are one service at one address.

`openai` (Chat Completions) and `oai-resp` (Responses) are two providers of one company, with one
key. An operator who moves one of them, to a region or behind a proxy, expects that no request to
OpenAI bypasses it. So a `base_url` of one of them moves the other one too, with all settings for
reaching the server. Where both have one, each uses its own.

Invariants: a key or header that the settings give to one of them goes to no server that only the
other one was moved to, unless that is OpenAI's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from vai.config.addresses import is_same_host
from vai.config.schema import Provider, Settings
from vai.providers.registry import PROVIDER_SPECS, SHARED_KEYS, is_at_openai

__all__ = [
    "PAIR",
    "endpoint_outside_region",
    "endpoint_with_unplaced_key",
    "join_endpoints",
    "settings_of_address",
]

_FOLLOWER: Final = "oai-resp"
PAIR: Final = (SHARED_KEYS[_FOLLOWER], _FOLLOWER)
"""The two endpoints, the one whose key serves both first."""
_REACHED_BY: Final = (
    "base_url",
    "auth",
    "headers",
    "proxy",
    "ca_file",
    "verify_tls",
    "api_key",
)
_PLAIN: Final = Provider()


class _Move(NamedTuple):
    """`follower` has no address of its own, and uses the one that `leader` was moved to."""

    leader: str
    follower: str
    base_url: str


def join_endpoints(settings: Settings) -> Settings:
    """The settings with both endpoints at one address, if one of them was moved."""
    move = _find_move(settings)
    if move is None:
        return settings
    leader = settings.providers[move.leader]
    follower = settings.providers.get(move.follower, _PLAIN)
    inherited = {
        name: getattr(leader, name)
        for name in _REACHED_BY
        if getattr(follower, name) == getattr(_PLAIN, name)
    }
    moved = msgspec.structs.replace(follower, **inherited)
    return msgspec.structs.replace(settings, providers={**settings.providers, move.follower: moved})


def settings_of_address(providers: Mapping[str, Provider], provider: str) -> str:
    """The names of the settings that a provider's address comes from, or can come from.

    Args:
        providers: the providers of settings that `join_endpoints` returned.
    """
    urls = {providers.get(name, _PLAIN).base_url for name in PAIR}
    are_together = len(urls) == 1 and None not in urls
    names = PAIR if provider in PAIR and are_together else (provider,)
    return " or ".join(f"providers.{name}.base_url" for name in names)


def endpoint_with_unplaced_key(settings: Settings) -> str | None:
    """The endpoint with a key or headers of its own that would follow to a foreign server."""
    move = _find_move(settings)
    if move is None or is_at_openai(move.base_url):
        return None
    leader = settings.providers[move.leader]
    follower = settings.providers.get(move.follower, _PLAIN)
    own_key = follower.api_key is not None and follower.api_key != leader.api_key
    own_headers = bool(follower.headers) and follower.headers != leader.headers
    return move.follower if own_key or own_headers else None


def endpoint_outside_region(settings: Settings) -> str | None:
    """The endpoint that the settings place outside the OpenAI region of the other one."""
    urls = {
        name: settings.providers.get(name, _PLAIN).base_url or PROVIDER_SPECS[name].base_url
        for name in PAIR
    }
    for endpoint, other in _both_ways():
        is_regional = is_at_openai(urls[endpoint]) and not is_same_host(
            urls[endpoint], PROVIDER_SPECS[endpoint].base_url
        )
        if is_regional and not is_same_host(urls[endpoint], urls[other]):
            return other
    return None


def _find_move(settings: Settings) -> _Move | None:
    for leader, follower in _both_ways():
        base_url = settings.providers.get(leader, _PLAIN).base_url
        if base_url and not settings.providers.get(follower, _PLAIN).base_url:
            return _Move(leader, follower, base_url)
    return None


def _both_ways() -> Iterator[tuple[str, str]]:
    yield PAIR
    yield PAIR[::-1]

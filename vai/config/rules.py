"""What no single type can say: settings that contradict each other.

The law of this module: pure functions over finished settings, each yielding problems as
(path, text). The order of the rules is the order of `settings.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from vai.config.names import BUILT_IN
from vai.config.schema import Settings

__all__ = ["Finding", "contradictions"]

Finding = tuple[tuple[str, ...], str]

_ORIGIN: Final = re.compile(r"https?://[^\s/]+")
_PROXY: Final = re.compile(r"(?:https?|socks5h?)://[^\s/]+/?")
_PROVIDER_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def contradictions(settings: Settings) -> Iterator[Finding]:
    """Everything about `settings` that cannot be served."""
    yield from _tls(settings)
    yield from _api_keys(settings)
    yield from _providers(settings)
    yield from _aliases(settings)
    if settings.manager.hung_after <= 2 * settings.manager.heartbeat:
        yield ("manager", "hung_after"), "expected more than two heartbeats"
    for number, origin in enumerate(settings.cors.allowed_origins):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            yield ("cors", f"allowed_origins[{number}]"), 'expected "*" or scheme://host[:port]'


def _tls(settings: Settings) -> Iterator[Finding]:
    tls = settings.tls
    for have, need, missing in (
        (tls.cert_file, "key_file", tls.key_file is None),
        (tls.key_file, "cert_file", tls.cert_file is None),
        (tls.enabled, "cert_file", not (tls.cert_file or tls.key_file)),
    ):
        if have and missing:
            yield ("tls", need), "HTTPS needs tls.cert_file and tls.key_file"


def _api_keys(settings: Settings) -> Iterator[Finding]:
    auth = settings.auth
    if auth.mode == "api_key" and not auth.api_keys:
        yield (
            ("auth", "api_keys"),
            "auth.mode api_key needs at least one key; auth.mode none lets everybody in",
        )
    first: dict[str, str] = {}
    for number, entry in enumerate(auth.api_keys):
        name = f"api_keys[{number}]"
        if " " in entry.key.reveal():
            yield ("auth", name, "key"), "expected no spaces"
        other = first.setdefault(entry.key.reveal(), name)
        if other != name:
            yield ("auth", name, "key"), f"the same key as auth.{other}"


def _providers(settings: Settings) -> Iterator[Finding]:
    for name, provider in settings.providers.items():
        path = ("providers", name)
        if not _PROVIDER_ID.fullmatch(name):
            yield path, "expected an id of letters, digits and hyphens"
        if name not in BUILT_IN:
            built_in = ", ".join(BUILT_IN)
            for field in ("kind", "base_url"):
                if getattr(provider, field) is None:
                    yield (*path, field), f"required, as {name} is not built in ({built_in})"
        if provider.proxy is not None and not _PROXY.fullmatch(provider.proxy.reveal()):
            yield (*path, "proxy"), "expected an http, https or socks5 URL without a path"


def _aliases(settings: Settings) -> Iterator[Finding]:
    known = {*BUILT_IN, *settings.providers}
    for alias in settings.aliases:
        path = ("aliases", alias)
        seen, target = {alias}, settings.aliases[alias]
        while target in settings.aliases and target not in seen:
            seen.add(target)
            target = settings.aliases[target]
        provider, _, model = target.partition("/")
        if target in seen:
            yield path, "an alias of itself"
        elif not model:
            yield path, "expected provider/model"
        elif provider not in known:
            yield path, "no such provider"

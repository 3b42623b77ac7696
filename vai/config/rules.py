"""Settings that contradict each other; the type of one setting cannot express this.

Invariants: the rules are pure functions over finished settings, each yielding problems as (path,
text). The order of the rules is the order of `settings.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Final

import httpx

from vai.config.addresses import address_fault
from vai.config.login import LOGIN_COMMAND
from vai.config.names import KEY_VARIABLES, LOGGED_IN_TO
from vai.config.openai import endpoint_with_unplaced_key
from vai.config.schema import Provider, Settings
from vai.policy.aliases import MAX_TARGETS, expand_alias, is_pattern
from vai.policy.headers import GATEWAY_FIELDS
from vai.providers.registry import PROVIDER_SPECS, capabilities_of_kind
from vai.types.provider import WireFormat

__all__ = ["SettingFault", "find_contradictions", "key_fault"]

SettingFault = tuple[tuple[str, ...], str] | tuple[tuple[str, ...], str, tuple[str, ...]]
"""A setting, its fault, and another setting that the fault depends on."""

_ORIGIN: Final = re.compile(r"https?://[^\s/]+")
_PROXY: Final = re.compile(r"https?://[^\s/]+/?", re.IGNORECASE)
_REDIS: Final = re.compile(r"(?:rediss?|unix)://\S+")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_KEY_FIELDS: Final = frozenset({"authorization", "x-api-key", "x-goog-api-key"})
_FRAMING: Final = frozenset(GATEWAY_FIELDS) - _KEY_FIELDS | {"content-type", "accept"}
_NEVER_FIXED: Final = _FRAMING | _KEY_FIELDS
_MOST_NAMED: Final = 12
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?!\.|$))*\.?")
_PROVIDER_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def find_contradictions(settings: Settings) -> Iterator[SettingFault]:
    """All contradictions with which the gateway cannot serve."""
    yield from _check_host(settings.host)
    yield from _check_tls(settings)
    yield from _check_api_keys(settings)
    yield from _check_limits(settings)
    yield from _check_providers(settings)
    yield from _check_aliases(settings)
    yield from _check_models(settings)
    if settings.manager.hung_after <= 2 * settings.manager.heartbeat:
        yield ("manager", "hung_after"), "expected more than two heartbeats"
    for number, origin in enumerate(settings.cors.allowed_origins):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            text = f'expected "*" or scheme://host[:port]{_list_hint(origin)}'
            yield ("cors", f"allowed_origins[{number}]"), text


def _check_host(host: str) -> Iterator[SettingFault]:
    try:
        ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            text = "expected an IP address or a host name alone; the port is a setting of its own"
            yield ("host",), text


def _check_tls(settings: Settings) -> Iterator[SettingFault]:
    tls = settings.tls
    for have, need, missing in (
        (tls.cert_file, "key_file", tls.key_file is None),
        (tls.key_file, "cert_file", tls.cert_file is None),
        (tls.enabled, "cert_file", not (tls.cert_file or tls.key_file)),
    ):
        if have and missing:
            yield ("tls", need), "HTTPS needs tls.cert_file and tls.key_file; set both"


def _check_api_keys(settings: Settings) -> Iterator[SettingFault]:
    auth = settings.auth
    if auth.mode == "api_key" and not auth.api_keys:
        # Reported for the section, so that a broken mode suppresses the problem of the keys.
        yield (
            ("auth",),
            "mode api_key needs at least one key in auth.api_keys; mode none admits every client",
        )
    first: dict[str, tuple[int, str]] = {}
    for number, entry in enumerate(auth.api_keys):
        name = f"api_keys[{number}]"
        if fault := key_fault(entry.key.reveal()):
            yield ("auth", name, "key"), fault
        elif " " in entry.key.reveal():
            yield ("auth", name, "key"), "expected no spaces"
        shown = entry.name or f"auth.{name}"
        other, holder = first.setdefault(entry.key.reveal(), (number, shown))
        if other != number:
            yield ("auth", name, "key"), f"the same key as that of {holder}; expected another"


def _check_limits(settings: Settings) -> Iterator[SettingFault]:
    limits = settings.limits
    for number, entry in enumerate(settings.auth.api_keys):
        if entry.tier and entry.tier not in limits.tiers:
            path = ("auth", f"api_keys[{number}]", "tier")
            yield path, "no such tier in limits.tiers; add it there", ("limits", "tiers")
    if limits.store == "redis" and limits.redis.url is None:
        yield ("limits", "redis", "url"), "required, as limits.store is redis"
    if limits.redis.url is not None and not _REDIS.match(limits.redis.url.reveal()):
        yield ("limits", "redis", "url"), "expected redis://, rediss:// or unix://"
    for number, network in enumerate(settings.trusted_proxies):
        try:
            ip_network(network, strict=False)
        except ValueError:
            text = f"expected an address or a network{_list_hint(network)}"
            yield (f"trusted_proxies[{number}]",), text


def _list_hint(text: str) -> str:
    """A hint for several values that are written as one text."""
    return '; write several as a list, ["...", "..."]' if "," in text else ""


def _check_providers(settings: Settings) -> Iterator[SettingFault]:
    for name, provider in settings.providers.items():
        path = ("providers", name)
        if not _PROVIDER_ID.fullmatch(name):
            yield path, "expected an id of letters, digits and hyphens"
        if name not in KEY_VARIABLES:
            built_in = ", ".join(KEY_VARIABLES)
            missing = [field for field in ("kind", "base_url") if getattr(provider, field) is None]
            why = f"as {name} is not built in ({built_in})"
            if len(missing) == 1:
                yield (*path, *missing), f"required, {why}"
            elif missing:
                yield path, f"needs kind and base_url, {why}"
        if provider.api_key is not None and (fault := key_fault(provider.api_key.reveal())):
            yield (*path, "api_key"), fault
        yield from _check_login(settings, name)
        if name in PROVIDER_SPECS and provider.kind not in (None, PROVIDER_SPECS[name].kind):
            yield (*path, "kind"), f"{name} is built in; a server of another kind needs another id"
        if provider.api_version is not None and (name != "gemini" or provider.base_url is not None):
            yield (*path, "api_version"), "only for gemini, and not beside a base_url"
        if provider.base_url is not None:
            if fault := _address_fault(provider.base_url):
                yield (*path, "base_url"), fault
            elif httpx.URL(provider.base_url).userinfo:
                yield (*path, "base_url"), "expected no user name or password in the URL"
            else:
                yield from _check_base_url(name, provider.base_url, provider.kind)
        if provider.capabilities is not None:
            yield from _check_capabilities(name, provider)
        yield from _check_headers(name, provider)
        if provider.proxy is not None:
            proxy = provider.proxy.reveal()
            if not _PROXY.fullmatch(proxy):
                yield (*path, "proxy"), "expected an http or https URL without a path"
            elif fault := _address_fault(proxy):
                yield (*path, "proxy"), fault
    yield from _check_endpoint_pair(settings)


def _check_base_url(
    name: str, base_url: str, own_kind: WireFormat | None
) -> Iterator[SettingFault]:
    """An address at which a server would answer every request with a 404."""
    kind = PROVIDER_SPECS[name].kind if name in PROVIDER_SPECS else own_kind
    fault = address_fault(kind, base_url) if kind is not None else None
    if fault is not None and fault.is_certain:
        yield ("providers", name, "base_url"), fault.text


def _check_endpoint_pair(settings: Settings) -> Iterator[SettingFault]:
    """A key that would go to a server to which only the other endpoint was moved."""
    if (name := endpoint_with_unplaced_key(settings)) is not None:
        other = "openai" if name != "openai" else "oai-resp"
        why = f"required, as {other} is moved and {name} has a key or headers of its own"
        yield (
            ("providers", name, "base_url"),
            f"{why}: the same URL, or {PROVIDER_SPECS[name].base_url}",
        )


def _check_capabilities(name: str, provider: Provider) -> Iterator[SettingFault]:
    path = ("providers", name, "capabilities")
    if name in PROVIDER_SPECS or provider.kind is None:
        yield path, "only for a server of your own"
        return
    capabilities = capabilities_of_kind(provider.kind)
    if not capabilities.issuperset(provider.capabilities or ()):
        yield path, f"expected some of {', '.join(sorted(capabilities))}"


def _check_headers(name: str, provider: Provider) -> Iterator[SettingFault]:
    """The credential's header, the fixed headers and the prices of a server."""
    path = ("providers", name)
    if provider.price_as is not None and name in PROVIDER_SPECS:
        yield (*path, "price_as"), "only for a server of your own"
    if provider.auth is not None and name in PROVIDER_SPECS and provider.base_url is None:
        yield (*path, "auth"), "only for a server of your own, or beside a base_url"
    key_header = (provider.auth or "").removeprefix("header:").lower()
    if key_header in _FRAMING or (provider.auth or "").lower() == "header:bearer":
        yield (*path, "auth"), "expected the name of a header that may hold a key"
    seen: set[str] = set()
    for header in provider.headers:
        plain = header.lower()
        if not _TOKEN.fullmatch(header):
            yield (*path, "headers", header), "expected the name of a header"
        elif plain in _NEVER_FIXED or plain == key_header:
            yield (*path, "headers", header), "the gateway writes this header itself"
        elif plain in seen:
            yield (*path, "headers", header), "named twice"
        seen.add(plain)


def _check_login(settings: Settings, name: str) -> Iterator[SettingFault]:
    """A provider has a login or a key, never both."""
    provider, path = settings.providers[name], ("providers", name)
    if name != LOGGED_IN_TO:
        for field in ("enabled", "client_id", "client_secret", "credentials_file"):
            if getattr(provider, field):
                yield (*path, field), f"only {LOGGED_IN_TO} is logged in to"
        return
    if provider.api_key is not None:
        yield (*path, "api_key"), f"{name} has no keys; run: {LOGIN_COMMAND}"
    for field in ("auth", "headers"):
        if getattr(provider, field):
            yield (*path, field), f"not for {name}, which is logged in to"
    if provider.enabled and settings.auth.mode == "passthrough":
        yield (*path, "enabled"), "in auth.mode passthrough a login of the server is never used"


def _address_fault(url: str) -> str | None:
    """Why `url` is no address, as the HTTP client that will use it parses it."""
    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, parsed.port
    except (httpx.InvalidURL, UnicodeError):  # their texts quote the URL
        return "expected a URL with a valid host and port"
    if not host:
        return "expected a URL with a host"
    return None if port is None or 0 < port < 65536 else "expected a port from 1 to 65535"


def _check_models(settings: Settings) -> Iterator[SettingFault]:
    providers = _known_providers(settings)
    for name, model_settings in settings.models.items():
        path = ("models", name)
        provider, _, model = name.partition("/")
        if not model:
            yield path, "expected provider/model"
        elif provider not in providers:
            yield path, "no such provider", ("providers",)
        for field in model_settings.price.__struct_fields__:
            value = getattr(model_settings.price, field)
            if value is not None and round(value, 6) != value:
                yield (*path, "price", field), "expected at most six decimals"


def _known_providers(settings: Settings) -> set[str]:
    """All providers, also those with missing settings, which another rule reports."""
    return {name for name in settings.providers if name not in KEY_VARIABLES}.union(PROVIDER_SPECS)


def _is_logged_in(settings: Settings) -> bool:
    return settings.providers.get(LOGGED_IN_TO, Provider()).enabled


def _no_such_provider(providers: Iterable[str]) -> str:
    names = sorted(providers)
    others = f" and {len(names) - _MOST_NAMED} others" if len(names) > _MOST_NAMED else ""
    return f"no such provider; expected one of {', '.join(names[:_MOST_NAMED])}{others}"


def _check_aliases(settings: Settings) -> Iterator[SettingFault]:
    providers = _known_providers(settings)
    for alias in settings.aliases:
        path = ("aliases", alias)
        targets = expand_alias(alias, settings.aliases)
        if targets is None:
            yield path, "an alias of itself"
            continue
        if not 0 < len(targets) <= MAX_TARGETS:
            yield path, f"expected 1 to {MAX_TARGETS} models"
        if "*" in alias[:-1] or alias == "*":
            yield path, "expected at most one *, behind the beginning of a name"
        for target in targets:
            provider, _, model = target.partition("/")
            if not model or "," in target:
                yield path, f"expected provider/model{_list_hint(target)}"
            elif provider not in providers:
                yield path, _no_such_provider(providers), ("providers",)
            elif provider == LOGGED_IN_TO and not _is_logged_in(settings):
                yield path, f"{provider} is off; turn it on with providers.{provider}.enabled"
            elif model.count("*") > (1 if is_pattern(alias) else 0):
                yield path, "expected at most one *, and that only behind an alias with one"


_FAULTS: Final = (
    (
        re.compile(r"(['\"]).*\1", re.DOTALL),
        "expected no quotes around the key; files of variables keep those that are written there",
    ),
    (re.compile(r"bearer\s.*", re.IGNORECASE), "expected the key alone, without Bearer before it"),
    (
        re.compile(r"\$[A-Za-z_]\w*|%[A-Za-z_]\w*%|\$\([^)]*\)"),
        "expected the key, or ${NAME} in place of which the variable NAME is put",
    ),
    (
        re.compile(r"file:.*|(?:~|\.\.?)/.*|/(?:run|etc|var|home|root|secrets)/.*", re.IGNORECASE),
        "expected the key, or ${file:/path/of/the/file} in place of which that file's text is put",
    ),
)


def key_fault(key: str) -> str | None:
    """Why `key` cannot be a key, without quoting it; None where it may be one.

    Only what no key can be is a fault: a server's own keys may hold every visible character.
    """
    return next((text for pattern, text in _FAULTS if pattern.fullmatch(key)), None)

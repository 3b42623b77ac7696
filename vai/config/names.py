"""Other spellings of the settings, and variables that only look like settings.

Invariants: each spelling is one entry. VAI reads flat files (`auth_mode: none`) and nested ones
(`auth: {mode: none}`) alike; the other modules see one name for each setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from vai.providers.registry import PROVIDER_SPECS, provider_id

__all__ = [
    "FOREIGN_NAMES",
    "KEY_VARIABLES",
    "LOGGED_IN_TO",
    "SPELLINGS",
    "canonical_path",
    "is_reserved",
]

Path = tuple[str, ...]

KEY_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {spec.id: spec.env for spec in PROVIDER_SPECS.values()} | {"cartesia": ("CARTESIA_API_KEY",)}
)
"""Built-in provider -> the variables that may hold its key; the first set one counts.
Cartesia may have a key and is not served by this version."""

LOGGED_IN_TO: Final = "gemini-oauth"
"""The provider whose credential is a login instead of a key. It exists once it is enabled."""

SPELLINGS: Final[dict[str, str]] = {
    "server.host": "host",
    "server.port": "port",
    "server.tls": "tls",
    "tls_enabled": "tls.enabled",
    "tls_cert_file": "tls.cert_file",
    "tls_key_file": "tls.key_file",
    "auth_mode": "auth.mode",
    "api_keys": "auth.api_keys",
    "provider_keys.*": "providers.*.api_key",
    "voice.stt.*": "providers.*",
    "voice.tts.*": "providers.*",
    "rate_limit": "limits",
    "rate_limits": "limits",
    "limits.global_requests_per_minute": "limits.global.requests_per_minute",
    "limits.global_tokens_per_minute": "limits.global.tokens_per_minute",
    "limits.user_requests_per_minute": "limits.per_user.requests_per_minute",
    "limits.user_tokens_per_minute": "limits.per_user.tokens_per_minute",
    "limits.max_concurrent_sessions": "limits.global.concurrent_sessions",
    "observability.metrics_enabled": "observability.metrics.enabled",
    "observability.metrics_path": "observability.metrics.path",
    "observability.log_level": "observability.logging.level",
    "observability.log_format": "observability.logging.format",
    "observability.tracing_enabled": "observability.tracing.enabled",
    "observability.tracing_exporter": "observability.tracing.exporter",
    "observability.tracing_endpoint": "observability.tracing.endpoint",
    "allowed_origins": "cors.allowed_origins",
    "read_timeout": "body_timeout",
    "write_timeout": "timers.write_stall",
    "shutdown_timeout": "drain_grace",
}

FOREIGN_NAMES: Final[dict[str, str]] = {
    "api_base": "base_url",
    "bind": "host",
    "endpoint": "base_url",
    "fallbacks": "aliases",
    "debug": "observability.logging.level",
    "general_settings": "auth",
    "keys": "auth.api_keys",
    "listen": "host",
    "litellm_params": "aliases",
    "litellm_settings": "retries",
    "log": "observability.logging",
    "log_format": "observability.logging.format",
    "log_level": "observability.logging.level",
    "loglevel": "observability.logging.level",
    "logs": "observability.logging",
    "master_key": "auth.api_keys",
    "model_list": "aliases",
    "num_workers": "workers",
    "rpm": "requests_per_minute",
    "router_settings": "retries",
    "timeout": "timers.total",
    "timeouts": "timers",
    "token": "key",
    "tpm": "tokens_per_minute",
    "users": "auth.api_keys",
    "virtual_keys": "auth.api_keys",
}
"""Settings of other gateways -> VAI's names. VAI suggests them and does not accept them."""

_RESERVED: Final = frozenset(
    {
        "VAI_API_KEY",  # the SDK's
        "VAI_BASE_URL",  # the SDK's
        "VAI_CONTROL_BLOCK",  # its path, for the workers
        "VAI_CONFIG",
        "VAI_SIMULATOR_URL",
    }
)
_RESERVED_PREFIXES: Final = ("VAI_TEST_", "VAI_BENCH_")


def canonical_path(path: Path) -> Path:
    """The canonical name of the setting that `path` spells."""
    seen = {path}
    while (renamed := _replace_spelling(path)) not in seen:
        path = renamed
        seen.add(path)
    if path[0] == "providers" and len(path) > 1:
        path = ("providers", provider_id(path[1].strip()), *path[2:])
    return path


def is_reserved(variable: str) -> bool:
    """Whether a `VAI_` variable has a meaning of its own and is not a setting."""
    return variable in _RESERVED or variable.startswith(_RESERVED_PREFIXES)


def _replace_spelling(path: Path) -> Path:
    for spelling, name in SPELLINGS.items():
        pattern = spelling.split(".")
        if len(path) < len(pattern) or not all(
            want in (have, "*") for want, have in zip(pattern, path, strict=False)
        ):
            continue
        wild = path[pattern.index("*")] if "*" in pattern else ""
        target = tuple(wild if part == "*" else part for part in name.split("."))
        return target + path[len(pattern) :]
    return path

"""The log lines about failing providers: one for each, with the setting to check.

Invariants: VAI writes a line at most once a minute for each subject. A line has names of
settings, VAI's own codes and statuses; no word of an upstream's, no key and no query. Failures with
BYOK keys cause no alert.
"""

from __future__ import annotations

from typing import Final

from vai.config.names import LOGGED_IN_TO
from vai.config.openai import settings_of_address
from vai.config.schema import Provider, Settings
from vai.errors import UpstreamFault, VaiError
from vai.exchange.ports import Clock
from vai.io.warn import RateLimitedWarnings
from vai.policy.breaker import Target
from vai.policy.error_attribution import UPSTREAM_AUTH
from vai.policy.provider_errors import FallbackRun, ProviderErrors, classify_trouble, gateway_code
from vai.providers.decode.wrong_address import is_bare_not_found
from vai.types.provider import ProviderSpec

__all__ = ["ProviderAlerts"]

_MAX_URL: Final = 300
_MAX_NAME: Final = 256
_PLAIN: Final = Provider()


class ProviderAlerts:
    """Records the failures of one worker's providers, and warns of them."""

    def __init__(self, settings: Settings, troubles: ProviderErrors, clock: Clock) -> None:
        self._providers = settings.providers
        self._troubles = troubles
        self._clock = clock
        self._warn = RateLimitedWarnings()

    def record_failure(
        self, spec: ProviderSpec, fault: UpstreamFault, target: str, *, own_key: bool
    ) -> None:
        """Record a failed attempt at the provider of `spec`, which requested `target` (a path)."""
        trouble = classify_trouble(fault, is_byok=own_key)
        if not trouble:
            if is_bare_not_found(fault):
                self._warn_of_address(spec, fault, target)
            return
        self._troubles.record_failure(spec.id, fault, trouble, self._clock())
        if trouble == "address":
            self._warn(
                (trouble, spec.id, fault.code, fault.upstream_status),
                "%s: POST %s was answered with %s: the address is probably wrong; see %s",
                spec.id,
                _upstream_url(spec, target),
                _describe_response(fault),
                settings_of_address(self._providers, spec.id),
            )
        elif trouble == "way":
            self._warn(
                (trouble, spec.id, fault.code),
                "%s: %s cannot be reached (%s); see %s",
                spec.id,
                _upstream_url(spec, ""),
                fault.code,
                self._connection_settings(spec.id, fault.code),
            )
        elif trouble == "key":
            self._warn(
                (trouble, spec.id, fault.type, fault.upstream_status),
                "%s: the provider refused %s (%s); see %s",
                spec.id,
                *self._describe_key(spec.id, fault),
            )

    def _warn_of_address(self, spec: ProviderSpec, fault: UpstreamFault, target: str) -> None:
        """Warn of an address that may be wrong: the error does not name what was not found."""
        self._warn(
            ("address?", spec.id),
            "%s: POST %s was answered with status %s and an error that names no model:"
            " the address may be wrong; see %s",
            spec.id,
            _upstream_url(spec, target),
            fault.upstream_status,
            settings_of_address(self._providers, spec.id),
        )

    def breaker_opened(self, target: Target, fault: UpstreamFault, seconds: float) -> None:
        """Warn that the breaker of a model has opened."""
        self._warn(
            ("breaker", *target),
            "%s: model %s failed repeatedly; its circuit breaker is open for %.0f s; the last"
            " failure: %s; see breaker, and aliases for a model to use instead",
            target[0],
            _printable_name(target[1]),
            seconds,
            _describe_error(fault),
        )

    def breaker_closed(self, target: Target) -> None:
        """Report that the breaker of a model has closed."""
        subject = ("closed", *target)
        self._warn(subject, "%s: model %s responds again", target[0], _printable_name(target[1]))

    def warn_of_fallback(
        self, alias: str, first: str, missed: FallbackRun, reason: VaiError | None
    ) -> None:
        """Warn that all requests for `alias` skip its `first` model, the last one for `reason`."""
        self._warn(
            ("alias", alias),
            "alias %s: the last %d requests within %.0f s went past its first model %s (%s);"
            " see aliases.%s and providers.%s",
            alias,
            missed.requests,
            max(self._clock() - missed.since, 1.0),
            _printable_name(first),
            "it requested a pause" if reason is None else _describe_error(reason),
            alias,
            first.partition("/")[0],
        )

    def _connection_settings(self, provider: str, code: str | None) -> str:
        provider_settings = self._providers.get(provider, _PLAIN)
        names = [settings_of_address(self._providers, provider)]
        if provider_settings.proxy is not None:
            names.insert(0, f"providers.{provider}.proxy")
        if code == "upstream_tls":
            names.append(f"providers.{provider}.ca_file")
        return ", ".join(names)

    def _describe_key(self, provider: str, fault: UpstreamFault) -> tuple[str, str, str]:
        """What the provider refused, why, and the setting to change."""
        facts = _describe_error(fault)
        setting = f"providers.{provider}.api_key"
        if provider == LOGGED_IN_TO:
            renewed = "and log in again with `vai login gemini`"
            return "the gateway's login", facts, f"providers.{provider}.credentials_file, {renewed}"
        if self._providers.get(provider, _PLAIN).api_key is None:
            return "a request without a key", facts, f"{setting}, which is not set"
        # A valid key may lack a permission, or its account may have no credit.
        is_refused = fault.code == UPSTREAM_AUTH or fault.type == "authentication_error"
        what = "the gateway's key" if is_refused else "a request with the gateway's key"
        return what, facts, setting


def _upstream_url(spec: ProviderSpec, target: str) -> str:
    """The requested URL without its query. It has no user info, which the settings refuse."""
    return (spec.base_url.rstrip("/") + target.partition("?")[0])[:_MAX_URL]


def _describe_response(fault: UpstreamFault) -> str:
    status = f"status {fault.upstream_status}"
    if fault.code == "upstream_redirect":
        return f"a redirect ({status}), which is not followed"
    if fault.code == "upstream_content_type":
        return f"{status} and neither JSON nor an event stream"
    return f"{status} and no error of the provider's API"


def _printable_name(name: str) -> str:
    """The name of a model, made printable: clients choose it, and it must not begin a new line."""
    return "".join(c if c.isprintable() else "?" for c in name[:_MAX_NAME])


def _describe_error(fault: VaiError) -> str:
    """The type, the code and the status of an error, as far as they are VAI's own."""
    facts: list[str] = [fault.type]
    code = gateway_code(fault) if isinstance(fault, UpstreamFault) else fault.code
    if code is not None:
        facts.append(f"code {code}")
    if fault.upstream_status is not None:
        facts.append(f"status {fault.upstream_status}")
    return ", ".join(facts)

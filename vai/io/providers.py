"""The providers of this gateway: their specs, their connections, the gateway's keys.

Invariants: there is one transport per provider and process; an upstream is that
transport bound to one credential, and the credential to the origin that the settings name.
Nothing a client sends chooses where a key goes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import httpx
import msgspec

from vai.config.login import TERMS, GoogleLogin, login_file, read_login
from vai.config.names import LOGGED_IN_TO
from vai.config.schema import Provider, Settings
from vai.exchange.ports import Upstream
from vai.io.google.oauth import GOOGLE, Endpoints
from vai.io.google.upstream import GoogleUpstream, LoginTokens
from vai.io.http.head import Endpoint
from vai.io.http.provider_keys import Credential, Presentation, ProviderKey, choose_presentation
from vai.io.http.upstream import HttpUpstream, UpstreamSettings, build_transport
from vai.io.log import log
from vai.providers.registry import PROVIDER_SPECS, simulated_path
from vai.secret import Secret
from vai.types.provider import Capabilities, ProviderSpec

__all__ = ["Providers", "build_specs"]


_COMPATIBLE: Final = frozenset({"max_tokens", "no_nulls", "plain_system", "user"})
"""The quirks of an operator's own server: the form of Chat Completions that all such servers
accept. Some ignore what OpenAI added later (`max_completion_tokens`, `safety_identifier`), so that
a limit would be lost; others refuse it."""


def build_specs(settings: Settings) -> dict[str, ProviderSpec]:
    """The built-in specs with the changes of the settings, and the specs that the settings add."""
    specs = dict(PROVIDER_SPECS)
    for provider, changes in settings.providers.items():
        spec = specs.get(provider)
        if spec is None:
            if changes.kind is None or changes.base_url is None:
                continue  # a voice vendor, not an LLM provider
            like = next(
                spec
                for spec in PROVIDER_SPECS.values()
                if spec.kind == changes.kind and spec.id == changes.kind
            )
            spec = msgspec.structs.replace(
                like, id=provider, name=provider, env=(), bare_prefixes=(), quirks=_COMPATIBLE
            )
            if changes.capabilities is not None:
                spec = _override_capabilities(spec, changes.capabilities)
        base_url = changes.base_url or spec.base_url
        if changes.api_version is not None:
            base_url = f"{base_url.rpartition('/')[0]}/{changes.api_version}"
        specs[provider] = msgspec.structs.replace(
            spec,
            name=changes.name or spec.name,
            base_url=base_url,
            auth=spec.auth if changes.auth is None else changes.auth.removeprefix("header:"),
            described_as=changes.price_as or "",
        )
    if not settings.providers.get(LOGGED_IN_TO, Provider()).enabled:
        specs.pop(LOGGED_IN_TO, None)
    return specs


def _override_capabilities(spec: ProviderSpec, names: Collection[str]) -> ProviderSpec:
    """The spec with exactly these capabilities, and no server tools."""
    fields = [name for name in Capabilities.__struct_fields__ if name != "server_tools"]
    capabilities = msgspec.convert({name: name in names for name in fields}, Capabilities)
    return msgspec.structs.replace(spec, capabilities=capabilities, has_capability_override=True)


class Providers:
    """The upstreams of every provider, for one process.

    `simulator` is the base URL of the built-in simulator; if it is given, it stands in for
    providers without a key. `google` names the endpoints that renew logins.

    Raises:
        ValueError: the file of a login that the gateway serves with cannot be read.
    """

    def __init__(
        self, settings: Settings, simulator: str | None = None, *, google: Endpoints = GOOGLE
    ) -> None:
        specs = build_specs(settings)
        self.specs: Mapping[str, ProviderSpec] = specs
        self._clients: dict[str, _ProviderClient] = {}
        for provider, spec in specs.items():
            provider_settings = settings.providers.get(provider, Provider())
            if provider == LOGGED_IN_TO:
                login = read_login(login_file(provider_settings.credentials_file))
                spec = specs[provider] = msgspec.structs.replace(spec, project=login.project)
                self._clients[provider] = _LoginClient(spec, provider_settings, login, google)
            elif (
                simulator is not None
                and provider_settings.api_key is None
                and provider_settings.base_url is None
            ):
                self._clients[provider] = _SimulatedClient(spec, provider_settings, simulator)
            else:
                self._clients[provider] = _ProviderClient(spec, provider_settings)

    def get_byok_upstream(self, provider: str, key: ProviderKey) -> Upstream:
        """The real provider, with a client's own key."""
        return self._clients[provider].real_client().bind_key(key)

    def get_gateway_upstream(self, provider: str) -> Upstream | None:
        """The provider with the gateway key, else the simulator, else None."""
        return self._clients[provider].gateway_upstream

    def is_simulated(self, provider: str) -> bool:
        """Whether `get_gateway_upstream` is the simulator."""
        return self._clients[provider].is_simulated

    def list_states(self) -> dict[str, str]:
        """Provider -> ``configured``, ``simulated`` or ``byok`` (clients must bring a key)."""
        return {
            provider: "simulated"
            if client.is_simulated
            else "configured"
            if client.gateway_upstream
            else "byok"
            for provider, client in self._clients.items()
        }

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()


class _ProviderClient:
    """One provider's transport and endpoint."""

    is_simulated = False

    def __init__(self, spec: ProviderSpec, settings: Provider) -> None:
        self._spec = spec
        self._headers = settings.headers
        self._endpoint = Endpoint.from_base_url(spec.base_url)
        self._transport: httpx.AsyncBaseTransport = build_transport(
            UpstreamSettings(
                base_url=spec.base_url,
                proxy=settings.proxy,
                ca_file=settings.ca_file,
                verify=settings.verify_tls,
                max_connections=settings.max_connections,
            )
        )
        self.gateway_upstream: Upstream | None = None
        if settings.api_key is not None:
            self.gateway_upstream = self.bind_key(ProviderKey(settings.api_key))
        elif settings.base_url is not None:
            # A server of the operator's own (vLLM, Ollama) may need no key at all.
            self.gateway_upstream = self._make_upstream(None)

    def real_client(self) -> _ProviderClient:
        """The provider client that receives BYOK keys."""
        return self

    def bind_key(self, key: ProviderKey) -> Upstream:
        credential = Credential(key.secret, self._endpoint.origin)
        return self._make_upstream(credential, choose_presentation(self._spec, key))

    def _make_upstream(
        self, credential: Credential | None, shown: Presentation | None = None
    ) -> Upstream:
        shown = shown or Presentation(self._spec.auth)
        return HttpUpstream(
            self._transport,
            self._endpoint,
            credential,
            shown.style,
            self._headers,
            betas=shown.betas,
        )

    async def aclose(self) -> None:
        await self._transport.aclose()


class _LoginClient(_ProviderClient):
    """A provider whose credential is the operator's login."""

    def __init__(
        self, spec: ProviderSpec, settings: Provider, login: GoogleLogin, google: Endpoints
    ) -> None:
        super().__init__(spec, settings)
        log.warning("{}: {}", spec.id, TERMS)
        self._bearer = LoginTokens(login, provider=settings, endpoints=google)
        self.gateway_upstream = GoogleUpstream(self._transport, self._endpoint, self._bearer)

    async def aclose(self) -> None:
        await self._bearer.aclose()
        await super().aclose()


class _SimulatedClient(_ProviderClient):
    """The simulator instead of a provider, for clients without a key of their own."""

    is_simulated = True

    def __init__(self, spec: ProviderSpec, settings: Provider, url: str) -> None:
        at_simulator = msgspec.structs.replace(spec, base_url=url + simulated_path(spec))
        super().__init__(at_simulator, Provider(api_key=Secret("simulated")))
        self._real_client = _ProviderClient(spec, settings)

    def real_client(self) -> _ProviderClient:
        return self._real_client

    async def aclose(self) -> None:
        await self._real_client.aclose()
        await super().aclose()

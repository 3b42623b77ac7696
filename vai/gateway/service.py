"""The parts of one worker: settings, keys, providers, upstream connections.

The worker makes them before it accepts connections and closes them after its drain. They stay
the same while it serves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from functools import lru_cache, partial
from random import random

import msgspec

from vai.codec.head import HeaderFields
from vai.codec.routing_fields import RoutingFields
from vai.config import Settings
from vai.config.schema import Auth, LimitSettings
from vai.errors import InvalidRequest, UpstreamFault, VaiError
from vai.exchange.attempts import ProviderHealth
from vai.exchange.ports import Admission, Upstream
from vai.gateway.admission import byok
from vai.gateway.admission.auth import Keyring
from vai.gateway.admission.controller import AdmissionController
from vai.gateway.admission.inflight import InFlightExchanges
from vai.gateway.admission.principals import PrincipalRegistry
from vai.gateway.alerts import ProviderAlerts
from vai.gateway.request.bodies import RequestBodies, body_bounds
from vai.gateway.request.context import RequestContext
from vai.gateway.request.model_pages import ModelPages
from vai.gateway.request.modes import PreparedTarget, prepare_target
from vai.gateway.request.preparing import BodyPreparer, PreparedRequest
from vai.gateway.sanic_patches.request import PatchedRequest
from vai.io import catalogue
from vai.io.clock import monotonic, today
from vai.io.http.provider_keys import ProviderKey
from vai.io.log import RequestLog
from vai.io.memory import Trimmer, memory_limit
from vai.io.providers import Providers
from vai.policy.aliases import alias_patterns, aliased_routes, matched_routes
from vai.policy.client_address import TrustedProxies
from vai.policy.cost import ModelTerms, Pricing, regions_of_hosts
from vai.policy.limits.store import LimitStore
from vai.policy.model_listing import Listing
from vai.policy.provider_errors import ProviderErrors
from vai.policy.route import Route, resolve_route

__all__ = ["GatewayService", "TurnGate", "UpstreamDestination"]

_STARTED_PER_TURN = 8
_MAX_CACHED_NAMES = 256
"""Model names whose routes a worker keeps; clients choose the names."""


class UpstreamDestination(msgspec.Struct, frozen=True):
    """The way to an upstream for one exchange.

    `is_simulated`: the simulator answers; `is_byok`: the client sent the key.
    """

    upstream: Upstream
    is_simulated: bool
    is_byok: bool = False


class GatewayService:
    """The parts that requests share."""

    def __init__(
        self,
        settings: Settings,
        providers: Providers,
        inflight: InFlightExchanges,
        store: LimitStore | None = None,
        troubles: ProviderErrors | None = None,
    ) -> None:
        self.settings = settings
        # These have no secret, so the worker can send them to the helper.
        self.settings_without_secrets = msgspec.structs.replace(
            settings, auth=Auth(), limits=LimitSettings(), providers={}
        )
        self.preparer = BodyPreparer(settings.max_request_values)
        self._principals = PrincipalRegistry(settings)
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self.keyring = Keyring(settings, self._principals)
        self.providers = providers
        self.inflight = inflight
        self.store = store
        self.admission = AdmissionController(
            inflight, store, monotonic, max_wait=settings.limits.max_queue_ms / 1000
        )
        self.request_log = RequestLog()
        self.turn_gate = TurnGate(asyncio.get_running_loop())
        bounds = body_bounds(
            settings.max_request_body_bytes,
            settings.max_held_request_bytes,
            memory=memory_limit(),
            workers=settings.workers,
        )
        self.bodies = RequestBodies(bounds, Trimmer().note_freed)
        self.catalogue = catalogue.catalogue_from_settings(settings)
        self._pricing = Pricing(self.catalogue, regions_of_hosts(providers.specs.values()))
        self._aliased = aliased_routes(settings.aliases, providers.specs, self.catalogue)
        self._patterns = alias_patterns(settings.aliases)
        self.find_routes = lru_cache(_MAX_CACHED_NAMES)(self._compute_routes)
        """See `_compute_routes`."""
        first = {alias: routes[0].name for alias, routes in self._aliased.items()}
        states = providers.list_states()
        if self.keyring.mode == "passthrough":  # the gateway's keys are not used then
            states = dict.fromkeys(states, "byok")
        self._gateway_destinations = {
            provider: UpstreamDestination(upstream, providers.is_simulated(provider))
            for provider in providers.specs
            if (upstream := providers.get_gateway_upstream(provider)) is not None
        }
        self.models = ModelPages(Listing(self.catalogue, providers.specs, states, first))
        self.health = _make_provider_health(settings, troubles)
        self.alerts = ProviderAlerts(settings, self.health.provider_errors, monotonic)
        self.timers = settings.timers

    def identify_client(self, context: RequestContext, headers: HeaderFields) -> None:
        """Identify the client, and the principals that its request counts for.

        Raises:
            AuthenticationFailed, PermissionDenied: see `Keyring.identify`.
        """
        if "x-forwarded-for" in headers:
            context.client_address = self._proxies.find_client(
                context.client_address, headers.get_all("x-forwarded-for")
            )
        context.identity = identity = self.keyring.identify(headers, headers.repeated)
        context.principals = identity.principals or self._principals.principals_of_address(
            context.client_address
        )

    async def prepare_request(
        self, context: RequestContext, request: PatchedRequest, *, for_count: bool = False
    ) -> PreparedRequest:
        """Identify the client, receive its body, find routes and keys; for both messages endpoints.

        Args:
            for_count: count tokens for the first target; stream no response.

        Raises:
            VaiError: the client, its body, its model or one of its keys is not accepted.
        """
        self.identify_client(context, request.header_fields)
        await self.bodies.receive_body(context, request)
        body = await self.preparer.parse_body(request.body)
        fields = body.fields
        if fields.stream and not for_count:
            context.stream = True
            if request.version == "1.0":
                # RFC 9112 section 6.1: there are no chunks in HTTP/1.0, and a stream has no length.
                raise InvalidRequest(
                    "stream: expected a client that speaks HTTP/1.1", param="stream"
                )
        routes = self.find_routes(fields.model)
        if for_count:
            routes = routes[:1]
        keys = self.collect_byok_keys(request.header_fields, fields.provider_keys, routes)
        return PreparedRequest(request, body, routes, keys)

    def prepare_target(
        self,
        context: RequestContext,
        fields: RoutingFields,
        route: Route,
        destination: UpstreamDestination,
    ) -> PreparedTarget:
        """The target at the end of `route`, whose upstream is `destination`."""
        return prepare_target(
            fields,
            route,
            context.exchange_id,
            self.settings_without_secrets,
            self.find_terms(route, streamed=fields.stream),
            uses_gateway_key=not destination.is_byok,
            is_simulated=destination.is_simulated,
        )

    def admission_for(self, context: RequestContext) -> Admission:
        """The admission of the exchange of `context`."""
        return partial(self.admission.admit, context.principals, context.record_limits)

    def _compute_routes(self, requested: str) -> tuple[Route, ...]:
        """The routes of a model name: the first choice, then its fallbacks; at least one.

        Raises:
            InvalidRequest, NotFound: it has none; see `vai.policy.route.resolve_route`.
        """
        aliased = self._aliased.get(requested)
        if aliased is not None:
            return aliased
        specs = self.providers.specs
        if self._patterns and (
            matched := matched_routes(requested, self._patterns, specs, self.catalogue)
        ):
            return matched
        return (resolve_route(requested, specs, {}, self.catalogue),)

    def alias_of(self, requested: str) -> str:
        """The alias, as the settings name it, that has the routes of a model name."""
        if requested in self._aliased:
            return requested
        matched = (one.prefix for one in self._patterns if requested.startswith(one.prefix))
        return f"{next(matched, '')}*"

    def note_failure(self, context: RequestContext, error: VaiError, target: str = "") -> None:
        """Record a failure of the provider of `context`, at the path `target`."""
        if (
            isinstance(error, UpstreamFault)
            and context.route is not None
            and not context.is_simulated
        ):
            self.alerts.record_failure(context.route.spec, error, target, own_key=context.is_byok)

    def find_terms(self, route: Route, *, streamed: bool) -> ModelTerms:
        """The model terms of a request along `route` today."""
        return self._pricing.find_terms(route.spec.id, route.model, streamed=streamed, day=today())

    def collect_byok_keys(
        self,
        headers: HeaderFields,
        in_body: Mapping[str, str] | None,
        routes: tuple[Route, ...],
    ) -> Mapping[str, ProviderKey]:
        """Provider -> BYOK key, for those in a request along `routes`.

        Raises:
            InvalidRequest: a value cannot be a key.
        """
        keys = byok.collect_keys(headers, in_body)
        presented = self.keyring.provider_keys(headers)
        if presented:
            byok.add_presented_keys(keys, presented, [route.spec for route in routes])
        return keys

    def choose_destination(
        self, route: Route, byok_keys: Mapping[str, ProviderKey]
    ) -> UpstreamDestination:
        """The upstream of `route`, with the BYOK key if there is one, else with the gateway key.

        Raises:
            AuthenticationFailed: the client sent no key, and the gateway has none either.
        """
        provider = route.spec.id
        if byok_keys and (byok_key := byok.choose_key(provider, byok_keys)) is not None:
            return UpstreamDestination(
                self.providers.get_byok_upstream(provider, byok_key), False, is_byok=True
            )
        if self.keyring.mode == "passthrough":
            raise byok.missing_key_error(
                route.spec, may_use_gateway_key=False, has_any_key=bool(byok_keys)
            )
        destination = self._gateway_destinations.get(provider)
        if destination is None:
            raise byok.missing_key_error(route.spec, may_use_gateway_key=True)
        return destination

    async def aclose(self) -> None:
        """Write the log lines that wait, and close the helper and the connections."""
        self.request_log.flush()
        await self.preparer.aclose()
        await self.providers.aclose()


class TurnGate:
    """Starts the requests of one loop, a few in each turn, so that no turn is long.

    A turn of the loop serves all that is ready: with hundreds of busy connections that takes a
    tenth of a second and more, in which the worker relays no stream, accepts no connection and
    answers no health check. The gate starts the rest in the next turns, in the order of their
    arrival. The work ends as soon as without it, and what waits for the end of a turn waits less.

    Args:
        loop: the loop whose turns count.
        per_turn: requests that one turn starts.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, per_turn: int = _STARTED_PER_TURN) -> None:
        self._loop = loop
        self._per_turn = per_turn
        self._started = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def try_start(self) -> bool:
        """Start a request in this turn if there is room; else `wait_for_turn`."""
        if self._started >= self._per_turn or self._waiting:
            return False
        if not self._started:
            self._loop.call_soon(self._next_turn)
        self._started += 1
        return True

    async def wait_for_turn(self) -> None:
        """Wait for the turn that starts this request."""
        future = self._loop.create_future()
        self._waiting.append(future)
        await future

    def _next_turn(self) -> None:
        self._started = 0
        waiting = self._waiting
        while waiting and self._started < self._per_turn:
            future = waiting.popleft()
            if not future.done():  # its client has left
                future.set_result(None)
                self._started += 1
        if self._started:
            self._loop.call_soon(self._next_turn)


def _make_provider_health(settings: Settings, troubles: ProviderErrors | None) -> ProviderHealth:
    """The provider health of this worker, with the settings of retries and breakers."""
    retries, breaker = settings.retries, settings.breaker
    return ProviderHealth(
        retries if retries.enabled else None,
        breaker if breaker.enabled else None,
        clock=monotonic,
        random_jitter=random,
        provider_errors=troubles,
    )

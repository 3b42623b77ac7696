"""Requests the list of models from each provider, to learn whether requests would reach it.

A probe uses the same provider specs, connections, credentials and key filter as a request. It
follows no redirect, stores nothing, and never repeats a provider's text, which may quote a key.

Invariants: one result for each provider; probes run concurrently, a few at a time; every wait and
every response is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal

import httpx
import msgspec

from vai.config.addresses import address_fault, is_provider_host
from vai.config.login import LOGIN_COMMAND
from vai.config.names import KEY_VARIABLES, LOGGED_IN_TO
from vai.config.openai import settings_of_address
from vai.config.schema import Settings
from vai.config.states import OFF, SIMULATED, provider_states
from vai.errors import UpstreamFault, VaiError
from vai.exchange.ports import Upstream
from vai.io.clock import monotonic
from vai.io.providers import Providers
from vai.policy.aliases import is_pattern
from vai.policy.catalogue import ModelList, lists_deployments
from vai.providers.decode.wrong_address import UPSTREAM_ADDRESS, is_bare_not_found
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.types.provider import ProviderSpec, WireRequest

__all__ = ["ProbeResult", "probe_providers"]

PATIENCE: Final = 10.0
"""Seconds for one provider."""
MAX_ANSWER: Final = 8 << 20
"""Bytes to read of a response. The longest public list of models is below two million."""
_AT_ONCE: Final = 16
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_REFUSED: Final = (401, 403)
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = (404, 405)
_LIMITED: Final = (429, 529)
_BAD_REQUEST: Final = (400, 422)
_FAILING: Final = range(500, 600)
_JSON: Final = ("content-type", "application/json")

_FAILURES: Final[dict[str, str]] = {
    "connect_timeout": "no connection, or no TLS, within timers.connect; check {base_url} and "
    "firewalls in between",
    "headers_timeout": f"connected, and no response within {PATIENCE:.0f} s; check {{base_url}}",
    "read_timeout": f"the response was not complete within {PATIENCE:.0f} s",
    "upstream_dns": "the host name has no address; check {base_url}",
    "upstream_connect": "no connection: refused or unreachable; check {base_url}",
    "upstream_tls": "TLS failed: the certificate is not trusted or of another name, or the port "
    "speaks no TLS; check {base_url} and {ca_file}",
    "upstream_reset": "the connection broke before a response; check {base_url}",
    "upstream_stale": "the connection broke before a response; check {base_url}",
    "upstream_proxy": "the proxy refused or failed; check {proxy}",
    "upstream_truncated": "the response ended early",
    "upstream_protocol": "the response is not HTTP/1.1; check {base_url}",
    "upstream_encoding": "the response has a content coding that VAI did not request",
    "login_expired": f"the login is no longer valid; run: {LOGIN_COMMAND}",
    "login_unavailable": "the login cannot be renewed now",
}


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a probe of one provider.

    Attributes:
        outcome: ``skipped`` where there is no server to probe or no key to send.
        url: the requested URL, "" without one.
        status: of the response, None without one.
        models: how many the provider lists, None where it sent no list.
        missing: models that aliases lead to and that the list does not have.
        text: the outcome in words.
    """

    provider: str
    outcome: Literal["ok", "failed", "skipped"]
    text: str
    url: str = ""
    status: int | None = None
    models: int | None = None
    missing: tuple[str, ...] = ()


class _BoundedResponse(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes | None
    """None if it is longer than `MAX_ANSWER`."""


async def probe_providers(settings: Settings) -> list[ProbeResult]:
    """Probe every provider that the gateway can reach; in the order of the providers."""
    states = provider_states(settings)
    providers = Providers(settings)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def probe_one(name: str) -> ProbeResult:
        if (why := _reason_to_skip(settings, name, states[name])) is not None:
            return ProbeResult(provider=name, outcome="skipped", text=why)
        upstream = providers.get_gateway_upstream(name)
        if upstream is None:
            return ProbeResult(provider=name, outcome="skipped", text="not probed: it is off")
        async with slots:
            return await _ProviderProbe(settings, providers.specs[name], upstream).run_probe()

    try:
        return list(await asyncio.gather(*(probe_one(name) for name in states)))
    finally:
        await providers.aclose()


def _reason_to_skip(settings: Settings, name: str, state: str) -> str | None:
    if state.startswith(OFF):
        return f"not probed: {state}"
    if state == SIMULATED:
        return "not probed: the simulator answers for it"
    if settings.auth.mode == "passthrough" and name != LOGGED_IN_TO:
        return "not probed: clients bring their keys, the gateway has none to send"
    return None


class _ProviderProbe:
    """One provider, and the requests that probe it."""

    def __init__(self, settings: Settings, spec: ProviderSpec, upstream: Upstream) -> None:
        self._settings = settings
        self._spec = spec
        self._upstream = upstream
        self._connect = settings.timers.connect
        self._names = {name: f"providers.{spec.id}.{name}" for name in ("ca_file", "proxy")}
        self._names["base_url"] = settings_of_address(settings.providers, spec.id)

    async def run_probe(self) -> ProbeResult:
        """Probe the provider; a failure is a result too."""
        wire = _list_request(self._spec)
        until = monotonic() + PATIENCE
        try:
            answer = await self._send_bounded(wire, until)
            if answer.status in _NOT_FOUND and self._is_elsewhere():
                wire, answer = await self._try_endpoint(wire, answer, until)
            elif answer.status == _FORBIDDEN and self._spec.path:
                return await self._judge_refused_list(wire, answer, until)
            result = self._judge_response(wire, answer)
            if result.models is not None and self._is_doubted():
                return await self._confirm_endpoint(result, wire, until)
        except VaiError as error:
            text = _FAILURES.get(error.code or "", error.message)
            return self._failed_result(wire, text.format_map(self._names))
        return result

    def _is_elsewhere(self) -> bool:
        """Whether only the endpoint itself can show that it exists: at another's server."""
        spec = self._spec
        at_home = spec.id in PROVIDER_SPECS and is_provider_host(
            PROVIDER_SPECS[spec.id], spec.base_url
        )
        return bool(spec.path) and not at_home

    def _is_doubted(self) -> bool:
        """Whether a list of models is not enough to show that the endpoint exists."""
        spec = self._spec
        is_unusual = address_fault(spec.kind, spec.base_url) is not None
        return self._is_elsewhere() and (spec.kind == "responses" or is_unusual)

    async def _send_bounded(self, wire: WireRequest, until: float) -> _BoundedResponse:
        reply = await self._upstream.send_request(
            wire, connect_deadline=min(monotonic() + self._connect, until), headers_deadline=until
        )
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await reply.read(until):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_ANSWER:
                    return _BoundedResponse(reply.status, reply.headers, None)
            return _BoundedResponse(reply.status, reply.headers, b"".join(pieces))
        finally:
            reply.close()

    async def _try_endpoint(
        self, wire: WireRequest, answer: _BoundedResponse, until: float
    ) -> tuple[WireRequest, _BoundedResponse]:
        """Send an empty request to the endpoint itself: a server may have no list of models.

        The server answers the empty request with a 400, which shows that the endpoint exists and
        costs nothing.
        """
        empty, other = await self._send_empty(wire, until)
        return (wire, answer) if self._is_absent(other) else (empty, other)

    async def _judge_refused_list(
        self, wire: WireRequest, answer: _BoundedResponse, until: float
    ) -> ProbeResult:
        """Judge a list that refused the key: a restricted key may be valid for requests alone."""
        empty, other = await self._send_empty(wire, until)
        if other.status not in _BAD_REQUEST or self._why_refused(other) is not None:
            return self._judge_response(wire, answer)
        return self._ok_result(empty, "reachable; the key may not list models", other.status)

    async def _confirm_endpoint(
        self, result: ProbeResult, wire: WireRequest, until: float
    ) -> ProbeResult:
        """`result`, unless a server that lists models lacks the endpoint: many have no Responses,
        and some have their list at a second path."""
        empty, other = await self._send_empty(wire, until)
        if not self._is_absent(other):
            return result
        where = f"there is nothing at {empty.target}; check {self._names['base_url']}"
        return self._failed_result(empty, f"it lists models, and {where}", other.status)

    def _is_absent(self, answer: _BoundedResponse) -> bool:
        """Whether a response to the empty request shows that there is no such endpoint."""
        if answer.status not in _NOT_FOUND:
            return False
        fault = self._fault_of(answer)
        return fault is None or fault.code == UPSTREAM_ADDRESS or is_bare_not_found(fault)

    def _fault_of(self, answer: _BoundedResponse) -> UpstreamFault | None:
        """The response as the provider's error; None if it is too long to be one."""
        if answer.body is None:
            return None
        return make_adapter(self._spec, "probe").parse_error(
            answer.status, answer.headers, answer.body
        )

    async def _send_empty(
        self, wire: WireRequest, until: float
    ) -> tuple[WireRequest, _BoundedResponse]:
        """Send an empty request to the endpoint; returns the request and its response."""
        empty = WireRequest("POST", self._spec.path, (*wire.headers, _JSON), b"{}")
        try:
            return empty, await self._send_bounded(empty, until)
        except UpstreamFault as fault:
            if fault.code != "upstream_stale":
                raise
        return empty, await self._send_bounded(empty, until)  # the kept connection had just ended

    def _judge_response(self, wire: WireRequest, answer: _BoundedResponse) -> ProbeResult:
        status = answer.status
        if status == _OK and wire.method == "GET":
            return self._judge_listing(wire, answer)
        if (text := self._why_refused(answer)) is not None:
            return self._failed_result(wire, text, status)
        if status in _REDIRECTS:
            where = _origin_of(answer.headers.get("location", ""))
            text = f"redirects{where}, which is not followed; check {self._names['base_url']}"
        elif status in _NOT_FOUND and wire.method == "GET":
            text = f"there is nothing at this URL; check {self._names['base_url']}"
        elif status in _LIMITED:
            return self._ok_result(wire, "reachable, and at a limit or overloaded now", status)
        elif self._spec.kind == "code-assist" and status == _OK:
            return self._ok_result(wire, "logged in", status)
        elif wire.method == "POST" and (status == _OK or status in (*_BAD_REQUEST, *_NOT_FOUND)):
            return self._ok_result(wire, "reachable; it has no list of models", status)
        elif status in _FAILING:
            text = "the server fails"
        else:
            text = f"an unexpected response; check {self._names['base_url']}"
        return self._failed_result(wire, text, status)

    def _why_refused(self, answer: _BoundedResponse) -> str | None:
        """The setting of the key that the server refused; None if it accepted the key."""
        status = answer.status
        if status in _BAD_REQUEST and (fault := self._fault_of(answer)):  # Google, for a bad key
            status = fault.status
        if status not in _REFUSED:
            return None
        name = self._spec.id
        if name == LOGGED_IN_TO:
            return f"the login was refused; run: {LOGIN_COMMAND}"
        provider = self._settings.providers.get(name)
        key = " or ".join((f"providers.{name}.api_key", *KEY_VARIABLES.get(name, ())))
        if provider is None or provider.api_key is None:
            return f"it wants a key: set {key}"
        return f"the key was refused: check {key}"

    def _judge_listing(self, wire: WireRequest, answer: _BoundedResponse) -> ProbeResult:
        base_url = self._names["base_url"]
        if answer.body is None:
            return self._failed_result(wire, f"a response of more than {MAX_ANSWER >> 20} MB", _OK)
        if _is_page(answer):
            return self._failed_result(wire, f"a web page and no API; check {base_url}", _OK)
        models, is_whole = _read_model_ids(answer.body)
        if models is None:
            return self._failed_result(
                wire, f"the response is no list of models; check {base_url}", _OK
            )
        missing: tuple[str, ...] = ()
        if models and is_whole and lists_deployments(httpx.URL(self._spec.base_url).host):
            listed = ModelList(models)
            missing = tuple(name for name in self._aliased_models() if not listed.has_model(name))
        count = len(models)
        text = "reachable, 1 model" if count == 1 else f"reachable, {count:,} models"
        if missing:
            text += f"; not listed: {', '.join(missing)}"
        return ProbeResult(
            provider=self._spec.id,
            outcome="ok",
            text=text,
            url=self._url_of(wire),
            status=_OK,
            models=count,
            missing=missing,
        )

    def _aliased_models(self) -> list[str]:
        """The models of this provider that aliases lead to, by their full names here."""
        names: dict[str, None] = {}
        for alias, targets in self._settings.aliases.items():
            for target in targets:
                provider, _, model = target.partition("/")
                if provider == self._spec.id and not (is_pattern(alias) and "*" in model):
                    names[model] = None
        return list(names)

    def _ok_result(self, wire: WireRequest, text: str, status: int) -> ProbeResult:
        return ProbeResult(
            provider=self._spec.id, outcome="ok", text=text, url=self._url_of(wire), status=status
        )

    def _failed_result(
        self, wire: WireRequest, text: str, status: int | None = None
    ) -> ProbeResult:
        return ProbeResult(
            provider=self._spec.id,
            outcome="failed",
            text=text,
            url=self._url_of(wire),
            status=status,
        )

    def _url_of(self, wire: WireRequest) -> str:
        return self._spec.base_url.rstrip("/") + wire.target.partition("?")[0]


def _list_request(spec: ProviderSpec) -> WireRequest:
    """The request that lists the models of a provider of this kind.

    https://platform.claude.com/docs/en/api/models-list,
    https://platform.openai.com/docs/api-reference/models/list and
    https://ai.google.dev/api/models, 2026-11-28. Code Assist has no such list: it reports instead
    which tier the login has.
    """
    accept = ("accept", "application/json")
    if spec.kind == "anthropic":
        headers = (accept, ("anthropic-version", "2023-06-01"))
        return WireRequest("GET", "/v1/models?limit=1000", headers, b"")
    if spec.kind == "gemini":
        return WireRequest("GET", "/models?pageSize=1000", (accept,), b"")
    if spec.kind == "code-assist":
        body = msgspec.json.encode({"metadata": {"pluginType": "GEMINI"}})
        headers = (accept, _JSON)
        return WireRequest("POST", "/v1internal:loadCodeAssist", headers, body)
    return WireRequest("GET", "/models", (accept,), b"")


def _read_model_ids(body: bytes) -> tuple[set[str] | None, bool]:
    """The ids that a response lists, in any of the usual forms, and whether the list is complete.

    None if the response is no list.
    """
    try:
        listing: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, False
    is_whole = True
    if isinstance(listing, dict):
        is_whole = not listing.get("has_more") and not listing.get("nextPageToken")
        listing = listing.get("data", listing.get("models"))
    if not isinstance(listing, list):
        return None, False
    names = {
        name.removeprefix("models/")
        for item in listing
        if isinstance(item, dict) and isinstance(name := item.get("id", item.get("name")), str)
    }
    return (names if names or not listing else None), is_whole


def _is_page(answer: _BoundedResponse) -> bool:
    kind = answer.headers.get("content-type", "").lower()
    return kind.startswith("text/html") or (answer.body or b"").lstrip()[:1] == b"<"


def _origin_of(location: str) -> str:
    """The target of a redirect, without a path or a query, which may hold secrets."""
    try:
        url = httpx.URL(location)
    except httpx.InvalidURL:
        return ""
    host = url.raw_host.decode("ascii")
    return f" to {url.scheme}://{host}" if url.scheme and host else ""

"""One request as the gateway sees it, from its head to its log line."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET, UnsetType

from vai.errors import VaiError
from vai.exchange.exchange import Settlement
from vai.gateway.admission.auth import ClientIdentity
from vai.gateway.request.modes import PreparedTarget
from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import Principal
from vai.policy.route import Route
from vai.types.message import Usage

if TYPE_CHECKING:  # the patches make ids of requests too
    from vai.gateway.sanic_patches.request import PatchedRequest

__all__ = ["RequestContext", "RequestLine", "new_request_id"]

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""Codes that the log accepts. A provider's server may send anything else as a code."""


class RequestLine(msgspec.Struct, tag_field="event", tag="request_complete", gc=False):
    """A request's line in the log: names and figures only. It has no member that is UNSET."""

    request_id: str
    method: str
    path: str
    status: int
    stream: bool
    duration_ms: float
    user_id: str | None
    ip: str
    provider: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    error_type: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    upstream_status: int | UnsetType = UNSET
    limit: str | UnsetType = UNSET
    attempts: int | UnsetType = UNSET
    failed_attempts: list[dict[str, str | int | None]] | UnsetType = UNSET
    outcome: str | UnsetType = UNSET
    stop_reason: str | UnsetType | None = UNSET
    input_tokens: int | UnsetType | None = UNSET
    output_tokens: int | UnsetType | None = UNSET
    total_tokens: int | UnsetType = UNSET
    usage_estimated: bool | UnsetType = UNSET
    first_token_ms: float | UnsetType = UNSET
    cost_usd: float | UnsetType = UNSET
    simulated: bool | UnsetType = UNSET


class RequestContext:
    """The facts of one request, collected while the gateway serves it.

    Attributes:
        request_id: the client's own where it is safe to repeat, else a new one.
        exchange_id: always new; the ids of a translated response derive from it.
        error: the failure that the client received, if any: VAI's, or in the provider's words.
        attempts: their number.
        failed_attempts: the error of each failed one.
        skipped_models: the targets of an alias that were skipped for a later one.
        held_bytes: the size of the body, while the worker counts it.
        is_byok: the request uses the client's BYOK key.
        is_simulated: the simulator answers instead of the provider.
    """

    __slots__ = (
        "attempts",
        "client_address",
        "error",
        "exchange_id",
        "failed_attempts",
        "held_bytes",
        "identity",
        "is_byok",
        "is_simulated",
        "limits",
        "method",
        "path",
        "principals",
        "request_id",
        "route",
        "settlement",
        "skipped_models",
        "status",
        "stream",
        "target",
    )

    def __init__(self, request: PatchedRequest) -> None:
        ours = new_request_id()
        self.exchange_id = ours.removeprefix("req_")
        self.request_id = _safe_request_id(request.header_fields.get("x-request-id")) or ours
        self.method: str = request.method
        self.path: str = request.path
        self.client_address: str = request.ip
        self.held_bytes = 0
        self.identity: ClientIdentity | None = None
        self.principals: tuple[Principal, ...] = ()
        self.limits: Decision | None = None
        self.route: Route | None = None
        self.stream = False
        self.is_simulated = False
        self.status = 0
        self.error: VaiError | None = None
        self.is_byok = False
        self.settlement: Settlement | None = None
        self.attempts = 1
        self.failed_attempts: list[dict[str, str | int | None]] = []
        self.skipped_models: list[str] = []
        self.target: PreparedTarget | None = None

    def enter_target(self, target: PreparedTarget) -> None:
        """Record `target` as that of the next attempt."""
        self.target = target
        self.is_byok, self.is_simulated = not target.uses_gateway_key, target.is_simulated

    def find_cost(self, usage: Usage) -> float | None:
        """The USD of `usage` at the present target, None where it is not known."""
        return None if self.target is None else self.target.terms.cost(usage)

    def record_limits(self, decision: Decision) -> None:
        """Record the decision of the limits."""
        self.limits = decision

    def record_settlement(self, settlement: Settlement) -> None:
        """Record how the exchange ended."""
        self.settlement = settlement

    def record_failed_attempt(self, fault: VaiError) -> None:
        """Record an attempt that failed before the client received a byte."""
        model = self.route.name[:256] if self.route is not None else None
        self.failed_attempts.append({"model": model, **_error_fields(fault)})

    def make_log_line(self, duration: float) -> RequestLine:
        """The request's line in the log. `duration` is seconds."""
        line = RequestLine(
            self.request_id,
            self.method,
            self.path,
            self.status,
            self.stream,
            _to_milliseconds(duration),
            self.identity.user_id if self.identity else None,
            self.client_address,
        )
        if self.route is not None:
            line.provider = self.route.spec.id
            line.model = self.route.name[:256]
        if self.error is not None:
            for name, fact in _error_fields(self.error).items():
                if fact is not None:
                    setattr(line, name, fact)
        if self.attempts > 1:
            line.attempts = self.attempts
            line.failed_attempts = self.failed_attempts
        if self.settlement is not None:
            _add_settlement(line, self.settlement)
            is_known = not self.settlement.is_estimated
            usd = self.find_cost(self.settlement.usage) if is_known else None
            if usd is not None:
                line.cost_usd = usd
        if self.is_simulated:
            line.simulated = True
        return line


def new_request_id() -> str:
    """A unique id: ``req_`` and 20 hexadecimal digits."""
    return "req_" + os.urandom(10).hex()


def _safe_request_id(sent: str | None) -> str | None:
    """The client's own id of its request, None where it is not safe to repeat."""
    return sent if sent is not None and _SAFE_ID.fullmatch(sent) else None


def _error_fields(error: VaiError) -> dict[str, str | int | None]:
    code = error.code
    if code is not None and not _CODE.fullmatch(code):
        code = None
    facts: dict[str, str | int | None] = {
        "error_type": error.type,
        "code": code,
        "upstream_status": error.upstream_status,
    }
    if error.limit is not None:
        facts["limit"] = error.limit
    return facts


def _to_milliseconds(seconds: float) -> float:
    """Milliseconds, to a tenth. Python rounds to a decimal place by way of a text."""
    return round(seconds * 10_000) / 10


def _add_settlement(line: RequestLine, settlement: Settlement) -> None:
    usage = settlement.usage
    line.outcome = settlement.outcome
    line.stop_reason = settlement.stop_reason
    line.input_tokens = usage.input_tokens
    line.output_tokens = usage.output_tokens
    if usage.input_tokens is not None and usage.output_tokens is not None:
        line.total_tokens = usage.input_tokens + usage.output_tokens
    if settlement.is_estimated:
        line.usage_estimated = True
    if settlement.first_token is not None:
        line.first_token_ms = _to_milliseconds(settlement.first_token)

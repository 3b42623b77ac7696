"""The use of the limits in a gateway's control block, beside the limits of the settings.

Invariants: the report only reads shared memory, without the lock. It costs the workers nothing, but
the figures of one report may be some microseconds apart. An unknown figure is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from vai.config import Settings
from vai.gateway.admission.auth import Keyring
from vai.gateway.admission.principals import PrincipalRegistry
from vai.io.clock import monotonic
from vai.io.control_block import ControlBlock, ControlBlockError, WorkerSlot
from vai.io.group_record import GroupState, read_state
from vai.io.groups import has_manager
from vai.io.limits import snapshot
from vai.io.limits.layout import R_NAME, ROW_WORDS, Layout
from vai.io.limits.maintenance import SECTION_ID
from vai.io.process import process_age
from vai.policy.limits.sets import GATEWAY, LimitSet
from vai.policy.limits.store import LeaseUse, PrincipalUse

__all__ = [
    "GATEWAY_NAME",
    "Allowance",
    "LeaseReport",
    "LimitsReport",
    "PrincipalReport",
    "build_report",
]

GATEWAY_NAME: Final = "gateway"
"""The report's name for the principal of all requests; the names of all others have a colon."""

_NAME_BYTES: Final = (ROW_WORDS - R_NAME) * 8
_ADDRESS: Final = "address:"


class PrincipalReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A principal's use; `limits` has the same names, 0 for no limit, None if they are unknown.

    `requests` and `tokens` cover the last 60 to 65 seconds, reservations included.
    """

    name: str
    running: int
    sessions: int
    requests: int
    tokens: int
    limits: dict[str, int] | None = None


class LeaseReport(msgspec.Struct, frozen=True):
    """A lease that is held. `worker` and `pid` are None when its worker has ended."""

    kind: Literal["request", "session"]
    principals: tuple[str, ...]
    tokens: int
    """Reserved for it."""
    age: float
    """Seconds since it was taken."""
    worker: int | None
    pid: int | None


class LimitsReport(msgspec.Struct, frozen=True, rename={"leases": "places"}):
    """One gateway at one time."""

    pid: int
    address: str | None
    """The listening address; None, as the next ones, where its version does not report it."""
    config: str | None
    """The path of its settings file, or `defaults`."""
    version: str | None
    workers: int | None
    started: str | None
    """RFC 3339, UTC."""
    uptime: float
    """Seconds."""
    control_block: str
    manager: Literal["alive", "away"]
    draining: bool
    enabled: bool | None
    store: Literal["shared_memory", "redis"] | None
    running: int
    sessions: int
    callers: int
    """Users, keys and addresses that the limits count."""
    max_callers: int
    """The least number of them that fit."""
    full: bool
    """Whether a request was refused within the last minute because there was no room."""
    waiting: int | None
    """Requests that wait for a lease."""
    principals: tuple[PrincipalReport, ...]
    """The principals with any use, the gateway first, then by use."""
    leases: tuple[LeaseReport, ...]
    """All leases, the oldest first."""


class Allowance:
    """The limits of settings, by the names of principals in a control block."""

    def __init__(self, settings: Settings) -> None:
        self.enabled = settings.limits.enabled
        self.store = settings.limits.store
        self._principals = PrincipalRegistry(settings)
        keyring = Keyring(settings, self._principals)
        # The keyring maps a key to its principals, as in the gateway.
        presented = [{"x-api-key": key.key.reveal()} for key in settings.auth.api_keys]
        principals = [
            principal for key in presented for principal in keyring.identify(key).principals
        ]
        principals += self._principals.principals_of_address("")[:1]
        self._limits = {
            _truncate_name(principal.name): principal.limits for principal in principals
        }

    def limits_of(self, name: str) -> LimitSet | None:
        """The limits of a principal; None for one that these settings do not have."""
        if name.startswith(_ADDRESS):
            return self._principals.principals_of_address(name.removeprefix(_ADDRESS))[-1].limits
        return self._limits.get(name)


def build_report(control_block: ControlBlock, allowance: Allowance | None) -> LimitsReport:
    """The current use, leases and limits.

    Raises:
        ControlBlockError: another version of VAI made the control block, or it has no limits.
    """
    try:
        section = Layout(control_block.open_section(SECTION_ID))
    except ValueError as error:
        raise ControlBlockError(f"{control_block.path}: {error}") from None
    now = monotonic()
    inside = sum(slot.inflight for slot in control_block.taken_slots())
    usage = snapshot.read_snapshot(section, now)
    sessions = sum(held.kind == "session" for held in usage.leases)
    running = len(usage.leases) - sessions
    by_claim = {slot.generation: slot for slot in control_block.taken_slots()}
    return LimitsReport(
        pid=control_block.owner.pid,
        **_group_fields(read_state(control_block)),
        uptime=round(process_age(control_block.owner.pid), 1),
        control_block=str(control_block.path),
        manager="alive" if has_manager(control_block) else "away",
        draining=control_block.draining,
        enabled=None if allowance is None else allowance.enabled,
        store=None if allowance is None else allowance.store,
        running=running,
        sessions=sessions,
        callers=snapshot.count_principals(section, now),
        max_callers=section.principals,
        full=snapshot.is_full(section, now),
        # No word of the control block counts them. A running request without a lease waits for
        # one, where this machine counts leases at all.
        waiting=max(0, inside - running) if _is_counted_here(allowance) else None,
        principals=tuple(_principal_reports(usage.principals, allowance)),
        leases=tuple(
            _lease_report(held, by_claim, now)
            for held in sorted(usage.leases, key=lambda one: one.since)
        ),
    )


def _group_fields(state: GroupState | None) -> dict[str, Any]:
    """The gateway's own description, by the names of `LimitsReport`."""
    names = ("address", "config", "version", "workers")
    if state is None:
        return dict.fromkeys((*names, "started"))
    began = datetime.fromtimestamp(state.started, UTC).isoformat(timespec="seconds")
    return {"started": began, **{name: getattr(state, name) for name in names}}


def _is_counted_here(allowance: Allowance | None) -> bool:
    return allowance is not None and allowance.enabled and allowance.store == "shared_memory"


def _principal_reports(
    uses: tuple[PrincipalUse, ...], allowance: Allowance | None
) -> list[PrincipalReport]:
    # A counter row stays when its principal is idle, until another principal takes it.
    shown = [
        use
        for use in uses
        if use.name == GATEWAY or use.running or use.sessions or use.requests or use.tokens
    ]
    return [
        PrincipalReport(
            name=use.name or GATEWAY_NAME,
            running=use.running,
            sessions=use.sessions,
            requests=use.requests,
            tokens=use.tokens,
            limits=_limits_to_wire(None if allowance is None else allowance.limits_of(use.name)),
        )
        for use in sorted(shown, key=_by_use)
    ]


def _by_use(use: PrincipalUse) -> tuple[object, ...]:
    held = use.running + use.sessions
    return (use.name != GATEWAY, -held, -use.requests, -use.tokens, use.name)


def _limits_to_wire(limits: LimitSet | None) -> dict[str, int] | None:
    if limits is None:
        return None
    return {
        "running": limits.concurrency,
        "sessions": limits.sessions,
        "requests": limits.requests,
        "tokens": limits.tokens,
    }


def _lease_report(held: LeaseUse, by_claim: Mapping[int, WorkerSlot], now: float) -> LeaseReport:
    slot = by_claim.get(held.owner)
    return LeaseReport(
        kind=held.kind,
        principals=tuple(name or GATEWAY_NAME for name in held.principals),
        tokens=held.tokens,
        age=round(max(0.0, now - held.since), 3),
        worker=None if slot is None else max(0, slot.number),
        pid=None if slot is None else slot.owner.pid,
    )


def _truncate_name(name: str) -> str:
    """The first bytes of a name, which the control block stores."""
    return name.encode(errors="ignore")[:_NAME_BYTES].decode(errors="ignore")

"""What the board of a gateway tells of the limits, beside what the settings allow.

Invariants: shared memory is read as it is, without the lock, and is all that is
asked. Whoever serves pays nothing for it; the price is that figures of one report may be some
microseconds apart. Nothing is guessed: what cannot be known is None.
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
from vai.io.groups import is_tended
from vai.io.limits import snapshot
from vai.io.limits.layout import R_NAME, ROW_WORDS, Layout
from vai.io.limits.maintenance import SECTION
from vai.io.process import age
from vai.policy.limits.sets import GATEWAY, LimitSet
from vai.policy.limits.store import LeaseUse, PrincipalUse

__all__ = ["GATEWAY_NAME", "Allowance", "LeaseReport", "LimitsReport", "PrincipalReport", "report"]

GATEWAY_NAME: Final = "gateway"
"""What the principal that everybody counts for is called here; all others have a colon."""

_NAME_BYTES: Final = (ROW_WORDS - R_NAME) * 8
_ADDRESS: Final = "address:"


class PrincipalReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody uses; `limits` by the same names, 0 for none, None if they are not known.

    `requests` and `tokens` are those of the last 60 to 65 seconds, with what is reserved.
    """

    name: str
    running: int
    sessions: int
    requests: int
    tokens: int
    limits: dict[str, int] | None = None


class LeaseReport(msgspec.Struct, frozen=True):
    """A place that is held. `worker` and `pid` are None when its worker is gone."""

    kind: Literal["request", "session"]
    principals: tuple[str, ...]
    tokens: int
    """Reserved for it."""
    age: float
    """Seconds since it was taken."""
    worker: int | None
    pid: int | None


class LimitsReport(msgspec.Struct, frozen=True):
    """One gateway at one time."""

    pid: int
    address: str | None
    """Where it listens; None, as the next ones, where its version does not tell."""
    config: str | None
    """The path of its settings file, or `defaults`."""
    version: str | None
    workers: int | None
    started: str | None
    """RFC 3339, UTC."""
    uptime: float
    """Seconds."""
    board: str
    manager: Literal["alive", "away"]
    draining: bool
    enabled: bool | None
    store: Literal["shared_memory", "redis"] | None
    running: int
    sessions: int
    callers: int
    """Users, keys and addresses that are counted."""
    max_callers: int
    """So many find room at least."""
    full: bool
    """Whether a caller was refused within the last minute because there was no room."""
    waiting: int | None
    """Callers that wait for a place."""
    principals: tuple[PrincipalReport, ...]
    """Who uses something, the gateway first, then by use."""
    places: tuple[LeaseReport, ...]
    """The oldest first."""


class Allowance:
    """The limits of settings, by the names that principals have on a board."""

    def __init__(self, settings: Settings) -> None:
        self.enabled = settings.limits.enabled
        self.store = settings.limits.store
        self._principals = PrincipalRegistry(settings)
        keyring = Keyring(settings, self._principals)
        # The keyring says whom a key counts for, so that this is the gateway's own answer.
        presented = [{"x-api-key": key.key.reveal()} for key in settings.auth.api_keys]
        known = [principal for key in presented for principal in keyring.identify(key).principals]
        known += self._principals.principals_of_address("")[:1]
        self._known = {_as_kept(principal.name): principal.limits for principal in known}

    def of(self, name: str) -> LimitSet | None:
        """The limits of a principal; None for one that these settings do not know."""
        if name.startswith(_ADDRESS):
            return self._principals.principals_of_address(name.removeprefix(_ADDRESS))[-1].limits
        return self._known.get(name)


def report(board: ControlBlock, allowance: Allowance | None) -> LimitsReport:
    """What is used, held and allowed now.

    Raises:
        BoardError: another version of VAI made the board, or one without limits.
    """
    try:
        section = Layout(board.section(SECTION))
    except ValueError as error:
        raise ControlBlockError(f"{board.path}: {error}") from None
    now = monotonic()
    inside = sum(row.inflight for row in board.taken())
    found = snapshot.snapshot(section, now)
    sessions = sum(held.kind == "session" for held in found.leases)
    running = len(found.leases) - sessions
    by_claim = {row.claim: row for row in board.taken()}
    return LimitsReport(
        pid=board.owner.pid,
        **_group(read_state(board)),
        uptime=round(age(board.owner.pid), 1),
        board=str(board.path),
        manager="alive" if is_tended(board) else "away",
        draining=board.draining,
        enabled=None if allowance is None else allowance.enabled,
        store=None if allowance is None else allowance.store,
        running=running,
        sessions=sessions,
        callers=snapshot.callers(section, now),
        max_callers=section.principals,
        full=snapshot.is_full(section, now),
        # No word of the board counts them. Who is inside and has no place waits for one, where
        # places are counted here at all.
        waiting=max(0, inside - running) if _counts_here(allowance) else None,
        principals=tuple(_principals(found.principals, allowance)),
        places=tuple(
            _place(held, by_claim, now) for held in sorted(found.leases, key=lambda one: one.since)
        ),
    )


def _group(state: GroupState | None) -> dict[str, Any]:
    """What the gateway says of itself, by the names of `LimitsReport`."""
    names = ("address", "config", "version", "workers")
    if state is None:
        return dict.fromkeys((*names, "started"))
    began = datetime.fromtimestamp(state.started, UTC).isoformat(timespec="seconds")
    return {"started": began, **{name: getattr(state, name) for name in names}}


def _counts_here(allowance: Allowance | None) -> bool:
    return allowance is not None and allowance.enabled and allowance.store == "shared_memory"


def _principals(
    uses: tuple[PrincipalUse, ...], allowance: Allowance | None
) -> list[PrincipalReport]:
    # A row stays behind when its principal has gone; another principal takes it in time.
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
            limits=_wire(None if allowance is None else allowance.of(use.name)),
        )
        for use in sorted(shown, key=_by_use)
    ]


def _by_use(use: PrincipalUse) -> tuple[object, ...]:
    held = use.running + use.sessions
    return (use.name != GATEWAY, -held, -use.requests, -use.tokens, use.name)


def _wire(limits: LimitSet | None) -> dict[str, int] | None:
    if limits is None:
        return None
    return {
        "running": limits.concurrency,
        "sessions": limits.sessions,
        "requests": limits.requests,
        "tokens": limits.tokens,
    }


def _place(held: LeaseUse, by_claim: Mapping[int, WorkerSlot], now: float) -> LeaseReport:
    row = by_claim.get(held.owner)
    return LeaseReport(
        kind=held.kind,
        principals=tuple(name or GATEWAY_NAME for name in held.principals),
        tokens=held.tokens,
        age=round(max(0.0, now - held.since), 3),
        worker=None if row is None else max(0, row.number),
        pid=None if row is None else row.owner.pid,
    )


def _as_kept(name: str) -> str:
    """A name as the board keeps it: its first bytes."""
    return name.encode(errors="ignore")[:_NAME_BYTES].decode(errors="ignore")

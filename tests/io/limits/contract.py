"""What every store of limits must do, told without saying where it keeps its words.

A store takes part by a class that derives from `Contract` and by a machine that derives from
`Machine`; both say only how a store is opened for a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal
from vai.policy.limits.store import LimitStore
from vai.policy.limits.window import SLOT_SECONDS, SLOTS, slot_at

T = TypeVar("T")
WINDOW = SLOT_SECONDS * SLOTS
ALICE, BOB = "user:alice", "user:bob"


def everybody(**limits: int) -> Principal:
    return Principal(GATEWAY, LimitSet(**limits))


def user(name: str = ALICE, **limits: int) -> Principal:
    return Principal(name, LimitSet(**limits))


class Contract:
    """Derive, and give `store` and `other`: two workers' doors to the same words."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def admit(self, store: LimitStore, *principals: Principal, tokens: int = 1, now: float = 0.0):
        return self.run(store.admit(principals, tokens, now))

    def test_exactly_the_limit_runs_at_once(self, store, other) -> None:
        who = user(concurrency=3)
        taken = [self.admit(place, who) for place in (store, other, store, other)]
        assert [found.is_admitted for found in taken] == [True, True, True, False]
        assert (taken[3].refused, taken[3].principal) == ("concurrency", ALICE)
        assert taken[3].retry_after > 0
        assert other.settle(taken[1].handle, 1, 0.0)
        assert self.admit(store, who).is_admitted
        assert not self.admit(other, who).is_admitted

    def test_exactly_the_limit_begins_within_a_minute(self, store, other) -> None:
        who = user(requests=5)
        found = [self.admit(place, who, now=4.0) for place in (store, other) * 5]
        assert sum(one.is_admitted for one in found) == 5
        assert found[4].requests_remaining == 0
        assert found[0].requests_limit == 5
        last = found[-1]
        assert (last.refused, last.requests_remaining) == ("requests", 0)
        assert not self.admit(store, who, now=63.9).is_admitted
        assert last.retry_after == pytest.approx(61.0)
        assert self.admit(store, who, now=4.0 + last.retry_after).is_admitted

    def test_tokens_are_reserved_and_what_was_not_used_comes_back(self, store, other) -> None:
        who = user(tokens=100)
        first = self.admit(store, who, tokens=80)
        assert (first.tokens_limit, first.tokens_remaining) == (100, 20)
        assert self.admit(other, who, tokens=30).refused == "tokens"
        assert store.settle(first.handle, 10, 1.0)
        second = self.admit(other, who, tokens=90, now=1.0)
        assert (second.is_admitted, second.tokens_remaining) == (True, 0)

    def test_what_was_used_beyond_the_reservation_is_owed(self, store, other) -> None:
        who = user(tokens=100)
        first = self.admit(store, who, tokens=10)
        store.settle(first.handle, 150, 20.0)
        refused = self.admit(other, who, tokens=10, now=21.0)
        assert (refused.refused, refused.tokens_remaining) == ("tokens", 0)
        assert refused.retry_after == pytest.approx(20.0 + WINDOW - 21.0)
        assert self.admit(other, who, tokens=100, now=20.0 + WINDOW).is_admitted

    def test_an_estimate_beyond_the_limit_passes_an_empty_window(self, store, other) -> None:
        who = user(tokens=100)
        assert self.admit(store, who, tokens=64_000).tokens_remaining == 0
        assert self.admit(other, who, tokens=64_000).refused == "tokens"

    def test_no_figure_of_a_caller_breaks_the_count(self, store, other) -> None:
        who = user(concurrency=4)
        taken = [self.admit(store, who, tokens=tokens) for tokens in (10**30, -5, 0)]
        assert all(one.is_admitted for one in taken)
        assert self.use(store)[ALICE][3] >= 0
        for one, used in zip(taken, (-1, 10**30, -(10**30)), strict=True):
            assert store.settle(one.handle, used, 0.0)
        running, _, requests, tokens = self.use(other)[ALICE]
        assert (running, requests) == (0, 3)
        assert 0 < tokens < 1 << 62

    @pytest.mark.parametrize("name", ["", "user:ü", "x" * 500, "a\ud800b", "user:\0"])
    def test_any_text_is_a_name(self, store, other, name) -> None:
        who = user(name, requests=1)
        assert self.admit(store, who).is_admitted
        assert self.admit(other, who).refused == "requests"

    def test_a_late_settlement_takes_nothing_from_a_newer_slot(self, store, other) -> None:
        who = user(tokens=100)
        old = self.admit(store, who, tokens=60)
        self.admit(other, who, tokens=50, now=WINDOW)
        store.settle(old.handle, 0, WINDOW)
        assert self.use(store, WINDOW)[ALICE][3] == 50

    def test_all_principals_are_charged_or_none(self, store, other) -> None:
        both = (everybody(requests=3), user(requests=2))
        for place in (store, other):
            assert self.admit(place, *both).is_admitted
        assert self.admit(store, *both).principal == ALICE
        assert self.use(store)[GATEWAY][2] == 2
        alone = (everybody(requests=3), user(BOB))
        assert self.admit(store, *alone).is_admitted
        assert self.admit(other, *alone).principal == GATEWAY
        assert self.use(store)[BOB][2] == 1

    def test_the_longest_obstacle_is_named(self, store) -> None:
        who = user(requests=1, concurrency=1)
        assert self.admit(store, who).is_admitted
        assert self.admit(store, who).refused == "requests"

    def test_nothing_is_limited_by_zero(self, store) -> None:
        found = [self.admit(store, everybody(), user(), tokens=10**9) for _ in range(50)]
        assert all(one.is_admitted for one in found)
        assert (found[0].requests_limit, found[0].tokens_limit) == (0, 0)

    def test_a_changed_limit_holds_from_the_next_one_on(self, store, other) -> None:
        taken = [self.admit(store, user(concurrency=5)) for _ in range(5)]
        assert not self.admit(other, user(concurrency=2)).is_admitted
        for one in taken[:4]:
            store.settle(one.handle, 0, 0.0)
        assert self.admit(other, user(concurrency=2)).is_admitted

    def test_a_place_is_given_back_once(self, store, other) -> None:
        who = user(concurrency=1)
        first = self.admit(store, who)
        assert store.settle(first.handle, 0, 0.0)
        second = self.admit(other, who)
        assert not store.settle(first.handle, 0, 0.0)
        assert not store.release(first.handle)
        assert not self.admit(store, who).is_admitted, "the second holder's place is still held"
        assert other.release(second.handle)

    @pytest.mark.parametrize("handle", [0, -1, 1, 5 << 20, (1 << 60) + 5, 2**63])
    def test_a_handle_nobody_gave_does_nothing(self, store, handle) -> None:
        self.admit(store, user())
        assert not store.settle(handle, 5, 0.0)
        assert not store.release(handle)
        assert not self.run(store.record_heartbeat(handle, 0.0))

    def test_what_a_dead_worker_held_is_free_and_what_it_charged_stays(self, store, other) -> None:
        who = user(concurrency=2, requests=3, tokens=100)
        taken = [self.admit(store, who, tokens=10) for _ in range(2)]
        assert self.run(other.reclaim_leases(self.owner_of(store))) == 2
        assert self.use(other)[ALICE][:] == (0, 0, 2, 20)
        assert not store.settle(taken[0].handle, 0, 0.0)
        assert not self.admit(store, who).is_admitted, "the dead are given nothing"
        assert self.admit(other, who).is_admitted
        assert self.admit(other, who).refused == "requests"
        assert self.run(other.reclaim_leases(self.owner_of(store))) == 0

    def test_sessions_are_leases_that_lapse_in_silence(self, store, other) -> None:
        who = (everybody(), user(sessions=2, concurrency=1))
        first, second = (self.run(place.acquire_session(who, 10.0)) for place in (store, other))
        assert self.run(store.acquire_session(who, 11.0)).refused == "sessions"
        assert self.run(store.record_heartbeat(first.handle, 200.0))
        listed = {held.handle: held for held in self.run(other.list_sessions())}
        assert set(listed) == {first.handle, second.handle}
        assert listed[first.handle].principals == (GATEWAY, ALICE)
        assert (listed[first.handle].since, listed[first.handle].last_heartbeat) == (10.0, 200.0)
        assert self.run(other.expire_sessions(150.0)) == (second.handle,)
        assert not self.run(other.record_heartbeat(second.handle, 201.0))
        assert not other.release(second.handle)
        assert self.run(other.acquire_session(who, 201.0)).is_admitted
        assert store.release(first.handle)
        assert self.admit(store, *who, now=201.0).is_admitted, "a session is no running request"

    def test_a_session_cannot_be_settled(self, store) -> None:
        taken = self.run(store.acquire_session((user(sessions=1),), 0.0))
        assert not store.settle(taken.handle, 5, 0.0)
        assert store.release(taken.handle)

    def test_a_clock_that_is_behind_does_not_turn_windows_back(self, store, other) -> None:
        who = user(requests=1)
        assert self.admit(store, who, now=100.0).is_admitted
        assert not self.admit(other, who, now=30.0).is_admitted
        assert not self.admit(other, who, now=164.9).is_admitted
        assert self.admit(other, who, now=165.0).is_admitted

    def test_smooth_spaces_out_what_the_window_would_take(self, store, other) -> None:
        who = Principal(ALICE, LimitSet(requests=60, tokens=6000, smooth=True))
        found = [self.admit(place, who, now=50.0) for place in (store, other) * 5]
        assert sum(one.is_admitted for one in found) == 5, "five seconds' worth"
        refused = found[-1]
        assert refused.refused == "requests"
        assert 0.9 < refused.retry_after < 1.1
        later = 50.0 + refused.retry_after
        assert self.admit(store, who, now=later).is_admitted
        assert self.admit(store, who, now=later).refused == "requests"
        large = self.admit(other, who, tokens=3000, now=later + 10)
        assert large.is_admitted, "more than a burst passes when nothing is before it"
        other.settle(large.handle, 100, later + 11)
        assert self.admit(other, who, tokens=300, now=later + 11).is_admitted

    def use(self, store: LimitStore, now: float = 0.0) -> dict[str, tuple[int, int, int, int]]:
        return {
            one.name: (one.running, one.sessions, one.requests, one.tokens)
            for one in self.run(store.read_snapshot(now)).principals
        }

    def owner_of(self, store: LimitStore) -> int:
        raise NotImplementedError


NAMES = [ALICE, BOB, "key:3"]
LIMITS = st.builds(
    LimitSet,
    st.sampled_from([0, 1, 3, 8]),
    st.sampled_from([0, 10, 100]),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0, 1, 2]),
    st.just(False),
)


class Machine(RuleBasedStateMachine):
    """Two workers on one store, against a model that keeps every event for itself."""

    def open(self) -> list[tuple[int, LimitStore]]:
        """Two workers: each one's claim and its door."""
        raise NotImplementedError

    @initialize(limits=st.lists(LIMITS, min_size=4, max_size=4))
    def begin(self, limits: list[LimitSet]) -> None:
        self.runner = asyncio.Runner()
        self.workers = self.open()
        self.limits = dict(zip([GATEWAY, *NAMES], limits, strict=True))
        self.now = 1000.0
        self.charges: list[list[Any]] = []  # name, slot, requests, tokens
        self.held: dict[int, dict[str, Any]] = {}
        self.gone: list[int] = []

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def used(self, name: str) -> tuple[int, int]:
        oldest = slot_at(self.now) - SLOTS
        mine = [charge for charge in self.charges if charge[0] == name and charge[1] > oldest]
        return sum(charge[2] for charge in mine), sum(charge[3] for charge in mine)

    def holding(self, name: str, kind: str) -> int:
        return sum(1 for one in self.held.values() if one["kind"] == kind and name in one["names"])

    def obstacles(self, names: list[str], kind: str, tokens: int) -> set[tuple[str, str]]:
        found = set()
        for name in names:
            limits = self.limits[name]
            requests, reserved = self.used(name)
            if limits.requests and requests + 1 > limits.requests:
                found.add(("requests", name))
            if limits.tokens and tokens and reserved + tokens > limits.tokens:
                found.add(("tokens", name))
            most = limits.concurrency if kind == "request" else limits.sessions
            if most and self.holding(name, kind) + 1 > most:
                found.add(("concurrency" if kind == "request" else "sessions", name))
        return found

    def judge(self, decision: Decision, names: list[str], kind: str, tokens: int, claim: int):
        obstacles = self.obstacles(names, kind, tokens)
        if obstacles:
            assert not decision.is_admitted
            assert (decision.refused, decision.principal) in obstacles
            assert decision.retry_after > 0
            before, self.now = self.now, self.now + decision.retry_after + 1e-6
            left = self.obstacles(names, kind, tokens)
            assert all(what in {"concurrency", "sessions"} for what, _ in left)
            self.now = before
            return
        assert decision.is_admitted, decision
        self.held[decision.handle] = {"kind": kind, "names": names, "owner": claim}
        charges = [[name, slot_at(self.now), 1, tokens] for name in names]
        self.charges += charges
        self.held[decision.handle] |= {"charges": charges, "tokens": tokens, "beat": self.now}
        rooms = [
            self.limits[n].requests - self.used(n)[0] for n in names if self.limits[n].requests
        ]
        assert decision.requests_remaining == (min(rooms) if rooms else 0)

    @rule(names=st.sets(st.sampled_from(NAMES), max_size=2), tokens=st.integers(1, 130))
    def admit(self, names: set[str], tokens: int) -> None:
        claim, store = self.pick()
        everyone = [GATEWAY, *sorted(names)]
        principals = tuple(Principal(name, self.limits[name]) for name in everyone)
        decision = self.run(store.admit(principals, tokens, self.now))
        least = min([self.limits[n].tokens for n in everyone if self.limits[n].tokens] + [tokens])
        self.judge(decision, everyone, "request", least, claim)

    @rule(name=st.sampled_from(NAMES))
    def acquire(self, name: str) -> None:
        claim, store = self.pick()
        principals = tuple(Principal(one, self.limits[one]) for one in (GATEWAY, name))
        decision = self.run(store.acquire_session(principals, self.now))
        self.judge(decision, [GATEWAY, name], "session", 0, claim)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), used=st.integers(0, 150))
    def settle(self, data: st.DataObject, used: int) -> None:
        handle = data.draw(st.sampled_from(sorted(self.held)))
        _, store = self.pick()
        one = self.held[handle]
        assert store.settle(handle, used, self.now) == (one["kind"] == "request")
        if one["kind"] == "session":
            return
        excess = used - one["tokens"]
        for charge in one["charges"]:
            if excess < 0:
                charge[3] += excess
            else:
                self.charges.append([charge[0], slot_at(self.now), 0, excess])
        self.forget(handle)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(sorted(self.held)))
        assert self.pick()[1].release(handle)
        self.forget(handle)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(sorted(self.held)))
        assert self.run(self.pick()[1].record_heartbeat(handle, self.now))
        self.held[handle]["beat"] = self.now

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(self.gone))
        _, store = self.pick()
        assert not store.settle(handle, 0, self.now)
        assert not store.release(handle)
        assert not self.run(store.record_heartbeat(handle, self.now))

    @rule(patience=st.sampled_from([0.0, 20.0, 100.0]))
    def expire(self, patience: float) -> None:
        since = self.now - patience
        silent = {
            handle
            for handle, one in self.held.items()
            if one["kind"] == "session" and int(one["beat"] * 1000) < int(since * 1000)
        }
        assert set(self.run(self.pick()[1].expire_sessions(since))) == silent
        for handle in silent:
            self.forget(handle)

    @rule(seconds=st.sampled_from([0.1, 3.0, 5.0, 31.0, 59.9, 65.0, 500.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=st.sampled_from([GATEWAY, *NAMES]), limits=LIMITS)
    def change(self, name: str, limits: LimitSet) -> None:
        self.limits[name] = limits

    @rule()
    def reclaim(self) -> None:
        claim, _ = self.workers[0]
        lost = [handle for handle, one in self.held.items() if one["owner"] == claim]
        assert self.run(self.workers[1][1].reclaim_leases(claim)) == len(lost)
        for handle in lost:
            self.forget(handle)
        self.workers = [self.workers[1], self.another()]

    def another(self) -> tuple[int, LimitStore]:
        """A worker in place of one that died."""
        raise NotImplementedError

    def forget(self, handle: int) -> None:
        del self.held[handle]
        self.gone = [*self.gone[-20:], handle]

    def pick(self) -> tuple[int, LimitStore]:
        self.workers.reverse()
        return self.workers[0]

    @invariant()
    def the_books_agree(self) -> None:
        if not hasattr(self, "workers"):
            return
        found = self.run(self.workers[0][1].read_snapshot(self.now))
        assert {one.handle for one in found.leases} == set(self.held)
        for one in found.principals:
            assert (one.requests, one.tokens) == self.used(one.name), one.name
            assert one.running == self.holding(one.name, "request")
            assert one.sessions == self.holding(one.name, "session")

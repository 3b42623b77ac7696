"""The store in shared memory keeps the contract, and its own promises about rows and places."""

from __future__ import annotations

import mmap
import os
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.io.limits.contract import ALICE, WINDOW, Contract, Machine, user
from vai.io.control_block import ControlBlock
from vai.io.limits import leases, snapshot
from vai.io.limits.layout import (
    BUCKET,
    DEFAULT_PRINCIPALS,
    H_HIGH,
    L_GENERATION,
    SESSION,
    section_size,
)
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal
from vai.policy.limits.store import LimitStore

FULL = os.environ.get("VAI_CHAOS_FULL") == "1"
SUBJECTS, PLACES = 256, 64


def memory(principals: int = SUBJECTS, places: int = PLACES) -> LimitsSection:
    view = memoryview(mmap.mmap(-1, section_size(principals, places)))
    return LimitsSection.prepare(view, principals, places)


@pytest.fixture
def section() -> LimitsSection:
    return memory()


class TestShared(Contract):
    @pytest.fixture
    def store(self, section: LimitsSection) -> LimitStore:
        return SharedLimits(section, 0, owner=5)

    @pytest.fixture
    def other(self, section: LimitsSection) -> LimitStore:
        return SharedLimits(section, 1, owner=6)

    def owner_of(self, store: LimitStore) -> int:
        assert isinstance(store, SharedLimits)
        return store._owner


class SharedMachine(Machine):
    def open(self) -> list[tuple[int, LimitStore]]:
        self.section, self.claims = memory(), 0
        return [self.another(), self.another()]

    def another(self) -> tuple[int, LimitStore]:
        self.claims += 1
        return self.claims, SharedLimits(self.section, self.claims % 128, self.claims)


SharedMachine.TestCase.settings = settings(
    max_examples=1000 if FULL else 60, stateful_step_count=50, deadline=None, derandomize=not FULL
)
TestMachine = pytest.mark.timeout(600 if FULL else 60)(SharedMachine.TestCase)


def test_a_section_of_a_control_block_is_found_by_others(tmp_path) -> None:
    control_block = ControlBlock.create(
        tmp_path / "b.control-block", sections={3: section_size(SUBJECTS, PLACES)}
    )
    with pytest.raises(ValueError, match="not a section"):
        LimitsSection(control_block.open_section(3))
    LimitsSection.prepare(control_block.open_section(3), SUBJECTS, PLACES)
    opened = ControlBlock.open(control_block.path)
    first = SharedLimits(LimitsSection(opened.open_section(3)), 0, 1)
    second = SharedLimits(LimitsSection(control_block.open_section(3)), 1, 2)
    assert first.take_lease((user(concurrency=1),), 1, 0.0).is_admitted
    assert not second.take_lease((user(concurrency=1),), 1, 0.0).is_admitted
    opened.close()
    control_block.close()


@pytest.mark.parametrize(("principals", "places"), [(0, 5), (5, 0), (1 << 20, 5), (5, 1 << 20)])
def test_sizes_that_do_not_fit_are_refused(principals, places) -> None:
    with pytest.raises(ValueError, match="too many"):
        LimitsSection.prepare(memoryview(bytearray(1 << 16)), principals, places)


def strangers(count: int, begin: int = 0) -> Iterator[Principal]:
    return (Principal(f"ip:{n}", LimitSet(requests=1), False) for n in range(begin, begin + count))


def test_strangers_leave_room_for_those_who_are_listed() -> None:
    limits = SharedLimits(memory(1, 4096), 0, 1)  # a single bucket
    found = [limits.take_lease((one,), 1, 0.0) for one in strangers(200)]
    assert sum(one.is_admitted for one in found) == BUCKET - BUCKET // 4
    assert {one.refused for one in found if not one.is_admitted} == {"capacity"}
    listed = [limits.take_lease((user(f"user:{n}", requests=1),), 1, 0.0) for n in range(20)]
    assert sum(one.is_admitted for one in listed) == BUCKET // 4
    assert listed[-1].refused == "capacity", "refused, and never admitted without a count"


@pytest.mark.parametrize("principals", [64, 1000, DEFAULT_PRINCIPALS])
def test_as_many_callers_as_promised_find_room(principals: int) -> None:
    """Strangers alone do, and then still some of those who are listed, and listed ones alone."""
    for is_listed in (False, True):
        section = memory(principals, 64)
        limits = SharedLimits(section, 0, 1)
        for one in strangers(principals):
            found = limits.take_lease((one._replace(listed=is_listed),), 1, 0.0)
            assert found.is_admitted, one
            limits.settle_lease(found.handle, 1, 0.0)
        assert snapshot.count_principals(section, 0.0) == principals
        assert not snapshot.is_full(section, 0.0)
    limits = SharedLimits(section := memory(principals, 64), 0, 1)
    for one in strangers(2 * principals):
        limits.settle_lease(limits.take_lease((one,), 1, 0.0).handle, 1, 0.0)
    assert snapshot.is_full(section, 0.0)
    for n in range(principals // 8):
        found = limits.take_lease((user(f"user:{n}"),), 1, 0.0)
        assert found.is_admitted, n
        limits.settle_lease(found.handle, 1, 0.0)


def test_the_wait_for_room_comes_true() -> None:
    section = memory(64, 4096)
    limits = SharedLimits(section, 0, 1)
    now = 100.0
    for one in strangers(200):
        limits.settle_lease(limits.take_lease((one,), 1, now).handle, 1, now)
        now += 0.1
    (late,) = strangers(1, 1000)
    refused = limits.take_lease((late,), 1, now)
    assert refused.refused == "capacity"
    assert 40 < refused.retry_after < 65
    assert snapshot.is_full(section, now)
    assert not limits.take_lease((late,), 1, now + refused.retry_after - 0.1).is_admitted
    assert limits.take_lease((late,), 1, now + refused.retry_after).is_admitted
    assert not snapshot.is_full(section, now + 2 * WINDOW)


def test_counting_a_few_callers_looks_at_their_rows_alone() -> None:
    """A process without a manager counts between the requests that it serves."""
    section = memory(100_000, 64)
    limits = SharedLimits(section, 0, 1)
    running, *over = strangers(40)
    limits.take_lease((running,), 1, 0.0)
    for one in over:
        limits.settle_lease(limits.take_lease((one,), 1, 0.0).handle, 1, 0.0)
    keys = 8 * (section.rows - section.keys)
    tracemalloc.start()
    assert snapshot.count_principals(section, 0.0) == 40
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * keys, "one copy of the keys, and no list of all rows"
    assert snapshot.count_principals(section, 2 * WINDOW) == 1, "what runs counts, however long"


def test_the_gateway_itself_always_has_its_row() -> None:
    limits = SharedLimits(memory(1, 4096), 0, 1)
    for n in range(BUCKET):
        limits.take_lease((user(f"user:{n}"),), 1, 0.0)
    assert limits.take_lease((Principal(GATEWAY, LimitSet(requests=1)),), 1, 0.0).is_admitted
    assert (
        limits.take_lease((Principal(GATEWAY, LimitSet(requests=1)),), 1, 0.0).refused == "requests"
    )


def test_idle_rows_are_taken_anew_and_busy_ones_never() -> None:
    section = memory(1, 4096)
    limits = SharedLimits(section, 0, 1)
    running = limits.take_lease((user(concurrency=1),), 1, 0.0)
    session = limits.take_lease((user("user:live", sessions=1),), 0, 0.0, SESSION)
    for turn in range(5):
        now = (turn + 1) * WINDOW
        found = [limits.take_lease((one,), 1, now) for one in strangers(40, turn * 40)]
        assert all(one.is_admitted for one in found)
        for one in found:
            limits.settle_lease(one.handle, 1, now)
        again = [limits.take_lease((one,), 1, now) for one in strangers(40, turn * 40)]
        assert {one.refused for one in again} == {"requests"}, "one principal, one row"
    names = [one.name for one in snapshot.read_snapshot(section, now).principals]
    assert len(names) == len(set(names))
    assert limits.take_lease((user(concurrency=1),), 1, now).refused == "concurrency"
    assert (
        limits.take_lease((user("user:live", sessions=1),), 0, now, SESSION).refused == "sessions"
    )
    assert limits.settle_lease(running.handle, 1, now)
    assert limits.release_lease(session.handle)


def test_a_row_given_away_by_another_process_is_not_mistaken() -> None:
    section = memory(1, 4096)
    first, second = SharedLimits(section, 0, 1), SharedLimits(section, 1, 2)
    gone = first.take_lease((user(requests=2),), 1, 0.0)
    first.settle_lease(gone.handle, 1, 0.0)
    for one in range(BUCKET):
        assert second.take_lease((user(f"user:{one}"),), 1, WINDOW).is_admitted
    assert first.take_lease((user(requests=2),), 1, WINDOW).refused == "capacity"


def test_nobody_refused_takes_a_row() -> None:
    section = memory()
    limits = SharedLimits(section, 0, 1)
    closed = Principal(GATEWAY, LimitSet(concurrency=1))
    assert limits.take_lease((closed,), 1, 0.0).is_admitted
    for one in strangers(100):
        assert not limits.take_lease((closed, one), 1, 0.0).is_admitted
    assert len(snapshot.read_snapshot(section, 0.0).principals) == 1


def test_places_are_bounded_and_come_back() -> None:
    section = memory()
    limits = SharedLimits(section, 0, 1)
    for _ in range(3):
        taken = [limits.take_lease((user(),), 1, 0.0) for _ in range(PLACES + 3)]
        assert [one.is_admitted for one in taken] == [True] * PLACES + [False] * 3
        assert taken[-1].refused == "capacity"
        assert all(limits.release_lease(one.handle) for one in taken[:PLACES])
    assert section.words[H_HIGH] == PLACES


def test_generations_come_round_without_a_handle_of_zero() -> None:
    section = memory()
    limits = SharedLimits(section, 0, 1)
    first = limits.take_lease((user(),), 1, 0.0).handle
    limits.release_lease(first)
    section.words[section.leases + L_GENERATION] = leases.GENERATIONS - 2
    seen = set()
    for _ in range(4):
        handle = limits.take_lease((user(),), 1, 0.0).handle
        assert 0 < handle < 1 << 62
        seen.add(handle)
        assert limits.release_lease(handle)
        assert not limits.release_lease(handle)
    assert len(seen) == 4


def test_a_long_name_is_shown_short_and_counted_whole() -> None:
    section = memory()
    limits = SharedLimits(section, 0, 1)
    for tail in ("x", "y"):
        assert limits.take_lease((user("ü" * 40 + tail, requests=1),), 1, 0.0).is_admitted
    shown = [one.name for one in snapshot.read_snapshot(section, 0.0).principals]
    assert shown == [GATEWAY, "ü" * 24, "ü" * 24] or shown[1:] == ["ü" * 24] * 2


def test_what_is_remembered_in_the_process_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr("vai.io.limits.rows._MAX_CACHED", 10)
    limits = SharedLimits(memory(), 0, 1)
    for one in strangers(60):
        assert limits.take_lease((one,), 1, 0.0).is_admitted
    assert len(limits._rows.cached) <= 10
    assert len(limits._rows._digests) <= 10
    assert limits.take_lease((Principal(GATEWAY),), 1, 0.0).is_admitted


def test_an_error_in_the_middle_is_made_good_by_the_next(monkeypatch) -> None:
    section = memory()
    limits = SharedLimits(section, 0, 1)
    who = (user(concurrency=2, requests=3),)
    limits.take_lease(who, 1, 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(leases, "write_lease", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            limits.take_lease(who, 1, 0.0)
    assert limits.take_lease(who, 1, 0.0).requests_remaining == 0, (
        "the charge without a place stays"
    )
    (_, alice) = snapshot.read_snapshot(section, 0.0).principals
    assert (alice.name, alice.running) == (ALICE, 2)

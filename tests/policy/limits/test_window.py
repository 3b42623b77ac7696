"""At most L in any 60 seconds, and a wait that is neither too short nor endless."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vai.policy.limits.window import (
    MILLI,
    SLOT_SECONDS,
    SLOTS,
    burst_level,
    drained_level,
    expired_slots,
    seconds_until_reset,
    seconds_until_room,
    seconds_until_spaced,
    slot_at,
)


class Window:
    """The arithmetic at work, as a store does it."""

    def __init__(self, limit: int) -> None:
        self.limit, self.slots, self.last = limit, [0] * SLOTS, 0

    def move(self, now: float) -> None:
        slot = slot_at(now)
        for number in expired_slots(self.last, slot):
            self.slots[number % SLOTS] = 0
        self.last = slot

    def wait(self, now: float, cost: int = 1) -> float:
        self.move(now)
        return seconds_until_room(self.slots, self.last, now, cost=cost, limit=self.limit)

    def charge(self, cost: int = 1) -> None:
        self.slots[self.last % SLOTS] += cost


steps = st.lists(st.tuples(st.floats(0, 70), st.integers(1, 12)), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(steps, st.integers(1, 20))
def test_no_sixty_seconds_hold_more_than_the_limit(steps, limit) -> None:
    window, now, admitted = Window(limit), 0.0, []
    for pause, tries in steps:
        now += pause
        for _ in range(tries):
            if not window.wait(now):
                window.charge()
                admitted.append(now)
    for begin in admitted:
        assert sum(1 for when in admitted if begin <= when < begin + 60) <= limit


@settings(max_examples=200, deadline=None, derandomize=True)
@given(steps, st.integers(1, 20), st.integers(1, 30))
def test_who_waits_as_told_is_admitted_and_not_a_slot_too_late(steps, limit, cost) -> None:
    window, now = Window(limit), 0.0
    for pause, charged in steps:
        now += pause
        if not window.wait(now, charged):
            window.charge(min(charged, limit))
    wait = window.wait(now, cost)
    assert wait <= SLOTS * SLOT_SECONDS
    if wait:
        assert window.wait(now + wait - SLOT_SECONDS / 2, cost) > 0 or wait < SLOT_SECONDS / 2
    assert not window.wait(now + wait + 1e-6, cost)


def test_a_full_burst_is_not_repeated_within_a_minute() -> None:
    window = Window(100)
    window.move(4.999)
    window.charge(100)
    assert window.wait(5.0) > 0
    assert window.wait(64.998) > 0, "twelve slots would have forgotten it at 60"
    assert not window.wait(65.0)


def test_a_window_that_slept_is_empty() -> None:
    window = Window(3)
    window.charge(3)
    window.move(1e6)
    assert window.slots == [0] * SLOTS
    assert seconds_until_reset(window.slots, window.last, 1e6) == 0.0


def test_all_is_free_again_when_the_youngest_charge_has_gone() -> None:
    window = Window(3)
    window.charge()
    window.move(12.0)
    window.charge()
    assert seconds_until_reset(window.slots, window.last, 12.0) == 10 + 65 - 12


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 5000), st.lists(st.integers(0, 3000), min_size=5, max_size=60))
def test_smooth_lets_no_more_through_than_time_gave(limit, pauses) -> None:
    level = passed = elapsed = 0
    for pause in pauses:
        elapsed += pause
        level = drained_level(level, pause, limit)
        if not seconds_until_spaced(level, 1, limit):
            level += MILLI
            passed += 1
    assert passed <= burst_level(limit) / MILLI + elapsed * limit / 60_000 + 1


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 5000), st.integers(0, 10**8), st.integers(1, 10**5))
def test_the_smooth_wait_is_enough(limit, level, cost) -> None:
    wait_ms = int(seconds_until_spaced(level, cost, limit) * 1000)
    assert not seconds_until_spaced(drained_level(level, wait_ms, limit), cost, limit)


def test_a_cost_beyond_the_burst_passes_an_empty_bucket_only() -> None:
    assert not seconds_until_spaced(0, 10**6, 60)
    assert seconds_until_spaced(1, 10**6, 60) > 0

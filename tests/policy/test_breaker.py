"""The breaker, with a clock that is told."""

from __future__ import annotations

import random

import pytest

from vai.policy.breaker import Breaker, BreakerRules, Breakers

RULES = BreakerRules(failures=5, open_for=5.0, max_open=60.0)


def tripped(now: float = 0.0) -> Breaker:
    breaker = Breaker(RULES, now)
    for _ in range(RULES.failures):
        breaker.failed(now, probe=False)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(RULES, 0.0)
    for _ in range(4):
        breaker.failed(0.0, probe=False)
    assert not breaker.is_open
    assert breaker.wait(0.0) == 0.0
    breaker.failed(0.0, probe=False)
    assert breaker.is_open
    assert breaker.wait(0.0) == 5.0
    assert breaker.wait(4.0) == 1.0


def test_a_success_between_them_begins_anew() -> None:
    breaker = Breaker(RULES, 0.0)
    for _ in range(3):
        for _ in range(4):
            breaker.failed(0.0, probe=False)
        breaker.succeeded(0.0, probe=False)
    assert not breaker.is_open


def test_most_of_many_open_it_too() -> None:
    breaker = Breaker(RULES, 0.0)
    for number in range(30):
        if number % 3:
            breaker.failed(0.0, probe=False)
        else:
            breaker.succeeded(0.0, probe=False)
    assert breaker.is_open


def test_half_do_not() -> None:
    breaker = Breaker(RULES, 0.0)
    for _ in range(100):
        breaker.succeeded(0.0, probe=False)
        breaker.failed(0.0, probe=False)
    assert not breaker.is_open


def test_one_probe_at_a_time_and_its_answer_closes_it() -> None:
    breaker = tripped()
    assert breaker.wait(5.0) == 0.0
    assert breaker.enter(5.0)
    assert breaker.wait(5.0) > 0
    assert breaker.wait(9.9) > 0
    breaker.succeeded(7.0, probe=True)
    assert not breaker.is_open
    assert breaker.wait(7.0) == 0.0
    assert not breaker.enter(7.0)


def test_a_probe_that_fails_doubles_the_time_up_to_a_limit() -> None:
    breaker, now, waits = tripped(), 0.0, []
    for _ in range(7):
        now += breaker.wait(now)
        assert breaker.enter(now)
        breaker.failed(now, probe=True)
        waits.append(breaker.wait(now))
    assert waits == [10, 20, 40, 60, 60, 60, 60]


def test_a_probe_that_gives_up_or_hangs_lets_the_next_one_try() -> None:
    breaker = tripped()
    assert breaker.enter(5.0)
    breaker.gave_up(6.0)
    assert breaker.wait(6.0) == 0.0
    assert breaker.enter(6.0)
    assert breaker.wait(10.9) > 0
    assert breaker.wait(11.0) == 0.0


def test_what_comes_late_changes_nothing() -> None:
    breaker = tripped()
    for _ in range(100):
        breaker.failed(1.0, probe=False)
    assert breaker.wait(1.0) == 4.0
    assert not breaker.succeeded(1.0, probe=False)
    assert breaker.is_open


def test_a_pause_that_was_asked_for_is_bounded_and_opens_nothing() -> None:
    breaker = Breaker(RULES, 0.0)
    breaker.cool(0.0, 1e9)
    assert breaker.is_cooling(59.0)
    assert not breaker.is_cooling(60.0)
    assert breaker.wait(0.0) == 0.0


def test_what_is_well_is_forgotten() -> None:
    breaker = Breaker(RULES, 0.0)
    breaker.failed(0.0, probe=False)
    assert not breaker.succeeded(1.0, probe=False)
    assert breaker.succeeded(30.0, probe=False)
    probed = tripped()
    probed.enter(5.0)
    assert probed.succeeded(5.0, probe=True)


def test_no_more_are_remembered_than_there_is_room_for() -> None:
    breakers = Breakers(RULES, room=10)
    assert breakers.of(("p", "m0")) is None
    for number in range(1000):
        breakers.remember(("p", f"m{number}"), 0.0)
        assert len(breakers) <= 10
    assert breakers.of(("p", "m999")) is not None
    assert breakers.of(("p", "m0")) is None


def test_a_target_that_fails_again_is_the_last_to_go() -> None:
    breakers = Breakers(RULES, room=2)
    first = breakers.remember(("p", "a"), 0.0)
    breakers.remember(("p", "b"), 0.0)
    assert breakers.remember(("p", "a"), 0.0) is first
    breakers.remember(("p", "c"), 0.0)
    assert breakers.of(("p", "a")) is first
    assert breakers.of(("p", "b")) is None
    breakers.forget(("p", "a"))
    assert len(breakers) == 1


def test_what_is_open_is_counted_by_provider() -> None:
    breakers = Breakers(RULES)
    for model in ("a", "b"):
        for _ in range(5):
            breakers.remember(("p", model), 0.0).failed(0.0, probe=False)
    breakers.remember(("q", "a"), 0.0).failed(0.0, probe=False)
    assert breakers.open() == {"p": 2}


@pytest.mark.parametrize("seed", range(20))
def test_it_never_stays_shut_for_longer_than_its_limit(seed: int) -> None:
    """Whatever happens in whatever order: at most the limit, and one probe in `open_for`."""
    chance = random.Random(seed)
    breaker, now, probed = Breaker(RULES, 0.0), 0.0, -RULES.open_for
    for _ in range(3000):
        now += chance.random() * 2
        assert breaker.wait(now) <= RULES.max_open
        if breaker.wait(now) > 0:
            continue
        is_probe = breaker.enter(now)
        if not is_probe:
            probed = -RULES.open_for
        elif probed >= 0:
            assert now - probed >= RULES.open_for
        match chance.randrange(4):
            case 0:
                breaker.succeeded(now, probe=is_probe)
            case 1 | 2:
                breaker.failed(now, probe=is_probe)
                probed = -RULES.open_for
            case 3 if is_probe:
                probed = now  # it hangs

"""The breaker, with a clock that is told."""

from __future__ import annotations

import random

import pytest

from vai.policy.breaker import Breaker, BreakerRules, Breakers

RULES = BreakerRules(failures=5, open_for=5.0, max_open=60.0)


def tripped(now: float = 0.0) -> Breaker:
    breaker = Breaker(RULES, now)
    for _ in range(RULES.failures):
        breaker.record_failure(now, probe=False)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(RULES, 0.0)
    for _ in range(4):
        breaker.record_failure(0.0, probe=False)
    assert not breaker.is_open
    assert breaker.seconds_until_retry(0.0) == 0.0
    breaker.record_failure(0.0, probe=False)
    assert breaker.is_open
    assert breaker.seconds_until_retry(0.0) == 5.0
    assert breaker.seconds_until_retry(4.0) == 1.0


def test_a_success_between_them_begins_anew() -> None:
    breaker = Breaker(RULES, 0.0)
    for _ in range(3):
        for _ in range(4):
            breaker.record_failure(0.0, probe=False)
        breaker.record_success(0.0, probe=False)
    assert not breaker.is_open


def test_most_of_many_open_it_too() -> None:
    breaker = Breaker(RULES, 0.0)
    for number in range(30):
        if number % 3:
            breaker.record_failure(0.0, probe=False)
        else:
            breaker.record_success(0.0, probe=False)
    assert breaker.is_open


def test_half_do_not() -> None:
    breaker = Breaker(RULES, 0.0)
    for _ in range(100):
        breaker.record_success(0.0, probe=False)
        breaker.record_failure(0.0, probe=False)
    assert not breaker.is_open


def test_one_probe_at_a_time_and_its_answer_closes_it() -> None:
    breaker = tripped()
    assert breaker.seconds_until_retry(5.0) == 0.0
    assert breaker.begin_attempt(5.0)
    assert breaker.seconds_until_retry(5.0) > 0
    assert breaker.seconds_until_retry(9.9) > 0
    breaker.record_success(7.0, probe=True)
    assert not breaker.is_open
    assert breaker.seconds_until_retry(7.0) == 0.0
    assert not breaker.begin_attempt(7.0)


def test_a_probe_that_fails_doubles_the_time_up_to_a_limit() -> None:
    breaker, now, waits = tripped(), 0.0, []
    for _ in range(7):
        now += breaker.seconds_until_retry(now)
        assert breaker.begin_attempt(now)
        breaker.record_failure(now, probe=True)
        waits.append(breaker.seconds_until_retry(now))
    assert waits == [10, 20, 40, 60, 60, 60, 60]


def test_a_probe_that_gives_up_or_hangs_lets_the_next_one_try() -> None:
    breaker = tripped()
    assert breaker.begin_attempt(5.0)
    breaker.abandon_probe(6.0)
    assert breaker.seconds_until_retry(6.0) == 0.0
    assert breaker.begin_attempt(6.0)
    assert breaker.seconds_until_retry(10.9) > 0
    assert breaker.seconds_until_retry(11.0) == 0.0


def test_what_comes_late_changes_nothing() -> None:
    breaker = tripped()
    for _ in range(100):
        breaker.record_failure(1.0, probe=False)
    assert breaker.seconds_until_retry(1.0) == 4.0
    assert not breaker.record_success(1.0, probe=False)
    assert breaker.is_open


def test_a_pause_that_was_asked_for_is_bounded_and_opens_nothing() -> None:
    breaker = Breaker(RULES, 0.0)
    breaker.record_pause(0.0, 1e9)
    assert breaker.is_paused(59.0)
    assert not breaker.is_paused(60.0)
    assert breaker.seconds_until_retry(0.0) == 0.0


def test_what_is_well_is_forgotten() -> None:
    breaker = Breaker(RULES, 0.0)
    breaker.record_failure(0.0, probe=False)
    assert not breaker.record_success(1.0, probe=False)
    assert breaker.record_success(30.0, probe=False)
    probed = tripped()
    probed.begin_attempt(5.0)
    assert probed.record_success(5.0, probe=True)


def test_no_more_are_remembered_than_there_is_room_for() -> None:
    breakers = Breakers(RULES, room=10)
    assert breakers.find_breaker(("p", "m0")) is None
    for number in range(1000):
        breakers.ensure_breaker(("p", f"m{number}"), 0.0)
        assert len(breakers) <= 10
    assert breakers.find_breaker(("p", "m999")) is not None
    assert breakers.find_breaker(("p", "m0")) is None


def test_a_target_that_fails_again_is_the_last_to_go() -> None:
    breakers = Breakers(RULES, room=2)
    first = breakers.ensure_breaker(("p", "a"), 0.0)
    breakers.ensure_breaker(("p", "b"), 0.0)
    assert breakers.ensure_breaker(("p", "a"), 0.0) is first
    breakers.ensure_breaker(("p", "c"), 0.0)
    assert breakers.find_breaker(("p", "a")) is first
    assert breakers.find_breaker(("p", "b")) is None
    breakers.remove_breaker(("p", "a"))
    assert len(breakers) == 1


def test_what_is_open_is_counted_by_provider() -> None:
    breakers = Breakers(RULES)
    for model in ("a", "b"):
        for _ in range(5):
            breakers.ensure_breaker(("p", model), 0.0).record_failure(0.0, probe=False)
    breakers.ensure_breaker(("q", "a"), 0.0).record_failure(0.0, probe=False)
    assert breakers.count_open() == {"p": 2}


@pytest.mark.parametrize("seed", range(20))
def test_it_never_stays_shut_for_longer_than_its_limit(seed: int) -> None:
    """Whatever happens in whatever order: at most the limit, and one probe in `open_for`."""
    chance = random.Random(seed)
    breaker, now, probed = Breaker(RULES, 0.0), 0.0, -RULES.open_for
    for _ in range(3000):
        now += chance.random() * 2
        assert breaker.seconds_until_retry(now) <= RULES.max_open
        if breaker.seconds_until_retry(now) > 0:
            continue
        is_probe = breaker.begin_attempt(now)
        if not is_probe:
            probed = -RULES.open_for
        elif probed >= 0:
            assert now - probed >= RULES.open_for
        match chance.randrange(4):
            case 0:
                breaker.record_success(now, probe=is_probe)
            case 1 | 2:
                breaker.record_failure(now, probe=is_probe)
                probed = -RULES.open_for
            case 3 if is_probe:
                probed = now  # it hangs

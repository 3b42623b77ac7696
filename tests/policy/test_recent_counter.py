"""Counts of what happened lately."""

from __future__ import annotations

import pytest

from vai.policy.recent_counter import RecentCounter


def test_counts_are_exact_within_a_span() -> None:
    tally = RecentCounter(10, 100.0)
    for second in range(10):
        tally.count_event(100.0 + second)
    tally.count_marked(109.0)
    assert tally.recent_counts(109.9) == (10, 1)


def test_what_was_fades_out_and_is_gone_after_two_spans() -> None:
    tally = RecentCounter(10, 0.0)
    for _ in range(8):
        tally.count_event(1.0)
    assert tally.recent_counts(10.0) == (8, 0)
    assert tally.recent_counts(15.0) == (4, 0)
    assert tally.recent_counts(20.0) == (0, 0)


def test_a_long_silence_forgets_everything() -> None:
    tally = RecentCounter(10, 0.0)
    tally.count_event(1.0)
    tally.count_marked(1.0)
    tally.count_event(1000.0)
    assert tally.recent_counts(1000.0) == (1, 0)


def test_an_even_rate_is_counted_as_what_it_is() -> None:
    tally = RecentCounter(10, 0.0)
    for tick in range(1000):
        now = tick / 10
        tally.count_event(now)
        if now > 10:
            assert tally.recent_counts(now)[0] == pytest.approx(100, abs=2)

"""One line for each subject in a while, and no memory that grows with the subjects."""

from __future__ import annotations

import pytest

from vai.policy.notices import NoticeLimiter


def test_a_subject_has_a_line_and_then_none_for_a_while() -> None:
    notices = NoticeLimiter(every=60)
    assert notices.admit_line("a", 0.0) == 0
    assert [notices.admit_line("a", at) for at in (0.0, 1.0, 59.9)] == [None, None, None]
    assert notices.admit_line("b", 1.0) == 0
    assert notices.admit_line("a", 60.0) == 3
    assert notices.admit_line("a", 120.0) == 0


@pytest.mark.parametrize("subjects", [300, 100_000])
def test_subjects_beyond_the_room_share_one_line(subjects: int) -> None:
    notices = NoticeLimiter(every=60, room=256)
    lines = [notices.admit_line(number, 1.0) for number in range(subjects)]
    assert lines.count(0) == 257
    assert len(notices) == 256
    assert notices.admit_line("another", 61.0) == 0
    assert len(notices) <= 256
    assert notices.admit_line(1, 61.0) == 0


def test_a_shared_line_tells_how_many_it_stands_for() -> None:
    notices = NoticeLimiter(every=60, room=1)
    notices.admit_line("a", 0.0)
    notices.admit_line("b", 10.0)
    assert [notices.admit_line(name, 11.0) for name in "cdb"] == [None, None, None]
    notices.admit_line("a", 60.0)
    assert notices.admit_line("e", 70.0) == 3


def test_room_is_made_by_the_oldest_whose_time_is_over() -> None:
    notices = NoticeLimiter(every=10, room=2)
    notices.admit_line("old", 0.0)
    notices.admit_line("new", 9.0)
    assert notices.admit_line("third", 11.0) == 0
    assert notices.admit_line("new", 12.0) is None

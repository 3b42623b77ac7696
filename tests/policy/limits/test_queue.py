"""Subjects take turns, each keeps its order, and nobody waits without a bound."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vai.policy.limits.queue import FairQueue


def serve(queue: FairQueue[int], places: int) -> list[tuple[str, int]]:
    got: list[tuple[str, int]] = []

    def admit(subject: str, one: int) -> bool:
        if len(got) == places:
            return False
        got.append((subject, one))
        return True

    assert queue.serve(admit) == len(got)
    return got


def test_one_who_floods_delays_nobody_by_more_than_one() -> None:
    queue: FairQueue[int] = FairQueue(most=100, each=50)
    for number in range(50):
        assert queue.join("flood", number)
    assert queue.join("bob", 0)
    assert queue.join("eve", 0)
    assert serve(queue, 4) == [("flood", 0), ("bob", 0), ("eve", 0), ("flood", 1)]
    assert queue.join("bob", 1)
    assert serve(queue, 2) == [("flood", 2), ("bob", 1)]


def test_room_is_bounded_for_each_and_in_all() -> None:
    queue: FairQueue[int] = FairQueue(most=3, each=2)
    assert [queue.join("a", n) for n in range(3)] == [True, True, False]
    assert queue.join("b", 0)
    assert not queue.join("c", 0)
    assert queue.leave("a", 0)
    assert not queue.leave("a", 0)
    assert queue.join("c", 0)
    assert len(queue) == 3


def test_one_at_its_own_limit_does_not_stand_in_the_way() -> None:
    queue: FairQueue[int] = FairQueue(most=9, each=9)
    for subject in ("a", "b", "a", "c"):
        queue.join(subject, len(queue))
    assert queue.serve(lambda subject, _: subject != "a") == 2
    assert len(queue) == 2
    assert serve(queue, 9) == [("a", 0), ("a", 2)]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_what_joined_is_served_once_or_left_and_in_order(steps) -> None:
    queue: FairQueue[int] = FairQueue(most=20, each=10)
    waiting: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for number, (subject, joins) in enumerate(steps):
        if joins:
            if queue.join(subject, number):
                waiting[subject].append(number)
        elif waiting[subject]:
            assert queue.leave(subject, waiting[subject].pop())
        assert len(queue) == sum(map(len, waiting.values())) <= 20
    served = serve(queue, 100)
    for subject, line in waiting.items():
        assert [one for who, one in served if who == subject] == line
    assert (len(queue), queue._turns, queue._waiting) == (0, type(queue._turns)(), {})

"""0 means no limit, and what is set for a key stands in place of what is set for all."""

from __future__ import annotations

from vai.policy.limits.decision import NO_HANDLE, Decision
from vai.policy.limits.sets import UNLIMITED, LimitSet, Principal, capped_reservation


def test_what_a_key_sets_replaces_and_what_it_leaves_stays() -> None:
    users = LimitSet(requests=100, tokens=5000)
    assert users.overridden_by(LimitSet(requests=7, sessions=2)) == LimitSet(7, 5000, 0, 2)
    assert users.overridden_by(UNLIMITED) == users


def test_a_reservation_is_no_larger_than_the_smallest_limit() -> None:
    everybody, user = Principal("", LimitSet(tokens=900)), Principal("user:a", LimitSet(tokens=50))
    assert capped_reservation(1000, (everybody, user)) == 50
    assert capped_reservation(40, (everybody, user)) == 40
    assert capped_reservation(1000, (Principal("user:b"),)) == 1000


def test_a_decision_without_a_place_is_a_refusal() -> None:
    assert not Decision(refused="requests").is_admitted
    assert Decision(NO_HANDLE + 1).is_admitted

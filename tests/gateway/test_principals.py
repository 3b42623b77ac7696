"""Whom a request counts for."""

from __future__ import annotations

from vai.config.schema import ApiKey, Auth, LimitBudget, LimitSettings, Settings
from vai.gateway.admission.principals import PrincipalRegistry
from vai.policy.limits.sets import GATEWAY
from vai.secret import Secret


def principals(**limits):
    settings = Settings(auth=Auth(mode="none"), limits=LimitSettings(**limits))
    return PrincipalRegistry(settings)


def key(**more):
    return ApiKey(key=Secret("k"), **more)


def test_keys_of_one_user_share_its_limits():
    found = principals(per_user=LimitBudget(requests_per_minute=7))
    first = found.principals_of_key(key(), "ann", "laptop")
    second = found.principals_of_key(key(), "ann", "server")
    assert first == second
    assert [principal.name for principal in first] == [GATEWAY, "user:ann"]
    assert first[1].limits.requests == 7


def test_a_key_with_limits_of_its_own_counts_for_itself():
    found = principals(per_user=LimitBudget(requests_per_minute=7, tokens_per_minute=9))
    _, own = found.principals_of_key(key(rate_limit=500), "ann", "server")
    assert own.name == "key:server"
    assert own.limits[:4] == (500, 9, 0, 0)


def test_a_tier_stands_in_for_the_limits_of_all_users():
    found = principals(
        per_user=LimitBudget(requests_per_minute=7, concurrent_sessions=3),
        tiers={"free": LimitBudget(requests_per_minute=2, concurrent_requests=1)},
    )
    _, free = found.principals_of_key(key(tier="free"), "ann", "a")
    _, more = found.principals_of_key(key(tier="free", concurrent_requests=5), "bob", "b")
    assert free.limits[:4] == (2, 0, 1, 3)
    assert more.limits[:4] == (2, 0, 5, 3)


def test_callers_without_a_key_count_by_address():
    found = principals()
    one, other = (
        found.principals_of_address("1.1.1.1")[1],
        found.principals_of_address("1.1.1.2")[1],
    )
    assert one.name != other.name
    assert not one.listed


def test_a_name_cannot_be_taken_for_another_kind():
    found = principals()
    _, user = found.principals_of_key(key(), "address:1.1.1.1", "x")
    assert user.name != found.principals_of_address("1.1.1.1")[1].name


def test_smooth_holds_for_all():
    found = principals(mode="smooth")
    assert all(principal.limits.smooth for principal in found.principals_of_address("1.1.1.1"))

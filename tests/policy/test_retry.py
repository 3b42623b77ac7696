"""What is repeated, after what wait, and how much of it."""

from __future__ import annotations

import random

import pytest

from vai.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from vai.policy.retry import FLOOR, RetryBudget, RetryRules, is_retryable, retry_delay
from vai.providers.decode.upstream_errors import fault_from_response

RULES = RetryRules(max_attempts=3, base_delay=0.5, max_delay=4.0, budget=0.1)


def answered(status: int, body: bytes = b"{}", **headers: str) -> UpstreamFault:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return fault_from_response("p", "P", status, fields, body)


def grants(budget: RetryBudget, fault: UpstreamFault, now: float) -> bool:
    """Whether a retry is allowed; if so, it is made."""
    is_allowed = budget.allows_retry(fault, now)
    if is_allowed:
        budget.record_retry(fault, now)
    return is_allowed


@pytest.mark.parametrize(
    ("status", "lent", "own"),
    [
        (400, False, False),
        (401, False, False),
        (402, False, False),
        (403, False, False),
        (404, False, False),
        (408, True, True),
        (409, True, False),
        (413, False, False),
        (418, False, False),
        (422, False, False),
        (429, True, False),
        (498, True, True),
        (500, True, True),
        (502, True, True),
        (503, True, True),
        (504, True, True),
        (529, True, True),
    ],
)
def test_which_answers_are_worth_another_try(status: int, lent: bool, own: bool) -> None:
    assert is_retryable(answered(status), is_byok=False) is lent
    assert is_retryable(answered(status), is_byok=True) is own


def test_the_upstream_may_say_so_itself() -> None:
    assert not is_retryable(answered(503, x_should_retry="false"), is_byok=False)
    assert is_retryable(answered(400, x_should_retry="true"), is_byok=False)
    quota = b'{"error":{"code":"insufficient_quota","message":"m"}}'
    assert not is_retryable(answered(429, quota), is_byok=False)


@pytest.mark.parametrize(
    ("fault", "passing"),
    [
        (UpstreamUnreachable("", code="upstream_connect"), True),
        (UpstreamUnreachable("", code="upstream_dns"), True),
        (UpstreamTimeout("", code="connect_timeout"), True),
        (UpstreamUnreachable("", code="upstream_stale"), True),
        (UpstreamUnreachable("", code="upstream_reset"), False),
        (UpstreamTimeout("", code="headers_timeout"), False),
        (UpstreamTimeout("", code="first_token_timeout"), False),
        (UpstreamTimeout("", code="total_timeout"), False),
        (UpstreamTimeout("", code="pool_timeout"), False),
        (UpstreamBroken("", code="upstream_truncated"), False),
        (UpstreamBroken("", code="upstream_content_type"), False),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_what_may_have_been_worked_on_is_not_repeated(
    fault: UpstreamFault, passing: bool, own: bool
) -> None:
    assert is_retryable(fault, is_byok=own) is passing


def test_waits_double_up_to_the_longest_and_are_drawn_from_zero() -> None:
    fault = answered(503)
    assert [retry_delay(n, fault, RULES, jitter=1.0) for n in (1, 2, 3, 4, 5, 10)] == [
        0.5, 1.0, 2.0, 4.0, 4.0, 4.0,
    ]  # fmt: skip
    assert retry_delay(3, fault, RULES, jitter=0.0) == 0.0
    drawn = [retry_delay(1, fault, RULES, jitter=random.Random(n).random()) for n in range(50)]
    assert len(set(drawn)) == 50


@pytest.mark.parametrize(
    ("stated", "wait"),
    [
        ("0", 0.25),
        ("1", 1.0),
        ("4", 4.0),
        ("5", None),
        ("315360000", None),
        ("-3", 0.25),
        ("soon", 0.25),
        ("Sun, 22 Nov 2026 10:00:02 GMT", 2.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.25),
        ("Sun, 22 Nov 2036 09:00:00 GMT", None),
    ],
)
def test_a_wait_that_is_asked_for_is_kept_or_not_begun(stated: str, wait: float | None) -> None:
    fault = answered(429, retry_after=stated, date="Sun, 22 Nov 2026 10:00:00 GMT")
    assert retry_delay(1, fault, RULES, jitter=0.5) == wait


def test_a_dead_connection_costs_no_wait() -> None:
    stale = UpstreamUnreachable("", code="upstream_stale")
    assert retry_delay(1, stale, RULES, jitter=1.0) == 0.0


def test_repeats_are_a_share_of_the_requests() -> None:
    budget, fault, now, granted = RetryBudget(0.1, 0.0), answered(503), 0.0, 0
    for _ in range(5000):
        now += 0.002
        budget.record_request(now)
        granted += grants(budget, fault, now)
    assert granted <= 500 + FLOOR
    assert granted >= 450


def test_a_quiet_provider_may_be_repeated_at_all() -> None:
    budget, fault = RetryBudget(0.1, 0.0), answered(503)
    budget.record_request(1.0)
    assert [grants(budget, fault, 1.0) for _ in range(5)] == [True, True, True, False, False]
    assert grants(budget, fault, 40.0)


def test_dead_connections_are_outside_the_budget() -> None:
    budget = RetryBudget(0.0, 0.0)
    stale = UpstreamUnreachable("", code="upstream_stale")
    assert all(grants(budget, stale, 1.0) for _ in range(100))
    assert grants(budget, answered(503), 1.0)

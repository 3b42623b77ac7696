"""Callers are told the limit in force, what is left of it and when to come back."""

from __future__ import annotations

from datetime import datetime

import pytest

from vai.errors import Overloaded, RateLimited
from vai.policy.limits.decision import (
    Decision,
    rate_limit_headers,
    rate_limit_lines,
    refusal_error,
)

NOON = datetime.fromisoformat("2026-01-02T12:00:00+00:00").timestamp()


def test_an_answer_tells_both_sets() -> None:
    decision = Decision(5, requests_limit=9, requests_remaining=4, requests_reset=12.0)
    assert rate_limit_headers(decision, NOON) == {
        "x-ratelimit-limit-requests": "9",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "2026-01-02T12:00:13Z",
    }


def test_a_refusal_tells_them_in_both_dialects() -> None:
    decision = Decision(0, "tokens", "", 0.0, 100, 99, 64.5, 5000, 4000, 10.0)
    assert rate_limit_headers(decision, NOON) == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-reset-requests": "2026-01-02T12:01:05Z",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "4000",
        "x-ratelimit-reset-tokens": "2026-01-02T12:00:11Z",
        "anthropic-ratelimit-requests-limit": "100",
        "anthropic-ratelimit-requests-remaining": "99",
        "anthropic-ratelimit-requests-reset": "2026-01-02T12:01:05Z",
        "anthropic-ratelimit-tokens-limit": "5000",
        "anthropic-ratelimit-tokens-remaining": "4000",
        "anthropic-ratelimit-tokens-reset": "2026-01-02T12:00:11Z",
    }


def test_the_lines_of_an_answer_are_its_fields() -> None:
    for decision in (
        Decision(5, "", "", 0.0, 100, 99, 64.5, 5000, 4000, 10.0),
        Decision(5, requests_limit=9),
        Decision(5, tokens_limit=9),
        Decision(5),
    ):
        fields = rate_limit_headers(decision, NOON)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        assert rate_limit_lines(decision, NOON) == lines


def test_a_limit_that_is_not_set_is_not_told() -> None:
    assert rate_limit_headers(Decision(5), NOON) == {}
    assert len(rate_limit_headers(Decision(5, tokens_limit=10), NOON)) == 3


@pytest.mark.parametrize("limit", ["requests", "tokens", "concurrency", "sessions"])
def test_a_refusal_says_which_limit_and_never_whose_name(limit) -> None:
    error = refusal_error(Decision(refused=limit, principal="user:alice", retry_after=2.3))
    assert isinstance(error, RateLimited)
    assert error.code == f"{limit}_limit"
    assert error.message.startswith("Your limit of ")
    assert "alice" not in str(error.to_wire())
    assert error.to_wire()["error"]["retry_after"] == 3


def test_the_gateways_own_limit_is_told_apart() -> None:
    assert refusal_error(Decision(refused="requests")).message.startswith("The gateway's limit")


def test_no_room_to_count_is_not_the_callers_fault() -> None:
    error = refusal_error(Decision(refused="capacity", retry_after=1.0))
    assert isinstance(error, Overloaded)
    assert error.status == 503

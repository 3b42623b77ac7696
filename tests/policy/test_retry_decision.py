"""What follows an error, by a table: one line for each rule, in the order of the rules."""

from __future__ import annotations

from typing import Any

import pytest

from vai.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from vai.policy.retry import (
    NextTarget,
    Retry,
    RetryDecision,
    RetryRules,
    RetryState,
    Stop,
    WithoutReasoning,
    decide,
)
from vai.providers.decode.upstream_errors import fault_from_response

NOW = 1000.0
RULES = RetryRules(max_attempts=3, base_delay=1.0, max_delay=4.0)


def rejected(status: int, **headers: str) -> UpstreamFault:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return fault_from_response("p", "P", status, fields, b"{}")


STALE = UpstreamUnreachable("", code="upstream_stale")
UNSENT = UpstreamUnreachable("", code="upstream_connect")
SILENT = UpstreamTimeout("", code="headers_timeout")
BROKEN = UpstreamBroken("", code="upstream_truncated")


@pytest.mark.parametrize(
    ("error", "state", "decision"),
    [
        # No time is left.
        (rejected(503), {"remaining": 0.0}, Stop()),
        (rejected(400), {"remaining": -1.0, "may_drop_reasoning": True}, Stop()),
        # The provider refused the reasoning: once without it, before all else.
        (rejected(400), {"may_drop_reasoning": True}, WithoutReasoning()),
        (rejected(503), {"may_drop_reasoning": True, "rules": None}, WithoutReasoning()),
        # What passes by itself is retried at the same target, after a longer wait each time.
        (rejected(503), {}, Retry(0.5)),
        (rejected(503), {"retries": 1}, Retry(1.0)),
        (rejected(503), {"jitter": 0.0}, Retry(0.0)),
        (UNSENT, {}, Retry(0.5)),
        (STALE, {}, Retry(0.0)),
        (rejected(429, retry_after="2"), {}, Retry(2.0)),
        # Not too often, not without rules, not beyond the budget: the next target.
        (rejected(503), {"retries": 2}, NextTarget()),
        (rejected(503), {"rules": None}, NextTarget()),
        (rejected(503), {"is_within_budget": False}, NextTarget()),
        # Not when the wait is too long, reaches the end or an open breaker.
        (rejected(429, retry_after="5"), {}, NextTarget()),
        (rejected(503), {"remaining": 0.5}, NextTarget()),
        (rejected(503), {"breaker_open_until": NOW + 0.6}, NextTarget()),
        (rejected(503), {"breaker_open_until": NOW + 0.5}, Retry(0.5)),
        # What may have been worked on is not retried, but another target may answer.
        (SILENT, {}, NextTarget()),
        (BROKEN, {}, NextTarget()),
        (rejected(503, x_should_retry="false"), {}, NextTarget()),
        (rejected(401), {}, NextTarget()),
        # What only the client can mend goes nowhere.
        (rejected(400), {}, Stop()),
        (rejected(413), {}, Stop()),
        # A BYOK key has its own limits and its own account.
        (rejected(429), {"is_byok": True}, NextTarget()),
        (rejected(401), {"is_byok": True}, Stop()),
        (rejected(503), {"is_byok": True}, Retry(0.5)),
    ],
)
def test_each_rule_in_its_order(
    error: UpstreamFault, state: dict[str, Any], decision: RetryDecision
) -> None:
    usual = {"rules": RULES, "remaining": 60.0, "jitter": 0.5}
    assert decide(error, RetryState(**usual | state), NOW) == decision

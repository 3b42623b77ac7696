"""Google's errors: what their details say beyond the status."""

from __future__ import annotations

import json

import pytest

from vai.providers.decode.upstream_errors import MAX_RETRY_AFTER
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS

RPC = "type.googleapis.com/google.rpc."


def fault(error, status=429, *, wrap=False, provider="gemini", headers=None):
    whole = {"error": error}
    body = json.dumps([whole] if wrap else whole).encode()
    return make_adapter(PROVIDER_SPECS[provider], "01TEST").parse_error(status, headers or {}, body)


def limited(*details, message="Slow down.", **more):
    error = {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}
    return fault({**error, "details": [*details]}, **more)


def info(reason, **metadata):
    return {"@type": RPC + "ErrorInfo", "reason": reason, "metadata": metadata}


def retry(delay):
    return {"@type": RPC + "RetryInfo", "retryDelay": delay}


def quota(name):
    violations = [{"quotaMetric": "m", "quotaId": name}, "x"]
    return {"@type": RPC + "QuotaFailure", "violations": violations}


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize(
    ("status", "name", "expected"),
    [
        (400, "INVALID_ARGUMENT", ("invalid_request_error", 400)),
        (400, "FAILED_PRECONDITION", ("invalid_request_error", 400)),
        (401, "UNAUTHENTICATED", ("authentication_error", 401)),
        (403, "PERMISSION_DENIED", ("permission_error", 403)),
        (404, "NOT_FOUND", ("not_found_error", 404)),
        (429, "RESOURCE_EXHAUSTED", ("rate_limit_error", 429)),
        (499, "CANCELLED", ("provider_error", 502)),
        (500, "INTERNAL", ("api_error", 500)),
        (503, "UNAVAILABLE", ("overloaded_error", 503)),
        (504, "DEADLINE_EXCEEDED", ("timeout_error", 504)),
    ],
)
def test_statuses(status, name, expected, wrap):
    error = {"code": status, "message": "m", "status": name}
    found = fault(error, status, wrap=wrap)
    assert (found.type, found.status) == expected
    assert found.code == name.lower()
    assert found.provider_error == error
    # The same inside a stream, where the HTTP status was 200.
    for code in (status, 13):
        adapter = make_adapter(PROVIDER_SPECS["gemini"], "01TEST")
        adapter.feed_bytes(
            b"data: %b\n\n" % json.dumps({"error": {**error, "code": code}}).encode()
        )
        if code == status or name != "CANCELLED":
            assert (adapter.fault.type, adapter.fault.status) == expected


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("34.07s", 34.07),
        ("900ms", 0.9),
        ("0s", 0.0),
        ({"seconds": "12", "nanos": 500_000_000}, 12.5),
        ({"seconds": 3}, 3.0),
        ({"seconds": "x"}, None),
        ("soon", None),
        ("-3s", None),
        ("999999999s", MAX_RETRY_AFTER),
        (7, None),
        (None, None),
    ],
)
def test_when_to_try_again(delay, seconds):
    assert limited(retry(delay)).retry_after == seconds


def test_when_to_try_again_in_words():
    assert limited(message="Please retry in 7.5s.").retry_after == 7.5
    assert limited(retry("3s"), message="Please retry in 7.5s.").retry_after == 3
    assert limited(headers={"retry-after": "9"}).retry_after == 9


def test_quotas():
    minute = limited(quota("GenerateRequestsPerMinutePerProject"))
    assert (minute.retry_after, minute.should_retry) == (60, None)
    told = limited(quota("GenerateRequestsPerMinutePerProject"), retry("5s"))
    assert told.retry_after == 5
    day = limited(quota("GenerateRequestsPerDayPerProject-FreeTier"), retry("5s"))
    assert (day.retry_after, day.should_retry) == (None, False)
    assert limited(quota("Other")).retry_after is None
    assert limited(info("RATE_LIMIT_EXCEEDED"), retry("299s")).should_retry is None
    assert limited(info("RATE_LIMIT_EXCEEDED"), retry("301s")).should_retry is False


@pytest.mark.parametrize(
    ("status", "reason", "expected", "again"),
    [
        (400, "API_KEY_INVALID", ("authentication_error", 401), False),
        (403, "VALIDATION_REQUIRED", ("permission_error", 403), False),
        (403, "BILLING_DISABLED", ("billing_error", 402), False),
        (429, "QUOTA_EXHAUSTED", ("rate_limit_error", 429), False),
        (429, "INSUFFICIENT_G1_CREDITS_BALANCE", ("billing_error", 402), False),
        (429, "MODEL_CAPACITY_EXHAUSTED", ("overloaded_error", 529), False),
        (429, "RATE_LIMIT_EXCEEDED", ("rate_limit_error", 429), None),
    ],
)
@pytest.mark.parametrize("provider", ["gemini", "gemini-oauth"])
def test_reasons(provider, status, reason, expected, again):
    error = {"code": status, "message": "m", "status": "X", "details": [info(reason)]}
    found = fault(error, status, provider=provider)
    assert (found.type, found.status) == expected
    assert found.should_retry is again
    assert found.code == reason.lower()
    assert found.provider == provider


@pytest.mark.parametrize(
    "details",
    [None, {}, "x", [None], [3], [{}], [{"@type": 3}], [info(3)], [quota(None)], [{"@type": None}]],
)
def test_details_of_any_other_form(details):
    error = {"code": 429, "message": "m", "status": 7, "details": details}
    found = fault(error)
    assert (found.type, found.retry_after, found.should_retry) == ("rate_limit_error", None, None)


def test_no_key_and_no_project_is_told():
    message = (
        "Quota of project 1234567 and projects/my-project-42 for "
        "https://x.example/?key=AIzaSyD1234567890abcdefghijk is used up; consumer project_number:99"
    )
    shown = limited(message=message).message
    for secret in ("1234567", "my-project-42", "AIza"):
        assert secret not in shown
    assert "is used up" in shown


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"[]", b'"x"', b'{"error":"plain"}'])
def test_bodies_that_are_no_error_of_googles(body):
    found = make_adapter(PROVIDER_SPECS["gemini"], "01TEST").parse_error(503, {}, body)
    assert (found.type, found.status) == ("overloaded_error", 503)

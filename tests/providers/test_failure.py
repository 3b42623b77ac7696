"""Every status and every name of an upstream's error leads to one fault."""

from __future__ import annotations

import json

import orjson
import pytest

from vai.errors import UpstreamFault
from vai.providers.decode import upstream_errors as failure
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS

BY_STATUS = {
    400: ("invalid_request_error", 400),
    401: ("authentication_error", 401),
    402: ("billing_error", 402),
    403: ("permission_error", 403),
    408: ("timeout_error", 504),
    409: ("invalid_request_error", 409),
    413: ("request_too_large", 413),
    422: ("invalid_request_error", 400),
    424: ("invalid_request_error", 400),
    429: ("rate_limit_error", 429),
    498: ("overloaded_error", 529),
    500: ("api_error", 500),
    503: ("overloaded_error", 503),
    504: ("timeout_error", 504),
    529: ("overloaded_error", 529),
}
"""With a body that says nothing. Then a 404 is not the provider's: see `test_address`."""


def fault(status=400, body=b"", headers=None, provider="openai"):
    adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
    return adapter.parse_error(status, headers or {}, body)


def of(error, status=400, **more):
    return fault(status, json.dumps({"error": error}).encode(), **more)


@pytest.mark.parametrize("provider", list(PROVIDER_SPECS))
@pytest.mark.parametrize("status", range(300, 600))
def test_every_status(provider, status):
    found = fault(status, provider=provider)
    expected = BY_STATUS.get(status, ("provider_error", 502))
    assert (found.type, found.status) == expected
    assert isinstance(found, UpstreamFault)
    assert found.provider == provider
    assert str(status) in found.message
    if expected[0] == "provider_error" and 400 <= status < 499:
        assert found.should_retry is False


@pytest.mark.parametrize(
    ("status", "names", "expected"),
    [
        (429, {"type": "insufficient_quota", "code": "insufficient_quota"}, ("billing_error", 402)),
        (429, {"type": "tokens", "code": "rate_limit_exceeded"}, ("rate_limit_error", 429)),
        (
            401,
            {"type": "invalid_request_error", "code": "invalid_api_key"},
            ("authentication_error", 401),
        ),
        (
            404,
            {"type": "invalid_request_error", "code": "model_not_found"},
            ("not_found_error", 404),
        ),
        (
            400,
            {"type": "invalid_request_error", "code": "model_not_found"},
            ("not_found_error", 404),
        ),
        (
            400,
            {"type": "invalid_request_error", "code": "context_length_exceeded"},
            ("invalid_request_error", 400),
        ),
        (500, {"type": "overloaded_error"}, ("overloaded_error", 529)),
        (413, {"type": "request_too_large"}, ("request_too_large", 413)),
        (409, {"type": "conflict_error"}, ("invalid_request_error", 409)),
        (498, {"code": "capacity_exceeded"}, ("overloaded_error", 529)),
        (500, {"type": "server_error"}, ("api_error", 500)),
    ],
)
def test_a_name_that_says_more_than_the_status_wins(status, names, expected):
    found = of({"message": "m", **names}, status)
    assert (found.type, found.status) == expected


def test_no_money_is_not_tried_again():
    assert of({"message": "m", "code": "insufficient_quota"}, 429).should_retry is False
    assert of({"message": "m"}, 429).should_retry is None
    assert of({"message": "m"}, 429, headers={"x-should-retry": "false"}).should_retry is False
    assert of({"message": "m"}, 400, headers={"x-should-retry": "true"}).should_retry is True


def test_the_upstreams_words_and_object_are_kept():
    error = {
        "message": "bad",
        "type": "invalid_request_error",
        "param": "tools[0]",
        "code": "c",
        "x": [1],
    }
    found = of(error, headers={"x-request-id": "req_9"})
    assert found.message == "bad"
    assert (found.param, found.code) == ("tools[0]", "c")
    assert found.provider_error == error
    assert found.upstream_request_id == "req_9"


def test_anthropics_errors():
    body = {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "too big",
            "details": {"error_code": "image_dimensions_too_large"},
        },
        "request_id": "req_b",
    }
    found = fault(400, json.dumps(body).encode(), provider="anthropic")
    assert found.code == "image_dimensions_too_large"
    assert found.upstream_request_id == "req_b"
    assert found.provider_error == body["error"]
    found = fault(400, json.dumps(body).encode(), {"request-id": "req_h"}, "anthropic")
    assert found.upstream_request_id == "req_h"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message":"flat","type":"t","param":"p","code":"wrong_api_key"}', "flat"),
        (b'{"error":"words"}', "words"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'[{"error":{"message":"in a list"}}]', "in a list"),
    ],
)
def test_other_forms_of_error_bodies(body, message):
    assert fault(401, body, provider="cerebras").message == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>502 Bad Gateway</body></html>",
        b"{",
        b"null",
        b"[]",
        b"3",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_bodies_that_say_nothing(body):
    found = fault(503, body)
    assert found.type == "overloaded_error"
    assert found.provider_error is None
    assert found.message == "OpenAI answered with status 503 and no message"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijkl",
        "sk-ant-api03-AAAA_bbbb-cccc",
        "gsk_abcdefgh12345678",
        "csk-abcdefgh12345678",
        "Bearer abc.def",
        "org-A1b2C3d4E5f6",
        "AIzaSyA1234567890abcdefghijklmnop",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "0123456789abcdef0123456789abcdef01234567",
    ],
)
def test_nothing_that_looks_like_a_key_is_in_the_message(secret):
    found = of({"message": f"Incorrect API key provided: {secret}. See ?key={secret}&a=1"}, 401)
    assert secret not in found.message
    assert found.message.startswith("Incorrect API key provided: [redacted]")


def test_an_ordinary_message_is_not_touched():
    message = "This model's longest output is 128000 tokens (messages.3.content.0, task-list)"
    assert of({"message": message}).message == message


def test_a_long_message_is_cut():
    found = of({"message": "long " * 10_000})
    assert len(found.message) <= failure.MAX_MESSAGE + 3


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, "", 1.5),
        ({"retry-after": "7"}, "", 7.0),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after": "999999999"}, "", failure.MAX_RETRY_AFTER),
        (
            {
                "retry-after": "Sun, 22 Nov 2026 10:00:30 GMT",
                "date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
            "",
            30.0,
        ),
        (
            {
                "retry-after": "Sun, 22 Nov 2026 09:00:00 GMT",
                "date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
            "",
            0.0,
        ),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT"}, "", None),
        ({"retry-after": "soon", "date": "now"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "-5"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({}, "Rate limit reached. Please try again in 6m1.5s.", 361.5),
        ({}, "Please try again in 340ms.", 0.34),
        ({}, "Please try again in 1h2m3s.", 3723.0),
        ({}, "Please try again in a while.", None),
        ({}, "", None),
    ],
)
def test_how_long_to_wait(headers, message, seconds):
    found = of({"message": message}, 429, headers=headers)
    assert found.retry_after == seconds


@pytest.mark.parametrize(
    ("whole", "expected"),
    [
        ({"error": {"type": "overloaded_error", "message": "m"}}, ("overloaded_error", 529)),
        ({"error": {"type": "rate_limit_error", "message": "m"}}, ("rate_limit_error", 429)),
        ({"error": {"type": "server_error", "message": "m"}}, ("api_error", 500)),
        ({"error": {"message": "m"}, "status_code": 429}, ("rate_limit_error", 429)),
        ({"error": {"message": "m", "code": 502}}, ("provider_error", 502)),
        ({"error": {"message": "m", "code": "503"}}, ("overloaded_error", 503)),
        ({"error": "words"}, ("provider_error", 502)),
        ({"message": "m", "type": "too_many_requests_error"}, ("rate_limit_error", 429)),
        ({}, ("provider_error", 502)),
    ],
)
def test_errors_inside_a_stream(whole, expected):
    found = failure.fault_from_event("cerebras", "Cerebras", whole)
    assert (found.type, found.status) == expected
    assert found.message


def test_what_exactly_the_upstream_answered_is_there_for_programs():
    error = {"message": "m", "type": "invalid_request_error", "code": "c"}
    found = of(error, 422, headers={"x-request-id": "req_9"}, provider="groq")
    assert found.to_wire()["error"]["details"] == {
        "provider": "groq",
        "upstream_status": 422,
        "upstream_type": "invalid_request_error",
        "upstream_code": "c",
        "upstream_request_id": "req_9",
    }
    found = failure.fault_from_event(
        "cerebras", "C", {"error": {"message": "m"}, "status_code": 503}
    )
    assert found.details == {"provider": "cerebras", "upstream_status": 503}


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdef123456",
        "gsk_abcdefghijkl",
        "ya29.a0AfH6SMBx-y",
        "AIzaSyA1234567890123456789012",
        "Bearer abcdef",
    ],
)
def test_no_credential_leaves_in_any_part_of_the_error(secret):
    error = {"message": f"Bad key {secret}", "metadata": [{"url": f"https://x/?key={secret}&z=1"}]}
    wire = json.dumps(of(error, 401).to_wire())
    assert secret not in wire
    assert "[redacted]" in wire
    assert "&z=1" in wire or secret.startswith("Bearer")


def test_an_error_of_great_depth_can_still_be_told():
    body = b'{"error":{"message":"m","x":' + b"[" * 800 + b"]" * 800 + b"}}"
    assert fault(400, body).message == "m"
    orjson.dumps(fault(400, body).to_wire())

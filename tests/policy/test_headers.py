"""Which header fields cross the gateway."""

from __future__ import annotations

import pytest

from vai.codec.head import HeaderFields
from vai.policy.headers import fields_to_upstream, headers_from_upstream, headers_to_upstream


def test_features_of_tomorrow_pass_and_private_fields_do_not() -> None:
    passed = headers_to_upstream(
        [
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "a,b"),
            ("anthropic-beta", "c"),
            ("anthropic-something-new", "1"),
            ("x-claude-code-session-id", "s"),
            ("user-agent", "client/1"),
            ("authorization", "Bearer secret"),
            ("x-api-key", "secret"),
            ("x-provider-key-anthropic", "secret"),
            ("cookie", "secret"),
            ("x-corp-token", "secret"),
            ("x-forwarded-for", "10.0.0.1"),
            ("host", "here"),
            ("content-length", "3"),
            ("accept-encoding", "gzip"),
        ]
    )
    assert [name for name, _ in passed] == [
        "anthropic-version",
        "anthropic-beta",
        "anthropic-beta",
        "anthropic-something-new",
        "x-claude-code-session-id",
        "user-agent",
    ]


@pytest.mark.parametrize("names", [["anthropic-beta"], ["anthropic-beta", "cookie"], ["cookie"]])
def test_the_fields_of_a_head_pass_as_any_others(names: list[str]) -> None:
    first = [("user-agent", "a"), ("anthropic-beta", "b"), ("cookie", "c")]
    for repeated in ([], names):
        pairs = [*first, *((name, "again") for name in repeated)]
        assert fields_to_upstream(HeaderFields(pairs)) == headers_to_upstream(pairs)


def test_what_comes_back() -> None:
    headers = {
        "request-id": "req_1",
        "anthropic-ratelimit-requests-limit": "5",
        "retry-after": "3",
        "x-should-retry": "true",
        "set-cookie": "a=b",
        "connection": "close, Anthropic-Hop",
        "anthropic-hop": "of this connection",
        "x-vai-simulated": "true",
        "x-cost-usd": "0.0",
        "location": "https://elsewhere.example",
        "refresh": "0; url=https://elsewhere.example",
        "clear-site-data": "*",
        "link": "<https://elsewhere.example>; rel=preload",
        "www-authenticate": "Basic",
        "x-echo": "anything",
        "transfer-encoding": "chunked",
        "content-length": "5",
        "content-encoding": "gzip",
        "access-control-allow-origin": "*",
        "x-request-id": "theirs",
    }
    assert dict(headers_from_upstream(headers)).keys() == {
        "request-id",
        "anthropic-ratelimit-requests-limit",
        "retry-after",
        "x-should-retry",
    }

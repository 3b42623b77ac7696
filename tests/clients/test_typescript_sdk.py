"""The official TypeScript SDK: one process asks every provider everything."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.rig import PROVIDERS, SILENT, Desk, closed_early, named, run_node, task

pytestmark = pytest.mark.e2e

OWN = {"total_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd"}
"""The members that VAI adds to usage."""
CLASSES = {
    400: ("BadRequestError", "invalid_request_error"),
    404: ("NotFoundError", "not_found_error"),
    413: ("ContentTooLargeError", "request_too_large"),
    429: ("RateLimitError", "rate_limit_error"),
    500: ("InternalServerError", "api_error"),
    529: ("OverloadedError", "overloaded_error"),
}


@pytest.fixture(scope="module")
def results(desk: Desk, gateway, simulator, picture) -> dict[str, Any]:
    return run_node(desk, "typescript_sdk.mjs", task(gateway, simulator, picture))


@pytest.fixture(params=PROVIDERS)
def provider(request) -> str:
    return request.param


@pytest.fixture
def found(results, provider, request) -> dict[str, Any]:
    """What the check that the test is named after gave."""
    check = request.node.originalname.removeprefix("test_")
    result = results[provider][check]
    assert "failed" not in result, f"{result['failed']}\n{result['stack']}"
    return result


def test_text(found, provider):
    assert found["types"] == ["text"]
    assert f"I am {named(provider).partition('/')[2]}" in found["text"]
    assert found["stop"] == "end_turn"
    assert found["usage"]["total_tokens"] == sum(
        found["usage"][name] for name in ("input_tokens", "output_tokens")
    )


def test_stream(found, results, provider):
    assert found["kinds"][0] == "message_start"
    assert found["kinds"][-2:] == ["message_delta", "message_stop"]
    whole = results[provider]["text"]
    assert found["text"] == whole["text"]
    for name in ("input_tokens", "output_tokens"):
        assert found["usage"][name] == found["last"][name] == whole["usage"][name]
    assert found["last"]["total_tokens"] == whole["usage"]["total_tokens"]
    kept = {name: found["usage"][name] for name in OWN & found["usage"].keys()}
    assert kept == {name: found["last"].get(name) for name in kept}


@pytest.mark.parametrize("form", ["tools", "tools_streamed", "thinking_tools"])
def test_the_tool_runner(results, provider, form):
    found = results[provider][form]
    assert "failed" not in found, f"{found['failed']}\n{found['stack']}"
    assert found["asked"] == [{"city": "Oslo"}]
    assert 'The tool answered "fine, 1"' in found["text"]
    assert found["types"][-1] == "text"
    assert found["stop"] == "end_turn"


def test_thinking(found, provider):
    for turn, question in ((found, "Hello"), (found["second"], "And now?")):
        assert (turn["types"][0] == "thinking") is (provider not in SILENT)
        assert turn["types"][-1] == "text"
        assert f'You said: "{question}"' in turn["text"]
        assert turn["usage"]["output_tokens_details"]["thinking_tokens"] > 0


def test_images(found):
    assert "I see an image (40x30 PNG)" in found["text"]


def test_count(found):
    assert found["input_tokens"] > 0


def test_errors(found):
    for case, error in found.items():
        status = int(case.split()[0])
        expected = CLASSES[status]
        assert (error["kind"], error["type"]) == expected, case
        assert error["status"] == status
        assert error["id"].startswith("req_")


def test_error_in_stream(found):
    assert found["kind"] == "APIError"
    assert found["type"] in {"overloaded_error", "api_error", "provider_error"}


def test_wrong_key(found):
    """A retry would take half a second and more: this SDK makes two of them by default."""
    assert (found["kind"], found["status"]) == ("AuthenticationError", 401)
    assert found["type"] == "authentication_error"


def test_abort(found, provider, simulator):
    assert found["pieces"] >= 2
    closed_early(simulator, f"{named(provider).partition('/')[2]};tps=40;tokens=4000")


def test_abort_json(found, provider, simulator):
    assert found["kind"] == "APIUserAbortError"
    closed_early(simulator, f"{named(provider).partition('/')[2]};ttft=20")

"""Vercel's AI SDK: one process asks every provider everything."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.rig import PROVIDERS, SILENT, Desk, closed_early, named, run_node, task

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def results(desk: Desk, gateway, simulator, picture) -> dict[str, Any]:
    return run_node(desk, "vercel.mjs", task(gateway, simulator, picture))


@pytest.fixture(params=PROVIDERS)
def provider(request) -> str:
    return request.param


def of(results: dict[str, Any], provider: str, check: str) -> dict[str, Any]:
    """What a check gave."""
    result = results[provider][check]
    assert "failed" not in result, f"{result['failed']}\n{result['stack']}"
    return result


def test_text_and_stream(results, provider):
    whole, streamed = (of(results, provider, check) for check in ("text", "stream"))
    assert f"I am {named(provider).partition('/')[2]}" in whole["text"]
    assert whole["text"] == streamed["text"]
    assert whole["finish"] == streamed["finish"] == "stop"
    for name in ("inputTokens", "outputTokens", "totalTokens"):
        assert whole["usage"][name] == streamed["usage"][name] > 0
    assert streamed["kinds"][-1] == "finish"
    assert streamed["errors"] == []


@pytest.mark.parametrize("check", ["tools", "tools_streamed"])
def test_tools(results, provider, check):
    found = of(results, provider, check)
    assert found["asked"] == [{"city": "Oslo"}]
    assert 'The tool answered "fine, 1"' in found["text"]
    assert (found["finish"], found["steps"]) == ("stop", 2)


def test_reasoning(results, provider):
    first = of(results, provider, "reasoning")
    for turn, question in ((first, "Hello"), (first["second"], "And now?")):
        assert (question in turn["reasoning"]) is (provider not in SILENT)
        assert f'You said: "{question}"' in turn["text"]
        assert turn["finish"] == "stop"
    assert first["second"]["errors"] == []


def test_images(results, provider):
    assert "I see an image (40x30 PNG)" in of(results, provider, "images")["text"]


def test_an_object(results, provider):
    assert of(results, provider, "object")["output"] == {"city": "example", "days": 1}


def test_errors(results, provider):
    """A status means the same in JSON and at the start of a stream, and so does a repeat."""
    for case, error in of(results, provider, "errors").items():
        status = int(case.split()[0])
        assert error["kind"] == "AI_APICallError", case
        assert error["status"] == status
        assert error["retryable"] is (status in {429, 500, 529})
        assert error["message"]


def test_an_error_in_a_stream(results, provider):
    found = of(results, provider, "error_in_stream")
    assert "text-delta" in found["kinds"]
    assert found["error"]["kind"] == "AI_StreamProviderError"
    assert found["error"]["retryable"] is True
    assert found["error"]["message"]


def test_a_wrong_key(results, provider):
    """`maxRetries` is as this SDK has it: it would say so if it had tried again."""
    found = of(results, provider, "wrong_key")
    assert (found["kind"], found["status"]) == ("AI_APICallError", 401)
    assert found["retryable"] is False


def test_abort(results, provider, simulator):
    model = named(provider).partition("/")[2]
    found = of(results, provider, "abort")
    assert found["last"] == "abort"
    closed_early(simulator, f"{model};tps=40;tokens=4001")
    assert of(results, provider, "abort_json")["kind"] == "AbortError"
    closed_early(simulator, f"{model};ttft=21")

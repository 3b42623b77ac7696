"""Names that a server takes are not said to be missing from its list."""

from __future__ import annotations

import pytest

from vai.policy.catalogue import ModelList, lists_deployments


@pytest.mark.parametrize(
    ("listed", "model", "has"),
    [
        ("claude-x", "claude-x", True),
        ("claude-x-20260101", "claude-x", True),
        ("claude-y", "claude-x", False),
        # Ollama
        ("llama3.2:latest", "llama3.2", True),
        ("llama3.2:latest", "llama3.2:70b", False),
        ("llama3.2:70b", "llama3.2", False),
        # OpenRouter's variants, and the hosts behind Hugging Face's router
        ("vendor/model", "vendor/model:online", True),
        ("vendor/model:free", "vendor/model:free", True),
        ("vendor/other", "vendor/model:online", False),
        # LiteLLM's patterns
        ("openai/*", "openai/gpt-x", True),
        ("openai/*", "groq/gpt-x", False),
        ("*", "anything", True),
    ],
)
def test_what_a_list_has(listed, model, has):
    assert ModelList({listed, "unrelated"}).has_model(model) is has


@pytest.mark.parametrize(
    ("host", "expected"),
    [("mine.openai.azure.com", False), ("mine.services.ai.azure.com", False), ("vllm", True)],
)
def test_azure_lists_models_and_takes_deployments(host, expected):
    assert lists_deployments(host) is expected

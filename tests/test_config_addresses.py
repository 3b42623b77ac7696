"""Base URLs: which are refused, which are doubted, and which are right."""

from __future__ import annotations

import pytest

from vai.config.addresses import address_fault, is_exposed
from vai.providers.registry import PROVIDER_SPECS

CERTAIN, LIKELY, RIGHT = True, False, None

TABLE = [
    # A server of one's own that speaks Chat Completions.
    ("openai", "http://10.0.0.5:8000/v1", RIGHT),
    ("openai", "http://10.0.0.5:8000/v1/", RIGHT),
    ("openai", "http://10.0.0.5:8000", LIKELY),
    ("openai", "http://10.0.0.5:8000/", LIKELY),
    ("openai", "http://10.0.0.5:8000/V1", LIKELY),
    ("openai", "http://10.0.0.5:8000/v1/chat/completions", CERTAIN),
    ("openai", "http://10.0.0.5:8000/v1/chat/completions/", CERTAIN),
    ("openai", "http://10.0.0.5:8000/chat/completions", CERTAIN),
    ("openai", "http://10.0.0.5:8000/v1/completions", CERTAIN),
    ("openai", "http://10.0.0.5:8000/v1/Responses", CERTAIN),
    ("openai", "http://10.0.0.5:8000/v1/messages", CERTAIN),
    ("openai", "http://10.0.0.5:8000/v1/embeddings", CERTAIN),
    ("openai", "http://10.0.0.5:8000/v1/models", CERTAIN),
    ("openai", "http://10.0.0.5:8000/v1/models/gpt-x", CERTAIN),
    ("openai", "http://10.0.0.5:11434/api/chat", CERTAIN),
    ("openai", "http://10.0.0.5:8000/v1/v1", CERTAIN),
    ("openai", "http://10.0.0.5:8000//v1", LIKELY),
    ("openai", "https://llm.example.com/api/openai", LIKELY),
    ("openai", "https://llm.example.com/api/v2/v1", RIGHT),
    ("openai", "https://llm.example.com/inference", LIKELY),
    ("openai", "https://llm.example.com/models", LIKELY),
    ("openai", "https://openrouter.ai/api/v1", RIGHT),
    ("openai", "https://dashscope.aliyuncs.com/compatible-mode/v1", RIGHT),
    ("openai", "https://mine.openai.azure.com/openai/v1", RIGHT),
    ("openai", "https://mine.openai.azure.com/openai/deployments/gpt", LIKELY),
    ("openai", "https://api.z.ai/api/paas/v4", RIGHT),
    ("openai", "https://gateway.ai.cloudflare.com/v1/account/gateway/openai", RIGHT),
    ("openai", "https://generativelanguage.googleapis.com/v1beta/openai", RIGHT),
    ("openai", "https://api.deepseek.com", RIGHT),
    ("openai", "https://models.github.ai/inference", RIGHT),
    ("openai", "https://api.perplexity.ai", RIGHT),
    ("openai", "https://models.inference.ai.azure.com", RIGHT),
    ("openai", "https://dbc-1.cloud.databricks.com/serving-endpoints", RIGHT),
    ("openai", "https://gateway.ai.cloudflare.com/v1/account/gateway/compat", RIGHT),
    ("openai", "https://gateway.ai.cloudflare.com/v1/account/gateway/workers-ai/v1", RIGHT),
    # A proxy may call its own prefix like an endpoint.
    ("openai", "https://llm.example.com/responses", LIKELY),
    ("openai", "https://llm.example.com/embeddings/v1", RIGHT),
    ("anthropic", "https://llm.example.com/messages", LIKELY),
    ("openai", "http://10.0.0.5:8000/v1/chat", LIKELY),
    ("anthropic", "http://10.0.0.5:8000/v1/complete", LIKELY),
    # Another kind at the host of a built-in provider.
    ("openai", "https://api.anthropic.com/v1", RIGHT),
    ("openai", "https://api.anthropic.com", LIKELY),
    ("openai", "https://generativelanguage.googleapis.com/v1beta", LIKELY),
    ("anthropic", "https://api.openai.com", LIKELY),
    ("anthropic", "https://generativelanguage.googleapis.com", LIKELY),
    ("anthropic", "https://api.groq.com/anthropic", RIGHT),
    ("responses", "https://api.groq.com/openai/v1", RIGHT),
    ("gemini", "https://api.anthropic.com/v1beta", LIKELY),
    # The hosts of the built-in providers have one right path.
    ("openai", "HTTPS://API.OPENAI.COM/v1", RIGHT),
    ("openai", "https://api.openai.com.", CERTAIN),
    ("openai", "https://api.openai.com:443/v1/", RIGHT),
    ("openai", "https://api.openai.com", CERTAIN),
    ("openai", "https://api.openai.com/v1", RIGHT),
    ("openai", "https://api.openai.com/v2", CERTAIN),
    ("openai", "https://eu.api.openai.com", CERTAIN),
    ("openai", "https://EU.api.openai.com/v1", RIGHT),
    ("responses", "https://eu.api.openai.com/v1", RIGHT),
    ("responses", "https://api.openai.com/v1/responses", CERTAIN),
    ("responses", "https://proxy.internal/v1/responses", CERTAIN),
    ("responses", "https://proxy.internal", LIKELY),
    ("openai", "https://api.groq.com/v1", CERTAIN),
    ("openai", "https://api.groq.com/openai", CERTAIN),
    ("openai", "https://api.groq.com/openai/v1", RIGHT),
    ("openai", "https://api.cerebras.ai", CERTAIN),
    ("openai", "https://api.cerebras.ai/v1", RIGHT),
    # The Messages API: the version is in the path that is appended.
    ("anthropic", "https://api.anthropic.com", RIGHT),
    ("anthropic", "https://api.anthropic.com/v1", CERTAIN),
    ("anthropic", "https://api.anthropic.com/v1/messages", CERTAIN),
    ("anthropic", "https://llm.example.com", RIGHT),
    ("anthropic", "https://llm.example.com/anthropic", RIGHT),
    ("anthropic", "https://openrouter.ai/api", RIGHT),
    ("anthropic", "https://openrouter.ai/api/v1", CERTAIN),
    ("anthropic", "https://llm.example.com/v1/", CERTAIN),
    ("anthropic", "https://llm.example.com/v1/messages", CERTAIN),
    ("anthropic", "https://llm.example.com/v1/messages/count_tokens", CERTAIN),
    ("anthropic", "https://llm.example.com/v1/models", CERTAIN),
    ("anthropic", "https://llm.example.com/v2", LIKELY),
    ("anthropic", "https://llm.example.com//anthropic", LIKELY),
    # Gemini and Code Assist.
    ("gemini", "https://generativelanguage.googleapis.com", CERTAIN),
    ("gemini", "https://generativelanguage.googleapis.com/v1beta", RIGHT),
    ("gemini", "https://generativelanguage.googleapis.com/v1", RIGHT),
    ("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", CERTAIN),
    ("gemini", "https://generativelanguage.googleapis.com/v1beta/models", CERTAIN),
    ("gemini", "https://proxy.internal/gemini", LIKELY),
    ("gemini", "https://gateway.ai.cloudflare.com/v1/a/g/google-ai-studio", LIKELY),
    ("gemini", "https://gateway.ai.cloudflare.com/v1/a/g/google-ai-studio/v1beta", RIGHT),
    ("gemini", "https://proxy.internal/gemini/v1beta", RIGHT),
    ("gemini", "https://proxy.internal/v1beta/models", CERTAIN),
    ("gemini", "https://proxy.internal/v1beta/models/g:generateContent", CERTAIN),
    ("gemini", "https://proxy.internal/v1/v1beta", CERTAIN),
    ("gemini", "https://proxy.internal/v1/projects/p/locations/l/publishers/google", RIGHT),
    ("code-assist", "https://cloudcode-pa.googleapis.com", RIGHT),
    ("code-assist", "https://cloudcode-pa.googleapis.com/v1internal", CERTAIN),
    ("code-assist", "https://proxy.internal/v1internal:generateContent", CERTAIN),
]


@pytest.mark.parametrize(("kind", "url", "expected"), TABLE)
def test_what_a_base_url_comes_to(kind, url, expected):
    fault = address_fault(kind, url)
    assert (None if fault is None else fault.is_certain) is expected
    if fault is not None:
        assert url not in fault.text
        assert "VAI appends" in fault.text or "two" in fault.text


@pytest.mark.parametrize("row", PROVIDER_SPECS.values(), ids=lambda row: row.id)
def test_the_built_in_addresses_are_right(row):
    assert address_fault(row.kind, row.base_url) is None


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("https://llm.example.com/v1", False),
        ("http://llm.example.com/v1", True),
        ("http://8.8.8.8/v1", True),
        ("http://[2606:4700::1]/v1", True),
        ("http://localhost:8000/v1", False),
        ("http://127.0.0.1:8000/v1", False),
        ("http://[::1]:8000/v1", False),
        ("http://10.0.0.5/v1", False),
        ("http://192.168.1.4/v1", False),
        ("http://100.64.0.1/v1", False),
        ("http://[fd00::1]/v1", False),
        ("http://vllm:8000/v1", False),
        ("http://vllm.models.svc.cluster.local/v1", False),
        ("http://host.docker.internal:11434/v1", False),
        ("http://vllm.models.svc:8000/v1", False),
        ("http://gpu.lan:8000/v1", False),
        ("http://localhost.:8000/v1", False),
        ("HTTP://llm.example.com/v1", True),
    ],
)
def test_where_a_key_would_travel_in_the_clear(url, exposed):
    assert is_exposed(url) is exposed

"""Paths and methods of other APIs: each answer says in one sentence what to use here."""

from __future__ import annotations

import time

import pytest

from vai.gateway.request.errors import method_not_allowed, path_not_found

SERVED = ("Messages API", "POST /v1/messages", "POST /v1/messages/count_tokens", "GET /v1/models")

PATHS = {
    "openai_endpoint": (
        "Use a client of the Messages API",
        [
            *("/v1/chat/completions", "/chat/completions", "/openai/v1/chat/completions"),
            *("/v1/completions", "/completions", "/v1/responses", "/v1/responses/resp_1/cancel"),
            *("/v1/embeddings", "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/realtime"),
            *("/V1/Chat/Completions", "/v1//chat/completions/", "/api/v1/chat/completions"),
            *("/v1/v1/responses", "/v1/engines/davinci/completions", "/v1/batches"),
            *("/openai/deployments/gpt-4o/chat/completions", "/v1/uploads/u1/parts"),
            *("/v1/images/generations", "/v1/moderations", "/v1/vector_stores/vs_1/search"),
        ],
    ),
    "gemini_endpoint": (
        "gemini/<model> with POST /v1/messages",
        [
            "/v1beta/models/gemini-3.8-flash:generateContent",
            "/v1beta/models/gemini-3.8-flash:streamGenerateContent",
            "/v1/models/gemini-3.8-flash:countTokens",
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict",
            *("/v1beta/models", "/v1beta/openai/chat/completions", "/v1beta/interactions"),
            *("/upload/v1beta/files", "/v1internal:generateContent", "/models/x:embedContent"),
        ],
    ),
    "ollama_endpoint": (
        "Use a client of the Messages API",
        ["/api/generate", "/api/chat", "/api/tags", "/api/show", "/api/embed", "/api/version"],
    ),
    "bedrock_endpoint": (
        "ANTHROPIC_BASE_URL",
        ["/model/anthropic.claude-v2/invoke", "/model/a%2Fb/converse-stream",
         "/model/x/invoke-with-response-stream", "/bedrock/model/x/invoke"],
    ),
    "anthropic_endpoint": (
        "",
        ["/v1/complete", "/v1/messages/batches", "/v1/messages/batches/b_1/results",
         "/v1/organizations/me", "/v1/skills", "/v1/agents/a/sessions"],
    ),
    "files_endpoint": ("base64 or as a URL", ["/v1/files", "/v1/files/file_1/content"]),
    "base_url_path": (
        "without /v1",
        [
            *("/v1/v1/messages", "/v1/v1/messages/count_tokens", "/anthropic/v1/messages"),
            *("/anthropic/messages", "/api/v1/messages", "/v1/v1/models", "/openai/v1/models"),
            *("/v1/messages/v1/messages", "/v1/chat/completions2/v1/messages"),
            *("/v1/v1/models/claude-opus-5-5", "/my/proxy/v1/messages", "/api/messages"),
        ],
    ),
    None: (
        "",
        [
            *("/", "/v1", "/v1/nothing", "/v1/messages/nothing", "/v2/messages", "/nothing"),
            *("/v1/chat", "/v2/rerank", "/generate", "/completion", "/metrics", "/docs"),
            "/healthz",
        ],
    ),
}  # fmt: skip
UPPER = ["/V1/Messages", "/v1/Models", "/V1/messages/count_tokens/", "/Messages"]
ALL = [(code, path) for code, (_, paths) in PATHS.items() for path in paths]


@pytest.mark.parametrize(("code", "path"), ALL)
def test_a_path_of_another_api_names_this_ones(code, path):
    error = path_not_found(path)
    assert (error.status, error.type, error.code) == (404, "not_found_error", code)
    assert error.message.startswith("Endpoint not found")
    for word in (*SERVED, PATHS[code][0]):
        assert word in error.message
    assert len(error.message) < 400


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/messages/batches", "Send each of the requests"),
        ("/v1/complete", "Use POST /v1/messages"),
        ("/metrics", "Metrics are not served"),
        ("/healthz", "GET /readyz"),
        ("/docs", "folder docs"),
        ("/v2/rerank", "Use a client of the Messages API"),
        ("/v1", "the beginning of a path"),
        ("/v1/v1/models/x", "Expected GET /v1/models;"),
        ("/v1/v1/messages/count_tokens", "Expected POST /v1/messages/count_tokens;"),
        ("/v1/messages/v1/messages", "Expected POST /v1/messages;"),
    ],
)
def test_what_to_use_instead_is_said(path, said):
    assert said in path_not_found(path).message


def test_a_path_is_never_repeated_and_costs_little():
    marked = "/v1/sk-ant-api03-secret/" + "a/" * 4000
    began = time.perf_counter()
    for path in (marked, marked + "v1/messages", "/model/" * 4000, "/v1/" * 4000, "/" * 16_000):
        assert "secret" not in path_not_found(path).message
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("method", "path", "allowed", "said"),
    [
        ("GET", "/v1/messages", ["POST"], "GET is not served at this path; expected POST"),
        ("POST", "/v1/models", ["HEAD", "GET"], "POST is not served at this path; expected GET"),
        ("DELETE", "/v1/models/x", ["GET"], "DELETE is not served at this path; expected GET"),
        ("SK-ANT-1", "/v1/messages", ["POST"], "this method is not served at this path"),
    ],
)
def test_a_wrong_method_names_the_right_one(method, path, allowed, said):
    error = method_not_allowed(method, path, allowed)
    assert (error.status, error.code) == (405, "method_not_allowed")
    assert said in error.message
    assert "SK" not in error.message


@pytest.mark.parametrize("path", ["/v1/models/x:generateContent", "/models/y:countTokens"])
def test_googles_method_on_a_model_is_no_wrong_method(path):
    error = method_not_allowed("POST", path, ["GET", "HEAD"])
    assert (error.status, error.code) == (404, "gemini_endpoint")


@pytest.mark.parametrize("path", UPPER)
def test_a_path_in_upper_case_is_told_as_such(path):
    assert "paths are in lower case. This server" in path_not_found(path).message

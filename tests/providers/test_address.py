"""An answer of a place where the provider's API is not is told from the provider's own 404."""

from __future__ import annotations

import json

import pytest

from vai.providers.anthropic.verbatim import is_passed_on
from vai.providers.decode.upstream_errors import fault_from_response
from vai.providers.decode.wrong_address import UPSTREAM_ADDRESS, is_bare_not_found
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS

NGINX = b"""<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n
<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"""


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


ELSEWHERE = {
    "nothing": (404, b""),
    "nginx": (404, NGINX),
    "no-method": (405, b"<h1>Method Not Allowed</h1>"),
    "fastapi": (404, _json({"detail": "Not Found"})),
    "fastapi-method": (405, _json({"detail": "Method Not Allowed"})),
    "go": (404, b"404 page not found\n"),
    "kong": (404, _json({"message": "no Route matched with those values"})),
    "express": (404, b"Cannot POST /v1/chat/completions"),
    "nest": (404, _json({"statusCode": 404, "message": "Cannot POST /x", "error": "Not Found"})),
    "spring": (404, _json({"status": 404, "error": "Not Found", "path": "/v1/x"})),
    "problem": (404, _json({"type": "https://x.test/404", "title": "Not Found", "status": 404})),
    "openai": (
        404,
        _json(
            {
                "error": {
                    "message": "Invalid URL (POST /chat/completions)",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": None,
                }
            }
        ),
    ),
    "groq": (
        404,
        _json(
            {
                "error": {
                    "message": "Unknown request URL: POST /x. Please check the URL for typos",
                    "type": "invalid_request_error",
                    "code": "unknown_url",
                }
            }
        ),
    ),
    "no-object": (404, b"[]"),
    "empty-object": (404, b"{}"),
    "bytes": (404, b"\xff\xfe\x00"),
    "misdirected": (421, b""),
}
OWN = {
    "openai": {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}},
    "code-alone": {"error": {"code": "model_not_found"}},
    "any-words": {"error": {"message": "m"}},
    "ollama": {"error": "model 'x' not found, try pulling it first"},
    "vllm": {
        "object": "error",
        "message": "The checkpoint `x` does not exist.",
        "type": "NotFoundError",
        "code": 404,
    },
    "anthropic": {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
    "anthropic-file": {
        "type": "error",
        "error": {"type": "not_found_error", "message": "File not found: file_1"},
    },
    "google": {"error": {"code": 404, "message": "models/x is not found for API version v1beta"}},
    "google-list": [{"error": {"code": 404, "message": "models/x is not found"}}],
    "openrouter": {"error": {"message": "No endpoints found for x/y.", "code": 404}},
    "azure": {
        "error": {
            "code": "DeploymentNotFound",
            "message": "The API deployment for this resource does not exist. Wait a moment.",
        }
    },
    "fastapi": {"detail": "Model x not found"},
}


BARE = {
    "anthropic-path": {
        "type": "error",
        "error": {"type": "not_found_error", "message": "Not Found"},
    },
    "azure-path": {"error": {"code": "404", "message": "Resource not found"}},
}
"""Providers' own errors at a path that they do not have: they name no model."""


@pytest.mark.parametrize("provider", list(PROVIDER_SPECS))
@pytest.mark.parametrize("case", list(ELSEWHERE))
def test_an_answer_of_another_place_is_the_settings_mistake(provider: str, case: str) -> None:
    status, body = ELSEWHERE[case]
    found = make_adapter(PROVIDER_SPECS[provider], "01TEST").parse_error(status, {}, body)
    assert (found.type, found.status, found.code) == ("provider_error", 502, UPSTREAM_ADDRESS)
    assert found.should_retry is False
    assert found.upstream_status == status
    assert "address" in found.message
    assert str(status) in found.message
    assert found.provider_error is None
    assert not is_passed_on(body, found)


@pytest.mark.parametrize("provider", list(PROVIDER_SPECS))
@pytest.mark.parametrize("case", [*OWN, *BARE])
def test_a_providers_own_404_stays_what_it_is(provider: str, case: str) -> None:
    body = _json((OWN | BARE)[case])
    found = make_adapter(PROVIDER_SPECS[provider], "01TEST").parse_error(404, {}, body)
    assert (found.type, found.status) == ("not_found_error", 404)
    assert found.upstream_status == 404
    assert is_passed_on(body, found)


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_an_own_404_that_names_nothing_is_one_to_look_at(provider: str) -> None:
    def said(status: int, error: object) -> bool:
        adapter = make_adapter(PROVIDER_SPECS[provider], "01TEST")
        return is_bare_not_found(adapter.parse_error(status, {}, _json(error)))

    assert all(said(404, error) for error in BARE.values())
    assert not any(said(404, error) for error in OWN.values())
    assert not any(said(400, error) for error in BARE.values())


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 502, 503])
@pytest.mark.parametrize("body", [b"", NGINX, b'{"detail":"Not Found"}'])
def test_other_statuses_say_what_is_wrong_themselves(status: int, body: bytes) -> None:
    assert fault_from_response("p", "P", status, {}, body).code != UPSTREAM_ADDRESS


def test_the_words_of_another_place_are_not_handed_on() -> None:
    body = _json({"detail": "no route on internal-host.corp:8443/v1"})
    wire = fault_from_response("p", "P", 404, {}, body).to_wire()
    assert "internal-host" not in json.dumps(wire)


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_long_words_are_judged_at_once(size: int) -> None:
    for words in ("the requested path " * size, "a" * size, "not found " * size, "404 " * size):
        fault_from_response("p", "P", 404, {}, words[:size].encode())

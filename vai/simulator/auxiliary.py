"""The endpoints beside completions: models, and the onboarding of Code Assist.

Invariants: fixed texts, no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from vai.simulator.parsed_request import SimulatedError
from vai.simulator.profiles import MatchedEndpoint, ProviderProfile

__all__ = ["answer_auxiliary"]

_MODELS: Final = ("sim-1", "sim-1-mini", "bench")
_PROJECT: Final = "simulated-project"
_OPERATION: Final = "operations/onboard-simulated"
_TIER: Final = {
    "id": "free-tier",
    "name": "Simulated",
    "description": "Nothing is charged.",
    "isDefault": True,
}
_NOT_ONBOARDED: Final[Mapping[str, dict[str, Any]]] = {
    "newcomer": {"allowedTiers": [_TIER]},
    "ineligible": {
        "allowedTiers": [],
        "ineligibleTiers": [
            {"reasonCode": "INELIGIBLE_ACCOUNT", "reasonMessage": "Not simulated for you."}
            | {"tierId": "free-tier", "tierName": "Simulated"}
        ],
    },
}
"""Projects of accounts that are not onboarded yet."""


def answer_auxiliary(target: MatchedEndpoint, method: str, data: bytes) -> dict[str, Any]:
    """The response to a request for another endpoint than completions.

    Raises:
        SimulatedError: 404, there is no such endpoint; 400, an invalid Code Assist request.
    """
    profile, path = target.profile, target.path
    if target.action == "models" and method == "GET":
        return _list_models(profile)
    if target.action == "model" and method == "GET" and target.model in _MODELS:
        return _describe_google_model(str(target.model))
    if path == "/cerebras/v1/tcp_warming":
        return {}
    if profile.name == "gemini-oauth":
        return _answer_code_assist(method, path.removeprefix(profile.path), data)
    if profile.wire_format == "google":
        raise SimulatedError(404, f"{path} is not found, or is not supported for this API version.")
    raise SimulatedError(
        404, "Not found" if profile.wire_format == "messages" else f"Invalid URL ({path})"
    )


def _list_models(profile: ProviderProfile) -> dict[str, Any]:
    if profile.wire_format == "google":
        return {"models": [_describe_google_model(model) for model in _MODELS]}
    if profile.wire_format == "messages":
        models = [
            {"type": "model", "id": m, "display_name": m, "created_at": "2026-01-01T00:00:00Z"}
            for m in _MODELS
        ]
        return {"data": models, "has_more": False, "first_id": _MODELS[0], "last_id": _MODELS[-1]}
    owned = [
        {"id": m, "object": "model", "created": 1_790_000_000, "owned_by": profile.name}
        for m in _MODELS
    ]
    return {"object": "list", "data": owned}


def _describe_google_model(model: str) -> dict[str, Any]:
    return {
        "name": f"models/{model}",
        "version": "001",
        "displayName": model,
        "description": "Simulated.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "thinking": True,
    }


def _answer_code_assist(method: str, rest: str, data: bytes) -> dict[str, Any]:
    done = {
        "name": _OPERATION,
        "done": True,
        "response": {"cloudaicompanionProject": {"id": _PROJECT, "name": _PROJECT}},
    }
    if method == "GET" and rest == f"/{_OPERATION}":
        return done
    body = _parse_body(data) if method == "POST" else {}
    match method, rest:
        case "POST", ":loadCodeAssist":
            project = body.get("cloudaicompanionProject") or _PROJECT
            if str(project).isdigit():
                raise SimulatedError(
                    400, "Invalid project: a project id is needed, not its number."
                )
            if project in _NOT_ONBOARDED:
                return _NOT_ONBOARDED[project]
            return {
                "currentTier": _TIER,
                "allowedTiers": [_TIER],
                "cloudaicompanionProject": project,
            }
        case "POST", ":onboardUser":
            if body.get("tierId") == _TIER["id"] and body.get("cloudaicompanionProject"):
                raise SimulatedError(
                    400, "The free tier takes no project.", code="FAILED_PRECONDITION"
                )
            return {"name": _OPERATION}
        case "POST", ":retrieveUserQuota":
            return {"buckets": []}
    raise SimulatedError(404, "Requested entity was not found.")


def _parse_body(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data or b"{}")
    except orjson.JSONDecodeError:
        raise SimulatedError(400, "Invalid JSON payload received.") from None
    if not isinstance(body, dict):
        raise SimulatedError(400, "Invalid JSON payload received.")
    return body

"""The endpoints next to the answering one: models, and how Code Assist takes somebody in.

Invariants: fixed words, no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from vai.simulator.ask import Refused
from vai.simulator.faces import Face, Target

__all__ = ["tell"]

_MODELS: Final = ("sim-1", "sim-1-mini", "bench")
_PROJECT: Final = "simulated-project"
_OPERATION: Final = "operations/onboard-simulated"
_TIER: Final = {
    "id": "free-tier",
    "name": "Simulated",
    "description": "Nothing is charged.",
    "isDefault": True,
}
_STRANGERS: Final[Mapping[str, dict[str, Any]]] = {
    "newcomer": {"allowedTiers": [_TIER]},
    "ineligible": {
        "allowedTiers": [],
        "ineligibleTiers": [
            {"reasonCode": "INELIGIBLE_ACCOUNT", "reasonMessage": "Not simulated for you."}
            | {"tierId": "free-tier", "tierName": "Simulated"}
        ],
    },
}
"""Projects that stand for somebody who is not taken in yet."""


def tell(target: Target, method: str, data: bytes) -> dict[str, Any]:
    """The answer to a request that asks for no completion.

    Raises:
        Refused: 404, there is no such endpoint.
    """
    face, path = target.face, target.path
    if target.action == "models" and method == "GET":
        return _models(face)
    if target.action == "model" and method == "GET" and target.model in _MODELS:
        return _google_model(str(target.model))
    if path == "/cerebras/v1/tcp_warming":
        return {}
    if face.name == "gemini-oauth":
        return _code_assist(method, path.removeprefix(face.path), data)
    if face.dialect == "google":
        raise Refused(404, f"{path} is not found, or is not supported for this API version.")
    raise Refused(404, "Not found" if face.dialect == "messages" else f"Invalid URL ({path})")


def _models(face: Face) -> dict[str, Any]:
    if face.dialect == "google":
        return {"models": [_google_model(model) for model in _MODELS]}
    if face.dialect == "messages":
        rows = [
            {"type": "model", "id": m, "display_name": m, "created_at": "2026-01-01T00:00:00Z"}
            for m in _MODELS
        ]
        return {"data": rows, "has_more": False, "first_id": _MODELS[0], "last_id": _MODELS[-1]}
    owned = [
        {"id": m, "object": "model", "created": 1_790_000_000, "owned_by": face.name}
        for m in _MODELS
    ]
    return {"object": "list", "data": owned}


def _google_model(model: str) -> dict[str, Any]:
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


def _code_assist(method: str, rest: str, data: bytes) -> dict[str, Any]:
    done = {
        "name": _OPERATION,
        "done": True,
        "response": {"cloudaicompanionProject": {"id": _PROJECT, "name": _PROJECT}},
    }
    if method == "GET" and rest == f"/{_OPERATION}":
        return done
    body = _given(data) if method == "POST" else {}
    match method, rest:
        case "POST", ":loadCodeAssist":
            project = body.get("cloudaicompanionProject") or _PROJECT
            if str(project).isdigit():
                raise Refused(400, "Invalid project: a project id is needed, not its number.")
            if project in _STRANGERS:
                return _STRANGERS[project]
            return {
                "currentTier": _TIER,
                "allowedTiers": [_TIER],
                "cloudaicompanionProject": project,
            }
        case "POST", ":onboardUser":
            if body.get("tierId") == _TIER["id"] and body.get("cloudaicompanionProject"):
                raise Refused(400, "The free tier takes no project.", code="FAILED_PRECONDITION")
            return {"name": _OPERATION}
        case "POST", ":retrieveUserQuota":
            return {"buckets": []}
    raise Refused(404, "Requested entity was not found.")


def _given(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data or b"{}")
    except orjson.JSONDecodeError:
        raise Refused(400, "Invalid JSON payload received.") from None
    if not isinstance(body, dict):
        raise Refused(400, "Invalid JSON payload received.")
    return body

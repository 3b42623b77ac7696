"""The project that Code Assist serves an account with.

`loadCodeAssist` tells it for an account that has a tier; one that has none is enrolled in
the tier that Google offers by default. A free tier comes with a project of Google's and must
not be sent one; a paid one needs the user's own. VAI says who it is (`User-Agent`) and
imitates nobody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

import httpx

from vai.io.google.oauth import LoginFailed, fetch_object
from vai.secret import Secret

__all__ = ["PATIENCE", "POLL", "CodeAssistAccount"]

POLL: Final = 5.0
"""Seconds between two looks at an enrolment."""
PATIENCE: Final = 300.0
"""Seconds that an enrolment may take."""

_METADATA: Final = {
    "ideType": "IDE_UNSPECIFIED",
    "platform": "PLATFORM_UNSPECIFIED",
    "pluginType": "GEMINI",
}
_FREE: Final = "free-tier"
_OPERATION: Final = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_PROJECT: Final = re.compile(r"(?!\d+$)[a-z0-9][a-z0-9.:-]{0,99}")
_MAX_REASON: Final = 300


class CodeAssistAccount:
    """A signed-in account at Code Assist."""

    def __init__(
        self, http: httpx.AsyncClient, base: str, token: Secret, *, poll: float = POLL
    ) -> None:
        self._http = http
        self._base = base.rstrip("/")
        self._token = token
        self._poll = poll

    async def find_project(self, wanted: str | None = None) -> str:
        """The project to name in requests; enrols the account where it has no tier.

        Args:
            wanted: the user's own project, by its id.

        Raises:
            LoginFailed: the account cannot be served; the text says why, as Google does.
        """
        if wanted is not None and not _PROJECT.fullmatch(wanted):
            raise LoginFailed("The project must be given by its id, not by its number")
        metadata = _METADATA if wanted is None else {**_METADATA, "duetProject": wanted}
        body: dict[str, Any] = {"metadata": metadata}
        if wanted is not None:
            body["cloudaicompanionProject"] = wanted
        assist = await self._call_method("loadCodeAssist", body)
        if assist.get("currentTier"):
            return _check_project(assist.get("cloudaicompanionProject") or wanted)
        tier = _default_tier(assist)
        if tier == _FREE:
            return await self._enrol_account({"tierId": tier, "metadata": _METADATA}, None)
        if wanted is None:
            raise LoginFailed("This account needs a project of its own: give it with --project")
        return await self._enrol_account({"tierId": tier, **body}, wanted)

    async def _enrol_account(self, body: dict[str, Any], wanted: str | None) -> str:
        operation = await self._call_method("onboardUser", body)
        try:
            async with asyncio.timeout(PATIENCE):
                while not operation.get("done"):
                    name = operation.get("name")
                    if not isinstance(name, str) or not _OPERATION.fullmatch(name):
                        raise LoginFailed("Code Assist began an enrolment and did not name it")
                    await asyncio.sleep(self._poll)
                    operation = await self._call_method(name, None)
        except TimeoutError:
            raise LoginFailed("Code Assist did not finish the enrolment in time") from None
        if isinstance(error := operation.get("error"), dict):
            raise LoginFailed(f"Code Assist refused the enrolment: {_read_reason(error)}")
        response = operation.get("response")
        project = response.get("cloudaicompanionProject") if isinstance(response, dict) else None
        return _check_project((project.get("id") if isinstance(project, dict) else None) or wanted)

    async def _call_method(self, what: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One exchange: a method with a body, or the look at an operation."""
        headers = {"authorization": f"Bearer {self._token.reveal()}"}
        if body is None:
            url = f"{self._base}/v1internal/{what}"
            status, response = await fetch_object(
                self._http, "GET", url, "Code Assist", headers=headers
            )
        else:
            url = f"{self._base}/v1internal:{what}"
            status, response = await fetch_object(
                self._http, "POST", url, "Code Assist", headers=headers, json=body
            )
        if status != 200:
            error = response.get("error")
            reason = _read_reason(error) if isinstance(error, dict) else "no reason"
            raise LoginFailed(f"Code Assist refused with status {status}: {reason}")
        return response


def _default_tier(assist: Mapping[str, Any]) -> str:
    allowed = [tier for tier in assist.get("allowedTiers") or () if isinstance(tier, dict)]
    for tier in allowed:
        if tier.get("isDefault") and isinstance(tier.get("id"), str):
            return str(tier["id"])
    refused = [tier for tier in assist.get("ineligibleTiers") or () if isinstance(tier, dict)]
    reasons = "; ".join(
        f"{_printable_text(tier.get('reasonCode')) or 'no reason'}"
        f" ({_printable_text(tier.get('reasonMessage'))})"
        for tier in refused
    )
    raise LoginFailed(f"Code Assist does not serve this account: {reasons or 'no reason given'}")


def _check_project(project: Any) -> str:
    if not isinstance(project, str):
        raise LoginFailed("This account needs a project of its own: give it with --project")
    if not _PROJECT.fullmatch(project):
        raise LoginFailed("Code Assist named a project that is none")
    return project


def _read_reason(error: Mapping[str, Any]) -> str:
    return (
        _printable_text(error.get("message")) or _printable_text(error.get("status")) or "no reason"
    )


def _printable_text(text: Any) -> str:
    """Google's own words, fit for a terminal."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in text)[:_MAX_REASON]

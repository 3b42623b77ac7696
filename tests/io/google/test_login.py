"""A whole login: the page, the way back, the tokens, the project."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.io.google.fake import APP, CLIENT, CLIENT_SECRET, CODE, REFRESH, Google, access
from vai.config.login import GoogleLogin
from vai.io.google.login import sign_in
from vai.io.google.oauth import SCOPES, LoginFailed

LOAD = "/v1internal:loadCodeAssist"
ONBOARD = "/v1internal:onboardUser"


class Browser:
    """Follows the page's redirect as soon as it is shown, in a thread like a real one."""

    def __init__(self, google: Google, answer: Callable[[dict[str, str]], dict[str, str]]) -> None:
        self._google = google
        self._answer = answer
        self.pages: list[httpx.Response] = []
        self.shown = ""
        self.thread: threading.Thread | None = None

    def show(self, address: str) -> None:
        self.shown = address
        self.thread = threading.Thread(target=self._go, args=(address,))
        self.thread.start()

    def _go(self, address: str) -> None:
        query = self._google.visit(address)
        self.pages.append(
            httpx.get(
                query["redirect_uri"],
                params=self._answer(query),
                timeout=20,
                trust_env=False,
                verify=False,
            )
        )

    async def ended(self) -> httpx.Response:
        assert self.thread is not None
        await asyncio.to_thread(self.thread.join, 20)
        return self.pages[-1]


def agree(query: dict[str, str]) -> dict[str, str]:
    return {"state": query["state"], "code": CODE}


async def run(google: Google, browser: Browser | None = None, **more: Any) -> GoogleLogin:
    browser = browser or Browser(google, agree)
    return await sign_in(
        APP, show=browser.show, endpoints=google.endpoints, poll=0.01, **{"patience": 20, **more}
    )


async def test_a_login_from_the_page_to_the_project(google: Google) -> None:
    browser = Browser(google, agree)
    found = await run(google, browser)
    assert found.refresh_token.reveal() == REFRESH
    assert found.access_token.reveal() == access(1)
    assert (found.project, found.client_id, found.scopes) == ("heron-1", CLIENT, SCOPES)
    page = await browser.ended()
    assert (page.status_code, page.text) == (200, "You are signed in. You can close this page.")
    query = google.visit(browser.shown)
    assert query["redirect_uri"].startswith("http://127.0.0.1:")
    assert query["redirect_uri"].endswith("/oauth2callback")
    assert (query["response_type"], query["access_type"]) == ("code", "offline")
    assert query["scope"].split() == list(SCOPES)
    assert CLIENT_SECRET not in browser.shown
    (asked,) = google.at(LOAD)
    assert asked.headers["authorization"] == f"Bearer {access(1)}"
    assert asked.body["metadata"]["pluginType"] == "GEMINI"
    assert "cloudaicompanionProject" not in asked.body
    # Nobody else is imitated.
    assert not {"client-metadata", "x-goog-api-client"} & set(asked.headers)
    assert asked.headers["user-agent"].startswith("vai/")


async def test_a_stranger_with_another_state_is_refused_and_ends_nothing(google: Google) -> None:
    strangers: list[httpx.Response] = []

    def late(query: dict[str, str]) -> dict[str, str]:
        for wrong in ({"code": "stolen"}, {"state": "guessed", "code": "stolen"}):
            answer = httpx.get(query["redirect_uri"], params=wrong, trust_env=False, verify=False)
            strangers.append(answer)
        elsewhere = query["redirect_uri"].replace("/oauth2callback", "/")
        strangers.append(httpx.get(elsewhere, trust_env=False, verify=False))
        return agree(query)

    found = await run(google, Browser(google, late))
    assert [page.status_code for page in strangers] == [400, 400, 404]
    assert found.project == "heron-1"
    assert [seen.form["code"] for seen in google.at("/token")] == [CODE]


async def test_who_says_no_is_told_so(google: Google) -> None:
    browser = Browser(google, lambda q: {"state": q["state"], "error": "access_denied"})
    with pytest.raises(LoginFailed, match="you refused it"):
        await run(google, browser)
    page = await browser.ended()
    assert (page.status_code, page.text) == (400, "Signing in failed. The terminal says why.")
    assert google.at("/token") == []


async def test_a_code_that_google_does_not_take(google: Google) -> None:
    browser = Browser(google, lambda q: {"state": q["state"], "code": f"{CODE}-other"})
    with pytest.raises(LoginFailed, match="run vai login gemini again") as failed:
        await run(google, browser)
    assert failed.value.final
    assert CODE not in str(failed.value)
    assert (await browser.ended()).status_code == 400


async def test_nobody_comes() -> None:
    google = Google()
    try:
        with pytest.raises(LoginFailed, match="in time"):
            await sign_in(APP, show=lambda _: None, endpoints=google.endpoints, patience=0.05)
    finally:
        google.close()


async def test_the_port_is_taken(google: Google) -> None:
    port = int(google.url.rpartition(":")[2])
    with pytest.raises(LoginFailed, match=f"Port {port}"):
        await run(google, port=port)


async def test_an_account_without_a_tier_is_enrolled_without_a_project(google: Google) -> None:
    tiers = [{"id": "standard-tier"}, {"id": "free-tier", "isDefault": True}]
    google.said[LOAD] = [(200, {"allowedTiers": tiers})]
    google.said[ONBOARD] = [(200, {"name": "operations/abc-1", "done": False})]
    google.said["/v1internal/operations/abc-1"] = [
        (200, {"name": "operations/abc-1"}),
        (
            200,
            {
                "name": "operations/abc-1",
                "done": True,
                "response": {"cloudaicompanionProject": {"id": "gifted-7"}},
            },
        ),
    ]
    found = await run(google, project="own-1")
    assert found.project == "gifted-7"
    (asked,) = google.at(ONBOARD)
    assert asked.body["tierId"] == "free-tier"
    assert "own-1" not in str(asked.body)
    assert [seen.method for seen in google.at("/v1internal/operations/abc-1")] == ["GET", "GET"]


async def test_a_paid_tier_needs_a_project_of_ones_own(google: Google) -> None:
    google.said[LOAD] = [(200, {"allowedTiers": [{"id": "standard-tier", "isDefault": True}]})]
    google.said[ONBOARD] = [(200, {"done": True, "response": {}})]
    with pytest.raises(LoginFailed, match="--project"):
        await run(google)
    assert (await run(google, project="own-1")).project == "own-1"
    assert google.at(ONBOARD)[0].body["cloudaicompanionProject"] == "own-1"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {
                "ineligibleTiers": [
                    {"reasonCode": "RESTRICTED_AGE", "reasonMessage": "Too young\x1b[2J"}
                ]
            },
            r"RESTRICTED_AGE \(Too young \[2J\)",
        ),
        ({}, "no reason given"),
        ({"currentTier": {"id": "x"}, "cloudaicompanionProject": "123456"}, "project that is none"),
        ({"currentTier": {"id": "x"}}, "--project"),
    ],
)
async def test_why_an_account_is_not_served(google: Google, said: Any, expected: str) -> None:
    google.said[LOAD] = [(200, said)]
    with pytest.raises(LoginFailed, match=expected):
        await run(google)


@pytest.mark.parametrize("name", ["../../token", "operations/../x", "http://a", 7, None])
async def test_an_enrolment_of_a_strange_name_is_not_followed(google: Google, name: Any) -> None:
    google.said[LOAD] = [(200, {"allowedTiers": [{"id": "free-tier", "isDefault": True}]})]
    google.said[ONBOARD] = [(200, {"name": name})]
    with pytest.raises(LoginFailed, match="did not name it"):
        await run(google)


async def test_a_project_by_number_is_refused_before_google_is_asked(google: Google) -> None:
    with pytest.raises(LoginFailed, match="not by its number"):
        await run(google, project="1234567")
    assert google.at(LOAD) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((500, {"error": "internal_failure"}), r"status 500 \(internal_failure\)"),
        ((400, {"error": f"{CODE} is wrong"}), r"status 400 \(no reason\)"),
        ((200, {}), "no token"),
        ((200, {"access_token": "a b\r\n"}), "no token"),
        ((200, {"access_token": "abc", "expires_in": 3599}), "no refresh token"),
        ((502, b"<html>"), "no JSON"),
        ((200, b"[" * 100_000), "no JSON"),
        ((200, b"1" * (2 << 20)), "too large"),
    ],
)
async def test_what_google_may_answer_in_place_of_a_token(
    google: Google, answer: tuple[int, Any], expected: str
) -> None:
    google.said["/token"] = [answer]
    with pytest.raises(LoginFailed, match=expected):
        await run(google)


async def test_google_is_not_there(google: Google) -> None:
    gone = google.endpoints
    browser = Browser(google, agree)
    google.close()
    with pytest.raises(LoginFailed, match="cannot be reached"):
        await sign_in(APP, show=browser.show, endpoints=gone, patience=20)


async def test_one_who_gives_up_leaves_nothing_behind(google: Google) -> None:
    shown: list[str] = []
    task = asyncio.ensure_future(
        sign_in(APP, show=shown.append, endpoints=google.endpoints, patience=20)
    )
    while not shown:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    redirect = google.visit(shown[0])["redirect_uri"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(redirect, trust_env=False, verify=False)

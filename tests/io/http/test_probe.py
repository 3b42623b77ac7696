"""Each provider is asked for its models once, and what went wrong is told with its setting."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from tests.canary import PROVIDER_KEY
from tests.e2e.rig import FACES, Simulated
from tests.io.http.scripted import Handler, always, heard, reset, serving
from vai.config import Settings
from vai.config.login import GoogleLogin
from vai.config.schema import Auth, Provider
from vai.io import probe as subject
from vai.io.google.login import write_login
from vai.io.probe import ProbeResult, probe_providers
from vai.policy.timers import Timers
from vai.secret import Secret
from vai.simulator.process import start_simulator

KEY = Secret(PROVIDER_KEY)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulated]:
    with start_simulator() as process:
        simulated = Simulated(process.url)
        yield simulated
        simulated.close()


@pytest.fixture
def run(run):
    """As the other tests' fixture, with the coroutine's result."""

    def runner(main):
        kept = []

        async def keep():
            kept.append(await main)

        run(keep())
        return kept[0]

    return runner


def answer(status: str, body: bytes = b"{}", *fields: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *fields, "", ""]).encode() + body


def listing(*models: str, **more: object) -> bytes:
    data = [{"id": model, "object": "model"} for model in models]
    return answer("200 OK", json.dumps({"object": "list", "data": data, **more}).encode())


def settings(**fields: object) -> Settings:
    return Settings(auth=Auth(mode="none"), **fields)


def mine(port: int, *, kind: str = "openai", key: Secret | None = KEY, **more: object) -> Provider:
    path = "/v1" if kind == "openai" else ""
    url = more.pop("base_url", f"http://127.0.0.1:{port}{path}")
    return Provider(kind=kind, base_url=url, api_key=key, **more)


async def probed(handler: Handler, **fields: object) -> ProbeResult:
    """What is told of one server of the operator's own."""
    async with serving(handler) as port:
        providers = {"mine": mine(port, **fields)}
        (found,) = [
            one
            for one in await probe_providers(settings(providers=providers))
            if one.outcome != "skipped"
        ]
    assert found.provider == "mine"
    assert PROVIDER_KEY not in repr(found)
    return found


ECHO = f"the key {PROVIDER_KEY} is wrong".encode()


@pytest.mark.parametrize(
    ("wire", "outcome", "status", "said"),
    [
        (listing("a", "b"), "ok", 200, "reachable, 2 models"),
        (listing("a"), "ok", 200, "reachable, 1 model"),
        (listing(), "ok", 200, "reachable, 0 models"),
        (answer("200 OK", b'[{"id": "a"}]'), "ok", 200, "reachable, 1 model"),
        (answer("200 OK", b'{"models": [{"name": "a"}]}'), "ok", 200, "1 model"),
        (answer("200 OK", b'{"ok": true}'), "failed", 200, "no list of models"),
        (answer("200 OK", b"ok"), "failed", 200, "no list of models"),
        (answer("200 OK", b""), "failed", 200, "no list of models"),
        (answer("200 OK", b"\xff\xfe"), "failed", 200, "no list of models"),
        (answer("200 OK", b"[" * 100_000), "failed", 200, "no list of models"),
        (answer("200 OK", b"<!doctype html><p>Log in"), "failed", 200, "a web page"),
        (
            answer("200 OK", b"Welcome", "Content-Type: text/html; charset=utf-8"),
            "failed",
            200,
            "a web page",
        ),
        (answer("401 Unauthorized", ECHO), "failed", 401, "key was refused: check providers.mine"),
        (answer("403 Forbidden", ECHO), "failed", 403, "check providers.mine.api_key"),
        (answer("404 Not Found", ECHO), "failed", 404, "nothing at this URL; check providers.mine"),
        (answer("405 Method Not Allowed"), "failed", 405, "check providers.mine.base_url"),
        (answer("429 Too Many Requests"), "ok", 429, "reachable, and at a limit"),
        (answer("500 Internal Server Error", ECHO), "failed", 500, "the server fails"),
        (answer("503 Service Unavailable"), "failed", 503, "the server fails"),
        (answer("402 Payment Required"), "failed", 402, "unexpected"),
        (
            answer("302 Found", b"", f"Location: https://sso.example.com/x?key={PROVIDER_KEY}"),
            "failed",
            302,
            "redirects to https://sso.example.com, which is not followed",
        ),
        (answer("307 Temporary Redirect", b"", "Location: //["), "failed", 307, "redirects, which"),
        (answer("200 OK", b"{}", "Content-Encoding: gzip"), "failed", None, "content coding"),
        (answer("200 OK", b"{", length=9), "failed", None, "ended early"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "failed", None, "not HTTP/1.1; check providers.mine.base_url"),
    ],
)
def test_what_a_server_answers(run, wire, outcome, status, said):
    found = run(probed(always(wire, close=True)))
    assert (found.outcome, found.status) == (outcome, status), found
    assert said in found.text
    assert found.url.startswith("http://127.0.0.1:")
    assert "?" not in found.url


def test_a_huge_answer_is_not_read_to_its_end(run):
    sent = 0

    async def endless(reader, writer):
        nonlocal sent
        await heard(reader)
        writer.write(answer("200 OK", b"[", length=1 << 40))
        while True:
            writer.write(b" " * (1 << 18))
            sent += 1 << 18
            await writer.drain()

    found = run(probed(endless))
    assert (found.outcome, found.models) == ("failed", None)
    assert "more than 8 MB" in found.text
    assert sent < 3 * subject.MAX_ANSWER


def silent(reader, writer):
    return asyncio.sleep(60)


async def speaks_no_tls(reader, writer):
    await reader.read(1)
    writer.write(answer("400 Bad Request"))
    await writer.drain()


async def hangs_up(reader, writer):
    await heard(reader)
    reset(writer)


async def drips(reader, writer):
    await heard(reader)
    writer.write(answer("200 OK", b"[", length=1 << 20))
    while True:
        writer.write(b" ")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("handler", "said"),
    [(silent, "no response within"), (hangs_up, "broke before"), (drips, "within")],
    ids=["silent", "hangs-up", "drips"],
)
def test_a_server_that_does_not_answer(run, monkeypatch, handler, said):
    monkeypatch.setattr(subject, "PATIENCE", 0.3)
    began = time.monotonic()
    found = run(probed(handler))
    assert time.monotonic() - began < 3
    assert (found.outcome, found.status) == ("failed", None)
    assert said in found.text


def test_servers_that_are_not_there(run, certificates, unused_port):
    async def main():
        ok = always(listing("a"))
        async with serving(ok, certificates.server) as tls, serving(speaks_no_tls) as plain:
            at = f"https://127.0.0.1:{tls}/v1"
            ca = str(certificates.ca)
            providers = {
                "trusted": mine(0, base_url=at, ca_file=ca),
                "unknown-ca": mine(0, base_url=at),
                "unchecked": mine(0, base_url=at, verify_tls=False),
                "no-tls": mine(0, base_url=f"https://127.0.0.1:{plain}/v1", ca_file=ca),
                "closed": mine(unused_port),
                "nameless": mine(0, base_url="http://no-such-host.invalid/v1"),
                "proxied": mine(
                    plain, proxy=Secret(f"http://u:{PROVIDER_KEY}@127.0.0.1:{unused_port}")
                ),
            }
            found = await probe_providers(settings(providers=providers, timers=Timers(connect=2)))
        return {one.provider: one for one in found if one.outcome != "skipped"}

    found = run(main())
    assert PROVIDER_KEY not in repr(found)
    assert {name for name, one in found.items() if one.outcome == "ok"} == {"trusted", "unchecked"}
    for name in ("unknown-ca", "no-tls"):
        assert f"check providers.{name}.base_url and providers.{name}.ca_file" in found[name].text
    assert "refused or unreachable; check providers.closed.base_url" in found["closed"].text
    assert "check providers.nameless.base_url" in found["nameless"].text
    assert "providers.proxied" in found["proxied"].text


def test_all_are_asked_at_once_and_told_in_order(run, monkeypatch):
    monkeypatch.setattr(subject, "PATIENCE", 0.5)

    async def main():
        async with serving(silent) as port:
            providers = {f"p{number}": mine(port) for number in range(12)}
            return await probe_providers(settings(providers=providers))

    began = time.monotonic()
    found = run(main())
    assert time.monotonic() - began < 3
    asked = [one.provider for one in found if one.outcome == "failed"]
    assert asked == [f"p{number}" for number in range(12)]


def test_the_request_is_that_of_the_kind_with_the_key_in_its_place(run):
    heads: dict[str, str] = {}

    def noting(name: str, wire: bytes) -> Handler:
        async def handler(reader, writer):
            heads[name] = (await heard(reader))[0].decode().lower()
            writer.write(wire)
            await writer.drain()

        return handler

    async def main():
        google = answer("200 OK", b'{"models": [{"name": "models/gemini-x"}]}')
        async with (
            serving(noting("openai", listing("a"))) as openai,
            serving(noting("anthropic", listing("a", has_more=False))) as anthropic,
            serving(noting("gemini", google)) as gemini,
        ):
            providers = {
                "own": mine(
                    openai, auth="header:api-key", headers={"X-Team": Secret("red-team-1")}
                ),
                "claude": mine(anthropic, kind="anthropic"),
                "gemini": Provider(base_url=f"http://127.0.0.1:{gemini}/v1beta", api_key=KEY),
            }
            aliases = {"g": ("gemini/gemini-x", "gemini/gemini-y"), "g-*": ("gemini/g-*",)}
            return await probe_providers(settings(providers=providers, aliases=aliases))

    found = {one.provider: one for one in run(main())}
    key = PROVIDER_KEY.lower()
    assert heads["openai"].startswith("get /v1/models http/1.1\r\n")
    assert f"api-key: {key}\r\n" in heads["openai"]
    assert "x-team: red-team-1\r\n" in heads["openai"]
    assert heads["anthropic"].startswith("get /v1/models?limit=1000 http/1.1\r\n")
    assert f"x-api-key: {key}\r\n" in heads["anthropic"]
    assert "anthropic-version: 2023-06-01" in heads["anthropic"]
    assert heads["gemini"].startswith("get /v1beta/models?pagesize=1000 http/1.1\r\n")
    assert f"x-goog-api-key: {key}\r\n" in heads["gemini"]
    assert found["gemini"].missing == ("gemini-y",)
    assert found["gemini"].text.endswith("not listed: gemini-y")


@pytest.mark.parametrize(
    ("kind", "path", "reply", "outcome", "said"),
    [
        ("anthropic", "/v1/messages", "400 Bad Request", "ok", "it has no list of models"),
        ("openai", "/v1/chat/completions", "422 Unprocessable", "ok", "it has no list of models"),
        ("openai", "/v1/chat/completions", "401 Unauthorized", "failed", "the key was refused"),
        ("openai", "/v1/chat/completions", "404 Not Found", "failed", "nothing at this URL"),
        ("anthropic", "/v1/messages", "500 Internal Server Error", "failed", "the server fails"),
    ],
)
def test_a_server_without_a_list_is_asked_for_its_endpoint(run, kind, path, reply, outcome, said):
    asked: list[tuple[str, bytes]] = []

    async def handler(reader, writer):
        while True:
            head, body = await heard(reader)
            asked.append((head.decode().partition(" HTTP")[0], body))
            writer.write(answer("404 Not Found" if head.startswith(b"GET") else reply))
            await writer.drain()

    found = run(probed(handler, kind=kind))
    assert [line for line, _ in asked] == [
        "GET /v1/models" + ("?limit=1000" * (kind != "openai")),
        f"POST {path}",
    ]
    assert asked[-1][1] == b"{}", "nothing that could be answered, and cost something"
    assert (found.outcome, said in found.text) == (outcome, True), found


NO_MODEL = b'{"error": {"message": "The model `` does not exist", "type": "NotFoundError"}}'


@pytest.mark.parametrize(
    ("to_get", "to_post", "outcome", "said"),
    [
        # A server without a list that says that the model is missing.
        (answer("404 Not Found"), answer("404 Not Found", NO_MODEL), "ok", "no list of models"),
        (answer("404 Not Found"), answer("404 Not Found", b"404 page"), "failed", "nothing at"),
        # A key that may not list models.
        (answer("403 Forbidden"), answer("400 Bad Request"), "ok", "may not list models"),
        (answer("403 Forbidden"), answer("403 Forbidden"), "failed", "the key was refused"),
        (answer("403 Forbidden"), answer("401 Unauthorized"), "failed", "the key was refused"),
        (answer("401 Unauthorized"), answer("400 Bad Request"), "failed", "the key was refused"),
    ],
)
def test_a_server_whose_list_says_nothing(run, to_get, to_post, outcome, said):
    async def handler(reader, writer):
        while True:
            head, _ = await heard(reader)
            writer.write(to_get if head.startswith(b"GET") else to_post)
            await writer.drain()

    found = run(probed(handler))
    assert (found.outcome, said in found.text) == (outcome, True), found


def lists_and_answers(reply: str) -> Handler:
    """A server that lists one model, and gives `reply` to every request for an answer."""

    async def handler(reader, writer):
        while True:
            head, _ = await heard(reader)
            writer.write(listing("a") if head.startswith(b"GET") else answer(reply))
            await writer.drain()

    return handler


@pytest.mark.parametrize(
    ("path", "reply", "outcome"),
    [
        ("", "400 Bad Request", "ok"),
        ("", "404 Not Found", "failed"),
        ("/v1", "404 Not Found", "ok"),  # as usual: nothing to be in doubt of
    ],
)
def test_an_unusual_address_is_asked_for_its_endpoint_too(run, path, reply, outcome):
    async def main():
        async with serving(lists_and_answers(reply)) as port:
            own = Provider(kind="openai", base_url=f"http://127.0.0.1:{port}{path}", api_key=KEY)
            found = await probe_providers(settings(providers={"mine": own}))
            return next(one for one in found if one.provider == "mine")

    found = run(main())
    assert found.outcome == outcome
    assert outcome == "ok" or "nothing at /chat/completions" in found.text


@pytest.mark.parametrize(
    ("reply", "outcome", "said"),
    [
        (
            "404 Not Found",
            "failed",
            "check providers.openai.base_url or providers.oai-resp.base_url",
        ),
        ("400 Bad Request", "ok", "reachable, 1 model"),
        ("500 Internal Server Error", "ok", "reachable, 1 model"),
    ],
)
def test_a_server_that_has_only_the_older_api_of_openai(run, reply, outcome, said):
    async def main():
        async with serving(lists_and_answers(reply)) as port:
            moved = Provider(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY)
            both = {"openai": moved, "oai-resp": moved}
            return {one.provider: one for one in await probe_providers(settings(providers=both))}

    found = run(main())
    assert found["openai"].outcome == "ok"
    assert (found["oai-resp"].outcome, said in found["oai-resp"].text) == (outcome, True)


@pytest.mark.parametrize(
    ("wire", "missing"),
    [
        (listing("claude-x-20260101", "other"), ("claude-y",)),
        (listing("claude-x", "claude-y-20260101"), ()),
        (listing("claude-z", has_more=True), ()),
        (listing(), ()),
    ],
)
def test_which_models_of_aliases_are_not_listed(run, wire, missing):
    async def main():
        async with serving(always(wire)) as port:
            aliases = {
                "a": ("mine/claude-x", "mine/claude-y"),
                "b": ("mine/claude-y", "a"),
                "c-*": ("mine/c-*",),
            }
            providers = {"mine": mine(port, kind="anthropic")}
            found = await probe_providers(settings(providers=providers, aliases=aliases))
            return next(one for one in found if one.provider == "mine")

    found = run(main())
    assert (found.outcome, found.missing) == ("ok", missing)


def test_a_bad_key_at_google_is_a_400(run):
    body = {
        "error": {
            "code": 400,
            "status": "INVALID_ARGUMENT",
            "message": f"API key not valid: {PROVIDER_KEY}",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            ],
        }
    }

    async def main():
        async with serving(always(answer("400 Bad Request", json.dumps(body).encode()))) as port:
            own = Provider(base_url=f"http://127.0.0.1:{port}/v1beta", api_key=KEY)
            return await probe_providers(settings(providers={"gemini": own}))

    found = {one.provider: one for one in run(main())}["gemini"]
    assert found.outcome == "failed"
    assert "providers.gemini.api_key or GEMINI_API_KEY or GOOGLE_API_KEY" in found.text
    assert PROVIDER_KEY not in repr(found)


def test_a_server_that_wants_a_key_and_has_none(run):
    found = run(probed(always(answer("401 Unauthorized")), key=None))
    assert "it wants a key: set providers.mine.api_key" in found.text


def test_every_provider_of_the_simulator(run, simulator, tmp_path):
    login = tmp_path / "login.json"
    write_login(login, _login())
    providers = {name: Provider(api_key=KEY, base_url=simulator.base_url(name)) for name in FACES}
    providers["gemini-oauth"] = Provider(
        enabled=True, base_url=f"{simulator.url}/gemini-oauth", credentials_file=str(login)
    )
    found = {one.provider: one for one in run(probe_providers(settings(providers=providers)))}
    assert {name: one.outcome for name, one in found.items()} == dict.fromkeys(found, "ok")
    assert found["gemini-oauth"].text == "logged in"
    assert all(one.models for name, one in found.items() if name != "gemini-oauth")


def _login():
    return GoogleLogin(
        refresh_token=KEY,
        access_token=KEY,
        expiry=time.time() + 36_000,
        project="simulated-project",
        client_id="own-client",
        client_secret=KEY,
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "not probed: off (no key)"),
        ({"simulate": True}, "not probed: the simulator answers for it"),
    ],
)
def test_who_is_not_asked(run, fields, said):
    found = {one.provider: one for one in run(probe_providers(settings(**fields)))}
    assert {one.outcome for one in found.values()} == {"skipped"}
    assert found["openai"].text == said
    assert found["gemini-oauth"].text == "not probed: off"


def test_nobody_is_asked_where_callers_bring_the_keys(run):
    async def main():
        calls = []

        async def handler(reader, writer):
            calls.append(await heard(reader))

        async with serving(handler) as port:
            providers = {"mine": mine(port, key=None)}
            passing = Settings(auth=Auth(mode="passthrough"), providers=providers)
            return await probe_providers(passing), calls

    found, calls = run(main())
    assert calls == []
    assert {one.outcome for one in found} == {"skipped"}
    assert "clients bring their keys" in found[0].text

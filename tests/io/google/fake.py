"""Google as far as a login meets it: the token endpoint and Code Assist, on a real port.

Invariants: it is as strict as Google is documented to be. A code is good once and
with its verifier, a free tier refuses a project, and every answer is dictated by the test or
follows from what was asked before.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import orjson

from tests.canary import PROVIDER_KEY
from vai.config.login import GoogleLogin
from vai.io.google.oauth import SCOPES, Endpoints, OauthApp
from vai.secret import Secret

CLIENT = "1234.apps.googleusercontent.com"
CLIENT_SECRET = f"{PROVIDER_KEY}-client"
REFRESH = f"{PROVIDER_KEY}-refresh"
CODE = f"{PROVIDER_KEY}-code"
APP = OauthApp(CLIENT, Secret(CLIENT_SECRET))


def access(number: int) -> str:
    """The access token that was given as the `number`-th."""
    return f"{PROVIDER_KEY}-access-{number}"


def login(**other: Any) -> GoogleLogin:
    known = {
        "refresh_token": Secret(REFRESH),
        "access_token": Secret(access(0)),
        "expiry": 0.0,
        "project": "heron-1",
        "client_id": CLIENT,
        "client_secret": Secret(CLIENT_SECRET),
    }
    return GoogleLogin(**{**known, **other})


class Seen(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]
    body: Any


class Google:
    """One fake. What `said` holds for a path is answered in turn, the last of it for good."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.said: dict[str, list[tuple[int, Any]]] = {}
        self.challenge: str | None = None
        self.tokens = 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        google = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                fields = {name.lower(): value for name, value in self.headers.items()}
                form, body = {}, None
                if "urlencoded" in fields.get("content-type", ""):
                    form = {name: value[0] for name, value in parse_qs(raw.decode()).items()}
                elif raw:
                    body = orjson.loads(raw)
                status, told = google.answer(Seen(self.command, self.path, fields, form, body))
                text = told if isinstance(told, bytes) else orjson.dumps(told)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client has left, which is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(f"{self.url}/auth", f"{self.url}/token", self.url)

    def at(self, path: str) -> list[Seen]:
        with self._lock:
            return [seen for seen in self.seen if seen.path == path]

    def answer(self, seen: Seen) -> tuple[int, Any]:
        with self._lock:
            self.seen.append(seen)
            told = self.said.get(seen.path)
            if told:
                return told.pop(0) if len(told) > 1 else told[0]
        if seen.path == "/token":
            self.gate.wait(20)
            return self._token(seen.form)
        if seen.path == "/v1internal:loadCodeAssist":
            return 200, {"currentTier": {"id": "free-tier"}, "cloudaicompanionProject": "heron-1"}
        return 200, {}

    def _token(self, form: dict[str, str]) -> tuple[int, Any]:
        if (form["client_id"], form["client_secret"]) != (CLIENT, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        told: dict[str, Any] = {"expires_in": 3599, "token_type": "Bearer"}
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if form["code"] != CODE or challenge != self.challenge:
                return 400, {"error": "invalid_grant", "error_description": form["code"]}
            self.challenge = None  # a code is good once
            told |= {"refresh_token": REFRESH, "scope": " ".join(SCOPES)}
        elif form["refresh_token"] != REFRESH:
            return 400, {"error": "invalid_grant"}
        with self._lock:
            self.tokens += 1
            return 200, {**told, "access_token": access(self.tokens)}

    def visit(self, address: str) -> dict[str, str]:
        """Look at the page to sign in on; what its address says."""
        query = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}
        assert query["code_challenge_method"] == "S256"
        self.challenge = query["code_challenge"]
        return query

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

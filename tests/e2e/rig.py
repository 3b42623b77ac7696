"""Real processes and plain sockets: what the end-to-end tests are made of.

Invariants: nothing here knows VAI from inside. A gateway is a `sanic app`
group with a settings file, the upstream is a simulator process, and a client is bytes on a
socket, so that what a test sees is what any caller would see.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import orjson

from tests.canary import register
from vai.codec.sse import SseDecoder
from vai.providers.registry import PROVIDER_SPECS, simulated_path

ROOT = Path(__file__).parents[2]

FACES = {
    name: simulated_path(spec)
    for name, spec in PROVIDER_SPECS.items()
    if spec.kind != "code-assist"
}
"""Provider -> the path of its API at the simulator, for those with a key."""


class Answer(NamedTuple):
    """A whole HTTP answer. `headers` are pairs with lower-case names, in their order."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a field that must come at most once."""
        found = [value for field, value in self.headers if field == name]
        assert len(found) <= 1, f"{name} comes {len(found)} times"
        return found[0] if found else None

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of an answer in VAI's schema."""
        wire = self.json
        assert wire["type"] == "error", wire
        assert isinstance(wire["error"]["message"], str)
        return dict(wire["error"])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(probe: Callable[[], Any], seconds: float = 5) -> Any:
    """Repeat until the probe gives something true."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if found := probe():
                return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def at_once(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """`work` on all `items` at the same time; what it gives, in their order."""
    given = list(items)
    with ThreadPoolExecutor(len(given)) as threads:
        return list(threads.map(work, given))


class Http:
    """One kept-alive client connection."""

    def __init__(self, port: int, timeout: float = 20) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def ask(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]] | dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        response = self.begin(method, path, headers, body)
        fields = [(name.lower(), value) for name, value in response.getheaders()]
        return Answer(response.status, fields, response.read())

    def begin(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]] | dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> http.client.HTTPResponse:
        """The answer's head; the body is the caller's to read."""
        self.connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items() if isinstance(headers, dict) else headers or []:
            self.connection.putheader(name, value)
        if body is not None:
            self.connection.putheader("content-length", str(len(body)))
        self.connection.endheaders(body)
        return self.connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


class Simulated:
    """The upstream: dictates answers, tells what arrived."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = Http(int(url.rpartition(":")[2]))

    def base_url(self, provider: str) -> str:
        return self.url + FACES[provider]

    def script(self, model: str, **said: Any) -> None:
        """Dictate the answers to `model` (see `vai.simulator.scripts.Script`)."""
        path = f"/_sim/scripts/{quote(model, safe='')}"
        answer = self._http.ask("PUT", path, body=orjson.dumps(said))
        assert answer.status == 200, answer.body

    def forget(self) -> None:
        """Drop all scripts."""
        assert self._http.ask("DELETE", "/_sim/scripts").status == 200

    def journal(self, model: str = "", after: int = 0) -> list[dict[str, Any]]:
        """What arrived for `model`, the oldest first."""
        answer = self._http.ask("GET", f"/_sim/journal?after={after}&model={quote(model, safe='')}")
        return list(answer.json["entries"])

    def one(self, model: str) -> dict[str, Any]:
        """The only request that arrived for `model`."""
        entries = self.journal(model)
        assert len(entries) == 1, f"{len(entries)} requests for {model}"
        return entries[0]

    @property
    def last(self) -> int:
        """The number of the newest request that arrived."""
        return int(self._http.ask("GET", "/_sim/journal?after=999999999").json["last"])

    def close(self) -> None:
        self._http.connection.close()


def body_of(entry: dict[str, Any]) -> bytes:
    """The body of a journal entry as it came."""
    text = entry["body"]
    return text.encode() if text is not None else base64.b64decode(entry["body_base64"])


def headers_of(entry: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in entry["headers"]]


def digest(key: str) -> str:
    """What the journal shows of a credential."""
    return hashlib.sha256(key.encode()).hexdigest()


class Gateway:
    """A running gateway. `ask` sends what `headers` says on top of its own key."""

    def __init__(
        self, settings: dict[str, Any], folder: Path, *flags: str, environ: dict[str, str]
    ) -> None:
        self.port = free_port()
        self.settings = settings
        config = folder / "settings.json"
        config.write_text(json.dumps(settings))
        self.log = register(folder / "output.log")
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("VAI_") and not name.endswith("_API_KEY")
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "sanic"),
                    "app",
                    "--host=127.0.0.1",
                    f"--port={self.port}",
                    *(flags or ("--workers=2",)),
                ],
                cwd=ROOT,
                env=clean | {"VAI_CONFIG": str(config)} | environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.key = next(iter(settings["auth"].get("api_keys", {}).values()), {}).get("key")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> Gateway:
        def up() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            with Http(self.port, 5) as probe:
                return probe.ask("GET", "/readyz").status == 200

        until(up, 30)
        return self

    def auth(self) -> dict[str, str]:
        return {"x-api-key": self.key} if self.key else {}

    def ask(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]] | dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request on a connection of its own, with exactly these headers."""
        with Http(self.port) as client:
            return client.ask(method, path, headers, body)

    def post(
        self,
        body: dict[str, Any] | bytes,
        headers: list[tuple[str, str]] | dict[str, str] | None = None,
        path: str = "/v1/messages",
    ) -> Answer:
        """A Messages request with the gateway's own key."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        given = list(headers.items() if isinstance(headers, dict) else headers or [])
        known = {"content-type": "application/json", **self.auth()}
        return self.ask("POST", path, [*known.items(), *given], raw)

    def raw(self, timeout: float = 10) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def send(self, raw: bytes, timeout: float = 10) -> bytes:
        """Everything the gateway says to these bytes before it closes."""
        with self.raw(timeout) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(raw)
            return read_all(sock)

    def logged(self, needle: str) -> str:
        """The log once a complete line of it has `needle`; a reader can see half of a write."""

        def lines() -> str:
            text = self.log.read_text()
            return text[: text.rfind("\n") + 1]

        return str(until(lambda: needle in (text := lines()) and text, 3))

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(5)


@contextlib.contextmanager
def running(
    settings: dict[str, Any], folder: Path, *flags: str, environ: dict[str, str] | None = None
) -> Iterator[Gateway]:
    """A gateway that is ready, and that must have ended well and without a traceback."""
    gateway = Gateway(settings, folder, *flags, environ=environ or {})
    try:
        yield gateway.ready()
    finally:
        status = gateway.end()
    said = gateway.log.read_text()
    defects = [line for line in said.splitlines() if "raceback" in line or "never" in line]
    assert not defects, defects[:3]
    assert status == 0


def read_all(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


def ask(model: str, text: str = "Hello", **more: Any) -> dict[str, Any]:
    """A small Messages body."""
    said = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
    return said | more


def events(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each with its name checked against its data. Comments are none."""
    decoder = SseDecoder()
    found = []
    for name, data in decoder.feed(body) + decoder.flush():
        event = orjson.loads(data)
        assert event["type"] == name
        found.append(event)
    return found


def frames(body: bytes) -> list[bytes]:
    """The frames of a stream, comments included; the stream must end with one."""
    assert body.endswith(b"\n\n"), body[-200:]
    return [frame + b"\n\n" for frame in body[:-2].split(b"\n\n")]


def timed_read(response: http.client.HTTPResponse, began: float) -> list[tuple[float, bytes]]:
    """What came, and when, in seconds since `began`."""
    pieces = []
    while piece := response.read1(65536):
        pieces.append((time.monotonic() - began, piece))
    return pieces

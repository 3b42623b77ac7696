"""A simulator in the test's own loop, and clients for it."""

from __future__ import annotations

import asyncio
import base64
import struct
import zlib
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types

from vai.providers.registry import PROVIDER_SPECS, simulated_path
from vai.simulator import Simulator

CHAT_PATHS = {
    name: simulated_path(spec) for name, spec in PROVIDER_SPECS.items() if spec.kind == "openai"
}


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 20))


class World:
    """A simulator with one client of every kind."""

    def __init__(self, sim: Simulator, http: httpx.AsyncClient) -> None:
        self.sim = sim
        self.http = http

    def anthropic(self, key: str = "sk-ant-test") -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(
            api_key=key, base_url=f"{self.sim.url}/anthropic", max_retries=0
        )

    def chat(self, provider: str, key: str = "sk-test") -> openai.AsyncOpenAI:
        url = self.sim.url + CHAT_PATHS[provider]
        return openai.AsyncOpenAI(api_key=key, base_url=url, max_retries=0)

    async def messages(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        given = {"x-api-key": "k", "anthropic-version": "2023-06-01"} | headers
        return await self.http.post("/anthropic/v1/messages", json=body, headers=given)

    async def complete(self, provider: str, body: dict[str, Any]) -> httpx.Response:
        given = {"authorization": "Bearer k"}
        path = f"{CHAT_PATHS[provider]}/chat/completions"
        return await self.http.post(path, json=body, headers=given)

    def responses(self, provider: str = "oai-resp", key: str = "sk-test") -> openai.AsyncOpenAI:
        url = f"{self.sim.url}/{provider}/v1"
        return openai.AsyncOpenAI(api_key=key, base_url=url, max_retries=0)

    def gemini(self, version: str = "v1beta", key: str = "AIza-test") -> genai.Client:
        options = types.HttpOptions(base_url=f"{self.sim.url}/gemini", api_version=version)
        return genai.Client(api_key=key, http_options=options)

    async def respond(self, body: dict[str, Any], path: str = "") -> httpx.Response:
        given = {"authorization": "Bearer k"}
        return await self.http.post(f"/oai-resp/v1/responses{path}", json=body, headers=given)

    async def generate(
        self, body: dict[str, Any], model: str = "sim-1", *, stream: bool = False
    ) -> httpx.Response:
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        path = f"/gemini/v1beta/models/{model}:{verb}"
        return await self.http.post(path, json=body, headers={"x-goog-api-key": "k"})

    async def assist(self, verb: str, body: dict[str, Any]) -> httpx.Response:
        given = {"authorization": "Bearer ya29.k"}
        return await self.http.post(f"/gemini-oauth/v1internal:{verb}", json=body, headers=given)

    async def script(self, model: str, *parts: dict[str, Any], **more: Any) -> None:
        """Dictate what `model` answers, in neutral words."""
        said = {"answer": {"parts": list(parts)} | more}
        put = await self.http.put(f"/_sim/scripts/{model}", json=said)
        assert put.status_code == 200, put.text

    def picture(self, width: int = 3, height: int = 2) -> str:
        return base64.b64encode(_png(width, height)).decode()

    async def raw(self, body: bytes, path: str = "/anthropic/v1/messages") -> Raw:
        """Send one request over a bare socket and read to the end, whatever it is."""
        host, port = self.sim.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {path} HTTP/1.1\r\nhost: s\r\nx-api-key: k\r\nauthorization: Bearer k\r\n"
        head += f"anthropic-version: 2023-06-01\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        return Raw(reader, writer)


class Raw:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def rest(self) -> bytes:
        """Bytes to FIN; RST raises ConnectionResetError."""
        try:
            return await asyncio.wait_for(self.reader.read(-1), 5)
        finally:
            self.writer.close()

    async def silent(self, seconds: float) -> bytes:
        """What comes until nothing came for `seconds`; the connection must still be open."""
        found = b""
        while True:
            try:
                piece = await asyncio.wait_for(self.reader.read(65536), seconds)
            except TimeoutError:
                return found
            assert piece, "closed instead of silent"
            found += piece


@pytest.fixture
def using():
    """``using(test)`` runs ``async test(world)`` with a fresh simulator."""

    def runner(test: Any, **options: Any) -> Any:
        async def inside() -> Any:
            async with (
                Simulator(**options) as sim,
                httpx.AsyncClient(base_url=sim.url, trust_env=False) as http,
            ):
                return await test(World(sim, http))

        return run(inside())

    return runner


def _png(width: int, height: int) -> bytes:
    """A valid, empty PNG."""

    def part(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    rows = zlib.compress(b"\0" * (height * (width + 1)))
    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", size) + part(b"IDAT", rows) + part(b"IEND", b"")

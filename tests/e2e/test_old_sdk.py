"""The old generation of the official client: x-api-key, version 2023-06-01, no newer headers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.canary import KEY
from tests.e2e.rig import ROOT, Gateway, Simulated, headers_of

OLD = ROOT / ".venv-sdk-old"
PREFIXES = ["anthropic/", "openai/", "groq/", "cerebras/", "claude-"]
TRANSLATED = {"openai/", "groq/", "cerebras/"}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (OLD / "anthropic").is_dir(), reason="the old client is not installed: make test does"
    ),
]


@pytest.fixture(scope="module")
def found(gateway: Gateway) -> dict[str, Any]:
    script = Path(__file__).with_name("old_client.py")
    done = subprocess.run(
        [sys.executable, str(script), gateway.url, KEY],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(OLD)},
        capture_output=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


def test_it_is_the_old_one(found, simulator: Simulated):
    assert int(found["version"].split(".")[0]) < 1
    sent = headers_of(simulator.one("claude-old-headers"))
    assert dict(sent)["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_message(found, prefix):
    got = found[prefix]["create"]
    assert "Hello there" in got["text"]
    assert got["stop"] == "end_turn"
    assert got["model"] == f"{prefix}old"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_stream(found, prefix):
    got = found[prefix]["stream"]
    assert got["text"] == got["final"] == found[prefix]["create"]["text"]
    assert got["output_tokens"] > 0
    assert got["kinds"][:2] == ["message_start", "content_block_start"]
    assert got["kinds"][-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_tools(found, prefix):
    got = found[prefix]["tools"]
    assert got["stop"] == "tool_use"
    assert got["names"] == ["get_weather", "get_clock"]
    assert got["inputs"] == [["city"], ["city"]]
    assert "fine; fine" in got["text"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_image(found, prefix):
    assert "an image" in found[prefix]["image"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_tokens_that_run_out(found, prefix):
    assert found[prefix]["short"] == "max_tokens"


CLASSES = {
    "400": "BadRequestError",
    "401": "AuthenticationError",
    "403": "PermissionDeniedError",
    "404": "NotFoundError",
    "413": "APIStatusError",
    "429": "RateLimitError",
    "500": "InternalServerError",
    "502": "InternalServerError",
    "503": "InternalServerError",
    "529": "InternalServerError",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_errors(found, prefix):
    got = found[prefix]["errors"]
    for status, name in CLASSES.items():
        raised, code, kind = got[status]
        assert raised == name
        assert code == int(status)
        assert kind.endswith("_error") or kind == "request_too_large"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_error_in_the_middle(found, prefix):
    assert found[prefix]["broken"]["deltas"] == 3
    assert found[prefix]["broken"]["raised"].startswith("API")

"""Callers behind real reverse proxies are counted by their own address, whatever they write."""

from __future__ import annotations

import http.client
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from tests.e2e.rig import Gateway, Simulated, ask, running, until
from tests.gateway.group import free_port

pytestmark = pytest.mark.e2e

_LIMIT = 5

# The proxies listen at 127.0.0.1 and connect from there; callers come from other addresses.
_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{gateway};
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""
_HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  option forwardfor
listen front
  bind 127.0.0.1:{port}
  server gateway 127.0.0.1:{gateway}
"""
_PORTS = _HAPROXY.replace("  option forwardfor\n", "") + (
    "  http-request add-header X-Forwarded-For %[src]:%[src_port]\n"
)
_PROXIES = {"nginx": _NGINX, "haproxy": _HAPROXY, "haproxy-with-ports": _PORTS}


@pytest.fixture(scope="module")
def gateway(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = {
        "auth": {"mode": "none"},
        "trusted_proxies": ["127.0.0.1"],
        "providers": {"anthropic": {"api_key": "k", "base_url": simulator.base_url("anthropic")}},
        "limits": {"per_user": {"requests_per_minute": _LIMIT}},
    }
    with running(settings, tmp_path_factory.mktemp("proxied")) as started:
        yield started


@contextmanager
def _proxy(name: str, gateway: Gateway, folder: Path) -> Iterator[int]:
    """A proxy before `gateway`; its port."""
    program = name.partition("-")[0]
    binary = shutil.which(program, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if binary is None:
        pytest.skip(f"{program} is missing")
    port = free_port()
    config = folder / f"{name}.conf"
    config.write_text(_PROXIES[name].format(port=port, gateway=gateway.port, folder=folder))
    words = [binary, "-c", str(config)] if program == "nginx" else [binary, "-f", str(config)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _status(port, "127.0.0.1", [], "/health") == 200)
        yield port
    finally:
        process.kill()
        process.wait(5)


def _status(port: int, source: str, lines: list[str], path: str = "/v1/messages") -> int:
    """Of one request from the address `source` that says `lines` of X-Forwarded-For."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=10, source_address=(source, 0)
    )
    body = orjson.dumps(ask("claude-proxied")) if path == "/v1/messages" else b""
    connection.putrequest("POST" if body else "GET", path)
    for line in lines:
        connection.putheader("X-Forwarded-For", line)
    connection.putheader("Forwarded", f"for={lines[0] if lines else 'unknown'}")
    connection.putheader("X-Real-IP", lines[0] if lines else "unknown")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("name", _PROXIES)
def test_an_address_cannot_be_forged(name: str, gateway: Gateway, tmp_path: Path) -> None:
    # Of its own for each proxy, because the gateway is shared.
    caller, other = (f"127.0.{list(_PROXIES).index(name) + 1}.{n}" for n in (2, 3))
    with _proxy(name, gateway, tmp_path) as port:
        forged = [[f"6.6.6.{n}"] for n in range(5)]
        forged += [["7.7.7.7", f"6.6.7.{n}, 127.0.0.1"] for n in range(4)]
        statuses = [_status(port, caller, lines) for lines in forged]
        assert statuses == [200] * _LIMIT + [429] * (len(forged) - _LIMIT)
        assert _status(port, other, ["6.6.6.1"]) == 200, "another caller has room"
    assert f'"ip":"{caller}"' in gateway.logged(f'"ip":"{other}"')


def test_without_a_proxy_the_header_is_ignored(gateway: Gateway) -> None:
    statuses = [_status(gateway.port, "127.0.0.2", [f"6.6.6.{n}"]) for n in range(6)]
    assert statuses == [200] * _LIMIT + [429]

"""The ways a load can take to the mock, and the processes that stand on them.

Invariants: every process is started with its cores fixed before its first
instruction, in a session of its own (a server that fails to start may kill its process
group), and is ended by its own pid when the stack unwinds. Ports are asked of the
kernel; nothing is fixed.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

__all__ = [
    "API_KEY",
    "GATEWAY_CORE",
    "LOAD_CORE",
    "Way",
    "WayError",
    "all_cores",
    "floor",
    "gateway",
    "mock",
    "nginx",
    "pinned",
    "running",
]

GATEWAY_CORE = 0
LOAD_CORE = 1
API_KEY = "vai-bench-key-0123456789abcdef"
_ROOT = Path(__file__).resolve().parent.parent
_NGINX = "/usr/sbin/nginx"
_READY_SECONDS = 60.0
_READY_SECONDS_TRACED = 240.0
"""A tracer makes a start thirty times as long, and other work of the machine that much longer."""

_NGINX_CONF = """
{user}
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000;
  # Bodies stay in memory: a plain proxy that writes them to a file is no reference.
  client_body_buffer_size 256k; client_max_body_size 16m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /ready {{ return 204; }}
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""


class WayError(Exception):
    """A process on the way did not come up; the text is for the operator."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way to the mock: where it begins, and the process tree that it costs."""

    name: str
    port: int
    root: int = 0
    """0: nothing stands between the load and the mock."""
    prefix: str = ""
    """Of the model's name; it chooses the mode in the gateway."""
    headers: dict[str, str] = {}
    ready: float = 0.0
    """Seconds from the start of the process to its first answer."""

    def mode(self, name: str, prefix: str) -> Way:
        """The same process with another mode chosen."""
        return msgspec.structs.replace(self, name=name, prefix=prefix)


def all_cores() -> set[int]:
    """Every core that this process may use."""
    return os.sched_getaffinity(0)


@contextlib.contextmanager
def mock(cores: set[int]) -> Iterator[Way]:
    """The mock upstream: the way ``direct``."""
    port = _free_port()
    with running([sys.executable, "-m", "bench.mock", str(port)], cores) as process:
        _await_answer(process, port, "/stats")
        yield Way(name="direct", port=port, root=process.pid)


@contextlib.contextmanager
def nginx(upstream: int, cores: set[int]) -> Iterator[Way | None]:
    """nginx as a plain proxy; None where it is not installed."""
    binary = _NGINX if os.access(_NGINX, os.X_OK) else shutil.which("nginx")
    if binary is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="vai-bench-nginx-") as folder:
        port = _free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        conf = Path(folder, "nginx.conf")
        conf.write_text(_NGINX_CONF.format(folder=folder, user=user, upstream=upstream, port=port))
        argv = [binary, "-p", folder, "-e", "stderr", "-c", str(conf)]
        with running(argv, cores) as process:
            ready = _await_answer(process, port, "/ready")
            yield Way(name="nginx", port=port, root=process.pid, ready=ready)


@contextlib.contextmanager
def floor(upstream: int, cores: set[int], *, under: Sequence[str] = ()) -> Iterator[Way]:
    """Bare Sanic that forwards bodies with the gateway's upstream client."""
    port = _free_port()
    argv = [*under, sys.executable, "-m", "bench.floor", str(port), str(upstream)]
    with running(argv, cores) as process:
        patience = _READY_SECONDS_TRACED if under else _READY_SECONDS
        ready = _await_answer(process, port, "/ready", patience)
        yield Way(name="floor", port=port, root=process.pid, ready=ready)


@contextlib.contextmanager
def gateway(
    upstream: int,
    cores: set[int],
    *,
    workers: int = 1,
    single_process: bool = False,
    log: Path | None = None,
    under: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Way]:
    """The gateway as `sanic app` starts it, all features on, both providers the mock's.

    `under` is the command that runs it, a tracer for example; `environment` has more variables.
    """
    port = _free_port()
    base = f"http://127.0.0.1:{upstream}"
    settings = {
        "VAI_HOST": "127.0.0.1",
        "VAI_PORT": str(port),
        "VAI_WORKERS": str(workers),
        "VAI_AUTH__MODE": "api_key",
        "VAI_AUTH__API_KEYS": f'@json [{{"key": "{API_KEY}", "name": "bench"}}]',
        # Limits are on and counted, and out of reach.
        "VAI_LIMITS__GLOBAL__REQUESTS_PER_MINUTE": "1000000000",
        "VAI_LIMITS__GLOBAL__TOKENS_PER_MINUTE": "1000000000000",
        "VAI_LIMITS__PER_USER__REQUESTS_PER_MINUTE": "1000000000",
        "VAI_LIMITS__PER_USER__TOKENS_PER_MINUTE": "1000000000000",
        "VAI_PROVIDERS__ANTHROPIC__BASE_URL": base,
        "VAI_PROVIDERS__ANTHROPIC__API_KEY": "mock-anthropic-key",
        "VAI_PROVIDERS__ANTHROPIC__MAX_CONNECTIONS": "4096",
        "VAI_PROVIDERS__OPENAI__BASE_URL": base + "/v1",
        "VAI_PROVIDERS__OPENAI__API_KEY": "mock-openai-key",
        "VAI_PROVIDERS__OPENAI__MAX_CONNECTIONS": "4096",
        **(environment or {}),
    }
    argv = [*under, sys.executable, "-m", "sanic", "app"]
    argv += ["--host", "127.0.0.1", "--port", str(port)]
    argv += ["--single-process"] if single_process else ["--workers", str(workers)]
    with running(argv, cores, settings, log) as process:
        patience = _READY_SECONDS_TRACED if under else _READY_SECONDS
        ready = _await_answer(process, port, "/readyz", patience)
        yield Way(
            name="vai",
            port=port,
            root=process.pid,
            prefix="anthropic/",
            headers={"authorization": f"Bearer {API_KEY}"},
            ready=ready,
        )


@contextlib.contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Children that are started in the block run on `cores` from their first instruction."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    cores: set[int],
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that runs on `cores` and ends with the block; its output goes to `log`."""
    with (log or Path(os.devnull)).open("ab") as sink:
        with pinned(cores):
            process = subprocess.Popen(
                argv,
                cwd=_ROOT,
                env={**os.environ, **(environment or {})},
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    # Whatever is left of the session: its id is the pid of the process we started.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _await_answer(
    process: subprocess.Popen[bytes], port: int, path: str, patience: float = _READY_SECONDS
) -> float:
    began = time.monotonic()
    while time.monotonic() - began < patience:
        if process.poll() is not None:
            raise WayError(f"{process.args!r} ended with {process.returncode} at its start")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request("GET", path)
            with connection.getresponse() as response:
                # Not found is an answer too: what serves is ready, whatever its probe is called.
                if response.status < 500:
                    return time.monotonic() - began
        time.sleep(0.01)
    raise WayError(f"{process.args!r} did not answer within {patience:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

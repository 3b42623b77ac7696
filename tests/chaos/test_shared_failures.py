"""Whichever worker is asked for `/health`, it tells of a provider that failed in another one."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests.canary import KEY
from tests.chaos.rig import Group, Simulated, free_port, get, serving, settings, until

ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


class _Upstream(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _post(group: Group) -> int:
    body = {"model": "mine/m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    connection = http.client.HTTPConnection("127.0.0.1", group.port, timeout=10)
    connection.request("POST", "/v1/messages", json.dumps(body), {"x-api-key": KEY})
    status = connection.getresponse().status
    connection.close()
    return status


def _state(group: Group) -> dict[str, Any]:
    return dict(json.loads(get(group.port, "/health")[1])["providers"]["mine"])


def test_a_failure_is_shown_by_all_workers_until_one_is_answered(
    simulator: Simulated, tmp_path: Path
) -> None:
    port = free_port()
    said = settings(simulator, retries={"enabled": False})
    said["providers"]["mine"] = {"kind": "openai", "base_url": f"http://127.0.0.1:{port}/v1"}
    with serving(said, tmp_path) as group:
        one, other = group.workers()
        with group.only(one):
            assert _post(group) == 502
        for worker in (one, other):
            with group.only(worker):
                state = _state(group)
                assert state["status"] == "failing"
                assert state["last_error"]["code"] == "upstream_connect"
        with HTTPServer(("127.0.0.1", port), _Upstream) as upstream:
            threading.Thread(target=upstream.serve_forever, daemon=True).start()
            with group.only(other):
                assert _post(group) == 200
            upstream.shutdown()
        for worker in (one, other):
            with group.only(worker):
                assert _state(group) == {"status": "configured"}
        # What fails under the settings of before a reload says nothing of those after it.
        assert _post(group) == 502
        assert _state(group)["status"] == "failing"
        group.signal(signal.SIGHUP)
        until(lambda: "vai: reloaded" in group.log(), 30)
        until(lambda: {one, other}.isdisjoint(group.workers()), 15)
        assert _state(group) == {"status": "configured"}

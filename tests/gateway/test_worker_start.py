"""A new worker imports only what it serves with, because a dead worker's place is empty so long."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

from sanic.worker.loader import AppLoader

from vai.config.snapshot import SettingsSnapshot
from vai.gateway.process.handover import SnapshotLoader

WORKER = """
import gc, json, pickle, sys
loader = pickle.load(sys.stdin.buffer)
was_collecting = gc.isenabled()
loader.load()
names = {name.partition(".")[0] for name in sys.modules}
names |= {"vai.simulator.server"} & set(sys.modules)
from vai.gateway.process.workers import _freeze_heap
_freeze_heap()
print(json.dumps([sorted(names), was_collecting, gc.isenabled()]))
"""
NOT_NEEDED = {"dynaconf", "rich", "click", "pygments", "typer", "redis", "vai.simulator.server"}


def start_worker(environ: dict[str, str]) -> tuple[set[str], bool, bool]:
    """What a worker imported, and whether it collects garbage during and after its start."""
    loader = SnapshotLoader(AppLoader("vai.cli.target:app"), SettingsSnapshot(environ))
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=pickle.dumps(loader),
        capture_output=True,
        timeout=30,
        check=True,
        env={**os.environ, **environ},
    )
    names, during, after = json.loads(done.stdout)
    return set(names), during, after


def test_a_worker_imports_no_parser_of_settings_and_no_command_line(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("auth: {mode: none}\nport: 8123\n")
    imported, during, after = start_worker({"VAI_CONFIG": str(file), "VAI_HEAD_TIMEOUT": "9"})
    assert {"sanic", "httpx"} <= imported
    assert not imported & NOT_NEEDED
    assert not during
    assert after

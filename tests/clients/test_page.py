"""The page on clients: each of its blocks is run as it stands, by the client that it is for."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.clients.rig import MODULES, PAGE, Desk, block

pytestmark = pytest.mark.e2e

ELSEWHERE = {"claude-code", "opencode"}
"""Their own modules run these."""
SHOWN = {
    "python": 'The tool answered "A garden."',
    "typescript": 'The tool answered "A garden."',
    "vercel": 'You said: "Hello".',
}
"""Block -> what its output holds."""


def test_every_block_is_run():
    named = re.findall(r"<!-- client: ([\w-]+) -->\n```", PAGE.read_text())
    assert sorted(named) == sorted(ELSEWHERE | SHOWN.keys())
    assert PAGE.read_text().count("```") == 2 * len(named)


def test_the_python_sdk(gateway, tmp_path):
    code = block("python", gateway)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SHOWN["python"] in done.stdout


@pytest.mark.parametrize("name", ["typescript", "vercel"])
def test_the_sdks_of_npm(desk: Desk, gateway, name):
    modules = desk.work / "node_modules"
    if not modules.exists():
        modules.symlink_to(MODULES)
    done = desk.run(["node", "--input-type=module", "-e", block(name, gateway)])
    assert done.status == 0, done.errors
    assert SHOWN[name] in done.output

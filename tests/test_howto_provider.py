"""The page on adding a provider, followed in a copy of the tree by its own edits.

Invariants: the test knows the page's form (a path, then diffs for that file) and the provider's
name, and none of the edits.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/howto/provider.md").read_text("utf-8")
FENCES = re.compile(r"^In `([\w./-]+)`:$|^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COPIED = ("vai", "tests", "docs", "settings.toml", "README.md", "Makefile", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules", ".*")
ANSWERS = """
import asyncio
from vai.direct import DirectClient
from vai.providers.registry import PROVIDER_SPECS, simulated_path
from vai.simulator import Simulator

REQUEST = {
    "model": "example-ai/example-1",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hello"}],
}

async def main():
    path = simulated_path(PROVIDER_SPECS["example-ai"])
    async with Simulator() as simulator:
        urls = {"example-ai": simulator.url + path}
        async with DirectClient({"example-ai": "key-of-a-test"}, base_urls=urls) as direct:
            message = await direct.create(REQUEST)
            print(message.model, message.content[0].text)
            print(*[type(event).__name__ async for event in direct.stream(REQUEST)])

asyncio.run(main())
"""


def edits() -> list[tuple[str, str, str]]:
    """The page's edits: a file, the lines that stand there, and the lines that replace them."""
    found, file = list[tuple[str, str, str]](), ""
    for path, diff in FENCES.findall(PAGE):
        if path:
            file = path
            continue
        lines = diff.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        found.append((file, before, after))
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the page's edits and its generated pages."""
    tree = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=LEFT_OUT)
        else:
            shutil.copy(ROOT / name, tree / name)
    for file, before, after in edits():
        text = (tree / file).read_text("utf-8")
        assert text.count(before) == 1, f"{file} has this {text.count(before)} times:\n{before}"
        (tree / file).write_text(text.replace(before, after), "utf-8")
    recipe = re.search(r"^docs:.*\n((?:\t.*\n)+)", (tree / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    for line in recipe[1].splitlines():
        run(tree, *line.replace("$(BIN)/python", "").split())
    return tree


def run(tree: Path, *arguments: str, **environ: str) -> str:
    """What Python prints when it runs in the tree, with the tree's own `vai`."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_five_files_at_most_are_touched(tree):
    touched = {file for file, *_ in edits()}
    assert len(touched) + 1 <= 5  # and the generated pages, by one command
    changed = {
        str(file.relative_to(tree))
        for name in COPIED
        for file in ((tree / name).rglob("*") if (tree / name).is_dir() else [tree / name])
        if file.is_file() and "__pycache__" not in file.parts
        if file.read_bytes() != (ROOT / file.relative_to(tree)).read_bytes()
    }
    assert changed - touched == {"README.md", "docs/FEATURE_MATRIX.md"}
    assert "Example AI" in (tree / "README.md").read_text()


def test_check_names_it_and_takes_its_key_from_the_environment(tree):
    command = ("-m", "vai.cli", "check")
    settings = {"VAI_AUTH__MODE": "none", "VAI_SIMULATE": "true"}
    simulated = run(tree, *command, **settings)
    assert re.search(r"^provider example-ai +simulated", simulated, re.MULTILINE)
    real = run(tree, *command, **settings, EXAMPLE_AI_API_KEY="key-of-a-test")
    assert re.search(r"^provider example-ai +real, https://api.example.com/v1$", real, re.MULTILINE)
    assert '"model": "example-ai/example-1"' in real


def test_the_simulator_answers_for_it(tree):
    answer, events = run(tree, "-c", ANSWERS).splitlines()
    assert answer.startswith("example-ai/example-1 Hello! I am example-1, a simulated Example AI")
    assert events.split()[0] == "MessageStart"
    assert events.split()[-1] == "MessageStop"


def test_the_contract_and_the_registry_hold(tree):
    tests = (
        "tests/contract/test_requests.py",
        "tests/contract/test_answers.py",
        "tests/providers/test_registry.py",
    )
    wanted = "example-ai or every_provider or no_provider or rows_are_sound"
    shown = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", wanted, *tests)
    passed = re.search(r"(\d+) passed", shown)
    assert passed
    assert int(passed[1]) > 60
    assert "failed" not in shown

"""The page on adding a provider, followed in a copy of the tree by its own edits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.howto import COPIED, ROOT, edit_copy, list_edits, make_docs, run_python

PAGE = "provider.md"
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


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the page's edits and its generated pages."""
    tree = tmp_path_factory.mktemp("tree")
    edit_copy(tree, PAGE)
    make_docs(tree)
    return tree


def test_five_files_at_most_are_touched(tree):
    touched = {file for file, *_ in list_edits(PAGE)}
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
    simulated = run_python(tree, *command, **settings)
    assert re.search(r"^provider example-ai +simulated", simulated, re.MULTILINE)
    real = run_python(tree, *command, **settings, EXAMPLE_AI_API_KEY="key-of-a-test")
    assert re.search(r"^provider example-ai +real, https://api.example.com/v1$", real, re.MULTILINE)
    assert '"model": "example-ai/example-1"' in real


def test_the_simulator_answers_for_it(tree):
    answer, events = run_python(tree, "-c", ANSWERS).splitlines()
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
    shown = run_python(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", wanted, *tests)
    passed = re.search(r"(\d+) passed", shown)
    assert passed
    assert int(passed[1]) > 60
    assert "failed" not in shown

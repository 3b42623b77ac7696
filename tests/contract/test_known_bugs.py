"""Every documented way in which gateways lose or bend answers has a test that names it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.providers import test_gemini_known_bugs, test_known_bugs

TESTS = Path(__file__).parents[1]
ALL = set(range(1, 51))
NAMED = re.compile(r"[Kk]nown bugs? (\d+(?:(?:, | and |, and )\d+)*)")


def named_in(source: str) -> set[int]:
    """The numbers that docstrings of a module's tests name."""
    tests = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    said = " ".join(ast.get_docstring(node) or "" for node in tests)
    return {int(number) for found in NAMED.findall(said) for number in re.findall(r"\d+", found)}


def test_every_number_has_a_test():
    found = set(test_known_bugs.CHECKS) | set(test_gemini_known_bugs.CHECKS)
    for module in TESTS.rglob("test_*.py"):
        source = module.read_text()
        found |= named_in(source) if "nown bug" in source else set()
    assert found == ALL


def test_every_check_is_run():
    assert set(test_known_bugs.NUMBERS) == set(test_known_bugs.CHECKS)


def test_what_counts_as_a_name():
    source = 'def test():\n    """Known bugs 12, 13 and 14: x."""\n    # known bug 99\n'
    assert named_in(source) == {12, 13, 14}

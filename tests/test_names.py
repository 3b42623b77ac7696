"""Names and words that a newcomer can search for: docs/glossary.md has the terms.

Invariants: the bounds below are those of the tree; a change may make them smaller. A banned
word is one that says nothing about what it names (`found`), or that VAI once used for a
thing with a standard name (`lane`).
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = {
    path.relative_to(ROOT): ast.parse(path.read_text()) for path in sorted(ROOT.glob("vai/**/*.py"))
}
_BANNED = """
    found given said told ask asks asked place places ways kept meant brought lent heard spent
    twin lane lanes doorkeeper whole
"""
BANNED = frozenset(_BANNED.split())
# Of protocols (JSON, files, asyncio, mappings, logging, locks); of the command line and HTTP paths;
# terms of the glossary, and verbs that cannot be mistaken for another.
_ONE_WORD = """
    loads dumps main load read write open close aclose flush clear get getall items stream run start
    stop send recv ping emit default log dict shutdown cancel abort lock unlock locked acquire
    release http1 feed create
    serve check models limits simulator reload gemini root health ready
    admit settle decide drain identify respond reveal fail unregister prepare wake take expire
    end drop stats show initialise rejoin today
"""
ONE_WORD = frozenset(_ONE_WORD.split())
"""Public functions and methods of one word."""
PROSE = re.compile(
    r"\b(somebody|nobody|whoever|everybody|anybody|(?:is|are|was|were) told|the law)\b",
    re.IGNORECASE,
)
ONE_WORD_SHARE = 0.15
MAX_LINES = 500
MAX_FUNCTION_LINES = 60


def _public_functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in MODULES.items():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in (*tree.body, *(item for each in classes for item in each.body)):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and not node.name.startswith("_") and not _is_property(node):
                yield path, node


def _functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def _identifiers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.Name():
                yield node.id, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Attribute():
                yield node.attr, node.lineno


def test_no_name_is_a_banned_word() -> None:
    assert [
        f"{path}:{line} {name}"
        for path, tree in MODULES.items()
        for name, line in _identifiers(tree)
        if name.strip("_").lower() in BANNED
    ] == []


def test_each_public_class_has_a_name_of_its_own() -> None:
    homes = defaultdict(list)
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_most_functions_say_what_they_act_on() -> None:
    names = [node.name.strip("_") for _, node in _functions() if not node.name.startswith("__")]
    assert sum("_" not in name for name in names) / len(names) <= ONE_WORD_SHARE


def test_a_public_function_of_one_word_is_a_common_one() -> None:
    assert [
        f"{path}:{node.lineno} {node.name}"
        for path, node in _public_functions()
        if "_" not in node.name and node.name not in ONE_WORD
    ] == []


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(
        ast.unparse(decorator).endswith(("property", ".setter"))
        for decorator in node.decorator_list
    )


def test_modules_and_functions_are_short() -> None:
    for path in MODULES:
        assert len((ROOT / path).read_text().splitlines()) < MAX_LINES, path
    for path, node in _functions():
        assert node.end_lineno - node.lineno + 1 < MAX_FUNCTION_LINES, (path, node.name)


def test_prose_names_who_acts() -> None:
    pages = [*MODULES, *(page.relative_to(ROOT) for page in ROOT.glob("docs/*.md"))]
    finds = []
    for page in pages:
        if page.name in {"glossary.md", "FEATURE_MATRIX.md"}:
            continue
        for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
            if PROSE.search(line):
                finds.append(f"{page}:{number} {line.strip()}")
    assert finds == []

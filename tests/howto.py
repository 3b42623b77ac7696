"""A page of docs/howto, followed in a copy of the tree by its own edits.

Invariants: the test that follows a page knows the page's form (a path, then diffs for that file)
and none of the edits. A diff of added lines alone makes a new file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["COPIED", "ROOT", "edit_copy", "list_edits", "make_docs", "run_python"]

ROOT = Path(__file__).parents[1]
COPIED = ("vai", "tests", "docs", "settings.toml", "README.md", "Makefile", "pyproject.toml")
_FENCES = re.compile(r"^In `([\w./-]+)`:$|^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules", ".*")


def list_edits(page: str) -> list[tuple[str, str, str]]:
    """The edits of docs/howto/`page`: a file, the lines that stand there, and the lines that
    replace them."""
    edits, file = list[tuple[str, str, str]](), ""
    for path, diff in _FENCES.findall((ROOT / "docs/howto" / page).read_text("utf-8")):
        if path:
            file = path
            continue
        lines = [line or " \n" for line in diff.splitlines(keepends=True)]
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        edits.append((file, before, after))
    assert edits, f"{page} has no edit"
    return edits


def edit_copy(tree: Path, page: str) -> None:
    """Copy the repository into `tree`, and make the edits of `page` there."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=_LEFT_OUT)
        else:
            shutil.copy(ROOT / name, tree / name)
    for file, before, after in list_edits(page):
        if not before:
            assert not (tree / file).exists(), f"{file} exists already"
            (tree / file).write_text(after, "utf-8")
            continue
        text = (tree / file).read_text("utf-8")
        assert text.count(before) == 1, f"{file} has this {text.count(before)} times:\n{before}"
        (tree / file).write_text(text.replace(before, after), "utf-8")


def make_docs(tree: Path) -> None:
    """Write the generated pages of `tree`, as `make docs` does."""
    recipe = re.search(r"^docs:.*\n((?:\t.*\n)+)", (tree / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    for line in recipe[1].splitlines():
        run_python(tree, *line.replace("$(BIN)/python", "").split())


def run_python(tree: Path, *arguments: str, code: int = 0, **environ: str) -> str:
    """What Python prints when it runs in the tree, with the tree's own `vai`."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), **environ},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + (done.stderr if code else "")

"""What the tests of the limits share: the fast path, built for them, and off unless asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.io.limits.compiled import ROOT, WATCHED
from tools.compile_fast_path import compile_fast_path
from vai.io.limits import fast_path


@pytest.fixture(autouse=True)
def python_alone(monkeypatch) -> None:
    """The Python code decides everything, whether the module has been built here or not."""
    monkeypatch.setattr(fast_path, "module", None)


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The module as it is shipped."""
    return _build(tmp_path_factory.mktemp("fast_path"), ())


@pytest.fixture(scope="session")
def watched(tmp_path_factory) -> Path:
    """The module that calls Python before each write."""
    return _build(tmp_path_factory.mktemp("watched"), WATCHED)


def _build(folder: Path, more: tuple[str, ...]) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("the fast path cannot be built: there is no C compiler")
    return compile_fast_path(ROOT, folder, more=more)

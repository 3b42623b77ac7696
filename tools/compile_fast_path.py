"""Compiles the fast path of the limits beside its source, where there is a C compiler.

The build of a wheel and `make` call this. Without a compiler, and on other systems than Linux, the
gateway runs on the Python code alone, so a failure is one line and no error.

    python tools/compile_fast_path.py
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ["SOURCE", "CannotCompileError", "compile_fast_path"]

SOURCE = "vai/io/limits/_fast_path.c"
_OPTIONS = ("-std=c11", "-O2", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra")
_NOT_MEANT = ("-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-cast-function-type")
"""What the interface of CPython makes unavoidable."""


class CannotCompileError(Exception):
    """There is no C compiler, or it failed; the text is one line."""


def compile_fast_path(
    root: Path, folder: Path | None = None, *, more: tuple[str, ...] = ()
) -> Path:
    """Compile the module of the source tree `root`; returns its path.

    Args:
        folder: for the module; beside its source if None.
        more: options of the compiler.

    Raises:
        CannotCompileError: the module cannot be built here.
    """
    if not sys.platform.startswith("linux"):
        raise CannotCompileError("robust mutexes exist on Linux only")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise CannotCompileError("there is no C compiler")
    source = root / SOURCE
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    built = (folder or source.parent) / f"{source.stem}{suffix}"
    include = sysconfig.get_path("include")
    # Written elsewhere first: a process that has the old module mapped keeps it.
    draft = built.with_suffix(".new")
    argv = [*compiler, *_OPTIONS, *_NOT_MEANT, *more, f"-I{include}", str(source), "-o", str(draft)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        draft.unlink(missing_ok=True)
        first = (done.stderr.strip() or "no message").splitlines()[0]
        raise CannotCompileError(f"the C compiler failed: {first}")
    draft.replace(built)
    return built


def main() -> None:
    """Compile in this source tree, and say so in one line."""
    try:
        built = compile_fast_path(Path(__file__).resolve().parent.parent)
    except CannotCompileError as reason:
        sys.stdout.write(f"limits: without the compiled fast path, {reason}\n")
    else:
        sys.stdout.write(f"limits: compiled {built.name}\n")


if __name__ == "__main__":
    main()

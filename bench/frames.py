"""A module in C that lets callgrind tell Python functions apart.

callgrind knows functions of C, and to it every Python function is the interpreter's one evaluation
function. The module sets a hook of PEP 523 that calls that function through a trampoline, and each
code object has a trampoline of its own, so callgrind attributes to it what the Python function and
its callees execute. Built anew for each run, in a temporary directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
from pathlib import Path

from bench.callgrind import CannotCountError

__all__ = ["SIGNAL", "TRAMPOLINE", "CannotBuildError", "build_frames", "read_names", "search_path"]

SIGNAL = signal.SIGUSR2
"""Sets the hook in a process that was started with the folder on its path."""
TRAMPOLINE = "python_function_"

_MOST = 3000
"""Functions that are told apart; all further ones share the last trampoline."""

_SOURCE = r"""
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdio.h>
#if PY_VERSION_HEX < 0x030C0000
#define Py_BUILD_CORE 1
#include <internal/pycore_frame.h>
#define CODE_OF(frame) ((frame)->f_code)
#else
#define CODE_OF(frame) ((PyCodeObject *)PyUnstable_InterpreterFrame_GetCode(frame))
#endif

typedef PyObject *(*evaluate)(PyThreadState *, struct _PyInterpreterFrame *, int);

/* The number in the assembly keeps the compiler from joining trampolines. */
#define TRAMPOLINE(number)                                                        \
  __attribute__((noinline, noclone)) PyObject *python_function_##number(          \
      PyThreadState *thread, struct _PyInterpreterFrame *frame, int thrown) {     \
    PyObject *result = _PyEval_EvalFrameDefault(thread, frame, thrown);           \
    __asm__ volatile("nop" ::"i"(number));                                        \
    return result;                                                                \
  }
@DEFINITIONS@
static evaluate trampolines[] = {@TABLE@};
enum { MOST = sizeof trampolines / sizeof trampolines[0], PLACES = 1 << 15 };

static PyCodeObject *seen[PLACES];
static int numbers[PLACES];
static int used;
static FILE *names;

/* The number of a code object; its name is written when it comes for the first time. */
static int number_of(PyCodeObject *code) {
  size_t place = ((uintptr_t)code >> 4) * 2654435761u % PLACES;
  for (; seen[place]; place = (place + 1) % PLACES)
    if (seen[place] == code) return numbers[place];
  if (used == MOST) return MOST - 1;
  seen[place] = (PyCodeObject *)Py_NewRef(code);
  numbers[place] = used;
  fprintf(names, "%d\t%s\t%d\t%s\n", used, PyUnicode_AsUTF8(code->co_filename),
          code->co_firstlineno, PyUnicode_AsUTF8(code->co_qualname));
  fflush(names);
  return used++;
}

static PyObject *pass_on(PyThreadState *thread, struct _PyInterpreterFrame *frame, int thrown) {
  return trampolines[number_of(CODE_OF(frame))](thread, frame, thrown);
}

static PyObject *set_hook(PyObject *module, PyObject *path) {
  names = fopen(PyUnicode_AsUTF8(path), "w");
  if (!names) return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
  _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), pass_on);
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"set_hook", set_hook, METH_O, NULL}, {NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "trampolines", NULL, -1, methods};
PyMODINIT_FUNC PyInit_trampolines(void) { return PyModule_Create(&module); }
"""

_START = """\
import signal
import trampolines

signal.signal(signal.Signals({number}), lambda *_: trampolines.set_hook({names!r}))
"""


class CannotBuildError(CannotCountError):
    """There is no C compiler, or it failed; the text is one line."""


def build_frames(folder: Path) -> None:
    """Build the module in `folder`, and have a Python that finds it there wait for `SIGNAL`.

    Raises:
        CannotBuildError: the module cannot be built here.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise CannotBuildError("there is no C compiler (apt install gcc)")
    numbers = range(_MOST)
    source = folder / "trampolines.c"
    source.write_text(
        _SOURCE.replace(
            "@DEFINITIONS@", "\n".join(f"TRAMPOLINE({number})" for number in numbers)
        ).replace("@TABLE@", ", ".join(f"{TRAMPOLINE}{number}" for number in numbers))
    )
    # Without sibling calls: a trampoline that is jumped to is no call to callgrind.
    argv = [compiler, "-shared", "-fPIC", "-O1", "-fno-optimize-sibling-calls", str(source)]
    argv += [f"-I{sysconfig.get_path('include')}", "-o", str(folder / "trampolines.so")]
    built = subprocess.run(argv, check=False, capture_output=True, text=True)
    if built.returncode:
        raise CannotBuildError(f"the C compiler failed: {built.stderr.strip().splitlines()[0]}")
    names = str(folder / "names")
    start = _START.format(number=int(SIGNAL), names=names)
    (folder / "sitecustomize.py").write_text(start)


def search_path(folder: Path) -> str:
    """PYTHONPATH for a process that shall find the module."""
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))


def read_names(folder: Path) -> dict[str, str]:
    """Trampoline to ``file:line name`` of its function."""
    found = {}
    for line in (folder / "names").read_text().splitlines():
        number, file, first, name = line.split("\t")
        found[f"{TRAMPOLINE}{number}"] = f"{_shorten(file)}:{first} {name}"
    return found


def _shorten(file: str) -> str:
    root = str(Path(__file__).resolve().parent.parent) + os.sep
    return file.removeprefix(root).rpartition("site-packages/")[2]

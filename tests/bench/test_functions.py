"""Which function executes what: the module in C on a program with a known tree of calls."""

import os
import shutil
import subprocess
import sys

import pytest

from bench import frames, functions
from bench.callgrind import is_installed, under_callgrind

_PROGRAM = """
import os, signal, sys

def add_numbers():
    return sum(range(20_000))

def add_twice():
    return add_numbers() + add_numbers()

def work():
    add_numbers()
    return add_twice()

os.kill(os.getpid(), signal.Signals({signal}))
for _ in range(3):
    work()
"""
_PROFILE = """\
fn=(1) PyObject_Call
cfn=(2) python_function_0
calls=2 0
0 600
fn=(2)
0 50
cfn=(3) python_function_1'2
calls=4 0
0 400
cfn=(4) malloc
calls=9 0
0 90
fn=(1)
cfn=(3)
calls=2 0
0 300
"""
_NAMES = {"python_function_0": "a.py:1 outer", "python_function_1": "a.py:9 inner"}

counted = pytest.mark.skipif(
    not is_installed() or shutil.which("cc") is None, reason="valgrind or cc is not installed"
)


def test_a_profile_is_read_as_functions_per_request_dearest_first():
    inner, outer = functions.read_profile(iter(_PROFILE.splitlines()), _NAMES, 2)
    assert (inner.name, inner.instructions, inner.calls) == ("a.py:9 inner", 350, 3)
    assert (outer.name, outer.instructions, outer.calls) == ("a.py:1 outer", 300, 1)


@counted
@pytest.mark.slow
def test_each_function_has_its_calls_and_what_its_callees_execute(tmp_path):
    frames.build_frames(tmp_path)
    profile = tmp_path / "profile"
    program = _PROGRAM.format(signal=int(frames.SIGNAL))
    subprocess.run(
        [*under_callgrind(profile), "--instr-atstart=yes", sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": frames.search_path(tmp_path)},
        check=True,
        timeout=50,
    )
    names = frames.read_names(tmp_path)
    with profile.open() as lines:
        found = functions.read_profile(lines, names, 3)
    by_name = {function.name.split()[-1]: function for function in found}
    assert [function.name.split()[-1] for function in found][:3] == [
        "work",
        "add_numbers",
        "add_twice",
    ]
    assert by_name["work"].calls == by_name["add_twice"].calls == 1
    assert by_name["add_numbers"].calls == 3
    each = by_name["add_numbers"].instructions / 3
    assert each > 20_000
    assert by_name["add_twice"].instructions / each == pytest.approx(2, rel=0.02)
    assert by_name["work"].instructions / each == pytest.approx(3, rel=0.02)


def test_without_a_compiler_it_says_so_and_ends(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(frames.CannotBuildError, match="no C compiler"):
        frames.build_frames(tmp_path)


def test_without_valgrind_it_says_so_and_ends(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert functions.main([]) == 0
    assert "skipped, valgrind" in capsys.readouterr().out

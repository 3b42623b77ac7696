"""The canary plugin finds what a test, a log or a registered file gives away."""

from __future__ import annotations

import pytest

from tests import canary


@pytest.fixture
def run(pytester, request):
    root = request.config.rootpath

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(f"import sys\nsys.path.insert(0, {str(root)!r})\n{source}")
        return pytester.runpytest_subprocess("-p", "tests.canary", "--loop", "uvloop", *options)

    pytester.syspathinsert(str(root))
    return run


@pytest.mark.parametrize(
    "leak",
    [
        "print(canary.KEY)",
        "print(canary.PROMPT, file=sys.stderr)",
        "logging.getLogger('deep.down').warning('key %s', canary.PROVIDER_KEY)",
        "canary.register(tmp_path / 'log').write_text('{\"key\": \"' + canary.KEY)",
    ],
)
def test_a_leak_fails_a_session_whose_tests_pass(run, leak):
    result = run(
        f"""
import logging
from tests import canary
def test_leaks(tmp_path):
    {leak}
"""
    )
    assert result.parseoutcomes() == {"passed": 1}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*secrets or prompts in what was written*", "*<canary>*"])


def test_a_leak_in_a_worker_of_xdist_is_found(run):
    result = run(
        """
from tests import canary
def test_leaks(tmp_path):
    canary.register(tmp_path / "log").write_text(canary.PROMPT)
""",
        "-n1",
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_quiet_session_passes(run):
    result = run(
        """
from tests import canary
def test_quiet(tmp_path):
    canary.register(tmp_path / "log").write_text("nothing to see")
    canary.register(tmp_path / "never written")
    print("hello")
"""
    )
    assert result.ret == pytest.ExitCode.OK


def test_canaries_are_visible_ascii():
    assert all(text.isascii() and text.isprintable() for text in canary.CANARIES)
    assert len(set(canary.CANARIES)) == 3

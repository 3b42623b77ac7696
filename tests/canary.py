"""Secrets and prompts that must never be seen again, and the plugin that looks for them.

Invariants: every test presents canaries instead of keys and prompts of its
own making. Whatever a test, a server process or a log writes is searched for them, and
one find fails the session, whichever test caused it. Server tests register the files
their processes write to: `register(path)`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

__all__ = ["CANARIES", "KEY", "PROMPT", "PROVIDER_KEY", "register"]

# Spelled in two parts, so that a traceback that shows this file's source is no find.
KEY = "sk-CANARY-" + "gateway-5f2c9a7e41"
PROVIDER_KEY = "sk-CANARY-" + "provider-b81d03f6aa"
PROMPT = "CANARY-PROMPT-" + "the heron stands still"

_MARKS = ("sk-" + "CANARY-", "CANARY-" + "PROMPT-")
CANARIES = (KEY, PROVIDER_KEY, PROMPT)

_files: list[Path] = []
_finds: dict[str, str] = {}


def register(path: Path) -> Path:
    """Have a file searched when the session ends, e.g. what a server process prints."""
    _files.append(path)
    return path


def _search(text: str, where: str) -> None:
    for mark in _MARKS:
        at = text.find(mark)
        if at >= 0:
            before = text[max(0, at - 60) : at].rpartition("\n")[2]
            _finds.setdefault(where, f"...{before}<canary>")


class _Listener(logging.Handler):
    """Hears every record of every logger, also those that nobody else would show."""

    def emit(self, record: logging.LogRecord) -> None:
        _search(logging.Formatter().format(record), f"log record of {record.name}")


_listener = _Listener(level=logging.DEBUG)


@pytest.hookimpl
def pytest_sessionstart() -> None:
    logging.getLogger().addHandler(_listener)


@pytest.hookimpl
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for title, text in report.sections:  # captured stdout, stderr and log
        _search(text, f"{report.nodeid}: {title}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    logging.getLogger().removeHandler(_listener)
    for path in _files:
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    _search(line, str(path))
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist tells its controller
        session.config.workeroutput["canary"] = dict(_finds)
    if _finds and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _finds.update(getattr(node, "workeroutput", {}).get("canary", {}))


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _finds:
        return
    terminalreporter.section("secrets or prompts in what was written", red=True)
    for where, context in _finds.items():
        terminalreporter.write_line(f"{where}: {context}")

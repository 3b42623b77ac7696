"""A login is kept whole, for its owner alone, and read back as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import orjson
import pytest

from tests.canary import PROVIDER_KEY
from tests.io.google.fake import login
from vai.config.login import login_file, read_login
from vai.io.google.login import write_login


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "vai" / "login.json"
    known = login(expiry=1234.5, scopes=("a", "b"))
    write_login(file, known)
    assert read_login(file) == known
    assert set(orjson.loads(file.read_bytes())) == {
        "refresh_token",
        "access_token",
        "expiry",
        "project",
        "client_id",
        "client_secret",
        "scopes",
    }


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "vai" / "login.json"
    before = os.umask(0)
    try:
        write_login(file, login())
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        file.chmod(0o644)
        write_login(file, login(project="other-1"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_login(file).project == "other-1"
    assert list(file.parent.iterdir()) == [file]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "login.json"
    folder.mkdir()
    (folder / "kept").touch()
    with pytest.raises(OSError):
        write_login(folder, login())
    assert [path.name for path in tmp_path.iterdir()] == ["login.json"]


_REST = (
    b'{"access_token": "a", "expiry": 0, "project": "p", "client_id": "c", '
    b'"client_secret": "s", "refresh_token": %b}'
)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"\xff",
        b'{"refresh_token": "%b' % PROVIDER_KEY.encode(),
        _REST % b"7",
        _REST % (b'"%b\\n"' % PROVIDER_KEY.encode()),
    ],
)
def test_what_is_no_login_is_told_by_the_command_that_mends_it(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "login.json"
    file.write_bytes(text)
    with pytest.raises(ValueError, match="run: vai login gemini") as failed:
        read_login(file)
    assert PROVIDER_KEY not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None


def test_no_file_and_no_right(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no login at .*; run: vai login gemini"):
        read_login(tmp_path / "none.json")
    with pytest.raises(ValueError, match="directory"):
        read_login(tmp_path)


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/xdg")
    assert login_file() == Path("/xdg/vai/gemini-oauth.json")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/heron")
    assert login_file() == Path("/home/heron/.config/vai/gemini-oauth.json")
    assert login_file("/etc/login.json") == Path("/etc/login.json")

"""Settings whose value stands in a file of its own, as Docker, Kubernetes and systemd hand it."""

from __future__ import annotations

import os
import pickle

import pytest

from vai.config import ConfigError, Settings, load
from vai.config.snapshot import SettingsSnapshot
from vai.secret import SECRET_LIMIT

KEY = "sk-4f1d9c27"


@pytest.fixture
def environ(tmp_path):
    """Variables that name a settings file of the given text, in a directory of its own."""

    def environ(text: str, **variables: str) -> dict[str, str]:
        file = tmp_path / "own.toml"
        file.write_text('[auth]\nmode = "none"\n' + text)
        return {"VAI_CONFIG": str(file), **variables}

    return environ


def key_of(settings: Settings, provider: str = "openai") -> str:
    return settings.providers[provider].api_key.reveal()


@pytest.mark.parametrize("content", [KEY, f"{KEY}\n", f"{KEY}\r\n", f"\ufeff{KEY}\n"])
def test_the_content_is_the_value_without_its_line_end(environ, tmp_path, content):
    (tmp_path / "openai").write_bytes(content.encode())
    text = f'[providers.openai]\napi_key = "${{file:{tmp_path}/openai}}"\n'
    assert key_of(load(environ(text))) == KEY


def test_a_reference_stands_in_a_longer_text_and_in_a_list(environ, tmp_path):
    (tmp_path / "redis").write_text("p4ss\n")
    (tmp_path / "key").write_text(f"{KEY}\n")
    settings = load(
        environ(
            f'[limits.redis]\nurl = "redis://:${{file:{tmp_path}/redis}}@${{HERE:-127.0.0.1}}:6379"\n'
            f'[[auth.api_keys]]\nname = "alice"\nkey = "${{file:{tmp_path}/key}}"\n'
        )
    )
    assert settings.limits.redis.url.reveal() == "redis://:p4ss@127.0.0.1:6379"
    assert settings.auth.api_keys[0].key.reveal() == KEY


def test_a_variable_may_refer_to_a_file_and_its_path_hold_a_variable(environ, tmp_path):
    (tmp_path / "groq").write_text(f"{KEY}\n")
    text = '[providers.openai]\napi_key = "${file:${CREDENTIALS_DIRECTORY}/groq}"\n'
    reference = f"${{file:{tmp_path}/groq}}"
    settings = load(
        environ(text, CREDENTIALS_DIRECTORY=str(tmp_path), VAI_PROVIDERS__GROQ__API_KEY=reference)
    )
    assert (key_of(settings), key_of(settings, "groq")) == (KEY, KEY)


def test_what_a_file_or_a_variable_holds_is_no_reference(environ, tmp_path):
    (tmp_path / "odd").write_text("${file:/etc/hostname}")
    text = f'[providers.openai]\napi_key = "${{file:{tmp_path}/odd}}"\nname = "${{ODD}}"\n'
    settings = load(environ(text, ODD="${file:/etc/hostname}"))
    assert key_of(settings) == "${file:/etc/hostname}"
    assert settings.providers["openai"].name == "${file:/etc/hostname}"


ALONE = "; expected the value alone, in one line"
FAULTS = {
    "${file:PLACE/absent}": "there is no file PLACE/absent; mount the secret there",
    "${file:PLACE}": "PLACE is a directory; name the file in it",
    "${file:PLACE/pipe}": f"PLACE/pipe is no regular file{ALONE}",
    "${file:PLACE/empty}": f"the file PLACE/empty is empty{ALONE}",
    "${file:PLACE/lines}": f"the file PLACE/lines has several lines{ALONE}",
    "${file:PLACE/large}": f"the file PLACE/large has more than 4096 bytes{ALONE}",
    "${file:PLACE/binary}": f"the file PLACE/binary is not UTF-8 text{ALONE}",
    "${file:PLACE/large/below}": "the file PLACE/large/below cannot be read (Not a directory)",
    "${file:secrets/openai}": ("expected the file's path from the root: ${file:/run/secrets/name}"),
    "${file:}": "expected the file's path from the root: ${file:/run/secrets/name}",
    "${file:PLACE/good": "expected ${file:/path/of/the/file}, with the closing brace",
    "${file:/${SECRET}}": "there is no file /${SECRET}; mount the secret there",
    "${file:${ABSENT}/good}": "the variable ABSENT is not set",
    "${KEY:-${file:PLACE/good}}": "the default of KEY holds a reference; expected plain text",
}


@pytest.mark.parametrize("written", FAULTS)
def test_what_cannot_be_used_is_said_without_what_it_holds(environ, tmp_path, written):
    contents = {
        "good": KEY,
        "empty": "\n",
        "lines": f"{KEY}\n{KEY}\n",
        "large": KEY * SECRET_LIMIT,
        "binary": b"\xff\xfe" + KEY.encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    os.mkfifo(tmp_path / "pipe")
    reference = written.replace("PLACE", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        load(environ(f'[providers.openai]\napi_key = "{reference}"\n', SECRET=KEY))
    (problem,) = caught.value.problems
    assert problem.key == "providers.openai.api_key"
    assert problem.where == f"{tmp_path}/own.toml, line 4"
    assert problem.text == FAULTS[written].replace("PLACE", str(tmp_path))
    assert KEY not in str(caught.value)


def test_a_file_of_somebody_else_is_said_to_be_one(environ, tmp_path, monkeypatch):
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "openai").write_text(KEY)
    text = f'[providers.openai]\napi_key = "${{file:{tmp_path}/openai}}"\n'
    variables = environ(text)
    monkeypatch.setattr("vai.config.secret_files.os.open", refuse)  # root may read everything
    with pytest.raises(ConfigError) as caught:
        load(variables)
    assert f"by the user who runs this (uid {os.geteuid()})" in caught.value.problems[0].text


def test_the_largest_secret_fits(environ, tmp_path):
    (tmp_path / "openai").write_text("k" * SECRET_LIMIT + "\r\n")
    text = f'[providers.openai]\napi_key = "${{file:{tmp_path}/openai}}"\n'
    assert key_of(load(environ(text))) == "k" * SECRET_LIMIT


def test_a_worker_that_replaces_another_gets_what_was_read_first(environ, tmp_path):
    """And so does one whose group began with a file that could not be read."""
    (tmp_path / "openai").write_text(f"{KEY}\n")
    variables = environ(f'[providers.openai]\napi_key = "${{file:{tmp_path}/openai}}"\n')
    snapshot = SettingsSnapshot(variables)
    assert KEY not in repr(snapshot) + repr(vars(snapshot))
    (tmp_path / "openai").unlink()
    handed_over = pickle.loads(pickle.dumps(snapshot))
    assert key_of(handed_over.build_settings(variables)) == KEY
    broken = pickle.loads(pickle.dumps(SettingsSnapshot(variables)))
    (tmp_path / "openai").write_text("sk-another\n")
    with pytest.raises(ConfigError, match="there is no file"):
        broken.build_settings(variables)
    assert key_of(SettingsSnapshot(variables).build_settings(variables)) == "sk-another"


def test_a_setting_that_a_later_source_replaces_reads_no_file(environ):
    text = '[providers.openai]\napi_key = "${file:/nowhere/openai}"\n'
    settings = load(environ(text, VAI_PROVIDERS__OPENAI__API_KEY="sk-own"))
    assert key_of(settings) == "sk-own"

"""The mistakes of a person who sets up a gateway: each is one message, which says what is wrong,
where, and what to do, and holds no value."""

from __future__ import annotations

import os
import re
import subprocess
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from tests import canary
from vai.config import ConfigError, load
from vai.config.load import defaults_file
from vai.config.names import KEY_VARIABLES
from vai.config.problems import MOST_SHOWN, Problem
from vai.config.sources import read_file
from vai.config.syntax import parse_settings_file

KEY = canary.KEY
NONE = '[auth]\nmode = "none"\n'


class Mistake(NamedTuple):
    """A file, variables, and all that is said of them."""

    file: str
    text: str
    message: str
    variables: Mapping[str, str] = MappingProxyType({})


TO_DO = re.compile(
    r"expected|did you mean|belongs in|top-level|setting for it|set it|set both|add it|needs"
    r"|write|keep one|put text|closed|delete it|docs/configuration.md"
)

TABLE = tomllib.loads((Path(__file__).parent / "fixtures" / "mistakes.toml").read_text("utf-8"))
MISTAKES = {
    name: Mistake(
        row.get("file", ""),
        row.get("text", "").replace("<KEY>", KEY),
        row["message"].replace("<BUILT IN>", ", ".join(KEY_VARIABLES)),
        {name: text.replace("<KEY>", KEY) for name, text in row.get("variables", {}).items()},
    )
    for name, row in TABLE.items()
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def messages(mistake: Mistake) -> tuple[Problem, ...]:
    environ = dict(mistake.variables)
    if mistake.text:
        Path(mistake.file).write_text(mistake.text, "utf-8")
    if mistake.file:
        environ["VAI_CONFIG"] = mistake.file
    with pytest.raises(ConfigError) as caught:
        load(environ)
    assert str(caught.value).startswith(f"{len(caught.value.problems)} problem")
    return caught.value.problems


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_message(name):
    mistake = MISTAKES[name]
    assert [str(problem) for problem in messages(mistake)] == [mistake.message]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_message_says_what_and_where_and_what_to_do_and_no_value(name):
    mistake = MISTAKES[name]
    (problem,) = messages(mistake)
    assert KEY not in repr(problem)
    assert len(str(problem)) < 320
    assert problem.key or "own." in problem.where
    places = ("own.", "environment variable ", "the defaults")
    assert problem.where.startswith(places)
    assert TO_DO.search(problem.text)


def of_file(name: str, content: bytes) -> tuple[Problem, ...]:
    Path(name).write_bytes(content)
    return messages(Mistake(name, "", ""))


LAUGHS = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
MERGES = "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("own.yaml", b"a0: &a0 x\n" + LAUGHS.encode(), "at most 250000 values"),
        ("own.yaml", b"a0: &a0 {x: 1}\n" + MERGES.encode(), "at most 250000 values"),
        ("own.yaml", b"a: &a [*a]\n", "inside its own anchor"),
        ("own.yaml", b"a: " + b"[" * 100_000, "at most 32 levels"),
        ("own.yaml", b"\n".join(b" " * n + b"a:" for n in range(500)), "at most 32 levels"),
        ("own.json", b"[" * 500_000, "at most 32 levels"),
        ("own.json", b'{"a": ' + b"[" * 50 + b"]" * 50 + b"}", "at most 32 levels"),
        ("own.toml", b"a = " + b"[" * 500_000, "at most 32 levels"),
        ("own.toml", b"a = " + b"9" * 10_000, "at most 4300 digits"),
        ("own.json", b'{"a": ' + b"9" * 10_000 + b"}", "at most 4300 digits"),
        ("own.toml", b"a = 1\n" * 20_000_000, "at most 2 MiB"),
        ("own.yaml", b"a: x\x01y\n", "control characters"),
        ("own.toml", "port = 1\n".encode("utf-16"), "expected UTF-8"),
        ("own.toml", "port = 1\n".encode("utf-16-le"), "expected UTF-8"),
        ("own.toml", b'host = "\xff"\n', "expected UTF-8"),
    ],
)
def test_a_hostile_file_is_one_message_soon(name, content, reason):
    began = time.process_time()
    (problem,) = of_file(name, content)
    assert time.process_time() - began < 3
    assert reason in problem.text
    assert problem.where.startswith(name)


def test_a_directory_is_no_file():
    Path("own.toml").mkdir()
    (problem,) = messages(Mistake("own.toml", "", ""))
    assert problem.text == "cannot be read (is a directory); expected a file of settings"


def test_a_file_that_may_not_be_read(monkeypatch):
    Path("own.toml").touch()

    def refuse(*_: object) -> None:  # root may read every file
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    problems: list[Problem] = []
    assert read_file(Path("own.toml"), problems) == {}
    who = f"let the user with uid {os.geteuid()} read it"
    assert [str(one) for one in problems] == [
        f"own.toml: cannot be read (permission denied); {who}"
    ]


def test_a_file_of_windows_is_read():
    Path("own.toml").write_bytes(b'\xef\xbb\xbfport = 81\r\n[auth]\r\nmode = "none"\r\n')
    assert load({"VAI_CONFIG": "own.toml"}).port == 81


@pytest.mark.parametrize("name", ["own.toml", "own.yaml", "own.json"])
def test_an_empty_file_sets_nothing(name):
    Path(name).touch()
    assert load({"VAI_CONFIG": name, "VAI_AUTH__MODE": "none"}).port == 8080


def test_anchors_of_yaml_share_settings():
    text = "auth: {mode: none}\nlimits:\n  per_user: &few {requests_per_minute: 7}\n"
    Path("own.yaml").write_text(f"{text}  tiers:\n    a: *few\n    b: {{<<: *few}}\n")
    limits = load({"VAI_CONFIG": "own.yaml"}).limits
    assert [limits.tiers[name].requests_per_minute for name in "ab"] == [7, 7]


def test_what_an_unreadable_file_may_have_said_is_not_missed():
    variables = {"VAI_AUTH__API_KEYS__ALICE__TIER": "gold", "VAI_ALIASES__FAST": "mine/x"}
    (problem,) = messages(Mistake("own.toml", "port = \n", "", variables))
    assert problem.where == "own.toml, line 1, column 8"


def test_mistakes_beside_an_unreadable_file_are_said():
    found = messages(Mistake("own.toml", "port = \n", "", {"VAI_WORKERS": "many"}))
    assert [problem.key for problem in found] == ["", "workers"]


@pytest.mark.parametrize("form", ["headers", "inline", "json", "yaml"])
def test_an_entry_of_a_list_has_its_own_line(form):
    texts = {
        "headers": f'[[auth.api_keys]]\nkey = "{KEY}1"\n[[auth.api_keys]]\nname = "b"\ntier = "x"\n'
        f'key = "{KEY}2"',
        "inline": f'[auth]\napi_keys = [\n  {{key = "{KEY}1"}}, # {{}}\n\n'
        f'  {{key = "{KEY}2", tier = "x"}},\n]',
        "json": f'{{"auth": {{"api_keys": [\n{{"key": "{KEY}1"}},\n\n\n'
        f'{{"key": "{KEY}2", "tier": "x"}}]}}}}',
        "yaml": f"auth:\n  api_keys:\n  - key: {KEY}1\n  - key: {KEY}2\n    tier: x",
    }
    name = f"own.{form if form in ('json', 'yaml') else 'toml'}"
    (problem,) = messages(Mistake(name, texts[form], ""))
    assert (problem.key, problem.where) == ("auth.api_keys[1].tier", f"{name}, line 5")


def test_each_name_of_a_file_is_found_in_its_line():
    text = defaults_file().read_text("utf-8")
    lines = text.splitlines()
    tree = parse_settings_file(text, ".toml")
    paths = list(_paths(tree.values))
    assert len(paths) > 60
    for path in paths:
        line = lines[tree.lines[path] - 1]
        assert path[-1] in line
        assert not line.startswith("#")


def _paths(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in table.items():
        yield (*above, name)
        if isinstance(value, Mapping):
            yield from _paths(value, (*above, name))


def test_an_entry_behind_a_broken_one_keeps_its_number():
    keys = "".join(f'[[auth.api_keys]]\nkey = "{text}"\n' for text in ("", f"{KEY}1", f"{KEY} 2"))
    found = messages(Mistake("own.toml", keys, ""))
    places = [(problem.key, problem.where) for problem in found]
    assert places == [
        ("auth.api_keys[0].key", "own.toml, line 2"),
        ("auth.api_keys[2].key", "own.toml, line 6"),
    ]


def test_many_problems_are_counted_beyond_the_first():
    text = NONE + "".join(f"[aliases{n}]\nx = 1\n" for n in range(MOST_SHOWN + 7))
    Path("own.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load({"VAI_CONFIG": "own.toml"})
    lines = str(caught.value).splitlines()
    assert len(lines) == MOST_SHOWN + 2
    assert lines[0] == "57 problems in the settings:"
    assert lines[-1] == "  and 7 more"


def test_a_key_of_another_certificate():
    for name in ("a", "b"):
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        made += ["-nodes", "-subj", "/CN=x", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subprocess.run(made, check=True, capture_output=True)
    text = f'{NONE}[tls]\ncert_file = "a.crt"\nkey_file = "b.key"\n'
    (problem,) = messages(Mistake("own.toml", text, ""))
    said = "tls.key_file (own.toml, line 5): expected the key that belongs to tls.cert_file"
    assert str(problem) == said


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("toml", f"a = {KEY}"),
        ("json", f"{{{KEY}}}"),
        ("yaml", f"{KEY}: &{KEY} *{KEY}"),
        ("yaml", f"a: &{KEY} 1\nb: &{KEY} 2\nc: ["),
        ("yaml", f"a: !{KEY} 1"),
        ("yaml", f"{KEY}: {KEY}\n{KEY}: {KEY}"),
    ],
    ids=["value", "name", "alias", "anchor", "tag", "names"],
)
def test_a_syntax_error_quotes_nothing(name, text, recwarn):
    (problem,) = of_file(f"own.{name}", text.encode())
    assert KEY not in repr(problem)
    assert "not valid" in problem.text
    assert not recwarn.list


def test_names_and_dates_of_yaml_are_what_is_written():
    aliases = "".join(f"  {name}: openai/gpt-5.4\n" for name in ("5.40", "no", "~", "0x1"))
    dated = "models:\n  openai/gpt-5.4: {name: 2026-11-05}\n"
    Path("own.yaml").write_text(f"auth: {{mode: none}}\naliases:\n{aliases}{dated}")
    settings = load({"VAI_CONFIG": "own.yaml"})
    assert sorted(settings.aliases) == ["0x1", "5.40", "no", "~"]
    assert settings.models["openai/gpt-5.4"].name == "2026-11-05"


@pytest.mark.parametrize(
    "host", ["localhost", "0.0.0.0", "::1", "fe80::1%eth0", "gate-1.lan.", "_x"]
)
def test_a_host_is_an_address_or_a_name(host):
    assert load({"VAI_HOST": host, "VAI_AUTH__MODE": "none"}).host == host


@pytest.mark.parametrize("host", ["[::1]", "a:80", "http://a", "a b", "a..b", "-a", "10.0.0.0/8"])
def test_what_is_no_host_is_refused(host):
    (problem,) = messages(Mistake("", "", "", {"VAI_HOST": host, "VAI_AUTH__MODE": "none"}))
    assert problem.key == "host"


@pytest.mark.parametrize("key", ["/a/b+c=", "sk-$x", "'", "Bearers", "{x}", "~x", "$$", "a'b'"])
def test_a_key_that_a_server_made_up_is_left_alone(key):
    settings = load({"VAI_AUTH__MODE": "none", "OPENAI_API_KEY": key})
    found = settings.providers["openai"].api_key
    assert found is not None
    assert found.reveal() == key

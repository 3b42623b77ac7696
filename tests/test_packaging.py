"""What is shipped: an import without side effects, hashes for everything, a careful image."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vai import DISTRIBUTION, install_command

ROOT = Path(__file__).parents[1]
LISTS = [
    ROOT / "requirements/server.txt",
    ROOT / "requirements/dev.txt",
    ROOT / "tests/sdk/requirements-old.txt",
]


def pins(file: Path) -> dict[str, tuple[str, int]]:
    """Package -> (version, number of hashes)."""
    text = re.sub(r"#.*", "", file.read_text()).replace("\\\n", " ")
    found = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)([^\n]*)$", text, re.MULTILINE)
    assert len(found) == len([line for line in text.splitlines() if line.strip()])
    return {name: (version, rest.count("--hash=sha256:")) for name, version, rest in found}


@pytest.mark.parametrize("file", LISTS, ids=lambda file: file.name)
def test_every_requirement_is_pinned_with_its_hash(file):
    listed = pins(file)
    assert listed
    assert [name for name, (_, hashes) in listed.items() if not hashes] == []


def test_the_lists_and_the_lock_agree():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = {(package["name"], package.get("version")) for package in lock["package"]}
    for file in LISTS[:2]:
        assert {(name, version) for name, (version, _) in pins(file).items()} <= locked
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["server"]
    names = {re.split(r"[^\w-]", want)[0] for want in wanted}
    assert names <= set(pins(LISTS[0]))
    assert not {"pytest", "ruff", "mypy"} & set(pins(LISTS[0]))


PROBE = """
import json, os, socket, sys, threading
opened = []
def hook(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR):
        opened.append(str(args[0]))
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork", "os.mkdir")):
        opened.append(event)
sys.dont_write_bytecode = True
before = len(os.listdir("/proc/self/fd"))
sys.addaudithook(hook)
import MODULE
print(json.dumps({
    "opened": opened,
    "fds": len(os.listdir("/proc/self/fd")) - before,
    "threads": threading.active_count() - 1,
    "server": sorted({"sanic", "dynaconf", "typer"} & set(sys.modules)),
}))
"""


@pytest.mark.parametrize(
    ("module", "server"),
    [
        ("vai", []),
        ("vai.exchange.exchange", []),
        ("vai.providers.registry", []),
        ("vai.io.http.upstream", []),
        ("vai.cli", []),
        ("vai.config", []),
    ],
)
def test_an_import_does_nothing(module, server):
    probe = [sys.executable, "-c", PROBE.replace("MODULE", module)]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=30, cwd=ROOT, check=True)
    assert json.loads(done.stdout) == {"opened": [], "fds": 0, "threads": 0, "server": server}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PLACES = [
    *(ROOT / name for name in ("Dockerfile", "Makefile", "settings.toml", ".ci/run")),
    *ROOT.glob("*.md"),
    *ROOT.glob("*.example.toml"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("vai/**/*.py"),
    *ROOT.glob("bench/**/*.py"),
]
"""Where a reader or a program finds what to install."""
TAKE_A_VALUE = {"-r", "--requirement", "--python", "--target"}
MADE_BY_A_CALL = 'pip install "{DISTRIBUTION}[{extra}]"'


def installed_by(text: str) -> list[str]:
    """What the `pip install` lines of `text` install, without options and their values."""
    found = []
    for line in re.findall(r"\bpip3? install((?:[ \t]+[^\s`]+)+)", text):
        words = iter(word.strip("\"'.,;:()") or word for word in line.split())
        for word in words:
            if word in TAKE_A_VALUE:
                next(words)
            elif not word.startswith("-"):
                found.append(word)
    return found


def test_lines_that_install_are_understood():
    assert installed_by("(`pip install vai`, or `pip install 'x[a,b]' .`") == ["vai", "x[a,b]", "."]
    assert installed_by("python -m pip install -q --target a -r b.txt\npip3 install c") == ["c"]


def test_what_is_shown_installs_this_distribution_and_no_other():
    shown = {}
    for file in PLACES:
        text = file.read_text().replace(MADE_BY_A_CALL, "")
        shown |= {(file.name, what): what for what in installed_by(text)}
        shown |= {
            (file.name, extra): f"{DISTRIBUTION}[{extra}]"
            for extra in re.findall(r"\binstall_command\([\"'](\w*)[\"']\)", text)
        }
        shown |= {(file.name, what): what for what in re.findall(r"\bvai(?:-\w+)?\[\w*\]", text)}
    extras = PROJECT["optional-dependencies"]
    right = {".", DISTRIBUTION} | {f"{DISTRIBUTION}[{extra}]" for extra in extras}
    assert {place: what for place, what in shown.items() if what not in right} == {}
    assert {("direct-use.md", DISTRIBUTION), ("client.py", "redis"), ("Dockerfile", ".")} <= set(
        shown
    )


def test_the_distribution_has_one_name():
    assert PROJECT["name"] == DISTRIBUTION
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    assert [p["name"] for p in lock["package"] if p["source"] == {"editable": "."}] == [
        DISTRIBUTION
    ]
    extra = next(iter(PROJECT["optional-dependencies"]))
    assert installed_by(install_command(extra)) == [f"{DISTRIBUTION}[{extra}]"]


def test_no_path_file_is_shipped():
    assert list(ROOT.glob("vai/**/*.pth")) == []


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def test_the_image_runs_as_a_user_of_its_own():
    last = [words for name, words in instructions() if name == "USER"][-1]
    assert last not in ("root", "0")
    names = [name for name, _ in instructions()]
    assert names.index("USER") > max(n for n, name in enumerate(names) if name == "RUN")


def test_the_image_copies_what_exists_and_fetches_nothing():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[0] == "*"
    for name, words in instructions():
        assert name != "ADD"
        assert "curl" not in words
        if name == "COPY" and "--from" not in words:
            for source in words.split()[:-1]:
                assert (ROOT / source).exists()
                assert source in allowed


def test_the_image_gets_every_package_of_the_wheel():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wanted = {
        package.partition("/")[0]
        for package in tool["targets"]["wheel"]["packages"]
        if (ROOT / package / "__init__.py").exists()
    }
    copied = {
        source for name, words in instructions() if name == "COPY" for source in words.split()
    }
    assert wanted <= copied


def test_the_image_installs_from_hashes_and_says_how_it_is():
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements/server.txt" in text
    health = next(words for name, words in instructions() if name == "HEALTHCHECK")
    command = json.loads(health.partition("CMD ")[2])
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/health" in command[2]
    assert ("EXPOSE", "8080") in instructions()
    assert ("CMD", '["vai", "serve"]') in instructions()


def test_the_build_script_is_strict_and_runs_the_make_targets():
    script = (ROOT / ".ci/run").read_text()
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert "set -euo pipefail" in script
    assert re.findall(r"^make (\w+)$", script, re.MULTILINE) == ["check", "test"]
    subprocess.run(["bash", "-n", ROOT / ".ci/run"], check=True, timeout=10)

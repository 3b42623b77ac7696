"""What settings allow that an operator hardly wants, each as one warning with its place."""

from __future__ import annotations

import re
import subprocess
import time
import tomllib
from datetime import date
from pathlib import Path

import pytest

from tests import canary
from vai.config import ConfigError, load
from vai.config.load import load_with_warnings
from vai.config.openai import PAIR
from vai.config.schema import Auth, Model, Provider, Settings
from vai.config.warnings import SOON, find_warnings
from vai.io.catalogue import installed_catalogue
from vai.io.providers import build_specs
from vai.policy.catalogue import Catalogue
from vai.secret import Secret
from vai.types.catalogue import ModelCard

ROOT = Path(__file__).parents[1]
TODAY = date(2026, 11, 28)
EU = "https://eu.api.openai.com/v1"
HOME = "https://api.openai.com/v1"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def warned(tmp_path):
    """The warnings of a file's text, as (setting, line, text)."""

    def warned(text: str, **variables: str) -> list[tuple[str, str, str]]:
        file = tmp_path / "own.toml"
        file.write_text(text)
        environ = {"VAI_AUTH__MODE": "none", "VAI_CONFIG": str(file), **variables}
        found = load_with_warnings(TODAY, environ)[1]
        return [(one.key, one.where.rpartition(" ")[2], one.text) for one in found]

    return warned


def card(model: str, *, provider: str = "openai", **facts) -> ModelCard:
    return ModelCard(provider=provider, id=model, family="f", **facts)


CARDS = Catalogue(
    [
        card("new", released=date(2026, 9, 1)),
        card("old", released=date(2025, 1, 1)),
        card("gone", retires_at=date(2026, 11, 27)),
        card("last-day", retires_at=date(2026, 11, 28)),
        card("tomorrow", retires_at=date(2026, 11, 29)),
        card("soon", retires_at=date(2027, 1, 27)),
        card("later", retires_at=date(2027, 1, 28)),
        card("a", provider="anthropic", retires_at=date(2026, 1, 1)),
    ]
)
NEW = "of its family there is openai/new"
UNKNOWN = (
    "not in the catalogue (vai models): correct the name, or describe the model under [models]"
)


def aliased(target: str | tuple[str, ...], alias: str = "x", **fields) -> list[str]:
    """The warnings of an alias, with keys for openai, anthropic and nobody else."""
    providers = {"openai": {"api_key": "k"}, "anthropic": {"api_key": "k"}}
    environ = {"VAI_AUTH__MODE": "none"}
    for name, own in {**providers, **fields}.items():
        for field, value in own.items():
            variable = f"VAI_PROVIDERS__{name.upper().replace('-', '_')}__{field.upper()}"
            environ[variable] = value
    settings = load(environ)
    targets = (target,) if isinstance(target, str) else target
    changed = {**_plain(settings), "aliases": {alias: targets}}
    return [text for path, text in find_warnings(Settings(**changed), CARDS, TODAY)]


def _plain(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("openai/new", []),
        ("openai/old", []),
        ("openai/later", []),
        ("openai/soon", [f"openai/soon: retires on 2027-01-27, in {SOON} days; {NEW}"]),
        ("openai/tomorrow", [f"openai/tomorrow: retires on 2026-11-29, in 1 day; {NEW}"]),
        ("openai/last-day", [f"openai/last-day: retires on 2026-11-28, today; {NEW}"]),
        ("openai/gone", [f"openai/gone: retired on 2026-11-27; {NEW}"]),
        ("anthropic/a-20260101", ["anthropic/a-20260101: retired on 2026-01-01"]),
        ("openai/nope", [f"openai/nope: {UNKNOWN}"]),
        ("mine/nope", []),
        ("openai/ft:gpt-x:acme::a1b2", []),
        ("anthropic/ft:x", [f"anthropic/ft:x: {UNKNOWN}"]),
        (
            "groq/x",
            ["groq is off: it has no key (providers.groq.api_key, GROQ_API_KEY)"],
        ),
        (
            ("groq/x", "openai/new", "groq/y"),
            ["groq is off: it has no key (providers.groq.api_key, GROQ_API_KEY)"],
        ),
        (
            ("openai/new", "openai/gone", "openai/gone"),
            [f"openai/gone: retired on 2026-11-27; {NEW}"],
        ),
    ],
)
def test_what_an_alias_leads_to(target, said):
    mine = {"mine": {"kind": "openai", "base_url": "http://h/v1"}}
    assert aliased(target, **mine) == said


@pytest.mark.parametrize(
    ("alias", "target", "said"),
    [
        ("o-*", "openai/o*", []),
        ("o-*", "openai/*", []),
        ("o-*", "openai/z*", ["openai/z*: no model of the catalogue has such a name"]),
        ("o-*", "openai/*z", ["openai/*z: no model of the catalogue has such a name"]),
        ("o-*", "openai/gone", [f"openai/gone: retired on 2026-11-27; {NEW}"]),
        ("o-*", "groq/*", ["groq is off: it has no key (providers.groq.api_key, GROQ_API_KEY)"]),
    ],
)
def test_what_a_pattern_leads_to(alias, target, said):
    assert aliased(target, alias) == said


def test_a_server_elsewhere_may_name_its_models_as_it_likes():
    assert aliased("openai/nope", openai={"api_key": "k", "base_url": "http://10.0.0.1/v1"}) == []
    assert aliased("openai/z*", "o*", openai={"api_key": "k", "base_url": "http://h/v1"}) == []
    regional = aliased("openai/nope", openai={"api_key": "k", "base_url": EU})
    assert regional == [f"openai/nope: {UNKNOWN}"]


def test_simulated_and_brought_keys_make_no_provider_off(warned):
    text = "[aliases]\nfast = 'groq/openai/gpt-oss-120b'\n"
    assert [key for key, _, _ in warned(text)] == ["aliases.fast"]
    assert warned(text, VAI_SIMULATE="true") == []
    assert warned(text, VAI_AUTH__MODE="passthrough") == []
    assert warned(text, GROQ_API_KEY="k") == []


def test_an_alias_of_an_alias_is_warned_of_once(warned):
    text = "[aliases]\na = 'b'\nb = 'groq/openai/gpt-oss-120b'\n"
    assert [(key, line) for key, line, _ in warned(text)] == [("aliases.b", "3")]


def test_models_and_prices_of_what_is_retired(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        "auth.mode = 'none'\nproviders.openai.api_key = 'k'\n"
        "[models.'openai/own-name']\ncontext_window = 5\n"
        "[models.'openai/gpt-5.4']\ncontext_window = 5\n"
        "[models.'cerebras/gpt-oss-120b']\ncontext_window = 5\n"
        "[providers.mine]\nkind = 'openai'\nbase_url = 'http://h/v1'\n"
        "price_as = 'openai/gpt-5.4'\n[aliases]\nown = 'openai/own-name'\n"
    )
    settings = load({"VAI_CONFIG": str(file)})
    ended = Catalogue([card("gpt-5.4", retires_at=date(2026, 1, 1))])
    found = dict(find_warnings(settings, ended, TODAY))
    assert found == {
        ("models", "openai/gpt-5.4"): "retired on 2026-01-01",
        ("providers", "mine", "price_as"): "retired on 2026-01-01",
        ("models", "cerebras/gpt-oss-120b"): "cerebras is off: it has no key "
        "(providers.cerebras.api_key, CEREBRAS_API_KEY)",
    }


def test_a_login_that_is_off_is_no_target():
    with pytest.raises(ConfigError, match=r"gemini-oauth is off; turn it on with providers"):
        load({"VAI_AUTH__MODE": "none", "VAI_ALIASES__A": "gemini-oauth/gemini-3.5-flash"})


def test_each_doubt_about_an_address_has_its_place(warned):
    text = (
        "[providers.mine]\nkind = 'openai'\nbase_url = 'http://llm.example.com'\n"
        f"api_key = '{canary.PROVIDER_KEY}'\n"
    )
    version, plain = warned(text)
    assert version[:2] == plain[:2] == ("providers.mine.base_url", "3")
    assert "/v1" in version[2]
    assert "unencrypted" in plain[2]
    assert warned(text.replace("http://llm.example.com", "http://10.0.0.5/v1")) == []
    assert len(warned(text.replace("example.com", "example.com/v1"))) == 1
    assert len(warned("\n".join(text.splitlines()[:3]))) == 1, "nothing secret is sent there"


@pytest.mark.parametrize("url", ["http://@", "https://xn--a", "http://@/v1", "https://u@/v1"])
def test_addresses_that_no_connection_can_be_made_to(url):
    with pytest.raises(ConfigError, match=r"base_url .*expected a URL with"):
        load({"VAI_AUTH__MODE": "none", "VAI_PROVIDERS__OPENAI__BASE_URL": url})


@pytest.mark.parametrize(
    "url", ["api.openai.com/v1", "https://h/v1?api-version=1", "https://h/v1#x", "ftp://h/v1", "h"]
)
def test_addresses_that_are_no_base_urls(url):
    with pytest.raises(ConfigError, match="expected an http:// or https:// URL without query"):
        load({"VAI_AUTH__MODE": "none", "VAI_PROVIDERS__OPENAI__BASE_URL": url})


@pytest.mark.parametrize(
    ("name", "base_url", "variables", "is_warned"),
    [
        ("openai", EU, {}, True),
        ("groq", "HTTPS://API.GROQ.COM/openai/v1", {}, True),
        ("anthropic", "https://api.anthropic.com", {}, True),
        ("openai", EU, {"OPENAI_API_KEY": canary.PROVIDER_KEY}, False),
        ("openai", EU, {"VAI_AUTH__MODE": "passthrough"}, False),
        ("openai", "https://proxy.internal/v1", {}, False),
    ],
)
def test_a_providers_own_host_without_a_key(warned, name, base_url, variables, is_warned):
    found = warned(f"[providers.{name}]\nbase_url = '{base_url}'\n", **variables)
    said = f"this host refuses requests without a key; set providers.{name}.api_key or "
    assert len(found) == is_warned
    assert all(key == f"providers.{name}.base_url" for key, _, _ in found)
    assert all(text.startswith(said) for _, _, text in found)


def test_a_server_without_auth_that_others_reach(warned):
    ((key, line, text),) = warned("\nhost = '0.0.0.0'\n")
    assert (key, line) == ("host", "2")
    assert "reachable" in text
    assert warned("host = '127.0.0.7'") == []


@pytest.mark.parametrize(
    ("openai", "responses", "expected", "said"),
    [
        (None, None, (HOME, HOME), None),
        (EU, None, (EU, EU), None),
        (None, EU, (EU, EU), None),
        (EU, EU, (EU, EU), None),
        (EU, HOME, (EU, HOME), "oai-resp"),
        (HOME, EU, (HOME, EU), "openai"),
        (EU, "https://us.api.openai.com/v1", (EU, "https://us.api.openai.com/v1"), "oai-resp"),
        ("https://proxy.internal/v1", None, ("https://proxy.internal/v1",) * 2, None),
        (None, "https://proxy.internal/v1", ("https://proxy.internal/v1",) * 2, None),
        ("https://proxy.internal/v1", HOME, ("https://proxy.internal/v1", HOME), None),
    ],
)
def test_where_both_endpoints_of_openai_are(warned, openai, responses, expected, said):
    variables = {"OPENAI_API_KEY": canary.PROVIDER_KEY}
    if openai:
        variables["VAI_PROVIDERS__OPENAI__BASE_URL"] = openai
    if responses:
        variables["VAI_PROVIDERS__OAI_RESP__BASE_URL"] = responses
    settings = load({"VAI_AUTH__MODE": "none", **variables})
    rows = build_specs(settings)
    assert tuple(rows[name].base_url for name in PAIR) == expected
    keys = {settings.providers[name].api_key for name in PAIR}
    assert [key.reveal() for key in keys if key] == [canary.PROVIDER_KEY]
    found = [key.replace("_", "-") for key, _, _ in warned("", **variables)]
    assert [key.replace("base-url", "base_url") for key in found] == (
        [] if said is None else [f"providers.{said}.base_url"]
    )


def test_what_moves_takes_along_how_it_is_reached():
    settings = load(
        {
            "VAI_AUTH__MODE": "none",
            "OPENAI_API_KEY": canary.PROVIDER_KEY,
            "VAI_PROVIDERS__OPENAI__BASE_URL": "https://proxy.internal/v1",
            "VAI_PROVIDERS__OPENAI__API_KEY": "of-the-proxy",
            "VAI_PROVIDERS__OPENAI__AUTH": "header:api-key",
            "VAI_PROVIDERS__OPENAI__VERIFY_TLS": "false",
            "VAI_PROVIDERS__OPENAI__HEADERS__X_TEAM": "red",
            "VAI_PROVIDERS__OAI_RESP__MAX_CONNECTIONS": "3",
        }
    )
    moved = settings.providers["oai-resp"]
    assert moved.api_key is not None
    assert moved.api_key.reveal() == "of-the-proxy", "the key of OpenAI goes to no proxy"
    assert (moved.auth, moved.verify_tls, moved.max_connections) == ("header:api-key", False, 3)
    assert moved.headers == settings.providers["openai"].headers


@pytest.mark.parametrize(("moved", "other"), [PAIR, PAIR[::-1]])
def test_a_key_follows_to_no_server_that_the_other_endpoint_was_moved_to(moved, other):
    def at(url: str, **more: str) -> None:
        load(
            {
                "VAI_AUTH__MODE": "none",
                f"VAI_PROVIDERS__{moved.upper().replace('-', '_')}__BASE_URL": url,
                f"VAI_PROVIDERS__{other.upper().replace('-', '_')}__API_KEY": canary.PROVIDER_KEY,
                **more,
            }
        )

    with pytest.raises(ConfigError) as caught:
        at("http://vllm:8000/v1")
    (problem,) = caught.value.problems
    assert problem.key == f"providers.{other}.base_url"
    assert HOME in problem.text
    at(EU)
    at(
        "http://vllm:8000/v1",
        **{f"VAI_PROVIDERS__{other.upper().replace('-', '_')}__BASE_URL": HOME},
    )


def _examples() -> list[tuple[str, str]]:
    """Every settings example of the pages, and the files that are ready to use."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for number, text in enumerate(
            re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
        ):
            if page.name != "configuration.md":
                found.append((f"{page.name}-{number}", text))
    for name in ("config.example.toml", "demo.toml"):
        found.append((name, (ROOT / name).read_text()))
    return found


def _write_keys_beside(file: Path) -> None:
    """The keys that the pages have in `.secrets.toml`, as the settings only name their holders."""
    holders = tomllib.loads(file.read_text()).get("auth", {}).get("api_keys", {})
    if isinstance(holders, dict):
        keyless = [name for name, holder in holders.items() if "key" not in holder]
        lines = [f'{name}.key = "{"k" * 40}{number}"' for number, name in enumerate(keyless)]
        (file.parent / ".secrets.toml").write_text("\n".join(["[auth.api_keys]", *lines]))


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in _examples()])
def test_no_example_is_doubted(tmp_path, text):
    """Each with the keys of the providers it speaks of, on the day of this version."""
    file = tmp_path / "own.toml"
    text = re.sub(r"\$\{file:/[^}]*/(\w+)\}", rf"${{file:{tmp_path}/\1}}", text)
    file.write_text(text)
    for number, name in enumerate(re.findall(r"\$\{file:\S*/(\w+)\}", text)):
        (tmp_path / name).write_text("k" * 20 + str(number))
    _write_keys_beside(file)
    built_in = ("ANTHROPIC", "OPENAI", "GROQ", "GEMINI")
    keys = dict.fromkeys((f"{name}_API_KEY" for name in built_in), "k" * 20)
    named = dict.fromkeys(re.findall(r"\$\{(\w+)", text), "k" * 20)
    named = {name: f"{value}{number}" for number, (name, value) in enumerate(named.items())}
    environ = {"VAI_CONFIG": str(file), "VAI_AUTH__MODE": "none", **keys, **named}
    if "auth" in text:
        del environ["VAI_AUTH__MODE"]
    try:
        found = load_with_warnings(TODAY, environ)[1]
    except ConfigError as error:
        unusable = [one for one in error.problems if "no such file" not in one.text]
        if all("no login" in one.text or "needs at least one key" in one.text for one in unusable):
            return
        raise
    assert [warning for warning in found if "Code Assist" not in warning.text] == []


def test_the_catalogue_of_the_package_is_the_one_that_is_asked(warned):
    ending = [one for one in installed_catalogue().cards if one.retires_at is not None]
    assert ending, "without such a model nothing is proven"
    one = ending[0]
    found = warned(f"[aliases]\nx = '{one.full_id}'\n", VAI_SIMULATE="true")
    soon = one.retires_at is not None and (one.retires_at - TODAY).days <= SOON
    assert bool(found) is soon


def test_many_aliases_and_models_are_looked_at_in_linear_time():
    def cost(count: int) -> float:
        names = [f"openai/m{number}" for number in range(count)]
        providers = {f"p{n}": Provider(kind="openai", base_url="http://h/v1") for n in range(count)}
        settings = Settings(
            auth=Auth(mode="none"),
            providers=providers | {"openai": Provider(api_key=Secret("k"))},
            models={name: Model(context_window=5) for name in names},
            aliases={f"a{n}": (name, "groq/x") for n, name in enumerate(names)},
        )
        began = time.process_time()
        assert len(list(find_warnings(settings, CARDS, TODAY))) == count
        return time.process_time() - began

    least = min(cost(150) for _ in range(3))
    assert min(cost(1500) for _ in range(3)) < 10 * 2.5 * least


def test_a_certificate_without_https_is_doubted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-subj", "/CN=x", "-keyout", "key", "-out", "pem"]
    subprocess.run(words, check=True, capture_output=True)
    pair = {"VAI_TLS__CERT_FILE": "pem", "VAI_TLS__KEY_FILE": "key", "VAI_AUTH__MODE": "none"}
    _, doubts = load_with_warnings(TODAY, pair)
    (doubt,) = doubts
    assert str(doubt) == (
        "tls.cert_file (environment variable VAI_TLS__CERT_FILE): HTTPS is off all the same; "
        "turn it on with tls.enabled"
    )
    assert load_with_warnings(TODAY, {**pair, "VAI_TLS__ENABLED": "true"})[1] == []

"""Settings: where they come from, which win, and how every mistake is told."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess

import msgspec
import pytest

from tests import canary
from vai.config import ConfigError, Settings, load
from vai.config.convert import parse_duration, setting_names
from vai.config.load import defaults_file
from vai.config.names import KEY_VARIABLES
from vai.config.reference import list_entries
from vai.config.schema import SimulatorSettings
from vai.config.snapshot import FIXED_SETTINGS, changes_without_effect
from vai.config.sources import read_file
from vai.providers.registry import PROVIDER_SPECS
from vai.secret import Secret


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def configure(tmp_path):
    """Load with a file of the given text and variables; no auth unless a test says so."""

    def configure(text: str = "", suffix: str = ".toml", **variables: str) -> Settings:
        environ = {"VAI_AUTH__MODE": "none", **variables}
        if text:
            file = tmp_path / f"own{suffix}"
            file.write_text(text)
            environ["VAI_CONFIG"] = str(file)
        return load({name: value for name, value in environ.items() if value != "unset"})

    return configure


def problems_of(configure, *args, **variables) -> dict[str, tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        configure(*args, **variables)
    return {p.key: (p.where.rpartition("/")[2], p.text) for p in caught.value.problems}


def test_the_defaults_file_says_what_the_structs_say(configure):
    assert configure() == Settings(auth=msgspec.structs.replace(Settings().auth, mode="none"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('auth.api_keys.a = {key = "k-1", tier = "gold"}', "auth.api_keys.a.tier"),
        ('limits.store = "redis"', "limits.redis.url"),
        ('limits.redis.url = "http://a"', "limits.redis.url"),
        ('trusted_proxies = ["10.0.0.0/8", "proxy"]', "trusted_proxies[1]"),
        ("limits.max_queue_ms = -1", "limits.max_queue_ms"),
    ],
)
def test_limits_that_cannot_hold(configure, text, key):
    assert key in problems_of(configure, text)


def test_the_older_name_of_the_sessions_limit(configure):
    text = "[rate_limit]\nmax_concurrent_sessions = 7"
    assert configure(text).limits.global_.concurrent_sessions == 7


def test_every_setting_stands_in_the_defaults_file_with_a_comment():
    listed = list(list_entries(defaults_file().read_text()))
    names = {entry.name for entry in listed}
    named = {
        setting.replace("api_keys.*", "api_keys.alice")
        .replace("aliases.*", "aliases.fast")
        .replace("models.*", 'models."mine/llama-70b"')
        .replace("tiers.*", "tiers.free")
        .replace("headers.*", "headers.x-tenant")
        for setting in setting_names()
    }
    named = {
        name.replace("providers.*", "providers.openai")
        if name.endswith("*.api_key")
        else name.replace("providers.*", 'providers."gemini-oauth"')
        if name.endswith(("*.enabled", "*.client_id", "*.client_secret", "*.credentials_file"))
        else name.replace("providers.*", "providers.gemini")
        if name.endswith("*.api_version")
        else name.replace("providers.*", "providers.mine")
        for name in named
    }
    assert names - {"auth.api_keys"} == named
    assert [entry.name for entry in listed if not entry.text] == []


def test_the_examples_in_the_defaults_file_are_valid(configure, tmp_path):
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    made += ["-keyout", "key_file", "-out", "cert_file"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    shutil.copy(tmp_path / "cert_file", tmp_path / "ca_file")
    shown = {entry.name: entry.value for entry in list_entries(defaults_file().read_text())}
    for name in shown:
        if name.rpartition(".")[2] in ("cert_file", "key_file", "ca_file"):
            shown[name] = json.dumps(str(tmp_path / name.rpartition(".")[2]))
    del shown["auth.api_keys"]
    words = {"access_token", "refresh_token", "project", "client_id", "client_secret"}
    login = tmp_path / "login.json"
    login.write_text(json.dumps({"expiry": 0} | dict.fromkeys(words, "x")))
    shown['providers."gemini-oauth".credentials_file'] = json.dumps(str(login))
    text = "\n".join(f"{name} = {value}" for name, value in shown.items())
    variables = ("ALICE_KEY", "OPENAI_API_KEY", "GOOGLE_CLIENT_SECRET", "TENANT")
    settings = configure(text, **{name: name[0].lower() for name in variables})
    assert settings.providers["mine"].kind == "openai"
    assert settings.auth.api_keys[0].key.reveal() == "a"


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".toml", "port = 1\n[auth]\nmode = 'none'\n[aliases]\n'Claude-4.5' = 'openai/gpt-4.1'"),
        (".yaml", "port: 1\nauth: {mode: none}\naliases:\n  Claude-4.5: openai/gpt-4.1"),
        (".yml", "server:\n  port: 1\nauth_mode: none\naliases: {Claude-4.5: openai/gpt-4.1}"),
        (".json", '{"port": 1, "auth_mode": "none", "aliases": {"Claude-4.5": "openai/gpt-4.1"}}'),
    ],
)
def test_every_format(configure, suffix, text):
    settings = configure(text, suffix, VAI_AUTH__MODE="unset")
    assert (settings.port, settings.auth.mode) == (1, "none")
    assert settings.aliases == {"Claude-4.5": ("openai/gpt-4.1",)}


def test_later_sources_win(configure, tmp_path):
    (tmp_path / ".secrets.toml").write_text("port = 3\nworkers = 3\n[providers.groq]\napi_key='s'")
    text = "port = 2\nworkers = 2\nkeep_alive = 2\n[timers]\ntotal = 9"
    settings = configure(text, VAI_PORT="4", VAI_TIMERS__PING="1m")
    assert (settings.port, settings.workers, settings.keep_alive) == (4, 3, 2.0)
    assert (settings.timers.total, settings.timers.ping, settings.timers.connect) == (9, 60, 5)
    assert settings.providers["groq"].api_key == Secret("s")


FLAT = {
    "host": ("0.0.0.0", "host"),
    "tls_enabled": (False, "tls.enabled"),
    "auth_mode": ("passthrough", "auth.mode"),
    "rate_limit": ({"user_requests_per_minute": 7}, "limits.per_user.requests_per_minute", 7),
    "rate_limits": ({"global": {"tokens_per_minute": 8}}, "limits.global_.tokens_per_minute", 8),
    "observability": ({"log_level": "debug"}, "observability.logging.level", "debug"),
    "allowed_origins": (["https://a.example"], "cors.allowed_origins", ("https://a.example",)),
    "max_request_body_bytes": (99, "max_request_body_bytes"),
    "read_timeout": ("61s", "body_timeout", 61.0),
    "write_timeout": ("62s", "timers.write_stall", 62.0),
    "shutdown_timeout": (63, "drain_grace", 63.0),
}


@pytest.mark.parametrize("name", FLAT)
def test_flat_names(configure, name):
    given, path, *want = FLAT[name]
    found = configure(
        json.dumps({name: given}), ".json", VAI_AUTH__MODE="unset" if "auth" in name else "none"
    )
    for part in path.split("."):
        found = getattr(found, part)
    assert found == (want[0] if want else given)


def test_flat_keys_and_provider_keys(configure):
    text = """
api_keys: [{key: k1, name: n, user_id: u, rate_limit: 5}]
provider_keys: {openai: p1, google: p2}
voice: {stt: {cartesia: {api_key: p3}}}
"""
    settings = configure(text, ".yaml")
    (key,) = settings.auth.api_keys
    assert (key.key.reveal(), key.name, key.user_id, key.rate_limit) == ("k1", "n", "u", 5)
    keys = {name: row.api_key.reveal() for name, row in settings.providers.items()}
    assert keys == {"openai": "p1", "oai-resp": "p1", "gemini": "p2", "cartesia": "p3"}


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_spellings_in_one_file_the_nested_one_wins(configure, order):
    lines = ["auth_mode: passthrough", "auth: {mode: none}", "port: 1", "server: {port: 2}"]
    settings = configure("\n".join(lines[::order]), ".yaml", VAI_AUTH__MODE="unset")
    assert (settings.auth.mode, settings.port) == ("none", 2)


def test_variables_of_the_providers_fill_what_is_empty(configure):
    text = "[providers.openai]\napi_key = 'file'\n[providers.groq]\napi_key = ''"
    env = {"OPENAI_API_KEY": "env", "GROQ_API_KEY": "env", "GOOGLE_API_KEY": "g"}
    providers = configure(text, **env).providers
    assert [providers[name].api_key.reveal() for name in ("openai", "groq", "gemini")] == [
        "file",
        "env",
        "g",
    ]


def test_passthrough_never_reads_the_servers_keys(configure):
    settings = configure(VAI_AUTH__MODE="passthrough", OPENAI_API_KEY="env")
    assert settings.providers == {}


def test_interpolation(configure):
    text = "port = '${A_PORT}'\nhost = '${A_HOST:-10.0.0.1}'\n[auth]\napi_keys = [{key = 'x-${A}'}]"
    settings = configure(text, A_PORT="81", A="y")
    assert (settings.port, settings.host) == (81, "10.0.0.1")
    assert settings.auth.api_keys[0].key.reveal() == "x-y"
    found = problems_of(configure, text, A_PORT="81")
    said = "the variable A is not set; set it where the gateway is started"
    assert found == {"auth.api_keys[0].key": ("own.toml, line 4", said)}


def test_keys_that_look_like_numbers_stay_as_they_are_written(configure):
    settings = configure(VAI_PROVIDERS__OPENAI__API_KEY="1e5", VAI_AUTH__API_KEYS__A__KEY="0123")
    assert settings.providers["openai"].api_key.reveal() == "1e5"
    assert settings.auth.api_keys[0].key.reveal() == "0123"


def test_keys_may_be_named_tables(configure):
    settings = configure(VAI_AUTH__API_KEYS__ALICE__KEY="a", VAI_AUTH__API_KEYS__BOB__KEY="b")
    assert [(key.name, key.key.reveal()) for key in settings.auth.api_keys] == [
        ("alice", "a"),
        ("bob", "b"),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("60s", 60), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m5", "5 minutes", "1h 30m", "5m-"])
def test_no_durations(text):
    with pytest.raises(ValueError, match=r"^expected a duration$"):
        parse_duration(text)


MINE = "[providers.mine]\nkind = 'openai'\nbase_url = 'http://x'\n"
MISTAKES = [
    ("prot = 1", "prot", 1, "no such setting; did you mean port?"),
    ("port = 70000", "port", 1, "a whole number from 0 to 65535"),
    ("\nport = true", "port", 2, "a whole number"),
    ("[auth]\nmode = 'foo'", "auth.mode", 2, "one of api_key, passthrough, none"),
    ("auth_mode = 'api_key'", "auth", None, "at least one key in auth.api_keys"),
    ("[timers]\n\ntotal = -1", "timers.total", 3, "more than 0"),
    ("[timers]\ntotal = 'soon'", "timers.total", 2, "a duration"),
    ("[timers]\ntotal = nan", "timers.total", 2, "a duration"),
    ("keep_alive = inf", "keep_alive", 1, "a duration"),
    ("timers = 3", "timers", 1, "a table"),
    (
        "[limits.per_user]\nrequests_per_minute = -1",
        "limits.per_user.requests_per_minute",
        2,
        "0 or",
    ),
    ("simulate = 'perhaps'", "simulate", 1, "true or false"),
    ("[aliases]\na = 'a'", "aliases.a", 2, "of itself"),
    ("[aliases]\na = 'b'\nb = 'a'", "aliases.b", 3, "of itself"),
    ("[aliases]\na = 'gpt'", "aliases.a", 2, "provider/model"),
    ("[aliases]\na = 'nobody/gpt'", "aliases.a", 2, "no such provider"),
    ("[aliases]\na = ['groq/x', 'nobody/gpt']", "aliases.a", 2, "no such provider"),
    ("[aliases]\na = ['groq/x', 'b']\nb = ['openai/y', 'a']", "aliases.a", 2, "of itself"),
    ("[aliases]\na = []", "aliases.a", 2, "1 to 8 models"),
    (f"[aliases]\na = {[f'groq/{n}' for n in range(9)]}", "aliases.a", 2, "1 to 8 models"),
    ("[aliases]\na = ['groq/x', 3]", "aliases.a[1]", 2, "a text"),
    ("[tls]\nenabled = true", "tls.cert_file", None, "needs tls.cert_file"),
    ("[tls]\ncert_file = '/nowhere.pem'", "tls.key_file", None, "needs"),
    ("[providers.mine]\nkind = 'openai'", "providers.mine.base_url", None, "required"),
    (f"{MINE}auth = 'basic'", "providers.mine.auth", 4, "bearer, x-api-key or header:NAME"),
    (f"{MINE}auth = 'header:Host'", "providers.mine.auth", 4, "may hold a key"),
    (f"{MINE}auth = 'header:Bearer'", "providers.mine.auth", 4, "may hold a key"),
    (f"{MINE}auth = 'header:a b'", "providers.mine.auth", 4, "header:NAME"),
    (f"{MINE}headers = {{'X-Api-Key'='a'}}", "providers.mine.headers.X-Api-Key", 4, "itself"),
    (f"{MINE}headers = {{Connection='a'}}", "providers.mine.headers.Connection", 4, "itself"),
    (f"{MINE}headers = {{'content-type'='a'}}", "providers.mine.headers.content-type", 4, "itself"),
    (f"{MINE}auth = 'header:K'\nheaders = {{k='a'}}", "providers.mine.headers.k", 5, "itself"),
    (f"{MINE}headers = {{'a b'='a'}}", "providers.mine.headers.a b", 4, "name of a header"),
    (f'{MINE}headers = {{a="x\\ny"}}', "providers.mine.headers.a", 4, "visible ASCII"),
    (f"{MINE}headers = {{A='1', a='2'}}", "providers.mine.headers.a", 4, "named twice"),
    (f"{MINE}price_as = 'gpt'", "providers.mine.price_as", 4, "provider/model"),
    (f"{MINE}price_as = 'openai/gpt-none'", "providers.mine.price_as", 4, "no such model"),
    ("[providers.groq]\nauth = 'bearer'", "providers.groq.auth", 2, "of your own"),
    ("[providers.groq]\nprice_as = 'openai/gpt-5.4'", "providers.groq.price_as", 2, "of your own"),
    ("[aliases]\n'*' = 'openai/x'", "aliases.*", 2, "at most one *"),
    ("[aliases]\n'a*b' = 'openai/x'", "aliases.a*b", 2, "at most one *"),
    ("[aliases]\na = 'openai/*'", "aliases.a", 2, "only behind an alias with one"),
    ("[aliases]\n'a*' = 'openai/*-*'", "aliases.a*", 2, "at most one *"),
    (f"{MINE}capabilities = ['sight']", "providers.mine.capabilities", 4, "images, parallel"),
    (f"{MINE}capabilities = ['video']", "providers.mine.capabilities", 4, "expected some of"),
    (f"{MINE}capabilities = 3", "providers.mine.capabilities", 4, "a list"),
    ("[providers.groq]\ncapabilities = []", "providers.groq.capabilities", 2, "of your own"),
    ("[providers.openai]\nbase_url = 'ftp://x'", "providers.openai.base_url", 2, "URL"),
    ("[providers.openai]\nca_file = '/nowhere'", "providers.openai.ca_file", 2, "no such file"),
    ("[providers.openai]\nproxy = 'nonsense'", "providers.openai.proxy", 2, "URL"),
    ("[providers.openai]\nproxy = 'socks5://x:1'", "providers.openai.proxy", 2, "http or https"),
    ("[providers.openai]\nproxy = 'http://x:99999'", "providers.openai.proxy", 2, "65535"),
    ("[providers.openai]\nbase_url = 'http://u:p@x'", "providers.openai.base_url", 2, "password"),
    ("[providers.openai]\nbase_url = 'http://x:99999'", "providers.openai.base_url", 2, "65535"),
    ("[providers.openai]\nbase_url = 'http://[z]/'", "providers.openai.base_url", 2, "host"),
    (f"[providers.openai]\nca_file = '{__file__}'", "providers.openai.ca_file", 2, "PEM"),
    ("[providers.openai]\nkind = 'anthropic'", "providers.openai.kind", 2, "another id"),
    (f"[tls]\ncert_file = '{__file__}'\nkey_file = '{__file__}'", "tls.cert_file", 2, "PEM"),
    ("[providers.openai]\napi_version = 'v1'", "providers.openai.api_version", 2, "only for"),
    ("[providers.gemini]\napi_version = 'v2'", "providers.gemini.api_version", 2, "v1beta"),
    ("[aliases]\na = 'cartesia/sonic-3'", "aliases.a", 2, "no such provider"),
    ("[cors]\nallowed_origins = ['example.com']", "cors.allowed_origins[0]", 2, "scheme://"),
    ("[manager]\nhung_after = 1", "manager.hung_after", 2, "two heartbeats"),
    ("[observability]\nlog_levle = 1", "observability.log_levle", 2, "observability.logging.level"),
    ("api_keys = [{name = 'x'}]", "auth.api_keys[0].key", 1, "required"),
    ("api_keys = [{key = 'x'}, {key = 'x'}]", "auth.api_keys[1].key", 1, "the same key"),
    ("api_keys = [{key = 'a b'}]", "auth.api_keys[0].key", 1, "no spaces"),
    ('api_keys = [{key = "a\\r\\nb"}]', "auth.api_keys[0].key", 1, "visible ASCII"),
    ("api_keys = 'x'", "api_keys", 1, "a list"),
]


@pytest.mark.parametrize(("text", "key", "line", "expected"), MISTAKES)
def test_a_mistake_is_told_with_key_and_line(configure, text, key, line, expected):
    found = problems_of(configure, text, VAI_AUTH__MODE="unset" if "auth" in text else "none")
    where, said = found[key]
    assert expected in said
    if line is not None:
        assert where == f"own.toml, line {line}"


def test_all_mistakes_are_told_at_once(configure):
    text = (
        "prot = 1\nport = 'x'\n[timers]\ntotal = 0\n[aliases]\na = 'a'\n[manager]\nhung_after = 1"
    )
    found = problems_of(configure, text, VAI_WORKERS="none", VAI_NEW__THING="1")
    assert set(found) == {
        "prot",
        "port",
        "timers.total",
        "aliases.a",
        "manager.hung_after",
        "workers",
        "new",
    }
    assert found["workers"][0] == "environment variable VAI_WORKERS"


def test_no_mistake_quotes_a_value(configure, tmp_path):
    secret = canary.PROVIDER_KEY
    text = f"""
host = 5
port = "{secret}"
simulate = "{secret}"
api_keys = ["{secret}", {{key = "{secret} x"}}, {{key = "{secret}"}}, {{key = "{secret}"}}]
[timers]
total = "{secret}"
[auth]
mode = "{secret}"
[aliases]
a = "{secret}"
[providers.openai]
api_key = "{secret}\\u00e9"
base_url = "http://user:{secret}@host"
proxy = "{secret}"
[cors]
allowed_origins = ["{secret}"]
"""
    with pytest.raises(ConfigError) as caught:
        configure(text, VAI_WORKERS=secret)
    assert len(caught.value.problems) > 8
    assert secret not in str(caught.value)
    assert secret not in repr(caught.value.problems)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".toml", f"port = 1\nkey = {canary.KEY}\n"),
        (".yaml", f"port: 1\nkey: [{canary.KEY}"),
        (".json", f'{{"port": 1,\n"key": "{canary.KEY}'),
    ],
)
def test_a_broken_file_is_told_without_its_text(configure, suffix, text):
    with pytest.raises(ConfigError) as caught:
        configure(text, suffix)
    said = str(caught.value)
    assert f"not valid {suffix[1:].upper()}" in said
    assert ", line " in said
    assert canary.KEY not in said


@pytest.mark.parametrize("name", ["missing.toml", ".", "own.ini", "latin.toml"])
def test_a_file_that_cannot_be_read(tmp_path, name):
    (tmp_path / "own.ini").touch()
    (tmp_path / "latin.toml").write_bytes(b'host = "\xff"')
    with pytest.raises(ConfigError, match=r"cannot be read|expected one of|expected UTF-8"):
        load({"VAI_CONFIG": str(tmp_path / name), "VAI_AUTH__MODE": "none"})


@pytest.mark.parametrize(
    "text",
    [
        '@json [{"key": "key-of-alice", "name": "alice"}]',
        '[{key = "key-of-alice", name = "alice"}]',
    ],
)
def test_a_list_in_a_variable_is_written_as_json_or_as_in_toml(configure, text):
    settings = configure(VAI_AUTH__API_KEYS=text)
    assert [key.name for key in settings.auth.api_keys] == ["alice"]


@pytest.mark.parametrize("text", ["@int 4", "@format {env[HOME]}", "@json", "@json {", "@json 4."])
def test_other_casts_and_broken_json_are_text(configure, text):
    with pytest.raises(ConfigError) as caught:
        configure(VAI_WORKERS=text)
    (problem,) = caught.value.problems
    assert str(problem) == (
        "workers (environment variable VAI_WORKERS): expected a whole number, 1 or more"
    )


def test_reserved_variables_are_no_settings(configure):
    assert configure(VAI_CONTROL_BLOCK="x", VAI_SIMULATOR_URL="x", VAI_BASE_URL="x", VAI_TEST_X="x")


def test_settings_are_frozen_and_show_no_secret(configure):
    settings = configure(
        "[providers.openai.headers]\nX-Team = '${VAI_TEST_TEAM}'",
        VAI_PROVIDERS__OPENAI__API_KEY=canary.PROVIDER_KEY,
        VAI_AUTH__API_KEYS__A__KEY=canary.KEY,
        VAI_TEST_TEAM=canary.PROVIDER_KEY,
    )
    assert settings.providers["openai"].headers["X-Team"].reveal() == canary.PROVIDER_KEY
    with pytest.raises(AttributeError):
        settings.port = 1
    shown = f"{settings!r} {settings.providers} {settings.auth.api_keys[0].key:}"
    assert canary.KEY not in shown
    assert canary.PROVIDER_KEY not in shown
    with pytest.raises(TypeError):
        pickle.dumps(settings)
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("[providers]\nopenai.api_key='a'", {"openai": "a", "oai-resp": "a"}),
        ("[providers]\nopenai.api_key='a'\noai-resp.api_key='b'", {"openai": "a", "oai-resp": "b"}),
        ("[providers]\noai-resp.api_key='b'", {"oai-resp": "b"}),
        (
            "[providers]\nopenai.api_key='a'\nopenai.base_url='https://h/v1'",
            {"openai": "a", "oai-resp": "a"},
        ),
    ],
)
def test_openais_key_serves_both_of_its_endpoints(configure, text, keys):
    found = {name: row.api_key.reveal() for name, row in configure(text).providers.items()}
    assert found == keys


def test_built_in_providers_are_those_of_the_registry():
    assert set(KEY_VARIABLES) == {*PROVIDER_SPECS, "cartesia"}
    for name, row in PROVIDER_SPECS.items():
        assert row.env == KEY_VARIABLES[name]


def test_reading_leaves_nothing_behind(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("port = 1")
    first, second = (read_file(file, []) for _ in range(2))
    assert first == second
    assert list(tmp_path.iterdir()) == [file]


def test_a_broken_mode_says_nothing_about_keys(configure):
    found = problems_of(configure, "auth_mode = 'foo'", VAI_AUTH__MODE="unset")
    assert list(found) == ["auth_mode"]


def test_the_settings_that_a_reload_cannot_change_say_so():
    listed = list_entries(defaults_file().read_text())
    assert {entry.name for entry in listed if "needs a restart" in entry.text} == set(
        FIXED_SETTINGS
    )


def test_what_a_reload_cannot_change_is_named_once_with_what_stays():
    start = Settings(port=8080, simulate=True)
    assert changes_without_effect(start, start) == ""
    other = msgspec.structs.replace(start, port=9, drain_grace=1.0)
    assert changes_without_effect(start, other) == "port stays 8080: a change needs a restart"
    paced = msgspec.structs.replace(other, simulator=SimulatorSettings(first_token=9.0), workers=8)
    assert changes_without_effect(start, paced) == (
        "port stays 8080, workers stays 2, simulator.first_token stays 0.15: "
        "a change needs a restart"
    )
    # Without a simulator from the start, each worker starts one, at the new pace.
    alone = msgspec.structs.replace(start, simulate=False)
    assert "simulator" not in changes_without_effect(alone, paced)

"""`load()`: the settings from all their sources.

Invariants: the sources come in this order, later ones win: the defaults in
`settings.toml`, the file that `VAI_CONFIG` names, `.secrets.toml` beside that file (or in
the working directory), the `VAI_` variables. The providers' usual variables
(`OPENAI_API_KEY`, ...) fill only what all of these leave empty.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from vai import install_command
from vai.config.convert import SettingsConverter
from vai.config.installed import installed_catalogue
from vai.config.login import login_file, read_login
from vai.config.names import KEY_VARIABLES, LOGGED_IN_TO
from vai.config.openai import PAIR, join_endpoints
from vai.config.problems import ConfigError, Problem
from vai.config.rules import SettingFault, find_contradictions
from vai.config.schema import Provider, Settings
from vai.config.secret_files import SecretFiles
from vai.config.sources import (
    DEFAULTS,
    Layer,
    SettingValue,
    expand_references,
    merge_layers,
    read_environment,
    read_file,
)
from vai.config.warnings import find_warnings

__all__ = [
    "defaults_file",
    "load",
    "load_provider",
    "load_with_warnings",
    "merged_layer",
    "read_layers",
    "settings_from",
]

_OPENAI_KEY, _OAI_RESP_KEY = (f"providers.{name}.api_key" for name in PAIR)
_PEM_PAIR = "expected a PEM chain, with its plain key in tls.key_file"
_PACKAGE = Path(__file__).resolve().parents[1]


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read, check and freeze the settings.

    Args:
        environ: the variables to read, those of the process if None.

    Raises:
        ConfigError: with every problem there is.
    """
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    layers = read_layers(environ, problems)
    return settings_from(merged_layer(layers, environ), environ, problems)


def load_with_warnings(
    today: date, environ: Mapping[str, str] | None = None
) -> tuple[Settings, list[Problem]]:
    """Read, check and freeze the settings; also return the problems that do not stop the start.

    Args:
        today: the day in UTC, which decides which models are retired.
        environ: as for `load`.

    Raises:
        ConfigError: with every problem there is.
    """
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    layer = merged_layer(read_layers(environ, problems), environ)
    converter, written = _check_layer(layer, environ, problems)
    warnings = find_warnings(written, installed_catalogue(), today)
    return join_endpoints(written), [
        converter.locate_problem(path, text) for path, text, *_ in warnings
    ]


def read_layers(environ: Mapping[str, str], problems: list[Problem]) -> list[Layer]:
    """The files' settings, one layer for each file; later layers win. Adds to `problems`."""
    return [
        read_file(defaults_file(), problems, shown=DEFAULTS),
        *(read_file(path, problems) for path in _settings_files(environ)),
    ]


def merged_layer(
    layers: list[Layer], environ: Mapping[str, str], secrets: SecretFiles | None = None
) -> Layer:
    """The layers of the files and that of the variables as one.

    Args:
        secrets: the files read already; None reads the files that the settings refer to.
    """
    merged = merge_layers([*layers, read_environment(environ)])
    return expand_references(merged, environ, secrets or SecretFiles())


def settings_from(layer: Layer, environ: Mapping[str, str], problems: list[Problem]) -> Settings:
    """Check and freeze the result of `merged_layer`.

    Args:
        problems: the problems of unreadable files.

    Raises:
        ConfigError: with every problem there is.
    """
    return join_endpoints(_check_layer(layer, environ, problems)[1])


def _check_layer(
    layer: Layer, environ: Mapping[str, str], problems: list[Problem]
) -> tuple[SettingsConverter, Settings]:
    """The settings as written, and the converter, which has their positions."""
    _fill_provider_keys(layer, environ)
    # Settings of an unreadable file are unknown: none of them is missing or contradicted.
    converter = SettingsConverter(layer, is_partial=bool(problems))
    settings = converter.convert_settings()
    if not problems:
        for path, text, *others in (
            *find_contradictions(settings),
            *_find_unusable_files(settings),
        ):
            converter.add_contradiction(path, text, *others)
    if problems := [*problems, *_without_shared_key_problems(converter.problems)]:
        raise ConfigError(problems)
    return converter, settings


def load_provider(
    provider: str, environ: Mapping[str, str] | None = None, *, config: Path | None = None
) -> Provider:
    """The settings of one provider, whatever else is wrong: for commands that serve nothing.

    Args:
        config: a file instead of the one that `VAI_CONFIG` names.

    Raises:
        ConfigError: these settings are wrong, or a file cannot be read.
    """
    environ = os.environ if environ is None else environ
    if config is not None:
        environ = {**environ, "VAI_CONFIG": str(config)}
    problems: list[Problem] = []
    layer = merged_layer(read_layers(environ, problems), environ)
    converter = SettingsConverter(
        {path: leaf for path, leaf in layer.items() if path[:2] == ("providers", provider)}
    )
    settings = converter.convert_settings()
    if problems := [*problems, *converter.problems]:
        raise ConfigError(problems)
    return settings.providers.get(provider, Provider())


def defaults_file() -> Path:
    """`settings.toml` as it was installed, or at the root of the source tree."""
    installed = _PACKAGE / "settings.toml"
    return installed if installed.exists() else _PACKAGE.parent / "settings.toml"


def _settings_files(environ: Mapping[str, str]) -> Iterator[Path]:
    named = environ.get("VAI_CONFIG")
    if named:
        yield Path(named)
    secrets = (Path(named).parent if named else Path()) / ".secrets.toml"
    if secrets.exists():
        yield secrets


def _fill_provider_keys(layer: Layer, environ: Mapping[str, str]) -> None:
    mode = layer.get(("auth", "mode"))
    if mode is not None and mode.value == "passthrough":
        return  # clients send BYOK keys; the gateway must not have keys of its own
    for provider, variables in KEY_VARIABLES.items():
        path = ("providers", provider, "api_key")
        if _is_set(layer, path) or _follows_openai_pair(layer, provider):
            continue
        for variable in variables:
            if key := environ.get(variable, "").strip():
                where = f"environment variable {variable}"
                layer[path] = SettingValue(key, ".".join(path), where)
                break
    _share_openai_key(layer)


def _is_set(layer: Layer, path: tuple[str, ...]) -> bool:
    return path in layer and layer[path].value not in (None, "")


def _is_moved(layer: Layer, provider: str) -> bool:
    return _is_set(layer, ("providers", provider, "base_url"))


def _follows_openai_pair(layer: Layer, provider: str) -> bool:
    """Whether a provider uses the address and the key of OpenAI's other endpoint."""
    return (
        provider in PAIR
        and not _is_moved(layer, provider)
        and any(_is_moved(layer, name) for name in PAIR)
    )


def _share_openai_key(layer: Layer) -> None:
    """Share one key between OpenAI's two endpoints; a key for another server is not shared."""
    other, oai_resp = (("providers", name, "api_key") for name in PAIR)
    moved = any(_is_moved(layer, name) for name in PAIR)
    if _is_set(layer, other) and not moved and not _is_set(layer, oai_resp):
        layer[oai_resp] = layer[other]


def _without_shared_key_problems(problems: list[Problem]) -> list[Problem]:
    """The problems without those of a key that both of OpenAI's endpoints share."""
    shared = {(problem.where, problem.text) for problem in problems if problem.key == _OPENAI_KEY}
    return [
        problem
        for problem in problems
        if problem.key != _OAI_RESP_KEY or (problem.where, problem.text) not in shared
    ]


def _find_unusable_files(settings: Settings) -> Iterator[SettingFault]:
    tls = settings.tls
    absent = [
        (("tls", name), "no such file; expected the path of a PEM file")
        for name in ("cert_file", "key_file")
        if (file := getattr(tls, name)) and not Path(file).is_file()
    ]
    yield from absent
    if tls.cert_file and tls.key_file and not absent:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # With an encrypted key it would prompt on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                yield ("tls", "key_file"), "expected the key that belongs to tls.cert_file"
            else:
                yield ("tls", "cert_file"), _PEM_PAIR
        except OSError:
            yield ("tls", "cert_file"), _PEM_PAIR
    if settings.limits.store == "redis" and find_spec("redis") is None:
        yield ("limits", "store"), f"redis needs a client: {install_command('redis')}"
    if settings.limits.redis.ca_file and not Path(settings.limits.redis.ca_file).is_file():
        yield ("limits", "redis", "ca_file"), "no such file; expected the path of a PEM file"
    login = settings.providers.get(LOGGED_IN_TO)
    if login is not None and login.enabled:
        try:
            read_login(login_file(login.credentials_file))
        except ValueError as error:
            yield ("providers", LOGGED_IN_TO, "enabled"), str(error)
    for provider, server in settings.providers.items():
        if (
            server.price_as is not None
            and installed_catalogue().find_card(*server.price_as.split("/", 1)) is None
        ):
            yield ("providers", provider, "price_as"), "no such model in the catalogue: vai models"
        path = ("providers", provider, "ca_file")
        if server.ca_file and not Path(server.ca_file).is_file():
            yield path, "no such file; expected the path of a PEM file"
        elif server.ca_file:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(server.ca_file)
            except OSError:
                yield path, "expected certificates in PEM"

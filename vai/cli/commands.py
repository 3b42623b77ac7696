"""The commands serve, check, models, limits, simulator, reload; `vai.cli.login` has the login.

Invariants: a command only turns its options into settings or a process. Flags become `VAI_`
variables, because the workers are separate processes and read their settings themselves.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import orjson
import typer
from rich.console import Console
from rich.table import Table

from vai import __version__
from vai.cli import limits as limits_in_use
from vai.cli import reload as reloading
from vai.cli.check import run_check as check_settings
from vai.cli.check import show_start
from vai.cli.limits_report import Allowance
from vai.cli.login import login
from vai.config import ConfigError, Settings, load
from vai.config.load import load_with_warnings
from vai.config.states import provider_states
from vai.errors import InvalidRequest
from vai.io.catalogue import catalogue_from_settings
from vai.io.clock import today
from vai.io.control_block import ControlBlockError
from vai.io.groups import NotRunning
from vai.io.providers import build_specs
from vai.policy.aliases import aliased_routes
from vai.policy.model_listing import Listing

__all__ = ["app"]

_INTERRUPTED: Final = 130
"""The exit code that shells use for an end by Ctrl-C."""

app = typer.Typer(
    help="One gateway for every LLM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(login, name="login")

_CONFIG = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file: .toml, .yaml, .yml or .json."),
]


@app.callback(invoke_without_command=True)
def _show_version(
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"vai {__version__}")
        raise typer.Exit


@app.command()
def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; else the setting host.")
    ] = None,
    port: Annotated[
        str | None, typer.Option(help="Port to listen on; else the setting port.")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(help="Worker processes; else the setting workers.")
    ] = None,
    single_process: Annotated[
        bool, typer.Option("--single-process", help="One process: no manager, no reload.")
    ] = False,
    config: _CONFIG = None,
) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends it at once.

    A line on standard error says when all workers serve. `vai reload` takes up
    changed settings; host, port and workers need a restart.

    Exit code 0: ended by a signal. 2: it cannot start with these settings, on
    this address or machine. 3: its workers do not come up.
    """
    _set_variables({"VAI_HOST": host, "VAI_PORT": port, "VAI_WORKERS": workers}, config)
    try:
        settings, warnings = load_with_warnings(today())
    except ConfigError as error:
        _fail(str(error))
    if settings.port == 0:
        # Sanic treats port 0 as its default port.
        settings = msgspec.structs.replace(settings, port=_free_port(settings.host))
    show_start(settings, warnings)
    command = [sys.executable, "-m", "sanic", "vai.cli.target:app"]
    command += [f"--host={settings.host}", f"--port={settings.port}", "--no-motd"]
    command += ["--single-process"] if single_process else [f"--workers={settings.workers}"]
    sys.stdout.flush()
    # Not in this process: Sanic's workers import the main module again, which must be Sanic's,
    # because this one imports all that a command line needs.
    os.execv(sys.executable, command)  # noqa: S606  no shell is wanted


@app.command()
def check(
    *,
    probe: Annotated[
        bool, typer.Option("--probe", help="Request the models of each provider, with its key.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 if there is a warning.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: _CONFIG = None,
) -> None:
    """Check the settings and show what would be served, and under which limits.

    Warnings name what will fail or go astray; they stop no start.

    Exit code 1: a probed provider failed, or --strict and a warning.

    Exit code 2: the settings cannot be used.
    """
    _set_variables({}, config)
    raise typer.Exit(check_settings(probe=probe, strict=strict, as_json=as_json))


@app.command()
def models(
    *,
    provider: Annotated[str | None, typer.Option(help="Only this provider's.")] = None,
    capability: Annotated[
        str | None, typer.Option(help="Only those that can do this: vision, tools, ...")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: _CONFIG = None,
) -> None:
    """Show the models that are known: what they can do and what they cost."""
    _set_variables({}, config)
    # Without a settings file VAI may have no provider to serve with, but it lists models.
    settings = _load_settings() if "VAI_CONFIG" in os.environ else Settings()
    try:
        show_models(settings, provider=provider, capability=capability, as_json=as_json)
    except InvalidRequest as error:
        _fail(error.message)


@app.command()
def limits(
    *,
    pid: Annotated[
        int | None, typer.Option(min=2, help="The gateway whose first process has this id.")
    ] = None,
    control_block: Annotated[
        Path | None, typer.Option(help="A control block's file, instead of looking for gateways.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of each table at most.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All rows.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    watch: Annotated[
        float | None,
        typer.Option(min=0.2, max=3600, metavar="SECONDS", help="Show it again so often."),
    ] = None,
    config: _CONFIG = None,
) -> None:
    """Show how much of the limits is in use now, at gateways of this machine.

    Each gateway is shown with its address, its settings file, its version and
    its age. Reads shared memory and takes no lock: requests do not notice.

    Limits are those of the settings: give the gateway's file and variables.

    Requests and tokens are those of the last 60 to 65 seconds.

    Exit code 1: no such gateway runs. 2: a mistake, or another version's control block.
    """
    _set_variables({}, config)
    if pid is not None and control_block is not None:
        _fail("--pid and --control-block: expected one of them")
    allowance = _load_allowance(required=config is not None)
    choice = limits_in_use.LimitsSelection(pid, control_block, None if everything else rows)
    try:
        if watch is None:
            limits_in_use.show_limits(choice, allowance, as_json=as_json)
        else:
            limits_in_use.watch_limits(choice, allowance, as_json=as_json, every=watch)
    except NotRunning as error:
        _fail(str(error), code=1)
    except ControlBlockError as error:
        _fail(str(error))


@app.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": [],
    }
)
def simulator(context: typer.Context) -> None:
    """Run the provider simulator on its own (vai simulator --help shows its options)."""
    command = [sys.executable, "-m", "vai.simulator", *context.args]
    os.execv(sys.executable, command)  # noqa: S606  no shell is wanted


@app.command()
def reload(
    *,
    pid: Annotated[
        int | None,
        typer.Option(min=2, help="The gateway whose first process (`vai serve`) has this id."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The gateway that was started with this file."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=86_400, help="Seconds to wait for the result.")
    ] = 120,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the result, or only request it.")
    ] = True,
) -> None:
    """Have a running gateway read its settings again, and show the result.

    It is the one that this user runs on this machine; of several name one.

    New workers start with the new settings. When all of them serve, the old
    ones finish what they have and end. If anything is wrong, nothing changes.

    Exit code 0: reloaded. 1: the settings were refused, for the reasons shown.
    2: a mistake, no gateway got the signal. 3: the new workers did not come up.
    4: no result in time, or the gateway has ended. 130: no longer waiting.
    """
    choice = reloading.GatewaySelection(pid, config)
    try:
        done = reloading.reload_gateway(
            choice, timeout=timeout, wait=wait, progress=_print_progress
        )
    except reloading.ReloadError as error:
        _fail(str(error), code=error.code)
    except KeyboardInterrupt:
        _fail("no longer waiting; the requested reload goes on", code=_INTERRUPTED)
    except ControlBlockError as error:
        _fail(str(error))
    typer.echo(done)


def _free_port(host: str) -> int:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.bind(address)
            return int(listener.getsockname()[1])
    except OSError as error:
        _fail(f"cannot listen on {host}: {error.strerror}")


def _set_variables(variables: dict[str, str | None], config: Path | None) -> None:
    for name, value in variables.items():
        if value is not None:
            os.environ[name] = value
    if config is not None:
        os.environ["VAI_CONFIG"] = str(config.resolve())


def _load_settings() -> Settings:
    try:
        return load()
    except ConfigError as error:
        _fail(str(error))


def _load_allowance(*, required: bool) -> Allowance | None:
    """The limits of the settings; None where they cannot be loaded and no option names them."""
    try:
        return Allowance(load())
    except ConfigError as error:
        if required:
            _fail(str(error))
    typer.echo("vai: the limits are not shown: no settings (see `vai check`)", err=True)
    return None


def _print_progress(text: str) -> None:
    typer.echo(f"vai: {text}", err=True)


def _fail(text: str, *, code: int = 2) -> NoReturn:
    typer.echo(f"vai: {text}", err=True)
    raise typer.Exit(code)


_WIDE: Final = 160
"""Columns where the output is no terminal and does not report its width."""


def show_models(
    settings: Settings, *, provider: str | None, capability: str | None, as_json: bool
) -> None:
    """Write the models to standard output, as `GET /v1/models` lists them; send no request.

    Raises:
        InvalidRequest: there is no such provider or capability.
    """
    specs = build_specs(settings)
    catalogue = catalogue_from_settings(settings)
    aliased = aliased_routes(settings.aliases, specs, catalogue)
    first = {alias: routes[0].name for alias, routes in aliased.items()}
    listing = Listing(catalogue, specs, provider_states(settings), first)
    listing_json = listing.list_vai(today(), provider=provider, capability=capability)
    if as_json:
        chosen = {name: listing_json[name] for name in ("providers", "aliases")}
        print(orjson.dumps(chosen, option=orjson.OPT_INDENT_2).decode())  # noqa: T201
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    console.print(_models_table(listing_json["providers"]))
    for name, target in listing_json["aliases"].items():
        console.print(f"{name} = {target}", markup=False)


def _models_table(providers: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for head in ("context", "prompt", "answer", "in $/M", "out $/M", "cached $/M"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("capabilities", overflow="fold")
    table.add_column("retires", no_wrap=True)
    for provider in providers:
        for model in provider["models"]:
            table.add_row(*_model_cells(model))
    return table


def _model_cells(model: Mapping[str, Any]) -> list[str]:
    pricing = model.get("pricing", {})
    prices = [pricing.get(f"{name}_per_mtok") for name in ("input", "output", "cache_read")]
    capabilities = [name for name, there in model["capabilities"].items() if there]
    shown = [name for name in capabilities if name not in ("text", "tool_streaming")]
    return [
        model["full_id"],
        _format_tokens(model.get("context_window")),
        _format_tokens(model.get("max_input_tokens")),
        _format_tokens(model.get("max_output_tokens")),
        *("" if price is None else f"{price:.10g}" for price in prices),
        " ".join(shown).replace("structured_output", "schema"),
        str(model.get("retires_at") or ""),
    ]


def _format_tokens(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"

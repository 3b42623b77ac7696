"""`vai login`: signing in where a provider accepts no key.

Invariants: the command does nothing before it has shown the terms and the user has accepted them,
and it never prints a code, token or secret.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from vai.config import ConfigError
from vai.config.load import load_provider
from vai.config.login import login_file
from vai.config.names import LOGGED_IN_TO
from vai.config.schema import Provider
from vai.errors import InvalidRequest
from vai.io.google.login import sign_in, write_login
from vai.io.google.oauth import GOOGLE, Endpoints, LoginFailed, OauthApp
from vai.secret import Secret

__all__ = ["login"]

_TERMS = """\
Code Assist is a service of Google's for its own programs. Google says that its use through
other programs is against its terms, and that accounts which do it may be suspended. VAI does
not pretend to be one of them. Whatever comes of it concerns your account.
"""

login = typer.Typer(
    help="Sign in to a provider that takes no key.",
    no_args_is_help=True,
    add_completion=False,
)


@login.callback()
def _describe_group() -> None:
    """Sign in to a provider that takes no key."""


@login.command()
def gemini(
    *,
    client_id: Annotated[
        str | None,
        typer.Option(
            help="OAuth client of your own (type: desktop app); "
            "else providers.gemini-oauth.client_id.",
        ),
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="Id of your Google Cloud project; paid tiers need one.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port for the way back; 0 picks a free one.")
    ] = 0,
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="You have read docs/gemini-oauth.md.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings file, as for `vai serve`.")
    ] = None,
) -> None:
    """Sign in to Google's Code Assist (gemini-oauth).

    The client's secret is taken from providers.gemini-oauth.client_secret
    (VAI_PROVIDERS__GEMINI_OAUTH__CLIENT_SECRET), else the command prompts for it.
    """
    provider = _load_provider(config)
    _confirm_terms(accepted=accept_terms)
    app = _oauth_app(client_id or provider.client_id, provider.client_secret)
    _run_login(app, provider, project=project, port=port, browser=browser)


def _run_login(
    app: OauthApp,
    provider: Provider,
    *,
    project: str | None,
    port: int,
    browser: bool,
    endpoints: Endpoints = GOOGLE,
    poll: float | None = None,
) -> None:
    """Run the login. Only tests change `endpoints` and `poll`."""
    path = login_file(provider.credentials_file)

    def show(address: str) -> None:
        typer.echo(f"Sign in on this page:\n\n  {address}\n")
        if browser:
            # In this thread, a text browser would block the page to which it must return.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    if provider.base_url is not None:
        endpoints = Endpoints(endpoints.authorize, endpoints.token, provider.base_url)
    try:
        google_login = asyncio.run(
            sign_in(
                app,
                show=show,
                port=port,
                project=project,
                provider=provider,
                endpoints=endpoints,
                **({} if poll is None else {"poll": poll}),
            )
        )
        write_login(path, google_login)
    except LoginFailed as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{path}: {error.strerror}")
    except KeyboardInterrupt:
        typer.echo("\nvai: not signed in", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"Signed in, with project {google_login.project}. The login is kept in {path}.")
    if not provider.enabled:
        typer.echo("To serve with it, set providers.gemini-oauth.enabled = true.")


def _load_provider(config: Path | None) -> Provider:
    try:
        return load_provider(LOGGED_IN_TO, config=config)
    except ConfigError as error:
        _fail(str(error))


def _confirm_terms(*, accepted: bool) -> None:
    typer.echo(_TERMS)
    if accepted:
        return
    if not sys.stdin.isatty():
        _fail("give --accept-terms if you accept that")
    if not typer.confirm("Go on?"):
        _fail("not signed in")


def _oauth_app(client_id: str | None, secret: Secret | None) -> OauthApp:
    if client_id is None:
        _fail("no OAuth client: give --client-id, or set providers.gemini-oauth.client_id")
    if secret is not None:
        return OauthApp(client_id, secret)
    if not sys.stdin.isatty():
        _fail("no client secret: set providers.gemini-oauth.client_secret")
    try:
        return OauthApp(client_id, Secret(typer.prompt("Client secret", hide_input=True), "secret"))
    except InvalidRequest as error:
        _fail(error.message)


def _fail(text: str) -> NoReturn:
    typer.echo(f"vai: {text}", err=True)
    raise typer.Exit(2)

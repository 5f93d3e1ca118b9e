"""The command line: the door for people at a terminal."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from app import __version__

CONTEXT = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="flarelay")
def main() -> None:
    """Serve the OpenAI API from Cloudflare Workers AI."""


@main.command(context_settings=CONTEXT)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one.  [default: 8484]")
@click.option(
    "--offline", is_flag=True, default=None, help="Serve from a built-in Workers AI emulator; no account needed."
)
@click.option("--config", "config_file", type=click.Path(dir_okay=False), help="A TOML file with settings.")
def serve(host: str | None, port: int | None, offline: bool | None, config_file: str | None) -> None:  # noqa: FBT001 - click's way
    """Run the proxy.

    Settings come from the command line, then from the environment (FLARELAY_*, CLOUDFLARE_ACCOUNT_ID,
    CLOUDFLARE_API_TOKEN), then from the file.
    """
    # Here and not above: `flarelay --help` need not load a web framework.
    from app.main import create_app  # noqa: PLC0415
    from app.server import PortTakenError, configure_logging, listen, run  # noqa: PLC0415
    from app.settings import SettingsError, load  # noqa: PLC0415
    from app.store.contract import StoreError  # noqa: PLC0415

    overrides: dict[str, object] = {"host": host, "port": port, "offline": offline, "config": config_file}
    environ = dict(os.environ)
    try:
        settings = load(overrides, environ)
        configure_logging(settings)
        listener = listen(settings.host, settings.port)
        emulator = None
        emulator_listener = None
        if settings.offline:
            from app.emulator.server import create_emulator  # noqa: PLC0415

            emulator = create_emulator()
            emulator_listener = listen("127.0.0.1", 0)
            emulator_port = emulator_listener.getsockname()[1]
            offline_settings = {
                "upstream_url": f"http://127.0.0.1:{emulator_port}/client/v4",
                "cloudflare_account_id": "0" * 32,
                "cloudflare_api_token": "emulator-token-" + "0" * 25,
            }
            settings = load({**overrides, **offline_settings}, environ)
        app = create_app(settings)
    except (SettingsError, PortTakenError) as error:
        _fail(str(error))
    bound_host, bound_port = listener.getsockname()[:2]
    shown = f"[{bound_host}]" if ":" in bound_host else bound_host
    source = "the built-in emulator" if settings.offline else settings.upstream_url
    click.echo(f"flarelay {__version__}: http://{shown}:{bound_port}/v1 serves models from {source}", err=True)
    try:
        run(
            app,
            listener,
            drain_seconds=settings.drain_seconds,
            max_message_bytes=settings.max_body_bytes,
            prepare=app.state.prepare,
            beside=emulator,
            beside_listener=emulator_listener,
        )
    except StoreError as error:
        _fail(str(error))


@main.command(context_settings=CONTEXT)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8585, show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option("--account-id", help="The only account it knows; by default any.")
@click.option("--token", help="The only API token it accepts; by default any.", envvar="FLARELAY_EMULATOR_TOKEN")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses among the texts it can write.")
@click.option("--delay", type=float, default=0.0, show_default=True, help="Seconds between two tokens of a stream.")
def emulate(host: str, port: int, account_id: str | None, token: str | None, seed: int, delay: float) -> None:
    """Run the Workers AI emulator alone.

    It speaks Cloudflare's wire: set FLARELAY_UPSTREAM_URL (or any Workers AI client) to the address that it prints.
    """
    from app.emulator.server import create_emulator  # noqa: PLC0415 - only this command needs it
    from app.server import PortTakenError, listen, run  # noqa: PLC0415

    try:
        listener = listen(host, port)
    except PortTakenError as error:
        _fail(str(error))
    app = create_emulator(account_id=account_id, token=token, seed=seed, token_delay=delay)
    bound_host, bound_port = listener.getsockname()[:2]
    click.echo(f"Workers AI emulator: http://{bound_host}:{bound_port}/client/v4", err=True)
    run(app, listener, drain_seconds=1)


def _fail(sentence: str) -> NoReturn:
    click.echo(f"flarelay: {sentence}", err=True)
    sys.exit(2)

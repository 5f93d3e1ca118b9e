"""``flarelay serve``: the proxy."""

from __future__ import annotations

import gc
import importlib
import os
from functools import partial
from typing import TYPE_CHECKING

import click

from app import __version__
from app.cli.terminal import CONTEXT, fail

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from app.server import Parent


@click.command(context_settings=CONTEXT)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one.  [default: 8484]")
@click.option(
    "--offline", is_flag=True, default=None, help="Serve from a built-in Workers AI emulator; no account needed."
)
@click.option("--workers", type=int, help="Processes that serve, on one port.  [default: 1]")
@click.option("--config", "config_file", type=click.Path(dir_okay=False), help="A TOML file with settings.")
def serve(
    *, host: str | None, port: int | None, offline: bool | None, workers: int | None, config_file: str | None
) -> None:
    """Run the proxy.

    Settings come from the command line, then from the environment (FLARELAY_*, CLOUDFLARE_ACCOUNT_ID,
    CLOUDFLARE_API_TOKEN), then from the file.
    """
    # Until it serves: nothing of what is loaded becomes garbage, and looking through it takes a tenth of the start.
    gc.disable()
    # Here and not above: `flarelay --help` need not load a web framework.
    from app.main import create_app  # noqa: PLC0415
    from app.server import (  # noqa: PLC0415
        Bounds,
        Listeners,
        PortTakenError,
        WorkersError,
        configure_logging,
        listen,
        run,
        run_workers,
    )
    from app.settings import SettingsError, load  # noqa: PLC0415
    from app.store.contract import StoreError, StoreUnavailable  # noqa: PLC0415
    from app.telemetry.cells import shared_directory  # noqa: PLC0415

    overrides: dict[str, object] = {"host": host, "port": port, "offline": offline, "workers": workers}
    overrides["config"] = config_file
    environ = dict(os.environ)
    try:
        settings = load(overrides, environ)
        configure_logging(settings)
        listeners = Listeners(settings.host, settings.port, settings.workers)
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
        # Made for what it has to say about the settings; each worker makes its own.
        app = create_app(settings)
    except (SettingsError, PortTakenError) as error:
        fail(str(error))
    bound_host, bound_port = listeners.address
    shown = f"[{bound_host}]" if ":" in bound_host else bound_host
    source = "the built-in emulator" if settings.offline else settings.upstream_url
    click.echo(f"flarelay {__version__}: http://{shown}:{bound_port}/v1 serves models from {source}", err=True)
    several = settings.workers > 1

    def work(listener: socket.socket, parent: Parent | None = None, counted_in: Path | None = None) -> None:
        made = create_app(settings, counted_in=counted_in) if several else app
        try:
            run(
                made,
                listener,
                drain_seconds=settings.drain_seconds,
                drain_delay=settings.drain_delay,
                drain=made.state.drain,
                bounds=Bounds(in_flight=settings.max_in_flight, connections=settings.max_client_connections),
                max_message_bytes=settings.max_body_bytes,
                prepare=made.state.prepare,
                beside=None if several else emulator,
                beside_listener=emulator_listener,
                parent=parent,
                watch_refusals=made.state.watch_refusals,
            )
        except (StoreError, StoreUnavailable) as error:
            fail(str(error))

    def emulate(parent: Parent) -> None:
        assert emulator is not None  # noqa: S101 - called only then
        assert emulator_listener is not None  # noqa: S101 - likewise
        run(emulator, emulator_listener, drain_seconds=1, parent=parent)

    if not several:
        work(listeners.take(0))
        return
    if settings.store:
        # Loaded before the workers are, it is shared among them.
        importlib.import_module("app.store.database")
    try:
        with shared_directory() as counted_in:
            run_workers(
                settings.workers,
                partial(work, counted_in=counted_in),
                listeners,
                drain_seconds=settings.drain_seconds,
                drain_delay=settings.drain_delay,
                beside=emulate if emulator is not None else None,
            )
    except WorkersError as error:
        fail(str(error))

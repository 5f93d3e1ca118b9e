"""The settings and the store, for commands that work on them beside a running server or without one."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from app.cli.terminal import fail

if TYPE_CHECKING:
    from app.settings import Settings
    from app.store.contract import Store

T = TypeVar("T")

config_option = click.option(
    "--config", "config_file", type=click.Path(dir_okay=False), help="A TOML file with settings."
)


def read_settings(config_file: str | None, **more: object) -> Settings:
    """Read the settings; what is wrong with them ends the command.

    Args:
        config_file: A TOML file with settings.
        more: Settings that go before all others.
    """
    from app.settings import SettingsError, load  # noqa: PLC0415 - see the package

    # These commands ask nothing of Cloudflare and listen nowhere: they need no credentials, and the first key can be
    # made before a server may listen to other machines.
    overrides = {"config": config_file, "offline": True, "host": "127.0.0.1", **more}
    try:
        return load(overrides, dict(os.environ))
    except SettingsError as error:
        fail(str(error))


def with_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store, work on it, and close it; a store that cannot be used ends the command."""
    import asyncio  # noqa: PLC0415 - see the package

    from app.store.contract import StoreError, StoreUnavailable  # noqa: PLC0415
    from app.store.opening import open_store  # noqa: PLC0415

    if not settings.store:
        fail("nothing is stored, because FLARELAY_STORE is false: `flarelay keys create --toml` makes keys for a file")

    async def run() -> T:
        store = await open_store(settings.store_url)
        try:
            return await work(store)
        finally:
            await store.close()

    # What the store logs of an outage is in the error too, which says it in the command's own way.
    logging.getLogger("app.store").addHandler(logging.NullHandler())
    try:
        return asyncio.run(run())
    except StoreUnavailable as error:
        from app.store.failures import reason  # noqa: PLC0415

        fail(f"the database is not available: {reason(error.__cause__ or error)}")
    except StoreError as error:
        fail(str(error))

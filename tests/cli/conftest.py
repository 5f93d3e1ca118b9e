import asyncio
import contextlib
import os
import shutil

import pytest
from click.testing import CliRunner

from app.cli import main
from app.store.opening import open_store


async def _migrate(path):
    store = await open_store(f"sqlite:///{path}")
    await store.close()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """A database to copy: migrating one for each test would take most of the time."""
    path = tmp_path_factory.mktemp("migrated") / "flarelay.sqlite3"
    asyncio.run(_migrate(path))
    return path


@pytest.fixture
def data_dir(tmp_path, migrated, monkeypatch):
    for name in os.environ:
        if name.startswith(("FLARELAY_", "CLOUDFLARE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FLARELAY_DATA_DIR", str(tmp_path))
    shutil.copy(migrated, tmp_path)
    return tmp_path


@pytest.fixture
def run(data_dir):
    """Run a command that is to end with a status; gives its result with ``stdout`` and ``stderr``."""

    def run(*arguments, status=0, **more):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="flarelay", **more)
        unexpected = result.exception if not isinstance(result.exception, SystemExit) else None
        assert (result.exit_code, unexpected) == (status, None), result.output
        return result

    return run


@pytest.fixture
def stored(data_dir):
    """Do something with the store that the commands work on."""

    @contextlib.asynccontextmanager
    async def opened():
        store = await open_store(f"sqlite:///{data_dir}/flarelay.sqlite3")
        try:
            yield store
        finally:
            await store.close()

    def stored(work):
        async def go():
            async with opened() as store:
                return await work(store)

        return asyncio.run(go())

    return stored

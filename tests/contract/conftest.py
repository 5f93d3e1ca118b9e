"""Every test here runs on every database."""

import pytest

from app.store.opening import open_store
from tests.store import databases


@pytest.fixture(scope="session", params=databases.KINDS)
def template(request, tmp_path_factory):
    with databases.template(request.param, tmp_path_factory.mktemp("template")) as source:
        yield request.param, source


@pytest.fixture
async def database(template, tmp_path):
    kind, source = template
    return await databases.fresh(kind, source, tmp_path)


@pytest.fixture
async def store(database):
    store = await open_store(database)
    yield store
    await store.close()


@pytest.fixture
async def other(database):
    """Another replica."""
    other = await open_store(database)
    yield other
    await other.close()

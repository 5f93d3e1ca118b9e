"""Opening the store. Importing this file costs nothing; the database libraries are loaded when a store is opened."""

from __future__ import annotations

from app.store.contract import Store


async def open_store(url: str) -> Store:
    """Open the database, and bring it to the newest schema.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``postgresql://user:password@host/name``.

    Raises:
        StoreError: The URL is not one of these, the database cannot be reached, it was written by a newer release, or
            its migration failed (in which case nothing was changed).
    """
    from app.store.database import open_database  # noqa: PLC0415 - loads SQLAlchemy only when there is a store

    return await open_database(url)

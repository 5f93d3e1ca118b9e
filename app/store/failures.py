"""Failures of the database become errors that a client can be told, and one line in the log for each outage."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.store.contract import StoreUnavailable

_OURS = (IntegrityError, DataError, ProgrammingError)
"""What a healthy database says to a wrong statement: our defect, not its outage."""


class Health:
    """Remembers whether the database answered last time, so that an outage is logged once.

    Args:
        log: Where to tell it.
    """

    __slots__ = ("_down", "_log")

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._down = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch one use of the database.

        Raises:
            StoreUnavailable: It does not answer, is locked, or its disk is full.
        """
        try:
            yield
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            if isinstance(error, _OURS):
                raise
            if not self._down:
                self._down = True
                self._log.error("the store is not available: %s", reason(error))
            raise StoreUnavailable from error
        if self._down:
            self._down = False
            self._log.warning("the store is available again")


def reason(error: BaseException) -> str:
    """Say what the database said, without the statement and its values: those hold what clients wrote."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    text = str(error.args[0]) if isinstance(error, SQLAlchemyError) and error.args else str(error)
    return (text.strip().splitlines() or [""])[0] or type(error).__name__

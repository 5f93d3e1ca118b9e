"""A count of what was done, on one line that is written over, where a person is looking."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, TextIO

import click

_CLEAR: Final = "\r\x1b[K"


class Counter:
    """Shows lines, and below them how far things have come. Where nobody is looking there are only the lines.

    Args:
        status: Tells how far things have come, in a few words.
        stream: Where to write; by default to standard error.
    """

    def __init__(self, status: Callable[[], str], stream: TextIO | None = None) -> None:
        self._status = status
        self._stream = stream or sys.stderr
        self._watched = self._stream.isatty()

    def line(self, text: str) -> None:
        """Write a line, and the count anew below it."""
        if not self._watched:
            click.echo(text, file=self._stream)
            return
        click.echo(f"{_CLEAR}{text}\n{self._status()}", file=self._stream, nl=False)

    def close(self) -> None:
        """Leave the count as it is, and go on below it."""
        if self._watched:
            click.echo(f"{_CLEAR}{self._status()}", file=self._stream)

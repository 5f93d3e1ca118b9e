"""What all commands share in how they speak to people."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import click

CONTEXT: Final = {"help_option_names": ["-h", "--help"]}

UNUSABLE: Final = 2
"""Exit status: used wrongly, or what is needed cannot be opened."""

NOT_FOUND: Final = 1
"""Exit status: there is no such thing."""


def fail(sentence: str, status: int = UNUSABLE) -> NoReturn:
    """Say what is wrong, and end the command."""
    click.echo(f"flarelay: {sentence}", err=True)
    sys.exit(status)


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON
    """Write a JSON value for people and programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> None:
    """Write rows in columns.

    Args:
        rows: All of the same length; the first has the columns' names.
        right: The columns that are flush right, as numbers are.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())


def moment(seconds: float | None) -> str:
    """A time as it is shown: ``2027-01-01T00:00:00Z``, or ``never``."""
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")

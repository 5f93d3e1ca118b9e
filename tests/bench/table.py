"""The table that a run prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from tests.bench.budget import Budget
from tests.bench.figures import DIRECT, FIGURES, OURS, Samples


def write_table(samples: Samples, peers: Sequence[str], budgets: Mapping[str, Budget]) -> str:
    """Write one line for each figure: medians over the rounds."""
    head = ["figure", "unit", DIRECT, OURS, "ratio", "±", "budget", *peers]
    rows = [head]
    for name in samples.measured():
        figure = FIGURES[name]
        ratio, error, budget = samples.ratio(name), samples.error(name), budgets.get(name)
        rows.append(
            [
                figure.label,
                figure.unit,
                _number(samples.value(name, DIRECT), figure.digits),
                _number(samples.value(name, OURS), figure.digits),
                _ratio(ratio),
                "-" if error is None else f"{error:.1%}",
                _ratio(budget.most if budget else None),
                *(_number(samples.value(name, peer), figure.digits) for peer in peers),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(_cell(row, column, widths) for column in range(len(head))).rstrip() for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    lines.append(
        f"\nratio: CPU time by that of the calibration loop, {median(samples.units) * 1e6:,.0f} µs here; "
        "±: standard error of the median; a budget is of the ratio where there is one."
    )
    return "\n".join(lines)


def _cell(row: Sequence[str], column: int, widths: Sequence[int]) -> str:
    return row[column].ljust(widths[column]) if column < 2 else row[column].rjust(widths[column])


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _ratio(value: float | None) -> str:
    return _number(value, 3 if value is not None and value < 10 else 0)

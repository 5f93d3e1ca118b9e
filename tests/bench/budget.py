"""The budgets: what each figure may be at most, kept in ``budgets.toml``."""

from __future__ import annotations

import math
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.figures import FIGURES, OURS, Samples

FILE: Final = Path(__file__).with_name("budgets.toml")

_HEAD: Final = """\
# What each figure may be at most; `python -m tests.bench --check` fails past it, `--write-budgets` writes this file.
# CPU time is budgeted as its ratio to the calibration loop of the same run, memory as it is.
# `seen` is what the run saw that wrote this file, for information: absolute figures hold for its machine only.
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one figure may be.

    Attributes:
        most: The largest ratio to the calibration loop; for memory, the largest value.
    """

    most: float


def read_budgets(text: str) -> dict[str, Budget]:
    """Read the budgets.

    Raises:
        ValueError: The file is not TOML, or names a figure that there is not.
    """
    tables = {name: table for name, table in tomllib.loads(text).items() if name != "machine"}
    if unknown := sorted(tables.keys() - FIGURES.keys()):
        raise ValueError(f"there is no figure {', '.join(unknown)}")
    return {name: Budget(float(table["most"])) for name, table in tables.items()}


def past_budget(samples: Samples, budgets: Mapping[str, Budget]) -> list[str]:
    """What is past its budget, in a sentence each; figures that were not measured are within it."""
    sentences = []
    for name in samples.measured():
        seen = _budgeted(name, samples)
        if name in budgets and seen is not None and seen > budgets[name].most:
            sentences.append(f"{name} is {seen:.3f}, past its budget of {budgets[name].most:.3f}")
    return sentences


def write_budgets(samples: Samples) -> str:
    """Write budgets a margin above what a run saw."""
    unit = median(samples.units) * 1e6
    lines = [_HEAD, "[machine]", f'python = "{platform.python_version()}"', f'system = "{platform.platform()}"']
    lines.append(f"calibration_us = {unit:.0f}")
    for name in samples.measured():
        figure = FIGURES[name]
        seen, value = _budgeted(name, samples), samples.value(name, OURS)
        if not figure.budgeted or seen is None or value is None:
            continue
        digits = 3 if seen < 10 else 0
        most = math.ceil(seen * figure.margin * 10**digits) / 10**digits
        lines += ["", f"[{name}]", f"most = {most:.{digits}f}", f'seen = "{value:.{figure.digits}f} {figure.unit}"']
        if figure.calibrated:
            lines.append(f"seen_ratio = {seen:.{digits}f}")
    return "\n".join(lines) + "\n"


def _budgeted(name: str, samples: Samples) -> float | None:
    return samples.ratio(name) if FIGURES[name].calibrated else samples.value(name, OURS)

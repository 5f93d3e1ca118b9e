"""The figures of a run: what they are called, and what was seen of each."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import Final

DIRECT: Final = "direct"
OURS: Final = "flarelay"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    Attributes:
        name: As in ``budgets.toml``.
        label: As in the table.
        unit: What its values are in.
        scale: How many of them make one of what is measured: seconds, or KiB.
        digits: Decimal places that mean something.
        calibrated: It is CPU time, so it is also told, and budgeted, as a ratio to the calibration loop.
        margin: How far above what was seen a new budget is: past one machine's noise, within what a mistake costs.
        budgeted: It has a budget. Wall time has none: on a shared machine it is noise.
    """

    name: str
    label: str
    unit: str
    scale: float = 1e6
    digits: int = 0
    calibrated: bool = True
    margin: float = 1.3
    budgeted: bool = True


def _wall(name: str, label: str) -> Figure:
    return Figure(name, label, "ms", 1e3, 2, calibrated=False, budgeted=False)


def _kib(name: str, label: str, unit: str, scale: float = 1.0) -> Figure:
    return Figure(name, label, unit, scale, 1, calibrated=False, margin=1.15)


FIGURES: Final = {
    figure.name: figure
    for figure in (
        Figure("unstreamed", "CPU / unstreamed chat request", "µs"),
        Figure("fixed", "CPU / one-chunk chat stream (what a stream costs by itself)", "µs"),
        Figure("burst_chat", "CPU / 100-chunk chat stream, burst", "µs"),
        Figure("burst_responses", "CPU / 100-chunk Responses stream, burst", "µs"),
        Figure("burst_unkept", "  one that is not kept in the store", "µs"),
        Figure("paced", "CPU / chunk, 10 ms apart, 40 chat streams", "µs", digits=1),
        _wall("latency_p50", "unstreamed answer p50, one connection"),
        _wall("latency_p99", "unstreamed answer p99, one connection"),
        _wall("added_p50", "  added by the proxy, p50"),
        _wall("added_p99", "  added by the proxy, p99"),
        Figure("capacity", "unstreamed requests a second on one core", "1/s", 1, calibrated=False, budgeted=False),
        _wall("loaded_p50", "unstreamed answer p50 at 70 % of that"),
        _wall("loaded_p99", "unstreamed answer p99 at 70 % of that"),
        _wall("first_byte_p50", "first byte of a chat stream p50, one connection"),
        _wall("first_byte_p99", "first byte of a chat stream p99, one connection"),
        _kib("rss_rest", "resident memory at rest", "MiB", 1 / 1024),
        _kib("rss_after", "resident memory after many requests", "MiB", 1 / 1024),
        _kib("rss_stream", "resident memory / open paced stream", "KiB"),
        Figure("held", "CPU / second and open stream of a chunk a second", "µs", margin=1.6),
        _wall("lag_p99", "health check p99 beside these streams (the event loop's lag)"),
        _kib("rss_stream_many", "resident memory / open stream, of five times as many", "KiB"),
        Figure("held_many", "CPU / second and open stream, of five times as many", "µs", margin=1.6),
        _wall("lag_p99_many", "health check p99 beside five times as many"),
        _wall("ready", "start to ready"),
        Figure("ready_cpu", "start to ready, CPU", "ms", 1e3, margin=1.5),
        Figure("import_cpu", "import of app.main, CPU", "ms", 1e3, margin=1.5),
    )
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: its value in seconds or KiB, and the calibration unit's seconds beside it."""

    value: float
    unit: float | None


class Samples:
    """Everything that was measured, by figure and target."""

    def __init__(self) -> None:
        self._samples: defaultdict[tuple[str, str], list[Sample]] = defaultdict(list)
        self.units: list[float] = []

    def add(self, figure: str, target: str, value: float, unit: float | None = None) -> None:
        """Keep a measurement."""
        self._samples[figure, target].append(Sample(value, unit))

    def last(self, figure: str, target: str) -> float:
        """The newest value."""
        return self._samples[figure, target][-1].value

    def value(self, figure: str, target: str) -> float | None:
        """The median, in the figure's unit; ``None`` when it was not measured."""
        samples = self._samples.get((figure, target))
        return median(sample.value for sample in samples) * FIGURES[figure].scale if samples else None

    def ratio(self, figure: str, target: str = OURS) -> float | None:
        """The median of the ratios to the calibration unit, which is taken anew beside each measurement."""
        ratios = [sample.value / sample.unit for sample in self._samples.get((figure, target), ()) if sample.unit]
        return median(ratios) if ratios else None

    def error(self, figure: str, target: str = OURS) -> float | None:
        """How far the ratio (or the value) may be off: the standard error of its median, by the median."""
        values = [sample.value / (sample.unit or 1) for sample in self._samples.get((figure, target), ())]
        middle = median(values) if len(values) > 2 else 0
        if not middle:
            return None
        # 1.86: from the median distance to a normal spread (1.48), and from a mean's error to a median's (1.25).
        return 1.86 * median(abs(value - middle) for value in values) / math.sqrt(len(values)) / middle

    def measured(self) -> list[str]:
        """The figures that were measured of our proxy, in the table's order."""
        return [name for name in FIGURES if (name, OURS) in self._samples]

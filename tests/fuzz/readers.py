"""Fuzzing the readers, filters and writers: many cases, until enough inputs were fed or one is wrong."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tests.fuzz.cases import Case, make
from tests.fuzz.judge import check

BASE_SECONDS: Final = 0.05
SECONDS_PER_BYTE: Final = 2e-6
"""What a case may take of the CPU: this, and this for each byte. Usual are 0.3 ms, and 0.2 µs for each byte."""

HANG_SECONDS: Final = 30
_TELL_SECONDS: Final = 0.5
_SHRINK_SECONDS: Final = 20.0


class TooSlowError(Exception):
    """A case took longer than is allowed for its size."""


@dataclass(slots=True)
class Finding:
    """One case that is wrong.

    Attributes:
        number: Of the case.
        what: The exception.
        place: Where it came from, innermost first.
        trace: The whole traceback.
        smallest: The case, as small as it could be made.
    """

    number: int
    what: str
    place: tuple[str, ...]
    trace: str
    smallest: Case

    @property
    def key(self) -> tuple[str, ...]:
        """What findings of the same cause have in common."""
        return (self.what.partition(":")[0], *self.place[:1])


@dataclass(slots=True)
class Tally:
    """What was done.

    Attributes:
        inputs: Frames, whole bodies, failures, blocks and events that were fed.
        cases: Streams and the like that they belonged to.
        kinds: The cases by their kind.
        cpu_seconds: CPU time of all processes.
        slowest: The longest case, in seconds of CPU, and its number.
        findings: By what they have in common; the first of each.
        again: How often each was met.
    """

    inputs: int = 0
    cases: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)
    findings: dict[tuple[str, ...], Finding] = field(default_factory=dict)
    again: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Take in what another process did."""
        self.inputs += other.inputs
        self.cases += other.cases
        self.kinds += other.kinds
        self.cpu_seconds += other.cpu_seconds
        self.slowest = max(self.slowest, other.slowest)
        for key, finding in other.findings.items():
            self.findings.setdefault(key, finding)
        self.again += other.again


def fuzz(
    inputs: int, seed: int, processes: int = 1, *, keep_going: bool = False, say: Callable[[str], None] = lambda _: None
) -> Tally:
    """Feed at least so many inputs; stop at the first finding, unless told to keep going."""
    if processes == 1:
        total = Tally()
        for done in _work(seed, 0, 1):
            total.add(done)
            say(f"{total.inputs:,} inputs, {len(total.findings)} findings")
            if total.inputs >= inputs or (total.findings and not keep_going):
                break
        return total
    return _beside_each_other(inputs, seed, processes, keep_going=keep_going, say=say)


def _beside_each_other(
    inputs: int, seed: int, processes: int, *, keep_going: bool, say: Callable[[str], None]
) -> Tally:
    context = multiprocessing.get_context("fork")
    told: multiprocessing.Queue[Tally] = context.Queue()
    workers = [
        context.Process(target=_tell, args=(told, seed, first, processes), daemon=True) for first in range(processes)
    ]
    for worker in workers:
        worker.start()
    total = Tally()
    try:
        while total.inputs < inputs and (keep_going or not total.findings):
            total.add(told.get(timeout=4 * HANG_SECONDS))
            say(f"{total.inputs:,} inputs, {len(total.findings)} findings")
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
    return total


def _tell(told: Any, seed: int, first: int, step: int) -> None:
    for done in _work(seed, first, step):
        told.put(done)


def _work(seed: int, first: int, step: int) -> Iterator[Tally]:
    """Do every so-manieth case for ever, telling now and then what was done since."""
    done, began, cpu = Tally(), time.monotonic(), time.process_time()
    number = first
    known: set[tuple[str, ...]] = set()
    while True:
        finding, size, seconds, kind = one(seed, number, known)
        done.inputs += size
        done.cases += 1
        done.kinds[kind] += 1
        if kind != "long":
            done.slowest = max(done.slowest, (seconds, number))
        if finding is not None:
            known.add(finding.key)
            done.findings.setdefault(finding.key, finding)
            done.again[finding.key] += 1
        number += step
        if finding is not None or time.monotonic() - began > _TELL_SECONDS:
            now = time.process_time()
            done.cpu_seconds = now - cpu
            yield done
            done, began, cpu = Tally(), time.monotonic(), now


def one(
    seed: int, number: int, known: AbstractSet[tuple[str, ...]] = frozenset()
) -> tuple[Finding | None, int, float, str]:
    """Do one case: what is wrong with it, how many inputs it was, seconds of CPU, and its kind.

    Args:
        seed: Of the run.
        number: Of the case.
        known: What findings of which there is one already have in common; another is not made small.
    """
    case = make(seed, number)
    began = time.thread_time()
    size = 0
    try:
        with _no_longer_than(HANG_SECONDS):
            size = check(case)
        seconds = time.thread_time() - began
        allowed = BASE_SECONDS + SECONDS_PER_BYTE * case.size
        # Another time, for the processor may have been at something else.
        if seconds > allowed and min(_seconds(case), _seconds(case)) > allowed:
            slow = TooSlowError(f"{seconds:.3f} s of CPU for {case.size} bytes, {allowed:.3f} s are allowed")
            return _finding(number, case, slow, known), size, seconds, case.kind
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        seconds = time.thread_time() - began
        return _finding(number, case, error, known), size, seconds, case.kind
    return None, size, seconds, case.kind


def _seconds(case: Case) -> float:
    began = time.thread_time()
    check(case)
    return time.thread_time() - began


@contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError(f"it did not end within {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _finding(number: int, case: Case, error: Exception, known: AbstractSet[tuple[str, ...]]) -> Finding:
    root = Path(__file__).resolve().parents[2]
    places = []
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(root / "app"):
            places.append(f"{path.relative_to(root)}:{frame.lineno} {frame.name}")
    trace = "".join(traceback.format_exception(error))
    finding = Finding(number, f"{type(error).__name__}: {error}"[:500], tuple(places), trace, case)
    if finding.key not in known and not isinstance(error, TooSlowError):
        finding.smallest = shrink(case, type(error))
    return finding


def shrink(case: Case, wrong: type[Exception], seconds: float = _SHRINK_SECONDS) -> Case:
    """Take away what is not needed to fail in the same way: first pieces, then single ones, in one block."""
    deadline = time.monotonic() + seconds

    def fails(smaller: Case) -> bool:
        try:
            check(smaller)
        except wrong:
            return True
        except Exception:  # noqa: BLE001 - another failure is another finding
            return False
        return False

    whole = replace(case, blocks=[b"".join(case.blocks)] if case.blocks else [])
    if case.kind != "framer" and case.blocks and fails(whole):
        (data,) = whole.blocks
        left = _without(data, lambda smaller: fails(replace(case, blocks=[bytes(smaller)])), deadline)
        return replace(case, blocks=[bytes(left)])
    if case.events:
        events = _without(case.events, lambda smaller: fails(replace(case, events=list(smaller))), deadline)
        return replace(case, events=list(events))
    return case


def _without(data: Any, fails: Callable[[Any], bool], deadline: float) -> Any:
    size = len(data) // 2
    while size and time.monotonic() < deadline:
        place = 0
        while place < len(data) and time.monotonic() < deadline:
            smaller = data[:place] + data[place + size :]
            if fails(smaller):
                data = smaller
            else:
                place += size
        size //= 2
    return data


def summary(tally: Tally, seed: int, wall_seconds: float, processes: int) -> str:
    """What is printed at the end."""
    rate = tally.inputs / max(tally.cpu_seconds, 1e-9)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in tally.kinds.most_common())
    lines = [
        f"{tally.inputs:,} inputs in {tally.cases:,} cases ({kinds}), seed {seed}",
        f"{rate:,.0f} inputs per second and core; {wall_seconds:.0f} s with {processes} of {os.cpu_count()} cores",
        f"slowest case but the long ones: {tally.slowest[0] * 1000:.1f} ms of CPU (case {tally.slowest[1]})",
        f"{len(tally.findings)} findings",
    ]
    return "\n".join([*lines, *(told(finding, seed, tally.again[finding.key]) for finding in tally.findings.values())])


def told(finding: Finding, seed: int, times: int = 1) -> str:
    """A finding, with what repeats it."""
    case = finding.smallest
    fed: Sequence[object] = case.blocks or case.events
    setup = (
        f"{case.kind}, max_tokens={case.max_tokens}, thinks_inline={case.thinks_inline}, "
        f"emulation={case.emulation}, surface={case.surface}"
    )
    if case.kind == "failure":
        setup = f"failure, status={case.status}, headers={case.headers}"
    return "\n".join(
        [
            "",
            f"FINDING, met {times} times: {finding.what}",
            *(f"  at {place}" for place in finding.place[:4]),
            f"  fed ({setup}):",
            *(f"    {piece!r}"[:2000] for piece in fed),
            f"  repeat: python -m tests.fuzz readers --seed {seed} --case {finding.number}",
        ]
    )

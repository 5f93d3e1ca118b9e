"""What was admitted against what was allowed: the judge of the harness. None of this is the limiter's code."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.limits.backend import new_prefix

DEFAULT_OUTPUT = 40
PRICE_IN, PRICE_OUT = 0.5, 1.0
"""Neurons per token: such as have no fraction in micro-neurons."""

KINDS = ("requests", "tokens", "places", "budget")
PLACES = KINDS.index("places")
LOOSE = 1_000
"""How much more than enough a key has of what it is not short of."""

MID_MONTH = 1_763_000_000
"""What the calendar shows when a run begins: no budget is renewed in the middle of it."""


@dataclass
class Options:
    """What is tried."""

    redis: bool = False
    replicas: int = 3
    clients: int = 60
    keys: int = 4
    seconds: float = 6.0
    requests: int = 600
    tokens: int = 60_000
    concurrency: int = 8
    budget: int = 20_000
    lease: float = 2.0
    seed: int = 1
    number: int = -1
    prefix: str = field(default_factory=new_prefix)
    start: float = 0.0
    epoch: float = 0.0
    out: str = ""

    def wall(self) -> float:
        """The calendar of a process, as far off as its clock."""
        return MID_MONTH + time.time() - self.epoch


def kind_of(key: str) -> str:
    """What a key is short of."""
    return KINDS[int(key.rpartition("-")[2]) % len(KINDS)]


def factor(key: str, kind: str) -> int:
    """By how much a key has more of something than one that is short of it."""
    return 1 if kind == kind_of(key) else LOOSE


@dataclass
class Verdict:
    """What came out for one way of running."""

    name: str
    rows: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def row(self, text: str) -> None:
        """A line of the report."""
        self.rows.append(text)

    def hold(self, condition: bool, text: str) -> None:
        """What must be so."""
        if not condition:
            self.faults.append(text)


@dataclass
class Row:
    """One admitted request.

    Attributes:
        asked: When it asked.
        at: When it knew that it was admitted.
        left: When it left; ``None`` when nobody knows.
        reserved: Tokens reserved for it.
        used: Tokens that it used.
        held: What was reserved for it of a budget that had enough, in neurons.
        cost: What it cost.
        stated: It stated its limit.
        killed: Its process was killed while it was under way.
    """

    asked: float
    at: float
    left: float | None
    reserved: int
    used: int
    held: Fraction
    cost: Fraction
    stated: bool
    killed: bool = False


def requests_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Everything that was written down of each request, together."""
    requests: dict[str, dict[str, Any]] = {}
    for record in records:
        requests.setdefault(record["request"], {}).update(record)
    return list(requests.values())


def rows_of(records: list[dict[str, Any]], killed_at: float | None = None) -> dict[str, list[Row]]:
    """The admitted requests of each key, in their order."""
    by_key: dict[str, list[Row]] = {}
    for one in requests_of(records):
        if "at" in one:
            row = Row(
                one["asked"],
                one["at"],
                one.get("left", killed_at),
                one["prompt"] + one["output"],
                sum(one.get("used", ())),
                _price(one["prompt"], one["output"]),
                _price(*one.get("used", (0, 0))),
                one["stated"],
                "used" not in one and killed_at is not None,
            )
            by_key.setdefault(one["key"], []).append(row)
    return {key: sorted(rows, key=lambda row: row.at) for key, rows in sorted(by_key.items())}


def on_the_way(records: list[dict[str, Any]], key: str, process: int) -> tuple[Fraction, Fraction]:
    """What a killed process may have reserved of a key's budget and not given back, and what it may not have charged.

    All that a process says to Redis goes one way: what it had said before it asked for something that it was answered
    has arrived.
    """
    requests = [one for one in requests_of(records) if one["process"] == process]
    heard = max((one["asked"] for one in requests if "at" in one or "refused" in one), default=0.0)
    kept = owed = Fraction(0)
    for one in requests:
        if one["key"] != key or "refused" in one:
            continue
        held = _price(one["prompt"], one["output"])
        if one.get("left", one.get("cancelled", heard)) >= heard:
            cost = _price(*one.get("used", (0, 0)))
            kept += max(held - cost, 0)
            # Who states no limit may have got less of a budget than it asked for.
            owed += max(cost - held, 0) if one["stated"] else cost
    return kept, owed


def _price(prompt: int, output: int) -> Fraction:
    return prompt * Fraction(PRICE_IN) + output * Fraction(PRICE_OUT)


def judge(
    options: Options, records: list[dict[str, Any]], verdict: Verdict, killed_at: float | None = None
) -> dict[str, list[Row]]:
    """Compare what was admitted with what was allowed, key by key and limit by limit."""
    away = sum("away" in one for one in requests_of(records))
    verdict.hold(away == 0, f"{away} requests found Redis away")
    by_key = rows_of(records, killed_at)
    refused = {record["key"] for record in records if "refused" in record}
    for key, rows in by_key.items():
        if key not in refused:
            # Nobody wanted more than there was, so nothing can be said of what was not used.
            verdict.row(f"{key}: nobody was refused")
        unsettled = sum(row.left is None for row in rows)
        verdict.hold(unsettled == 0, f"{key}: {unsettled} requests were never settled")
        for kind, judged in (
            ("requests", judge_requests),
            ("tokens", judge_tokens),
            ("places", judge_places),
            ("budget", judge_budget),
        ):
            judged(options, key, rows, verdict, kind == kind_of(key) and key in refused)
    return by_key


def judge_requests(options: Options, key: str, rows: list[Row], verdict: Verdict, short: bool) -> None:
    limit = options.requests * factor(key, "requests")
    begin, end = min(row.asked for row in rows), rows[-1].at
    allowed = int(limit + Fraction(limit, 60) * Fraction(end - begin))
    over = _worst_excess(rows, limit)
    verdict.hold(over <= 0, f"{key}: {over} requests too many")
    if short:
        verdict.row(
            f"{key} requests/min {limit}: admitted {len(rows)} of {allowed} allowed, over {max(over, 0)}, "
            f"under-use {_percent(allowed - len(rows), allowed)}"
        )
        verdict.hold(len(rows) >= 0.98 * allowed, f"{key}: under-use of requests above 2 %")


def judge_tokens(options: Options, key: str, rows: list[Row], verdict: Verdict, short: bool) -> None:
    limit = options.tokens * factor(key, "tokens")
    begin, end = min(row.asked for row in rows), rows[-1].at
    allowed = int(limit + Fraction(limit, 60) * Fraction(end - begin))
    used = sum(row.used for row in rows)
    # Only requests under way at the last admission can have an excess that nobody waited for yet.
    under_way = _under_way(rows)
    bound = sum(max(row.used - row.reserved, 0) for row in under_way)
    past = max(used - allowed, 0)
    verdict.hold(past <= bound, f"{key}: {past} tokens past the limit, the bound is {bound}")
    if short:
        held = sum(max(row.reserved - row.used, 0) for row in under_way)
        verdict.row(
            f"{key} tokens/min {limit}: used {used} of {allowed} allowed in {len(rows)} requests, "
            f"past the limit {past} (bound {bound}), under-use {_percent(allowed - used, allowed)}"
        )
        verdict.hold(used + held >= 0.98 * allowed, f"{key}: under-use of tokens above 2 %")


def judge_places(options: Options, key: str, rows: list[Row], verdict: Verdict, short: bool) -> None:
    limit = options.concurrency * factor(key, "places")
    most = _most_at_once(rows)
    verdict.hold(most <= limit, f"{key}: {most} at once")
    if short:
        verdict.row(f"{key} concurrency {limit}: at most {most} at once, {len(rows)} requests")
        verdict.hold(most == limit, f"{key}: never all places in use")


def judge_budget(options: Options, key: str, rows: list[Row], verdict: Verdict, short: bool) -> None:
    limit = options.budget * factor(key, "budget")
    cost = sum(row.cost for row in rows)
    under_way = _under_way(rows)
    # Who states no limit may have got only what was left of the budget, and then cost one answer.
    bound = sum(max(row.cost - row.held, 0) if row.stated else row.cost for row in under_way)
    past = max(cost - limit, 0)
    verdict.hold(past <= bound, f"{key}: {float(past)} neurons past the budget, the bound is {float(bound)}")
    if short:
        held = sum(max(row.held - row.cost, 0) for row in under_way)
        verdict.row(
            f"{key} neurons/month {limit}: spent {float(cost)} in {len(rows)} requests, past the budget {float(past)} "
            f"(bound {float(bound)}), under-use {_percent(limit - cost, limit)}"
        )
        verdict.hold(cost + held >= 0.98 * limit, f"{key}: under-use of the budget above 2 %")


def _under_way(rows: list[Row]) -> list[Row]:
    """Those under way at the last admission, and those whose process was killed: what these hold stays held."""
    return [row for row in rows if row.left is None or row.left >= rows[-1].asked or row.killed]


def _worst_excess(rows: list[Row], limit: int) -> int:
    """Over all intervals, the most requests admitted in one beyond what it allows.

    Between asking and being told the admission happened, so an interval from the asking of one to the telling of
    another holds every request that was asked and told within it.
    """
    rate = Fraction(limit, 60)
    begins = sorted(row.asked for row in rows)
    worst = -limit
    for begin in begins[:: max(len(begins) // 50, 1)]:
        count = 0
        for row in rows:
            if row.asked >= begin:
                count += 1
                worst = max(worst, count - int(limit + rate * Fraction(row.at - begin)))
    return worst


def _most_at_once(rows: list[Row]) -> int:
    moments = sorted([(row.at, 1) for row in rows] + [(row.left, -1) for row in rows if row.left is not None])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def _percent(missing: float | Fraction, allowed: int) -> str:
    return f"{float(max(missing, 0)) / allowed:.2%}"

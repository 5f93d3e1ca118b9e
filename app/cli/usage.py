"""``flarelay usage``: what was used, and what it will come to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from app.cli.opened import config_option, read_settings, with_store
from app.cli.terminal import CONTEXT, print_json, print_table
from app.cli.values import KEY_ID
from app.core.cost import USD_PER_NEURON

if TYPE_CHECKING:
    from app.exchange.usage import Breakdown, Totals, UsageReport

MOST_DAYS = 400


@click.command(context_settings=CONTEXT)
@click.option(
    "--days", type=click.IntRange(1, MOST_DAYS), default=30, show_default=True, help="How many days to tell of."
)
@click.option("--by", type=click.Choice(["day", "key", "model"]), default="day", show_default=True, help="Divide days.")
@click.option("--key", "key_id", type=KEY_ID, help="Only what was used with the key of this public id.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, as GET /admin/usage does.")
@config_option
def usage(days: int, by: Breakdown, key_id: str | None, as_json: bool, config_file: str | None) -> None:  # noqa: FBT001 - click's way
    """Show what was used today, this month and before, and what it is likely to come to.

    Days are UTC, as Cloudflare counts them.
    """
    from app.exchange.usage import day_of, first_day, report  # noqa: PLC0415 - see the package

    settings = read_settings(config_file)
    now = time.time()
    rows = with_store(settings, lambda store: store.usage.rows(first_day(now, days), day_of(now), caller=key_id))
    # The allocation is everybody's together: of one key's part nothing is left or not.
    allocation = None if key_id is not None else settings.account_allocation
    made = report(rows, now, allocation, days=days, breakdown=by)
    if as_json:
        print_json(made.as_dict())
    else:
        _print(made)


def _print(made: UsageReport) -> None:
    spent = made.today.neurons
    lines = [("so far", _totals(made.today)), ("by midnight", f"about {_neurons(made.forecast)}")]
    if made.allocation is not None and made.remaining is not None:
        left = f"{made.remaining:,.1f} of {made.allocation:,.10g} neurons"
        lines.append(("left", f"{left}, {100 * spent / made.allocation:.1f} % are used"))
    if spent:
        shares = (f"{100 * part.neurons / spent:.0f} % {source}" for source, part in made.by_source.items())
        lines.append(("figures", ", ".join(shares)))
    click.echo(f"Today, {made.day} (UTC)")
    _print_lines(lines)
    click.echo(f"\nThis month, since {made.month}")
    _print_lines([
        ("so far", _totals(made.month_so_far)), ("by its end", f"about {_neurons(made.month_forecast)}")
    ])  # fmt: skip
    click.echo()
    _print_history(made)


def _print_history(made: UsageReport) -> None:
    divided = made.breakdown != "day"
    head = ["DAY", *([made.breakdown.upper()] if divided else []), "REQUESTS", "TOKENS IN", "OUT", "NEURONS", "USD"]
    rows = [head]
    for day in made.history:
        parts = day.parts.items() if divided else [("", day.totals)]
        rows += [[day.day, *([name] if divided else []), *_figures(totals)] for name, totals in parts]
    if len(rows) == 1:
        click.echo("Nothing was used in this time.")
    else:
        print_table(rows, right=frozenset(range(len(head) - 5, len(head))))


def _print_lines(lines: list[tuple[str, str]]) -> None:
    print_table([(f"  {name}", text) for name, text in lines])


def _figures(totals: Totals) -> list[str]:
    counts = (totals.requests, totals.prompt_tokens, totals.completion_tokens)
    return [*(f"{count:,}" for count in counts), f"{totals.neurons:,.1f}", f"{totals.usd:,.4f}"]


def _totals(totals: Totals) -> str:
    cached = f" ({totals.cached_tokens:,} cached)" if totals.cached_tokens else ""
    tokens = f"{totals.prompt_tokens:,}{cached} tokens in and {totals.completion_tokens:,} out"
    return f"{_neurons(totals.neurons)}: {totals.requests:,} requests, {tokens}"


def _neurons(neurons: float) -> str:
    return f"{neurons:,.1f} neurons (${neurons * USD_PER_NEURON:,.4f})"

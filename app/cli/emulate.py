"""``flarelay emulate``: the Workers AI emulator alone."""

from __future__ import annotations

from typing import Literal

import click

from app.cli.terminal import CONTEXT, fail
from app.cli.values import Written


def _rate(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isdigit():
        raise ValueError("must be a name and a number, such as paid_only=50")
    return name, int(number)


@click.command(context_settings=CONTEXT)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8585, show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option("--account-id", help="The only account it knows; by default any.")
@click.option("--token", help="The only API token it accepts; by default any.", envvar="FLARELAY_EMULATOR_TOKEN")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the texts, and the fates of --chaos.")
@click.option("--delay", type=float, default=0.0, show_default=True, help="Seconds between two tokens of a stream.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[:SECONDS][*TIMES]",
    help="A fault for every request, or for the first TIMES; may be repeated. GET /_emulator/vectors lists them.",
)
@click.option(
    "--chaos", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="How likely a random fault is."
)
@click.option(
    "--chaos-pause",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="The most seconds that a random delay or stall lasts.",
)
@click.option("--plan", type=click.Choice(["free", "paid"]), help="Cloudflare's plan; by default nothing is refused.")
@click.option("--neurons-per-day", type=click.FloatRange(0), help="The plan's daily allowance.  [default: 10000]")
@click.option("--rate-limits", is_flag=True, help="Hold Cloudflare's requests per minute and model.")
@click.option(
    "--rate-limit",
    "rates",
    type=Written("name=number", _rate),
    multiple=True,
    help="The same, with this number for a model, a task or paid_only; may be repeated.",
)
@click.option("--capacity", type=click.IntRange(1), help="Requests that one model serves at a time; by default any.")
@click.option("--replay", type=click.Path(exists=True, file_okay=False), help="Answer from this folder's recordings.")
@click.option("--replay-timing", is_flag=True, help="Let recorded answers come as slowly as they came then.")
def emulate(
    *,
    host: str,
    port: int,
    account_id: str | None,
    token: str | None,
    seed: int,
    delay: float,
    faults: tuple[str, ...],
    chaos: float,
    chaos_pause: float,
    plan: Literal["free", "paid"] | None,
    neurons_per_day: float | None,
    rate_limits: bool,
    rates: tuple[tuple[str, int], ...],
    capacity: int | None,
    replay: str | None,
    replay_timing: bool,
) -> None:
    """Run the Workers AI emulator alone.

    It speaks Cloudflare's wire: set FLARELAY_UPSTREAM_URL (or any Workers AI client) to the address that it prints.
    """
    from app.emulator.server import create_emulator  # noqa: PLC0415 - only this command needs it
    from app.server import PortTakenError, listen, run  # noqa: PLC0415

    try:
        app = create_emulator(
            account_id=account_id,
            token=token,
            seed=seed,
            token_delay=delay,
            faults=faults,
            chaos=chaos,
            chaos_pause=chaos_pause,
            plan=plan,
            neurons_per_day=neurons_per_day,
            rate_limits=dict(rates) or rate_limits,
            capacity=capacity,
            replay=replay,
            replay_timing=replay_timing,
        )
        listener = listen(host, port)
    except (PortTakenError, ValueError) as error:
        fail(str(error))
    bound_host, bound_port = listener.getsockname()[:2]
    click.echo(f"Workers AI emulator: http://{bound_host}:{bound_port}/client/v4", err=True)
    run(app, listener, drain_seconds=1)

"""``flarelay doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from app.cli.opened import config_option
from app.cli.terminal import CONTEXT, print_json

if TYPE_CHECKING:
    import httpx

    from app.doctor import Diagnosis, Finding
    from app.settings import Settings

UNSOUND: Final = 1
"""Exit status: something failed."""

_COLOURS: Final[Mapping[str, str]] = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "bright_black"}
_MARKS: Final[Mapping[str, str]] = {"ok": "ok", "warning": "warning", "failed": "FAILED", "skipped": "skipped"}


@click.command(context_settings=CONTEXT)
@click.option("--model", "models", multiple=True, metavar="NAME", help="A model to try; may be repeated.")
@click.option("--call", is_flag=True, help="Have each model generate one token; what that costs is said before.")
@click.option(
    "--timeout", "seconds", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="Seconds per check."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@config_option
def doctor(
    models: tuple[str, ...],
    call: bool,  # noqa: FBT001 - click's way
    seconds: float,
    as_json: bool,  # noqa: FBT001
    config_file: str | None,
) -> None:
    """Check the settings, the Cloudflare account and its models, the store, Redis, the keys and the clock.

    It costs nothing, unless --call is given: models are sent a request that they refuse, and how they do tells whether
    they may be used. Nothing is changed. The exit status is 0 when nothing failed.
    """
    import asyncio  # noqa: PLC0415 - see the package

    from app.cloudflare.transport import Transport  # noqa: PLC0415
    from app.doctor import Options, diagnose  # noqa: PLC0415
    from app.settings import load  # noqa: PLC0415

    def read() -> Settings:
        return load({"config": config_file}, dict(os.environ))

    def transport() -> httpx.AsyncBaseTransport:
        return Transport(max_connections=32)

    def tell_cost(usd: float) -> None:
        click.echo(f"Every model generates one token, for about ${usd:.6f} in all.", err=True)

    options = Options(models, call, seconds, tell_cost)
    found = asyncio.run(diagnose(read, options, transport, time.time))
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found)
    if not found.sound:
        sys.exit(UNSOUND)


def _print(found: Diagnosis) -> None:
    checks = max(len(finding.check) for finding in found.findings)
    marks = max(map(len, _MARKS.values()))
    for finding in found.findings:
        _print_finding(finding, checks, marks)
    told = ", ".join(f"{number} {verdict}" for verdict in _MARKS if (number := found.count(verdict)))  # type: ignore[arg-type]  # its keys are verdicts
    cost = f"; at most about ${found.usd:.6f} was spent" if found.usd else ""
    click.echo(f"\n{told}{cost}")


def _print_finding(finding: Finding, checks: int, marks: int) -> None:
    mark = click.style(_MARKS[finding.verdict].ljust(marks), fg=_COLOURS[finding.verdict])
    click.echo(f"{mark}  {finding.check.ljust(checks)}  {finding.found}")
    if finding.advice:
        click.echo(f"{' ' * (marks + checks + 4)}-> {finding.advice}")

"""``flarelay models``: what there is, what it can do, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from app.cli.opened import config_option, read_settings
from app.cli.terminal import CONTEXT, fail, print_json, print_table

if TYPE_CHECKING:
    from app.core.model import Model
    from app.settings import Settings

DEFAULT_TASK: Final = "Text Generation"

SECONDS: Final = 15.0
"""How long Cloudflare's list is waited for; there is another one."""

_HEAD: Final = ("MODEL", "CONTEXT", "CAN", "JSON", "$/M IN", "OUT", "NEURONS/M IN", "OUT", "PER MINUTE", "NOTES")
_NUMBERS: Final = frozenset({1, 4, 5, 6, 7, 8})


@click.command(context_settings=CONTEXT)
@click.option("--task", help="A part of a task's name, such as embeddings.  [default: text generation]")
@click.option("--all", "everything", is_flag=True, help="Models of all tasks.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: OpenAI's model objects, with more in them.")
@config_option
def models(task: str | None, everything: bool, as_json: bool, config_file: str | None) -> None:  # noqa: FBT001 - click's way
    """List the models: abilities, prices, your aliases, and how often an account may ask them.

    The list is Cloudflare's own where an account and a token are set, else the one that came with this release.
    """
    from app.catalog.catalogue import CatalogueError, build  # noqa: PLC0415 - see the package
    from app.catalog.facts import bundled  # noqa: PLC0415
    from app.catalog.rate_limits import requests_per_minute  # noqa: PLC0415
    from app.core.errors import NotFound  # noqa: PLC0415

    settings = read_settings(config_file)
    rows, why = _live_rows(settings)
    try:
        catalogue = build(bundled(), rows, aliases=settings.aliases, dialect_overrides=settings.dialects)
        own = {catalogue.resolve(name).id: most for name, most in settings.account_requests_per_minute.items()}
    except (CatalogueError, NotFound) as error:
        fail(f"the settings name what is no model: {error}")
    aliases: dict[str, list[str]] = {}
    for alias, model in catalogue.aliases().items():
        aliases.setdefault(model.id, []).append(alias)
    wanted = "" if everything else (task or DEFAULT_TASK).lower()
    shown = [model for model in catalogue.models() if wanted in model.task.lower()]
    if as_json:
        data = [_entry(model, aliases.get(model.id, []), requests_per_minute(model, own)) for model in shown]
        print_json({"object": "list", "source": "bundled" if rows is None else "live", "data": data})
        return
    source = "the list that came with this release" if rows is None else "Cloudflare's own list"
    click.echo(f"{len(shown)} models, from {source}{why}\n")
    if shown:
        tasks = len({model.task for model in shown}) > 1
        lines = [
            _line(model, aliases.get(model.id, []), requests_per_minute(model, own), tells_task=tasks)
            for model in shown
        ]
        print_table([_HEAD, *lines], right=_NUMBERS)


def _live_rows(settings: Settings) -> tuple[Sequence[Mapping[str, Any]] | None, str]:
    """Cloudflare's list; ``None`` when there is none to be had, and why in a few words."""
    token, account = settings.cloudflare_api_token, settings.cloudflare_account_id
    if token is None or account is None:
        return None, " (no account and token are set)"
    import asyncio  # noqa: PLC0415 - see the package
    import time  # noqa: PLC0415

    from app import __version__  # noqa: PLC0415
    from app.cloudflare.catalogue import fetch_rows  # noqa: PLC0415
    from app.cloudflare.client import CloudflareClient, Timeouts  # noqa: PLC0415
    from app.cloudflare.transport import Transport  # noqa: PLC0415
    from app.core.errors import ApiError  # noqa: PLC0415

    client = CloudflareClient(
        Transport(max_connections=4),
        base_url=settings.upstream_url,
        account_id=account,
        token=token.get_secret_value(),
        timeouts=Timeouts(min(settings.connect_timeout, SECONDS), SECONDS, SECONDS),
        user_agent=f"flarelay/{__version__}",
        clock=time.time,
    )

    async def fetch() -> Sequence[Mapping[str, Any]]:
        async with client, asyncio.timeout(SECONDS):
            return await fetch_rows(client)

    try:
        return asyncio.run(fetch()), ""
    except ApiError as error:
        return None, f" (Cloudflare's could not be had: {error.message})"
    except TimeoutError:
        return None, f" (Cloudflare's did not come within {SECONDS:g} seconds)"


def _entry(model: Model, aliases: Sequence[str], most: int) -> dict[str, Any]:
    from app.catalog.entry import entry  # noqa: PLC0415 - see the package

    more = {"aliases": list(aliases), "requests_per_minute": most, "dialect": model.dialect}
    return {**entry(model), **more, "json_schema": model.json_schema}


def _line(model: Model, aliases: Sequence[str], most: int, *, tells_task: bool) -> list[str]:
    neurons = model.neurons_per_million or (None, None)
    abilities = {"tools": model.function_calling, "vision": model.vision, "reasoning": model.reasoning}
    notes = [
        *([model.task] if tells_task else []),
        *(["paid plan"] if model.requires_paid else []),
        *([f"gone on {model.deprecated_on}"] if model.deprecated_on else []),
        *(f"${amount:g} {unit}" for unit, amount in model.price.units),
        *([f"alias {', '.join(aliases)}"] if aliases else []),
    ]
    return [
        model.id,
        _number(model.context_window or model.max_input_tokens),
        " ".join(name for name, can in abilities.items() if can) or "-",
        "schema" if model.chat and model.json_schema != "none" else "-",
        _number(model.price.input, ".3f"),
        _number(model.price.output, ".3f"),
        _number(neurons[0], ",.0f"),
        _number(neurons[1], ",.0f"),
        _number(most),
        ", ".join(notes),
    ]


def _number(value: float | None, form: str = ",") -> str:
    return "-" if value is None else format(value, form)

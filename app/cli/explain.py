"""``flarelay explain``: what would be sent for a request, without sending it."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import click

from app.cli.opened import config_option, read_settings
from app.cli.terminal import CONTEXT, UNUSABLE, fail, print_json, print_table

Surface: TypeAlias = Literal["chat", "responses", "completions"]

PATHS: Final[Mapping[Surface, str]] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "completions": "/v1/completions",
}

REFUSED: Final = 1
"""Exit status: the client would get an error."""


@click.command(context_settings=CONTEXT)
@click.option(
    "--surface",
    type=click.Choice(["chat", "responses", "completions"]),
    help="Which API the request is for.  [default: told by its fields]",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, as the header x-flarelay-explain does.")
@config_option
def explain(surface: Surface | None, as_json: bool, config_file: str | None) -> None:  # noqa: FBT001 - click's way
    """Show what would be sent to Workers AI for the request body on standard input, and what it would cost.

    Nothing is sent or fetched. A request that continues a stored response is best shown to the running server itself:
    with the header `x-flarelay-explain: true` it answers in the same words.
    """
    raw = sys.stdin.buffer.read()
    if not raw.strip():
        fail("no request came on standard input: flarelay explain < request.json")
    status, told = _asked(config_file, surface or recognised(raw), raw)
    if as_json:
        print_json(told)
    elif status == 200:
        _print(told)
    else:
        click.echo(f"The client would get {status}:")
        print_json(told)
    if status != 200:
        sys.exit(REFUSED)


def recognised(raw: bytes) -> Surface:
    """Tell by its fields which API a request body is for; what is no JSON object goes to the one that says so."""
    try:
        body = json.loads(raw)
    except ValueError:
        return "chat"
    names = body if isinstance(body, dict) else {}
    if "messages" in names:
        return "chat"
    if any(name in names for name in ("input", "previous_response_id", "conversation", "instructions")):
        return "responses"
    return "completions" if "prompt" in names else "chat"


def _asked(config_file: str | None, surface: Surface, raw: bytes) -> tuple[int, dict[str, Any]]:
    """Ask an application of our own, made for this one question: it does what the server would do."""
    import asyncio  # noqa: PLC0415 - see the package
    import contextlib  # noqa: PLC0415
    import io  # noqa: PLC0415

    import httpx  # noqa: PLC0415

    from app.api.generation import EXPLAIN  # noqa: PLC0415
    from app.main import create_app  # noqa: PLC0415
    from app.settings import SettingsError  # noqa: PLC0415

    # Whoever can read the settings need not have one of the keys.
    key = f"explain-{secrets.token_hex(16)}"
    settings = read_settings(config_file, api_keys=(key,))
    # The line that a server logs for each request is not wanted here.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            app = create_app(settings)
        except SettingsError as error:
            fail(str(error))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://flarelay") as client:
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json", EXPLAIN: "true"}
            return await client.post(PATHS[surface], content=raw, headers=headers)

    answer = asyncio.run(ask())
    try:
        told = answer.json()
    except ValueError:
        fail(f"the request could not be explained (HTTP {answer.status_code})", UNUSABLE)
    return answer.status_code, told


def _print(told: Mapping[str, Any]) -> None:
    model, dialect, tokens = told["model"], told["dialect"], told["tokens"]
    print_table([
        ("surface", told["surface"]),
        ("model", f"{model['id']}: {model['why']}"),
        ("dialect", f"{dialect['name']}: {dialect['why']}"),
        ("tokens", f"about {tokens['prompt']:,} in, at most {tokens['limit']:,} out (set by {tokens['limit_from']})"),
        ("cost", _cost(told)),
    ])  # fmt: skip
    _print_list("Left out", [f"{one['field']}: {one['why']}" for one in told["dropped"]])
    _print_list("Changed", [_changed(one) for one in told["adjusted"]])
    _print_list("Sent in another form", [_changed(one) for one in told["normalised"]])
    _print_list("Done to the answer", told["emulated"])
    _print_list("If that cannot be had", [_fallback(one) for one in told["fallbacks"]])
    _print_list("To note", told["notes"])
    for request in told["requests"]:
        click.echo(f"\n{request['method']} {request['path']}")
        for name, value in request["headers"].items():
            click.echo(f"{name}: {value}")
        click.echo()
        print_json(request["json"])


def _cost(told: Mapping[str, Any]) -> str:
    if told["neurons"] is None:
        return "not known: the catalogue has no price"
    neurons, usd = told["neurons"], told["usd"]
    least = f"{neurons['least']:,.2f} neurons (${usd['least']:.6f})"
    return f"at least {least}, at most {neurons['most']:,.2f} (${usd['most']:.6f}); estimated"


def _changed(one: Mapping[str, Any]) -> str:
    values = [json.dumps(one[name], ensure_ascii=False) if name in one else "nothing" for name in ("asked", "sent")]
    text = f": {values[0]} -> {values[1]}" if values != ["nothing", "nothing"] else ""
    why = one.get("why") or one.get("how")
    return f"{one['field']}{text}" + (f": {why}" if why else "")


def _fallback(one: Mapping[str, Any]) -> str:
    unfit = f", if it could: {one['unfit']}" if "unfit" in one else ""
    return f"{one['model']} on {one['account']}{unfit}"


def _print_list(title: str, lines: list[str]) -> None:
    if lines:
        click.echo(f"\n{title}")
        for line in lines:
            click.echo(f"  {line}")

"""``flarelay keys``: making, listing, changing and revoking the keys that clients show."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import click
from msgspec.structs import replace

from app.cli.opened import config_option, read_settings, with_store
from app.cli.terminal import CONTEXT, NOT_FOUND, fail, moment, print_json, print_table
from app.cli.values import DURATION, EXPIRY, KEY_ID, MODELS, NAME, PAIR, limit_options
from app.core.key import ApiKey
from app.core.limits import LimitSpec
from app.keys.fields import LIMITS, FieldError, checked_metadata, state
from app.keys.record import key_object, revoked, rotated
from app.keys.secret import digest, new_key_id, new_secret

CLEARABLE = (*(name.replace("_", "-") for name in LIMITS), "models", "metadata")

_SHORT = {
    "requests_per_minute": "{} requests/min",
    "requests_per_day": "{} requests/day",
    "tokens_per_minute": "{} tokens/min",
    "tokens_per_day": "{} tokens/day",
    "concurrency": "{} at once",
    "neurons_per_day": "{} neurons/day",
    "neurons_per_month": "{} neurons/month",
    "usd_per_day": "${}/day",
    "usd_per_month": "${}/month",
}


def _metadata(_context: click.Context, _param: click.Parameter, pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    try:
        return checked_metadata(dict(pairs))
    except FieldError as error:
        raise click.BadParameter(f"it {error}.") from None


models_option = click.option(
    "--models", type=MODELS, help="The only models it may use, by name or pattern, as in 'gpt-oss-*,llama-*'."
)
expires_option = click.option(
    "--expires", type=EXPIRY, help="From when on it is refused: 30d, 2027-01-01 (its beginning in UTC), or a time."
)
metadata_option = click.option(
    "--metadata", type=PAIR, multiple=True, callback=_metadata, help="A note on it, such as team=search; repeatable."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Write the key and nothing else to standard output.")
id_argument = click.argument("key_id", metavar="ID", type=KEY_ID)


@click.group(context_settings=CONTEXT)
def keys() -> None:
    """Make, list, change and revoke the keys that clients show.

    They are kept in the server's database (FLARELAY_DATABASE_URL or FLARELAY_DATA_DIR), as hashes: a key is shown once.
    Running servers follow within a second. Keys look like sk-fl-<12 letters and digits>-<43 letters and digits>.
    """


@keys.command(context_settings=CONTEXT)
@click.option("--name", type=NAME, required=True, help="What people call it.")
@models_option
@expires_option
@limit_options
@metadata_option
@json_option
@quiet_option
@click.option(
    "--toml",
    "as_toml",
    is_flag=True,
    help="Keep it nowhere; write its hash as a table for FLARELAY_KEYS_FILE, and the key itself to standard error.",
)
@config_option
def create(
    name: str,
    models: tuple[str, ...] | None,
    expires: float | None,
    metadata: dict[str, str],
    as_json: bool,  # noqa: FBT001 - click's way
    quiet: bool,  # noqa: FBT001
    as_toml: bool,  # noqa: FBT001
    config_file: str | None,
    **limits: Any,  # noqa: ANN401 - one for each limit
) -> None:
    """Make a key and show it once.

    KEY=$(flarelay keys create --name ci --quiet) takes the key alone.
    """
    if as_toml and as_json:
        raise click.UsageError("--toml and --json exclude each other.")
    key_id = new_key_id(os.urandom)
    secret = new_secret(key_id, os.urandom)
    now = time.time()
    spec = LimitSpec(**limits)
    key = ApiKey(key_id, name, digest(secret), now, models or (), expires, limits=spec, metadata=metadata)
    if as_toml:
        from app.keys.declared import declaration  # noqa: PLC0415 - see the package

        click.echo(declaration(key), nl=False)
        click.echo(secret, err=True)
        _say_that_it_is_shown_once(key)
        return
    with_store(read_settings(config_file), lambda store: store.keys.add(key))
    _show_secret(key, secret, now, as_json=as_json, quiet=quiet)


@keys.command("list", context_settings=CONTEXT)
@json_option
@config_option
def list_(as_json: bool, config_file: str | None) -> None:  # noqa: FBT001 - click's way
    """List the keys of the database, oldest first."""
    found = with_store(read_settings(config_file), lambda store: store.keys.all())
    now = time.time()
    if as_json:
        print_json([key_object("store", key, now) for key in found])
    elif found:
        rows = [(key.id, key.name, state(key, now), moment(key.expires_at), ", ".join(_limits(key))) for key in found]
        print_table([("ID", "NAME", "STATE", "EXPIRES", "LIMITS"), *rows])
    else:
        click.echo("There are no keys yet: `flarelay keys create --name NAME` makes one.", err=True)


@keys.command(context_settings=CONTEXT)
@id_argument
@json_option
@config_option
def show(key_id: str, as_json: bool, config_file: str | None) -> None:  # noqa: FBT001 - click's way
    """Show what is known of a key, which is everything but the key."""
    key = with_store(read_settings(config_file), lambda store: store.keys.find(key_id))
    if key is None:
        _no_such_key(key_id)
    _show(key, time.time(), as_json=as_json)


@keys.command(context_settings=CONTEXT)
@id_argument
@click.option("--name", type=NAME, help="What people call it.")
@models_option
@expires_option
@click.option("--no-expires", is_flag=True, help="Let it never expire.")
@limit_options
@metadata_option
@click.option(
    "--clear", type=click.Choice(CLEARABLE), multiple=True, help="Take a limit away, or all models or metadata."
)
@json_option
@config_option
def update(
    key_id: str,
    name: str | None,
    models: tuple[str, ...] | None,
    expires: float | None,
    no_expires: bool,  # noqa: FBT001 - click's way
    metadata: dict[str, str],
    clear: tuple[str, ...],
    as_json: bool,  # noqa: FBT001
    config_file: str | None,
    **limits: Any,  # noqa: ANN401 - one for each limit
) -> None:
    """Change what a key may use. What is not named stays as it is; new metadata is added to the old."""
    if expires is not None and no_expires:
        raise click.UsageError("--expires and --no-expires exclude each other.")
    given = {field: value for field, value in {**limits, "models": models, "name": name}.items() if value is not None}
    cleared = {option.replace("-", "_") for option in clear}
    for field in cleared:
        if field in given:
            raise click.UsageError(f"--{field.replace('_', '-')} and --clear of it exclude each other.")
    if not (given or cleared or metadata or no_expires or expires is not None):
        raise click.UsageError("Name what is to change.")

    def change(key: ApiKey) -> ApiKey:
        if key.revoked_at is not None:
            return key
        changed_limits = {field: given.get(field) for field in LIMITS if field in given or field in cleared}
        return replace(
            key,
            name=given.get("name", key.name),
            models=() if "models" in cleared else given.get("models", key.models),
            expires_at=None if no_expires else key.expires_at if expires is None else expires,
            limits=replace(key.limits, **changed_limits),
            metadata=checked_metadata({**({} if "metadata" in cleared else key.metadata), **metadata}),
        )

    try:
        key = _change(key_id, change, config_file)
    except FieldError as error:
        fail(f"metadata {error}")
    if key.revoked_at is not None:
        _stays_revoked(key)
    _show(key, time.time(), as_json=as_json)


@keys.command(context_settings=CONTEXT)
@id_argument
@click.option("--keep", type=DURATION, default="0s", help="For how long the old key is accepted too.  [default: 0s]")
@json_option
@quiet_option
@config_option
def rotate(key_id: str, keep: float, as_json: bool, quiet: bool, config_file: str | None) -> None:  # noqa: FBT001 - click's way
    """Give a key a new secret and show it once. Its id, its limits and what belongs to it stay."""
    secret = new_secret(key_id, os.urandom)
    now = time.time()
    key = _change(key_id, lambda old: rotated(old, digest(secret), now, keep), config_file)
    if key.revoked_at is not None:
        _stays_revoked(key)
    _show_secret(key, secret, now, as_json=as_json, quiet=quiet)


@keys.command(context_settings=CONTEXT)
@id_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@config_option
def revoke(key_id: str, yes: bool, config_file: str | None) -> None:  # noqa: FBT001 - click's way
    """Stop a key for ever. Running servers refuse it within a second."""
    if not yes:
        if not sys.stdin.isatty():
            fail("revoking is for ever, so give --yes where nobody can be asked")
        click.confirm(f"Revoke {key_id} for ever?", abort=True, err=True)
    now = time.time()
    key = _change(key_id, lambda old: revoked(old, now), config_file)
    click.echo(f"{key.id} ({key.name}) is revoked since {moment(key.revoked_at)}.", err=True)


@keys.command("hash", context_settings=CONTEXT)
def hash_() -> None:
    """Read a key from standard input, and write its SHA-256 for FLARELAY_KEYS_FILE.

    Any secret will do that an HTTP header can carry, but make it long and random: `flarelay keys create --toml` does.
    """
    if sys.stdin.isatty():
        secret = click.prompt("Key", hide_input=True, err=True)
    else:
        # What is not ASCII becomes something else that is not.
        secret = sys.stdin.buffer.readline().decode("ascii", "replace")
    secret = secret.strip()
    if not secret:
        fail("there is no key on standard input")
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        fail("what is on standard input is no key: a key has no spaces, and only characters of ASCII")
    click.echo(digest(secret).hex())


def _change(key_id: str, change: Callable[[ApiKey], ApiKey], config_file: str | None) -> ApiKey:
    changed = with_store(read_settings(config_file), lambda store: store.keys.change(key_id, change))
    if changed is None:
        _no_such_key(key_id)
    return changed


def _show_secret(key: ApiKey, secret: str, now: float, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json({**key_object("store", key, now), "key": secret})
    else:
        if sys.stdout.isatty() and not quiet:
            _show(key, now, as_json=False)
            click.echo()
        click.echo(secret)
    _say_that_it_is_shown_once(key)


def _say_that_it_is_shown_once(key: ApiKey) -> None:
    click.echo(f"This key ({key.id}) is shown only this once: keep it where secrets are kept.", err=True)


def _show(key: ApiKey, now: float, *, as_json: bool) -> None:
    if as_json:
        print_json(key_object("store", key, now))
        return
    rows = [("id", key.id), ("name", key.name), ("state", state(key, now)), ("created", moment(key.created_at))]
    rows.append(("expires", moment(key.expires_at)))
    if key.revoked_at is not None:
        rows.append(("revoked", moment(key.revoked_at)))
    if key.previous_until is not None and key.previous_until > now:
        rows.append(("rotated", f"the key before it is accepted until {moment(key.previous_until)}"))
    rows.append(("models", ", ".join(key.models) or "all"))
    rows.append(("limits", ", ".join(_limits(key)) or "the server's own"))
    rows += [("metadata", f"{name}={text}") for name, text in key.metadata.items()]
    print_table(rows)


def _limits(key: ApiKey) -> list[str]:
    limits = ((form, getattr(key.limits, name)) for name, form in _SHORT.items())
    return [form.format(f"{value:,.10g}") for form, value in limits if value is not None]


def _no_such_key(key_id: str) -> NoReturn:
    fail(f"there is no key {key_id} in the database: `flarelay keys list` shows those that there are", NOT_FOUND)


def _stays_revoked(key: ApiKey) -> NoReturn:
    fail(f"{key.id} is revoked, and stays so: make a new key")

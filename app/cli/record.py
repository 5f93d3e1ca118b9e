"""``flarelay record``: writes down what the real upstream answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.progress import Counter
from app.cli.terminal import CONTEXT, fail

if TYPE_CHECKING:
    from app.settings import Settings

NOT_RECORDED = ": not recorded: "
"""What the recorder says of exchanges that it has only passed on."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command(context_settings=CONTEXT)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8686, show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option("--redact", "texts", multiple=True, metavar="TEXT", help="A text to take out; may be repeated.")
@click.option(
    "--redact-file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with texts to take out, one a line.",
)
@click.option(
    "--pass-through", is_flag=True, help="Leave account and credentials as clients send them; none need be set."
)
@click.option(
    "--most-bytes",
    type=click.IntRange(1),
    default=16 * 1024 * 1024,
    show_default=True,
    help="The largest exchange that is written down.",
)
@click.option("--config", "config_file", type=click.Path(dir_okay=False), help="A TOML file with settings.")
def record(
    out: Path,
    host: str,
    port: int,
    texts: tuple[str, ...],
    file: Path | None,
    pass_through: bool,  # noqa: FBT001 - click's way
    most_bytes: int,
    config_file: str | None,
) -> None:
    """Pass requests on to Workers AI, and write each down with its answer.

    Set FLARELAY_UPSTREAM_URL of a proxy (or any Workers AI client) to the address that it prints. Requests go out with
    the account and token of the settings. `flarelay emulate --replay` answers from the folder afterwards.

    Keys, tokens, cookies, accounts, e-mail and IP addresses are taken out, as far as they can be recognised, and so is
    every text that --redact names. Prompts and answers stay: look through a recording before you give it away.
    """
    import logging  # noqa: PLC0415 - see the package
    import time  # noqa: PLC0415

    from app.cloudflare.transport import Transport  # noqa: PLC0415
    from app.recorder.redaction import LEAST_CHARACTERS  # noqa: PLC0415
    from app.recorder.server import Recorder, create_recorder  # noqa: PLC0415
    from app.server import PortTakenError, listen, run  # noqa: PLC0415
    from app.settings import SettingsError, load  # noqa: PLC0415

    if not pass_through and host not in _LOOPBACK:
        fail(f"--host {host}: whoever reaches the recorder spends your quota; only --pass-through may listen there")
    try:
        secrets = [*texts, *(file.read_text("utf-8").split("\n") if file else ())]
    except (OSError, ValueError) as error:
        fail(f"--redact-file {file}: {error}")
    if any(0 < len(text.strip()) < LEAST_CHARACTERS for text in secrets):
        fail(f"a text to take out has to have at least {LEAST_CHARACTERS} characters: shorter ones are everywhere")
    try:
        # Without credentials of our own there need not be any; and the host is not that of the settings.
        settings = load({"config": config_file, "offline": pass_through, "host": "127.0.0.1"}, dict(os.environ))
    except SettingsError as error:
        fail(str(error))
    tally = Tally()
    counter = Counter(tally.status)

    def say(line: str) -> None:
        tally.hear(line)
        counter.line(line)

    transport = Transport(max_connections=settings.max_connections)
    token = settings.cloudflare_api_token
    try:
        recorder = Recorder(
            out,
            settings.upstream_url,
            transport,
            time.perf_counter,
            account_id=None if pass_through else settings.cloudflare_account_id,
            token=None if pass_through or token is None else token.get_secret_value(),
            secrets=[*secrets, *_secrets(settings)],
            most_bytes=most_bytes,
            connect_timeout=settings.connect_timeout,
            say=say,
        )
        listener = listen(host, port)
    except PortTakenError as error:
        fail(str(error))
    except OSError as error:
        fail(f"--out {out}: {error.strerror or error}")
    bound_host, bound_port = listener.getsockname()[:2]
    shown = f"[{bound_host}]" if ":" in bound_host else bound_host
    click.echo(f"Recorder: http://{shown}:{bound_port}/client/v4 writes to {out}", err=True)
    # An answer that breaks off is passed on as it is; the server's own word for that helps nobody.
    logging.getLogger("uvicorn.error").addFilter(lambda line: "without completing" not in line.getMessage())
    try:
        run(create_recorder(recorder, transport), listener, drain_seconds=1)
    finally:
        counter.close()


class Tally:
    """Counts what was recorded, by the recorder's own lines."""

    def __init__(self) -> None:
        self._recorded = 0
        self._passed = 0

    def hear(self, line: str) -> None:
        """Count one exchange."""
        if NOT_RECORDED in line:
            self._passed += 1
        else:
            self._recorded += 1

    def status(self) -> str:
        """How many there were."""
        passed = f", {self._passed} passed on only" if self._passed else ""
        return f"{self._recorded} recorded{passed}; Ctrl-C ends it"


def _secrets(settings: Settings) -> Iterator[str]:
    """The secrets among the settings, and the account."""
    from app.settings.model import SECRETS  # noqa: PLC0415 - see the package

    for name in (*SECRETS, "cloudflare_account_id"):
        value = getattr(settings, name)
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None:
                yield one if isinstance(one, str) else one.get_secret_value()

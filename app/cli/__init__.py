"""The command line: the door for people at a terminal. One file for each command or group of commands.

What a command needs is imported when it runs: ``flarelay --help`` loads no web framework and no database.
"""

from __future__ import annotations

import click

from app import __version__
from app.cli import doctor, emulate, explain, keys, models, record, serve, usage
from app.cli.terminal import CONTEXT


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="flarelay")
def main() -> None:
    """Serve the OpenAI API from Cloudflare Workers AI."""


main.add_command(serve.serve)
main.add_command(emulate.emulate)
main.add_command(doctor.doctor)
main.add_command(explain.explain)
main.add_command(keys.keys)
main.add_command(models.models)
main.add_command(record.record)
main.add_command(usage.usage)

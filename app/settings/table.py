"""The settings as people read them in the documentation."""

from __future__ import annotations

import textwrap
from typing import Any, Final

from app.settings.loading import env_name, env_names, file_variable
from app.settings.model import Settings

EXAMPLE_HEAD: Final = """\
# Settings of flarelay, each with its default. Take away the leading '# ' to set one.
# For `docker run --env-file`, `env_file:` in compose, or `set -a; . ./env`. Put no quotes around values.
# The same names in lower case, without FLARELAY_, are the keys of the TOML file that FLARELAY_CONFIG names.
# FLARELAY_CONFIG=
"""

_DATA_DIR = "~/.local/share/flarelay"


def settings_table() -> str:
    """All settings as a Markdown table."""
    lines = ["| Environment variable | In the file | Default | Meaning |", "|---|---|---|---|"]
    for name in Settings.names():
        variables = [env_name(name), *(other for other in env_names(name) if other != env_name(name))]
        source = file_variable(name)
        if source:
            variables.append(source)
        shown = ", ".join(f"`{variable}`" for variable in variables)
        default = default_text(name)
        cells = [
            shown,
            f"`{name}`",
            f"`{default}`" if default else "unset",
            Settings.model_fields[name].description or "",
        ]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def settings_example() -> str:
    """All settings as a file of environment variables, every one commented out."""
    parts = [EXAMPLE_HEAD]
    for name in Settings.names():
        lines = textwrap.wrap(Settings.model_fields[name].description or "", 118, break_on_hyphens=False)
        if source := file_variable(name):
            lines.append(f"{source}=")
        lines.append(f"{env_name(name)}={default_text(name)}")
        parts.append("".join(f"# {line}\n" for line in lines))
    return "\n".join(parts)


def default_text(name: str) -> str:
    """A setting's default as it is written into an environment variable; ``""`` where it has none."""
    if name == "data_dir":
        # It depends on the platform and the user; this is the commonest, and reads the same everywhere.
        return _DATA_DIR
    default: Any = Settings.model_fields[name].default
    if default is None or default in ((), {}):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float) and default.is_integer():
        return str(int(default))
    return str(int(default) if isinstance(default, int) else default)

"""Reads ``deploy/compose.yml`` as Compose does, as far as this project goes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = DEPLOY / "compose.yml"


def composed(**environ: str) -> dict[str, Any]:
    """The file with its anchors resolved and its variables filled in."""
    made = _filled(yaml.safe_load(COMPOSE.read_text("utf-8")), environ)
    assert isinstance(made, dict)
    return made


def _filled(value: Any, environ: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, environ) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, environ) for one in value]
    if isinstance(value, str):
        # Only the form with a default: without one, a variable that nobody set would be empty and unnoticed.
        filled = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environ.get(found[1]) or found[2], value)
        assert "$" not in filled, value
        return filled
    return value


def seconds(text: str) -> float:
    """A duration such as ``150s``."""
    found = re.fullmatch(r"(\d+)(s|m)", text)
    assert found, text
    return float(found[1]) * {"s": 1, "m": 60}[found[2]]

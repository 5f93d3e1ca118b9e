"""Ids that nobody can guess."""

from __future__ import annotations

import os


def new_id(prefix: str) -> str:
    """Make an id: the prefix and 128 random bits."""
    return prefix + os.urandom(16).hex()

"""The lock of what the image has beyond ``requirements.lock``: ``python -m tests.deploy.extras`` writes it anew.

It is a part of ``requirements-dev.lock``: the packages of every extra of the project, and what only they need. So
versions and hashes are those that the tests ran with.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ROOT / "deploy/extras.lock"
HEAD = """\
# What the image needs beyond requirements.lock: the project's extras ({extras}).
# Taken from requirements-dev.lock by: python -m tests.deploy.extras
"""


def name_of(requirement: str) -> str:
    """The package's name in the one form that all names have."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def blocks(lock: str) -> dict[str, str]:
    """The packages of a lock, each with its lines."""
    parts = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return {name_of(part): part for part in parts if part[:1].isalnum()}


def wanted_by(block: str) -> set[str]:
    """The packages that a lock says want this one."""
    via = block.partition("# via")[2]
    return {name_of(word) for word in re.findall(r"^ *#? *([A-Za-z0-9._-]+)", via, re.MULTILINE)}


def extras_lock() -> str:
    """What the file is to hold."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    runtime = blocks((ROOT / "requirements.lock").read_text("utf-8"))
    every = blocks((ROOT / "requirements-dev.lock").read_text("utf-8"))
    chosen = {name_of(requirement) for requirements in extras.values() for requirement in requirements}
    while more := {name for name, block in every.items() if wanted_by(block) & chosen} - chosen - set(runtime):
        chosen |= more
    missing = chosen - set(every)
    assert not missing, f"requirements-dev.lock lacks {sorted(missing)}: the extras belong to the group dev"
    # An extra of ours may ask for an extra of a package that is there anyway.
    beyond = sorted(chosen - set(runtime))
    # Who wants a package is told by the lock that it is from.
    lines = [re.sub(r"^ *#.*\n", "", every[name], flags=re.MULTILINE) for name in beyond]
    return HEAD.format(extras=", ".join(sorted(extras))) + "".join(lines)


if __name__ == "__main__":
    EXTRAS.write_text(extras_lock(), "utf-8")

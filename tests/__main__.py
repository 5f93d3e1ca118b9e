"""Every check in one command: ``python -m tests``. Further arguments go to pytest."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

CHECKS: list[list[str]] = [
    [str(BIN / "ruff"), "check", "."],
    [str(BIN / "ruff"), "format", "--check", "."],
    [str(BIN / "lint-imports"), "--no-cache"],
    [sys.executable, "-m", "mypy"],
    [sys.executable, "-m", "pytest", *sys.argv[1:]],
]


def main() -> int:
    """Run every check, even after one has failed; the exit status is 0 only when all passed."""
    failed = []
    for command in CHECKS:
        name = " ".join([Path(command[0]).name, *command[1:]]).replace(f"{Path(sys.executable).name} -m ", "")
        print(f"== {name}", flush=True)
        began = time.perf_counter()
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
        print(f"-- {time.perf_counter() - began:.1f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())

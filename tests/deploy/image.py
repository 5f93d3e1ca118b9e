"""Builds the image's contents, measures them, and runs them: ``python -m tests.deploy.image [--json]``.

The steps of the Dockerfile run as they stand (see ``engine``); then ``flarelay serve --offline`` runs from the result
as the image's own user, with nothing writable but ``/data`` and ``/tmp``, and is asked, examined and told to end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.dockerfile import ROOT, stages
from tests.deploy.engine import CannotMountError, Engine, Layers, container, execute, own_mounts
from tests.deploy.extras import blocks
from tests.deploy.free import free_port
from tests.serving import until

CANNOT = 77
"""Exit status: it cannot be tried here. Other test runners know this number as *skipped*."""

UNWANTED = ("pip", "setuptools", "wheel", "ensurepip", "gcc", "cc", "hatchling", "uv", "pytest")

UNCOMPILED = """\
import os, sys
import app.main, app.server, app.store.database
files = [getattr(module, "__cached__", None) for module in list(sys.modules.values())]
print(*(file for file in files if file and not os.path.exists(file)))
"""


def measured(made: Layers, folder: Path) -> dict[str, Any]:
    """What the image has beyond its base, in bytes."""
    kinds: Counter[str] = Counter()
    files = list(made.files())
    for name, path in files:
        size = path.stat().st_size
        kinds["total"] += size
        where = "base's bytecode" if not name.startswith("/opt") else "app" if "/app/" in name else "packages"
        kinds[where] += size
        if name.endswith(".pyc"):
            kinds["of that bytecode"] += size
    listing = folder / "files"
    listing.write_text("".join(f"{path}\n" for _, path in files))
    packed = subprocess.Popen(
        ["/usr/bin/tar", "--create", "--absolute-names", f"--files-from={listing}"], stdout=subprocess.PIPE
    )
    gzipped = subprocess.run(["/usr/bin/gzip", "-6", "--stdout"], stdin=packed.stdout, capture_output=True, check=True)
    kinds["gzipped"] = len(gzipped.stdout)
    packed.communicate()
    return {"bytes": dict(kinds), "files": len(files)}


def contents(made: Layers) -> list[str]:
    """What is wrong with the files; nothing, it is hoped."""
    faults = []
    places = {name.split("/")[1] for name, _ in made.files()}
    if not places <= {"opt", "usr"}:
        faults.append(f"files outside /opt and /usr/local: {places}")
    for name, path in made.files():
        if path.stat().st_mode & 0o022 or not path.stat().st_mode & 0o004:
            faults.append(f"{name} may be changed by others, or not read")
        if name.endswith((".pyi", ".pyx", ".c", ".h")) or "/tests/" in name:
            faults.append(f"{name} is not needed")
    for name in UNWANTED:
        where = f"{made.root}/opt/flarelay/bin:{made.root}/usr/local/bin"
        if (found := shutil.which(name, path=where)) is not None:
            faults.append(f"{found} is in the image")
        if any(made.root.glob(f"usr/local/lib/python3*/**/{name}/__init__.py")):
            faults.append(f"the package {name} is in the image")
    info = made.root.glob("opt/flarelay/lib/python3*/site-packages/*.dist-info")
    installed = {path.name.partition("-")[0].replace("_", "-").lower() for path in info}
    locked = {
        name for lock in ("requirements.lock", "deploy/extras.lock") for name in blocks((ROOT / lock).read_text())
    }
    # async-timeout is for older versions of Python.
    if not installed <= locked or not locked - installed <= {"async-timeout"}:
        faults.append(f"installed and locked differ: {sorted(installed ^ locked)}")
    return faults


def tried(made: Layers, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Run it; gives what was measured, and what is wrong."""
    faults: list[str] = []
    port = free_port()
    data = folder / "data"
    data.mkdir()
    user, group = made.stage.last("USER").rest.split(":")
    os.chown(data, int(user), int(group))
    environ = {"FLARELAY_PORT": str(port), "FLARELAY_ALLOW_NO_KEYS_ON_NETWORK": "true"}
    health = json.loads(made.stage.last("HEALTHCHECK").rest.partition("CMD ")[2])
    began = time.perf_counter()
    with container(made, ["serve", "--offline"], data, **environ) as process:
        until(lambda: _get(port, "/readyz") == 200 or process.poll() is not None, 60)
        if process.poll() is not None:
            return {}, [f"it did not start: {process.stderr.read() if process.stderr else ''}"]
        figures: dict[str, Any] = {"start_seconds": round(time.perf_counter() - began, 2)}
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
        figures["idle_resident_bytes"] = int(status["VmRSS"].split()[0]) * 1024
        if status["Uid"].split() != [user] * 4 or int(status["CapBnd"], 16):
            faults.append(f"it runs as {status['Uid']} with the rights {status['CapBnd']}")
        if status["NSpid"].split()[-1] != "1":
            faults.append("it is not process 1")
        if _chat(port) != "in a container":
            faults.append("it does not answer")
        checked = execute(made, health, **environ)
        if checked.returncode:
            faults.append(f"the health check says: {checked.stderr}")
        if execute(made, health, FLARELAY_PORT=str(free_port())).returncode == 0:
            faults.append("the health check finds a server where there is none")
        keys = execute(made, ["flarelay", "keys", "create", "--name", "ann", "--quiet"], **environ)
        if not keys.stdout.startswith("sk-fl-"):
            faults.append(f"no key can be made: {keys.stderr}")
        slow = execute(made, ["python", "-c", UNCOMPILED], **environ)
        if slow.returncode or slow.stdout.strip():
            faults.append(f"without bytecode: {slow.stdout}{slow.stderr}")
        for place in ("/opt/flarelay/x", "/usr/local/x", "/x"):
            if execute(made, ["python", "-c", f"open({place!r}, 'w')"]).returncode == 0:
                faults.append(f"{place} can be written")
        began = time.perf_counter()
        os.kill(child, signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        figures["stop_seconds"] = round(time.perf_counter() - began, 2)
        if process.returncode:
            faults.append(f"it ended with {process.returncode}: {err}")
    if not (data / "flarelay.sqlite3").exists():
        faults.append("nothing was kept in /data")
    return figures, faults


def _get(port: int, path: str) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=2, trust_env=False).status_code
    except httpx.TransportError:
        return 0


def _chat(port: int) -> str:
    body = {"model": "gpt-oss-120b", "messages": [{"role": "user", "content": "Say exactly: in a container"}]}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    answer = httpx.post(url, json=body, timeout=30, trust_env=False)
    return str(answer.json()["choices"][0]["message"]["content"])


def main() -> int:
    """Build, measure, try, and print; 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.image", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flarelay-image-") as name:
        folder = Path(name)
        # A child does it: its mounts must be gone before the folder is deleted.
        if (child := os.fork()) == 0:
            os._exit(_work(folder, as_json=options.json))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _work(folder: Path, *, as_json: bool) -> int:
    try:
        own_mounts()
        began = time.perf_counter()
        engine = Engine(folder, stages((ROOT / "Dockerfile").read_text("utf-8")))
        made = engine.build()
    except CannotMountError as error:
        print(f"it cannot be tried here: {error}", flush=True)
        return CANNOT
    figures = {"build_seconds": round(time.perf_counter() - began, 1), **measured(made, folder)}
    faults = contents(made)
    more, wrong = tried(made, folder)
    figures |= more
    faults += wrong
    if as_json:
        print(json.dumps({**figures, "faults": faults}))
    else:
        for kind, size in figures.pop("bytes").items():
            print(f"{kind:>20}: {size / 1e6:6.1f} MB")
        for name, value in figures.items():
            print(f"{name:>20}: {value}")
        print("\n".join(f"!! {fault}" for fault in faults) or "ok")
    sys.stdout.flush()
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())

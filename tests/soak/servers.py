"""The two processes of a soak, as their users start them, and what the operating system tells of one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.soak.watched import STEPS_PER_SECOND

ROOT: Final = Path(__file__).resolve().parents[2]
ACCOUNT: Final = "0123456789abcdef0123456789abcdef"
TOKEN: Final = "soak-token-0123456789abcdef0123456789"
START_SECONDS: Final = 30.0
END_SECONDS: Final = 60.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_ADDRESS: Final = re.compile(r"http://[0-9.]+:\d+")


class SoakError(Exception):
    """The soak cannot go on; the message says why."""


@dataclass(slots=True)
class Server:
    """A running process.

    Attributes:
        address: Such as ``http://127.0.0.1:8484``.
        process: What runs.
        output: Its standard output.
        errors: Its standard error.
        watched: What it says about its event loop; see ``tests.soak.watched``.
    """

    address: str
    process: subprocess.Popen[bytes]
    output: Path
    errors: Path
    watched: Path

    def end(self) -> int:
        """Ask it to end; gives its exit status.

        Raises:
            SoakError: It does not.
        """
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise SoakError(f"no end within {END_SECONDS:.0f} s of SIGTERM") from None


@dataclass(frozen=True, slots=True)
class Gauge:
    """What a process holds.

    Attributes:
        seconds: When it was looked at.
        rss: Resident memory in MiB.
        files: Open files, sockets included.
        sockets: Open sockets.
        threads: Threads.
        tasks: Tasks of its event loop.
    """

    seconds: float
    rss: float
    files: int
    sockets: int
    threads: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Loop:
    """What a process says about its event loop.

    Attributes:
        tasks: How many it has.
        lags: How late it was, in seconds, with how often.
    """

    tasks: int
    lags: Counter[float]


def loop(server: Server) -> Loop:
    """What the process said last; at the beginning, nothing."""
    if not server.watched.exists():
        return Loop(0, Counter())
    told = json.loads(server.watched.read_text())
    return Loop(told["tasks"], Counter({int(step) / STEPS_PER_SECOND: n for step, n in told["lags"].items()}))


def gauge(server: Server, now: float) -> Gauge:
    """Look at a process of this machine."""
    proc = Path(f"/proc/{server.process.pid}")
    pages = int((proc / "statm").read_text().split()[1])
    targets = []
    for link in (proc / "fd").iterdir():
        # One that has been closed since it was listed is no longer there.
        with contextlib.suppress(OSError):
            targets.append(str(link.readlink()))
    return Gauge(
        seconds=now,
        rss=pages * _PAGE / 2**20,
        files=len(targets),
        sockets=sum(target.startswith("socket:") for target in targets),
        threads=len(list((proc / "task").iterdir())),
        tasks=loop(server).tasks,
    )


@contextlib.contextmanager
def servers(emulator_options: Sequence[str], settings: Mapping[str, str]) -> Iterator[tuple[Server, Server]]:
    """Run an emulator and a proxy in front of it; gives the proxy, then the emulator.

    Args:
        emulator_options: Of ``flarelay emulate``, besides its address and its account.
        settings: Environment variables of the proxy, besides those that join it to the emulator.
    """
    with tempfile.TemporaryDirectory(prefix="flarelay-soak-") as home:
        account = ["--account-id", ACCOUNT, "--token", TOKEN]
        emulator = _start("emulate", ["--port", "0", *account, *emulator_options], {}, Path(home))
        environment = {
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
            "FLARELAY_DATA_DIR": str(Path(home, "data")),
            "FLARELAY_LOG_FORMAT": "json",
            "FLARELAY_UPSTREAM_URL": f"{emulator.address}/client/v4",
            # It would hold the traffic below Cloudflare's limits of requests per minute.
            "FLARELAY_ACCOUNT_GUARD": "off",
        }
        try:
            proxy = _start("serve", ["--port", "0"], {**environment, **settings}, Path(home))
            try:
                yield proxy, emulator
            finally:
                _kill(proxy)
        finally:
            _kill(emulator)


def _start(command: str, arguments: list[str], environment: dict[str, str], home: Path) -> Server:
    output, errors, watched = (home / f"{command}.{what}" for what in ("out", "err", "watched"))
    inherited = {"PATH": os.environ.get("PATH", ""), "HOME": str(home)}
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.watched", str(watched), command, *arguments],
            cwd=ROOT,
            env=inherited | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    server = Server("", process, output, errors, watched)
    try:
        server.address = _address(server)
    except BaseException:
        # Whatever ended the waiting, an interrupt included.
        _kill(server)
        raise
    return server


def _address(server: Server) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        if found := _ADDRESS.search(server.errors.read_text()):
            return found[0]
        time.sleep(0.02)
    raise SoakError(f"{server.errors.stem} did not start:\n{server.errors.read_text()[-2000:]}")


def _kill(server: Server) -> None:
    if server.process.poll() is None:
        server.process.kill()
    server.process.wait()

"""The profile ``scale`` as plain processes on loopback: what each is, how it is started and ended."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.deploy.composed import DEPLOY, composed
from tests.deploy.free import free_port
from tests.store.databases import SERVER, administer

ROOT = DEPLOY.parent
REPLICAS = 3
ADMIN = "admin-of-the-topology-0123456789"
ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "token-of-the-emulator-0123456789abcdefgh"


class AbsentError(Exception):
    """A program that the topology is made of is not installed here."""


def program(*names: str) -> str:
    """The first of some programs that is installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        if (found := shutil.which(name, path=path)) is not None:
            return found
    raise AbsentError(f"{' or '.join(names)} is not installed")


def clean() -> dict[str, str]:
    """This environment without any setting of flarelay."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("FLARELAY_", "CLOUDFLARE_"))}


def ask(port: int, path: str, seconds: float = 2.0) -> int:
    """The status of a GET; 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def wait_for(port: int, path: str, process: Process, seconds: float = 30.0) -> None:
    """Wait until a process answers 200."""
    deadline = time.monotonic() + seconds
    while ask(port, path) != 200:
        if process.over() or time.monotonic() > deadline:
            raise AssertionError(f"{process.name} did not come up:\n{process.log.read_text()[-2000:]}")
        time.sleep(0.05)


class Process:
    """A process whose output is kept in a file.

    Args:
        name: What it is called.
        command: How it is started.
        folder: Where its output goes.
        environ: Its whole environment.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path, environ: dict[str, str] | None = None) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._command, self._environ = command, environ
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environ, stdout=out, stderr=subprocess.STDOUT
            )

    def over(self) -> bool:
        """It has ended."""
        return self._process is None or self._process.poll() is not None

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        if self._process is not None and not self.over():
            self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Wait for its end; gives its exit status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it for certain."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


class Replica(Process):
    """One replica of the proxy."""

    def __init__(self, number: int, folder: Path, environ: dict[str, str]) -> None:
        self.port = int(environ["FLARELAY_PORT"])
        super().__init__(f"replica-{number}", [sys.executable, "-m", "app", "serve"], folder, environ)

    def lines(self) -> list[dict[str, Any]]:
        """The exchanges that it has logged."""
        texts = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, texts) if line["event"] == "exchange"]


class Topology:
    """All processes of the profile.

    Attributes:
        port: Where the load balancer listens.
        replicas: The proxies behind it.
        emulator: The port of what stands for Workers AI.
    """

    def __init__(self, port: int, emulator: int, replicas: list[Replica]) -> None:
        self.port, self.emulator, self.replicas = port, emulator, replicas

    @property
    def url(self) -> str:
        """The load balancer's address."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def _running(process: Process) -> Iterator[Process]:
    try:
        yield process
    finally:
        process.kill()


@contextlib.contextmanager
def database() -> Iterator[str]:
    """A database of its own on the PostgreSQL server of the tests; gives its URL."""
    name = f"flarelay_topology_{secrets.token_hex(4)}"
    try:
        asyncio.run(administer(f"CREATE DATABASE {name}"))
    except OSError as error:
        raise AbsentError(f"no PostgreSQL at {SERVER}: {error}") from error
    try:
        yield f"{SERVER}/{name}"
    finally:
        asyncio.run(administer(f"DROP DATABASE {name} WITH (FORCE)"))


@contextlib.contextmanager
def topology(folder: Path, **settings: str) -> Iterator[Topology]:
    """Start everything, with what ``compose.yml`` and ``haproxy.cfg`` say; only addresses and the upstream differ.

    Args:
        folder: For logs.
        settings: Settings of the replicas that are to be otherwise.

    Raises:
        AbsentError: Something is not installed.
    """
    services = composed()["services"]
    with contextlib.ExitStack() as stack:
        redis_port, emulator_port, balancer_port = free_port(), free_port(), free_port()
        words = [program(services["redis"]["command"][0]), *services["redis"]["command"][1:]]
        words += ["--port", str(redis_port), "--bind", "127.0.0.1", "--dir", str(folder)]
        balancer = [program("haproxy"), "-f", str(DEPLOY / "haproxy.cfg")]
        stack.enter_context(_running(Process("redis", words, folder, clean())))
        url = stack.enter_context(database())
        words = [sys.executable, "-m", "app", "emulate", "--port", str(emulator_port), "--delay", "0.01"]
        emulator = stack.enter_context(_running(Process("emulator", words, folder, clean())))
        wait_for(emulator_port, "/_emulator/healthz", emulator)
        replicas: list[Replica] = []
        # All at once: they make the tables of an empty database together.
        for number in range(1, REPLICAS + 1):
            environ = clean() | {
                name: str(value) for name, value in services[f"replica-{number}"]["environment"].items()
            }
            environ |= {
                "FLARELAY_HOST": "127.0.0.1",
                "FLARELAY_PORT": str(free_port()),
                "FLARELAY_DATA_DIR": str(folder / "shared"),
                "FLARELAY_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
                "FLARELAY_DATABASE_URL": url,
                "FLARELAY_UPSTREAM_URL": f"http://127.0.0.1:{emulator_port}/client/v4",
                "FLARELAY_ADMIN_KEY": ADMIN,
                "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
                "CLOUDFLARE_API_TOKEN": TOKEN,
                **settings,
            }
            replica = Replica(number, folder, environ)
            stack.enter_context(_running(replica))
            replicas.append(replica)
        for replica in replicas:
            wait_for(replica.port, "/readyz", replica)
        addresses = {f"REPLICA_{n}": f"127.0.0.1:{replica.port}" for n, replica in enumerate(replicas, 1)}
        environ = {**clean(), **addresses, "BALANCER_BIND": f"127.0.0.1:{balancer_port}"}
        stack.enter_context(_running(running := Process("balancer", balancer, folder, environ)))
        wait_for(balancer_port, "/readyz", running)
        yield Topology(balancer_port, emulator_port, replicas)

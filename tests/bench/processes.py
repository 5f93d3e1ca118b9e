"""The processes of a benchmark: how each is started, spoken to and ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.bench.cores import pin_beside
from tests.bench.load import Load, Report

ROOT: Final = Path(__file__).resolve().parents[2]
KEY: Final = "sk-benchmark-0123456789abcdef"
READY_SECONDS: Final = 20.0

LIMITS: Final = {
    "FLARELAY_REQUESTS_PER_MINUTE": "100000000",
    "FLARELAY_REQUESTS_PER_DAY": "100000000",
    "FLARELAY_TOKENS_PER_MINUTE": "1000000000",
    "FLARELAY_CONCURRENCY": "100000",
    "FLARELAY_NEURONS_PER_DAY": "100000000",
}
"""Limits that are counted and never reached: what is measured has them on, as people do."""


NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})


class BenchError(Exception):
    """The benchmark cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy of ours.

    Attributes:
        port: Where it listens.
        process: What runs.
        ready_seconds: How long it took from the start of the process to the first 200 of ``/readyz``.
    """

    port: int
    process: subprocess.Popen[bytes]
    ready_seconds: float


@contextlib.contextmanager
def upstream(port: int = 0) -> Iterator[int]:
    """Run the upstream; gives its port."""
    command = [sys.executable, "-m", "tests.bench.upstream", str(port)]
    with _piped(command) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"the upstream did not start on port {port}")
        yield int(line)


class Loader:
    """The process that sends loads."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout

    def send(self, load: Load) -> Report:
        """Send a load and wait for its end.

        Raises:
            BenchError: An answer was not complete.
        """
        self._say(json.dumps(asdict(load)))
        return self._report(self._hear())

    @contextlib.contextmanager
    def hold(self, load: Load) -> Iterator[None]:
        """Begin all answers of a load, and give them up afterwards."""
        self._say(json.dumps(asdict(load)))
        line = self._hear()
        if line.strip() != "held":
            self._report(line)
        try:
            yield
        finally:
            self._say("")
            self._hear()

    def _say(self, line: str) -> None:
        self._to.write(line + "\n")
        self._to.flush()

    def _hear(self) -> str:
        line = self._from.readline()
        if not line:
            raise BenchError("the load process has ended")
        return line

    @staticmethod
    def _report(line: str) -> Report:
        report = Report(**json.loads(line))
        if report.problems:
            raise BenchError("answers were not complete:\n  " + "\n  ".join(report.problems))
        return report


@contextlib.contextmanager
def loader() -> Iterator[Loader]:
    """Run the load process."""
    with _piped([sys.executable, "-m", "tests.bench.load"]) as process:
        yield Loader(process)


@contextlib.contextmanager
def proxy(
    upstream_port: int, module: Sequence[str] = ("app",), settings: Mapping[str, str] = NO_SETTINGS
) -> Iterator[Proxy]:
    """Run our proxy as its users do: a process of its own that logs to a file.

    Args:
        upstream_port: Where the upstream listens.
        module: What is run instead of ``app``, with arguments that come before those of ``app``.
        settings: Environment variables that differ from what is measured otherwise; empty ones are taken away.
    """
    port = _free_port()
    command = [sys.executable, "-m", *module, "serve", "--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryDirectory(prefix="flarelay-bench-") as home:
        log, errors = Path(home, "log"), Path(home, "errors")
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": home,
            "CLOUDFLARE_ACCOUNT_ID": "0123456789abcdef" * 2,
            "CLOUDFLARE_API_TOKEN": "benchmark-token-" + "0" * 24,
            "FLARELAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream_port}/client/v4",
            "FLARELAY_API_KEYS": KEY,
            "FLARELAY_DATA_DIR": home,
            "FLARELAY_LOG_FORMAT": "json",
            **LIMITS,
            **settings,
        }
        environment = {name: value for name, value in environment.items() if value}
        with log.open("wb") as out, errors.open("wb") as err:
            began = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        try:
            _wait_until_ready(port, process)
            yield Proxy(port, process, time.perf_counter() - began)
        except BenchError as error:
            raise BenchError(f"{error}\n{errors.read_text()[-2000:]}") from None
        finally:
            _end(process)


def import_cpu_seconds() -> float:
    """The CPU time that it takes to import ``app.main``, in a process of its own."""
    code = "import time; began = time.process_time(); import app.main; print(time.process_time() - began)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"app.main cannot be imported:\n{done.stderr[-2000:]}")
    return float(done.stdout)


@contextlib.contextmanager
def _piped(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        pin_beside(process.pid)
        try:
            yield process
        finally:
            process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    # Interrupted and not terminated: the server raises a second SIGTERM on its way out, and
    # what surrounds it, such as a profiler, would not be heard.
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.perf_counter() + READY_SECONDS
    while not _is_ready(port):
        if process.poll() is not None or time.perf_counter() > deadline:
            raise BenchError("the proxy did not start")
        time.sleep(0.004)


def _is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])

"""Installing a recipe's packages in a folder of its own, and running it against a proxy in front of the emulator."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import httpx

from tests.recipes.shelf import ADDRESS, HERE, Recipe

ROOT = HERE.parent.parent
INSTALL_SECONDS = 900
RUN_SECONDS = 180
_FOREIGN = ("FLARELAY_", "CLOUDFLARE_", "OPENAI_", "CODEX_", "LLM_", "PYTHON", "VIRTUAL_ENV", "NODE_OPTIONS")


class RecipeError(Exception):
    """It could not be installed, or did not do what it should; the text says what."""


@dataclass(frozen=True)
class Meal:
    """What a recipe really did.

    Attributes:
        requests: How many there were, all of them answered well.
        surfaces: The APIs that it spoke.
        streamed: It asked for a stream.
        tools: It offered tools.
        called: A tool was called, and its result came back.
        seconds: How long it took, without installing.
    """

    requests: int
    surfaces: str
    streamed: bool
    tools: bool
    called: bool
    seconds: float


class Proxy:
    """A proxy and an emulator as plain processes.

    Attributes:
        address: Where the proxy is.
        emulator: Where the emulator is.
    """

    def __init__(self, address: str, emulator: str, lines: SimpleQueue[str]) -> None:
        self.address = address
        self.emulator = emulator
        self._lines = lines

    def answered(self, seconds: float = 0.5) -> list[dict[str, Any]]:
        """The log's lines of exchanges since the last time."""
        found: list[dict[str, Any]] = []
        with contextlib.suppress(Empty):
            while True:
                line = json.loads(self._lines.get(timeout=seconds))
                if line.get("event") == "exchange":
                    found.append(line)
        return found

    def received(self) -> list[dict[str, Any]]:
        """The bodies that reached the emulator since the last time."""
        with httpx.Client(base_url=f"{self.emulator}/_emulator", trust_env=False, timeout=30) as client:
            requests = client.get("/requests").json()
            client.delete("/requests").raise_for_status()
        return [one["body"] for one in requests if one["method"] == "POST" and isinstance(one["body"], dict)]


@contextlib.contextmanager
def proxied(folder: Path) -> Iterator[Proxy]:
    """Start an emulator and a proxy in front of it; both end with the block."""
    with _process("emulate", "--port", "0") as (emulator, _):
        environ = {
            "CLOUDFLARE_ACCOUNT_ID": "0" * 32,
            "CLOUDFLARE_API_TOKEN": "token-of-the-emulator-0123456789",
            "FLARELAY_UPSTREAM_URL": f"{emulator}/client/v4",
            "FLARELAY_LOG_FORMAT": "json",
            "FLARELAY_DATA_DIR": str(folder),
        }
        with _process("serve", "--port", "0", **environ) as (address, lines):
            proxy = Proxy(address, emulator, lines)
            with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
                deadline = time.monotonic() + 60
                while not _is_ready(client):
                    if time.monotonic() > deadline:
                        raise RecipeError("the proxy did not become ready")
                    time.sleep(0.05)
            proxy.received()
            yield proxy


def _is_ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/readyz").status_code == 200
    return False


@contextlib.contextmanager
def _process(*arguments: str, **environ: str) -> Iterator[tuple[str, SimpleQueue[str]]]:
    """Run a command of flarelay; gives the address that it says, and its standard output line by line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env={**_clean(), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        found = re.search(r"http://[0-9.]+:\d+", said)
        if found is None:
            raise RecipeError(f"{arguments[0]} did not start: {said}")
        lines: SimpleQueue[str] = SimpleQueue()
        for pipe, take in ((process.stdout, lines.put), (process.stderr, lambda _: None)):
            Thread(target=lambda pipe=pipe, take=take: [take(line) for line in pipe], daemon=True).start()
        yield found[0], lines
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def install(recipe: Recipe, folder: Path) -> None:
    """Install what a recipe needs, from the registry and by name alone.

    Raises:
        RecipeError: It cannot be installed.
    """
    folder.mkdir(parents=True)
    for file in recipe.folder.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    if recipe.kind == "node":
        if shutil.which("npm") is None:
            raise RecipeError("npm is not installed")
        _must(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], folder)
        return
    _must([sys.executable, "-m", "venv", "venv"], folder)
    _must([folder / "venv/bin/pip", "install", "--quiet", "--no-input", "-r", "requirements.txt"], folder)


def cook(recipe: Recipe, folder: Path, proxy: Proxy) -> Meal:
    """Run an installed recipe.

    Raises:
        RecipeError: It failed, was answered with an error, or said nothing.
    """
    for name in (recipe.run, *recipe.shown):
        text = (recipe.folder / name).read_text("utf-8")
        (folder / name).write_text(text.replace(ADDRESS, proxy.address), "utf-8")
    paths = [folder / "venv/bin", folder / "node_modules/.bin"]
    environ = {**_clean(), "PATH": os.pathsep.join([*map(str, paths), os.environ["PATH"]]), "HOME": str(folder)}
    if recipe.home is not None:
        environ[recipe.home] = str(folder)
    programs = {".py": [folder / "venv/bin/python"], ".mjs": ["node"], ".sh": ["sh", "-e"]}
    proxy.received()
    proxy.answered(0.1)
    began = time.perf_counter()
    out = _must([*programs[Path(recipe.run).suffix], recipe.run], folder, environ, RUN_SECONDS)
    seconds = time.perf_counter() - began
    if not re.search(recipe.answers, out):
        raise RecipeError(f"it did not say {recipe.answers!r}: {out[-500:]!r}")
    answered, received = proxy.answered(), proxy.received()
    if bad := [line for line in answered if line["status"] != 200 or line["ending"] != "completed"]:
        raise RecipeError(f"{len(bad)} of its requests failed: {bad[0]}")
    if not answered:
        raise RecipeError("no request came")
    meal = Meal(
        requests=len(answered),
        surfaces=", ".join(sorted({line["surface"] for line in answered})),
        streamed=any(line["stream"] for line in answered),
        tools=any(body.get("tools") for body in received),
        called=any(_is_result(message) for body in received for message in body.get("messages", ())),
        seconds=seconds,
    )
    if not (meal.streamed and meal.tools and meal.called):
        raise RecipeError(f"it did not stream, or called no tool: {meal}")
    return meal


def _is_result(message: dict[str, Any]) -> bool:
    return message.get("role") == "tool"


def _must(
    command: list[Any], folder: Path, environ: dict[str, str] | None = None, seconds: float = INSTALL_SECONDS
) -> str:
    """Run a program to its end; returns what it wrote to standard output.

    Raises:
        RecipeError: It failed, or did not end.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            env=_clean() if environ is None else environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RecipeError(f"{Path(str(command[0])).name} did not end within {seconds:g} seconds") from None
    if done.returncode:
        raise RecipeError(f"{Path(str(command[0])).name} failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def _clean() -> dict[str, str]:
    """The environment, without what would change how programs behave."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}

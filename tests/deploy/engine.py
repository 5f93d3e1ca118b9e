"""Builds an image's layers without a container engine, and runs what is in them.

Every step runs as it stands, in a root of its own: an overlay over this machine's root that catches what the step
writes, with a plain Python of the base's version in ``/usr/local``, where the base image has it. What is not caught,
and so not measured, is the base image itself. It takes the right to mount (root on Linux); all mounts end with the
process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.dockerfile import ROOT, Ignored, Stage, context_files

BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

_NEW_MOUNTS = 0x0002_0000
_CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"
_libc = ctypes.CDLL(None, use_errno=True)


class CannotMountError(Exception):
    """This process may not mount, or there is no Python of the base's version."""


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise CannotMountError(f"{name}: {os.strerror(number)}")


def own_mounts() -> None:
    """From here on, what this process mounts is seen by itself and its children only, and ends with them."""
    if not sys.platform.startswith("linux"):
        raise CannotMountError("not Linux")
    _call("unshare", _NEW_MOUNTS)
    mount("--make-rprivate", "/")


def mount(*arguments: str | Path) -> None:
    """Run ``mount``."""
    done = subprocess.run(["/usr/bin/mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMountError(done.stderr.strip())


def python_of(base: str) -> Path:
    """The folder of an installed Python of the version that the base image's name tells."""
    found = re.match(r"python:(\d+\.\d+)", base)
    if found is None:
        raise CannotMountError(f"{base} names no version of Python")
    shims = shutil.which(f"python{found[1]}")
    if shims is not None:
        code = "import sys; print(sys.base_prefix)"
        told = subprocess.run([shims, "-c", code], capture_output=True, text=True, check=False)
        if told.returncode == 0:
            return Path(told.stdout.strip())
    for place in sorted(Path("~/.pyenv/versions").expanduser().glob(f"{found[1]}.*")):
        return place
    raise CannotMountError(f"no Python {found[1]} on this machine")


@dataclass
class Layers:
    """A stage that was built.

    Attributes:
        root: Its whole root, as a container would see it.
        written: What its steps wrote, by the folder that it lies in: ``/`` and ``/usr/local``.
        environment: Its environment.
        stage: What was built.
        before: What had been written before its first step.
    """

    root: Path
    written: dict[str, Path]
    environment: dict[str, str]
    stage: Stage
    before: frozenset[Path]

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every file that its steps left, by its path in the image."""
        for place, folder in self.written.items():
            for path in sorted(folder.rglob("*")):
                # A character device, which is no file, says that something of the base was deleted.
                if path.is_file() and not path.is_symlink() and path not in self.before:
                    yield (Path(place) / path.relative_to(folder)).as_posix(), path


class Engine:
    """Builds stages in a folder.

    Args:
        folder: Where; its file system must be able to hold overlays.
        stages: What is to be built, in order.
        below: The root of a Debian that stands for the base image's; by default this machine's.
    """

    def __init__(self, folder: Path, stages: Sequence[Stage], below: Path = Path("/")) -> None:
        self._folder = folder
        self._below = below
        self._stages = stages
        self._python = python_of(stages[0].base)
        self._built: dict[str, Layers] = {}
        self._ignored = Ignored((ROOT / ".dockerignore").read_text("utf-8"))
        self._bare = self._bare_python()

    def build(self) -> Layers:
        """Build every stage; gives the last."""
        made = None
        for stage in self._stages:
            made = self._built[stage.name] = self._layers(stage)
            for step in stage.steps:
                self._take(made, step.word, step.rest, step.words)
        assert made is not None
        return made

    def _bare_python(self) -> Path:
        """What the base image does not have of this machine's Python: bytecode, tests and other packages than pip."""
        merged, written = self._overlay("base", self._python)
        for path in [*merged.rglob("__pycache__"), *merged.glob("lib/python3*/test")]:
            shutil.rmtree(path, ignore_errors=True)
        for path in merged.glob("lib/python3*/site-packages/*"):
            if not path.name.startswith("pip"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return written

    def _overlay(self, name: str, *below: Path, at: Path | None = None) -> tuple[Path, Path]:
        """Mount an overlay; gives the mount and the folder that catches what is written."""
        parts = [self._folder / name / part for part in ("written", "work", "merged")]
        for part in parts:
            part.mkdir(parents=True)
        merged = at or parts[2]
        lower = ":".join(map(str, below))
        mount("-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={parts[0]},workdir={parts[1]}", merged)
        return merged, parts[0]

    def _layers(self, stage: Stage) -> Layers:
        root, written = self._overlay(f"{stage.name}-root", self._below)
        _, local = self._overlay(f"{stage.name}-local", self._bare, self._python, at=root / "usr/local")
        mount("-t", "proc", "proc", root / "proc")
        mount("--rbind", "/dev", root / "dev")
        mount("-t", "tmpfs", "tmpfs", root / "tmp")
        # Where the libraries of this Python are is the base's business, too.
        subprocess.run([_CHROOT, str(root), "/sbin/ldconfig"], check=True)
        before = frozenset(written.rglob("*"))
        return Layers(root, {"/": written, "/usr/local": local}, {"PATH": BASE_PATH}, stage, before)

    def _take(self, made: Layers, word: str, rest: str, words: list[str]) -> None:
        if word == "RUN":
            # pip's settings are this machine's way to the package index; an engine would have its own.
            outside = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
            command = [_CHROOT, str(made.root), "/bin/sh", "-c", f'cd "{_workdir(made)}" && {rest}']
            subprocess.run(command, env={**outside, "HOME": "/root", **made.environment}, check=True)
        elif word == "COPY":
            self._copy(made, words)
        elif word == "ENV":
            made.environment.update(pair.split("=", 1) for pair in words)
        elif word == "WORKDIR":
            made.environment["PWD"] = rest
            (made.root / rest.lstrip("/")).mkdir(parents=True)

    def _copy(self, made: Layers, words: list[str]) -> None:
        source = ROOT
        if words[0].startswith("--from="):
            source = self._built[words.pop(0).removeprefix("--from=")].root
        *names, target = words
        goal = made.root / os.path.join(_workdir(made), target).lstrip("/")  # noqa: PTH118 - an absolute target wins
        for name in names:
            place = source / name.lstrip("/")
            if source != ROOT:
                shutil.copytree(place, goal, symlinks=True, dirs_exist_ok=True)
            elif place.is_dir():
                for file in context_files():
                    if file.startswith(f"{name}/"):
                        to = goal / file.removeprefix(f"{name}/")
                        to.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(ROOT / file, to)
            else:
                assert not self._ignored(name), f"{name} is kept out by .dockerignore"
                to = goal / place.name if target.endswith("/") or goal.is_dir() else goal
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(place, to)


def _workdir(made: Layers) -> str:
    return made.environment.get("PWD", "/")


@contextlib.contextmanager
def container(made: Layers, arguments: Sequence[str], data: Path, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run the image: its entry point as process 1 of its own, its user, nothing writable but ``/tmp`` and ``/data``."""
    user = made.stage.last("USER").rest
    command = [*made.stage.last("ENTRYPOINT").form, *arguments]
    environment = {**made.environment, **environ}
    environment.pop("PWD", None)
    # A container has a root that nobody can write to, and a volume of its user's.
    (made.root / "data").mkdir(exist_ok=True)
    mount("--bind", data, made.root / "data")
    for place in (made.root / "usr/local", made.root):
        mount("-o", "remount,ro", place)
    mount("-t", "tmpfs", "tmpfs", made.root / "tmp")
    process = subprocess.Popen(
        ["/usr/bin/unshare", "--pid", "--fork", "--kill-child", *_inside(made, user), *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _inside(made: Layers, user: str) -> list[str]:
    number, _, group = user.partition(":")
    rights = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    # The environment is the image's, and need not lead to this machine's tools.
    return [_CHROOT, str(made.root), "/usr/bin/setpriv", f"--reuid={number}", f"--regid={group}", *rights]


def execute(made: Layers, command: Sequence[str], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the server, as ``docker exec`` and health checks do."""
    return subprocess.run(
        [*_inside(made, made.stage.last("USER").rest), *command],
        env={**made.environment, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

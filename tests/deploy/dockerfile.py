"""Reads the Dockerfile and ``.dockerignore``, as much of them as this project uses; anything else is an error."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

KNOWN = frozenset({
    "ARG", "FROM", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT",
    "CMD",
})  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One instruction: its word, and the rest of it on one line."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest, divided as a shell divides it."""
        return shlex.split(self.rest)

    @property
    def form(self) -> list[str]:
        """The rest, which must be in the exec form."""
        value = json.loads(self.rest)
        assert isinstance(value, list)
        assert all(isinstance(one, str) for one in value)
        return value


@dataclass
class Stage:
    """One stage of the build."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def all(self, word: str) -> list[Step]:
        """Its instructions of one kind."""
        return [step for step in self.steps if step.word == word]

    def last(self, word: str) -> Step:
        """The instruction of one kind that holds."""
        return self.all(word)[-1]

    def pairs(self, word: str) -> dict[str, str]:
        """What its ``ENV``, ``LABEL`` or ``ARG`` set."""
        return dict(pair.partition("=")[::2] for step in self.all(word) for pair in step.words)


def instructions(text: str) -> Iterator[Step]:
    """The instructions of a Dockerfile in order."""
    kept = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", kept).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            assert word in KNOWN, f"the reader of Dockerfiles does not know {word}"
            yield Step(word, rest.strip())


def stages(text: str, arguments: Mapping[str, str] | None = None) -> list[Stage]:
    """The stages of a Dockerfile, with the build's arguments put in where they are named."""
    globals_: dict[str, str] = {}
    made: list[Stage] = []
    scope: dict[str, str] = {}
    for step in instructions(text):
        if step.word == "ARG":
            name, _, default = step.rest.partition("=")
            value = (arguments or {}).get(name, default or globals_.get(name, ""))
            (scope if made else globals_)[name] = value
            continue
        if step.word == "FROM":
            words = _filled(step.rest, globals_).split()
            assert len(words) == 1 or words[1] == "AS"
            made.append(Stage(words[0], words[2] if len(words) > 1 else str(len(made))))
            scope = {}
            continue
        # The shell fills in what it runs; a build argument is in its environment.
        rest = step.rest if step.word == "RUN" else _filled(step.rest, scope)
        made[-1].steps.append(Step(step.word, rest))
    return made


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


class Ignored:
    """What ``.dockerignore`` keeps out of the build: the last pattern that fits decides.

    Args:
        text: The file.
    """

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        self._patterns = [line for line in lines if line and not line.startswith("#")]

    def __call__(self, path: str) -> bool:
        """Whether a path, relative to the project's folder, is kept out."""
        out = False
        parts = path.split("/")
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        for pattern in self._patterns:
            if any(_fits(one, pattern.removeprefix("!")) for one in above):
                out = not pattern.startswith("!")
        return out


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(path.rpartition("/")[2], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def context_files(root: Path = ROOT) -> list[str]:
    """Every file that the build is given, relative to the project's folder."""
    ignored = Ignored((root / ".dockerignore").read_text("utf-8"))
    found = []
    for top in (
        "app",
        "deploy",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "requirements.lock",
        "requirements-dev.lock",
    ):
        place = root / top
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_file() and not ignored(name):
                found.append(name)
    return found

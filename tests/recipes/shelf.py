"""The recipes of the README: what is installed for each, and what is run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HERE = Path(__file__).resolve().parent
README = HERE.parent.parent / "README.md"

ADDRESS = "http://127.0.0.1:8484"
"""Where the snippets expect the proxy."""

Kind = Literal["python", "node"]


@dataclass(frozen=True)
class Recipe:
    """One program or library that is pointed at the proxy.

    Attributes:
        name: Its folder.
        title: Its heading in the README.
        kind: What installs it.
        run: What is run: a program of the kind's own, or a shell script.
        shown: The files of which the README shows the text.
        answers: What its output has to hold: the result of the tool that was called.
        home: The environment variable for the folder of its settings, if it has any.
    """

    name: str
    title: str
    kind: Kind
    run: str
    shown: tuple[str, ...]
    answers: str = r"(?i)rain"
    home: str | None = None

    @property
    def folder(self) -> Path:
        return HERE / self.name

    def pins(self) -> dict[str, str]:
        """The packages that are installed by name, each with its one version."""
        if self.kind == "node":
            found: dict[str, str] = json.loads((self.folder / "package.json").read_text("utf-8"))["dependencies"]
            return found
        lines = (self.folder / "requirements.txt").read_text("utf-8").split()
        return {re.sub(r"\[.*\]", "", name): version for name, _, version in (line.partition("==") for line in lines)}


RECIPES = (
    Recipe("openai-python", "OpenAI's Python SDK", "python", "recipe.py", ("recipe.py",)),
    Recipe("openai-node", "OpenAI's Node SDK", "node", "recipe.mjs", ("recipe.mjs",)),
    Recipe("agents-sdk", "OpenAI Agents SDK", "python", "recipe.py", ("recipe.py",)),
    Recipe("codex", "Codex CLI", "node", "recipe.sh", ("config.toml",), answers=r"it works", home="CODEX_HOME"),
    Recipe("langchain", "LangChain", "python", "recipe.py", ("recipe.py",)),
    Recipe("vercel-ai", "Vercel AI SDK", "node", "recipe.mjs", ("recipe.mjs",)),
    Recipe("llamaindex", "LlamaIndex", "python", "recipe.py", ("recipe.py",)),
    Recipe("pydantic-ai", "Pydantic AI", "python", "recipe.py", ("recipe.py",)),
    Recipe(
        "llm",
        "llm",
        "python",
        "recipe.sh",
        ("extra-openai-models.yaml", "recipe.sh"),
        answers=r"20\d\d-",
        home="LLM_USER_PATH",
    ),
)

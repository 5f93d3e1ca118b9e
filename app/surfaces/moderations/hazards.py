"""Llama Guard's hazards as OpenAI's categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""All of OpenAI's."""

HAZARDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "S1": ("violent crimes", ("violence", "illicit/violent")),
    "S2": ("non-violent crimes", ("illicit",)),
    "S3": ("sex-related crimes", ("sexual", "illicit")),
    "S4": ("child sexual exploitation", ("sexual/minors",)),
    "S5": ("defamation", ("harassment",)),
    "S6": ("specialised advice", ()),
    "S7": ("privacy", ()),
    "S8": ("intellectual property", ()),
    "S9": ("indiscriminate weapons", ("illicit/violent",)),
    "S10": ("hate", ("hate",)),
    "S11": ("suicide and self-harm", ("self-harm", "self-harm/intent", "self-harm/instructions")),
    "S12": ("sexual content", ("sexual",)),
    "S13": ("elections", ()),
    "S14": ("abuse of a code interpreter", ()),
}
"""By Llama Guard's code: what it is, and OpenAI's categories for it. For some OpenAI has none."""


def hazards_table() -> str:
    """Write the table in Markdown, for the documentation."""
    rows = [
        f"| `{code}` | {what} | {', '.join(f'`{name}`' for name in names) or '-'} |"
        for code, (what, names) in HAZARDS.items()
    ]
    return "\n".join(["| Hazard | What it is | OpenAI's categories |", "|---|---|---|", *rows])

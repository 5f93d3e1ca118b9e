"""Deterministic prose: what an emulated model says and thinks."""

import random
import re
from typing import Any

from app.emulator.tokens import images_of, text_of

_ECHO = re.compile(
    r"\b(?:(?:repeat|echo|say)\b|(?:reply|answer|respond)\b(?=[^:\n]{0,20}\b(?:exactly|verbatim)\b))"
    r"[^:\n]{0,40}:[ \n]?(.+)",
    re.IGNORECASE | re.DOTALL,
)
_COUNT = re.compile(r"\bcount\s+(?:from\s+(\d+)\s+)?(?:up\s+)?to\s+(\d+)", re.IGNORECASE)
_WORDS = re.compile(r"\b(\d+)[\s-]+words?\b", re.IGNORECASE)
_MOST = 200_000

_OPENINGS = ("You asked about {topic}.", "You wanted to know about {topic}.", "Here is a word on {topic}.")
_SENTENCES = (
    "The short answer depends on what matters most to you.",
    "A good start is to look at one small example and see what changes.",
    "Most people find that two or three clear steps are enough.",
    "It helps to name the goal first and the means second.",
    "There are trade-offs, but none of them is hard to undo.",
    "If one thing surprises you, write it down before going on.",
    "The details differ from case to case, yet the shape stays the same.",
    "When in doubt, measure it once and then decide.",
    "Nothing here needs special tools or long preparation.",
    "In short, begin simply and improve what turns out to matter.",
)
_THOUGHTS = (
    "The user wants something about {topic}.",
    "I should keep it short and to the point.",
    "Let me check that nothing important is missing.",
    "A plain answer with one example will do.",
    "I am confident enough to answer now.",
)
_DEPTH = {"none": 0, "minimal": 1, "low": 1, "medium": 2, "high": 4, "xhigh": 5, "max": 5}


def topic_of(prompt: str) -> str:
    """Return the first words of a prompt, fit to be named in a sentence."""
    words = prompt.strip().rstrip("?!. ").split()
    shown = " ".join(words[:8])
    return f"“{shown}{'…' if len(words) > 8 else ''}”" if shown else "nothing in particular"


def echoed(prompt: str) -> str | None:
    """Return the text a prompt wants said back, as in `Say exactly: …`."""
    found = _ECHO.search(prompt)
    return found.group(1) if found else None


def think(prompt: str, effort: str) -> str:
    """Return a model's short thinking about a prompt; more effort gives more of it."""
    depth = _DEPTH.get(effort, 2)
    return " ".join(thought.format(topic=topic_of(prompt)) for thought in _THOUGHTS[:depth])


def compose(messages: list[dict[str, Any]], rng: random.Random) -> str:
    """Return an answer to the last message of a conversation.

    Prompts that name a text (`Say exactly: …`), a number to count to or a number of words are obeyed to the
    letter. The answer to a tool's result quotes the result.
    """
    results = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        results.append(text_of(message.get("content")))
    if results:
        return "The tool answered: " + " ".join(reversed(results))
    prompt = next((text_of(m.get("content")) for m in reversed(messages) if m.get("role") == "user"), "")
    if (said := echoed(prompt)) is not None:
        return said
    if found := _COUNT.search(prompt):
        first, last = int(found.group(1) or 1), int(found.group(2))
        return ", ".join(str(number) for number in range(first, min(last, first + _MOST) + 1))
    if found := _WORDS.search(prompt):
        return _exactly(min(int(found.group(1)), _MOST), rng)
    images = sum(len(images_of(message.get("content"))) for message in messages)
    seen = f" I can see {images} image{'s' if images > 1 else ''}." if images else ""
    opening = rng.choice(_OPENINGS).format(topic=topic_of(prompt))
    return f"{opening}{seen} {' '.join(rng.sample(_SENTENCES, rng.randint(2, 4)))}"


def _exactly(number: int, rng: random.Random) -> str:
    words: list[str] = []
    while len(words) < number:
        words += rng.choice(_SENTENCES).split()
    return " ".join(words[:number])

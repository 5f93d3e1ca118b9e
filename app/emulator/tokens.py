"""One simple tokenizer, used for every count the emulator reports."""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from app.emulator.jsonvalue import Json

# Words are cut into pieces of six letters with the blank before them, digits stand alone so that number
# tokens occur (Q5), and everything else is one code point at a time: joining gives the text back unchanged.
_PIECE = re.compile(r" ?[A-Za-z]{1,6}|[^\W\d_]{1,2}|.", re.DOTALL)
_PER_MESSAGE = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer.

    Attributes:
        prompt: Tokens of the prompt.
        completion: Tokens generated, thinking included.
        cached: Prompt tokens found in the prefix cache.
        reasoning: Tokens spent on thinking.
        neurons: Cost in neurons.
    """

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0
    neurons: float = 0.0


def tokenize(text: str) -> list[str]:
    """Cut text into tokens whose concatenation is the text."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """Return the number of tokens of a text."""
    return len(tokenize(text))


def text_of(content: Json) -> str:
    """Return the text of a message's content, whether a string, parts or nothing."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def images_of(content: Json) -> list[str]:
    """Return the image addresses among a message's parts."""
    if not isinstance(content, list):
        return []
    found = []
    for part in content:
        if isinstance(part, dict) and part.get("type") in {"image_url", "input_image"}:
            image = part.get("image_url")
            found.append(str(image.get("url") if isinstance(image, dict) else image))
    return found


def prompt_tokens(messages: list[dict[str, Any]], tools: list[Any]) -> list[str]:
    """Return the tokens of a whole prompt, the template's own included."""
    tokens: list[str] = []
    if tools:
        tokens += tokenize(orjson.dumps(tools).decode())
    for message in messages:
        tokens += [str(message.get("role"))] * _PER_MESSAGE
        tokens += tokenize(text_of(message.get("content")))
        if message.get("tool_calls"):
            tokens += tokenize(orjson.dumps(message["tool_calls"]).decode())
        tokens += ["image"] * (300 * len(images_of(message.get("content"))))
    return tokens

"""Which tools an emulated model calls, and with what."""

import random
import re
from dataclasses import dataclass
from typing import Any

import orjson

from app.emulator.ask import Ask, Tool
from app.emulator.jsonvalue import Json
from app.emulator.structured import Synthesiser

# Parts of tool names that say nothing about what a tool is for.
_IDLE_WORDS = {"and", "call", "current", "fetch", "find", "for", "from", "get", "list", "lookup", "make", "query"}
_IDLE_WORDS |= {"read", "run", "search", "set", "the", "tool", "use", "with"}


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call.

    Attributes:
        id: As the model mints it.
        name: The tool's name.
        arguments: JSON text, or free text for a custom tool; cut short when the budget ran out.
        custom: Whether the tool takes free text.
    """

    id: str
    name: str
    arguments: str
    custom: bool = False

    def parsed(self) -> Json:
        """Return the arguments as an object, or as the text they are when they do not parse."""
        try:
            return orjson.loads(self.arguments)
        except orjson.JSONDecodeError:
            return self.arguments


def decide(ask: Ask, rng: random.Random) -> tuple[Call, ...]:
    """Return the calls a model makes for a request.

    A forced tool is called, a required choice calls the best fit, and with `auto` the tools that the last user
    message names (or, failing that, clearly needs) are called. After a tool's result only force leads to
    another call, and then it always does (Q12).
    """
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    traits = ask.model.traits
    if not ask.tools or ask.choice == "none" or (ask.route == "chat" and not traits.chat_tools):
        return ()
    wanted = _wanted(ask)
    if ask.forced:
        wanted = [tool for tool in ask.tools if tool.name == ask.forced]
    elif ask.choice == "required":
        wanted = wanted or [ask.tools[0]]
    elif ask.messages and ask.messages[-1].get("role") == "tool":
        return ()
    if not ask.parallel:
        wanted = wanted[:1]
    return tuple(_call(ask, tool, place, rng) for place, tool in enumerate(wanted))


def _wanted(ask: Ask) -> list[Tool]:
    said = ask.asked
    named = [(found.start(), tool) for tool in ask.tools if (found := _naming(tool.name).search(said))]
    if named:
        return [tool for _, tool in sorted(named, key=lambda pair: pair[0])]
    heard = {word.lower() for word in re.findall(r"[^\W\d_]+", said)}
    return [tool for tool in ask.tools if _key_words(tool.name) & heard]


def _naming(name: str) -> re.Pattern[str]:
    spoken = r"[\s_-]".join(re.escape(part) for part in re.split(r"[_\s-]+", name))
    return re.compile(rf"(?<!\w){spoken}(?!\w)", re.IGNORECASE)


def _key_words(name: str) -> set[str]:
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return {part.lower() for part in parts if len(part) > 2} - _IDLE_WORDS


def _call(ask: Ask, tool: Tool, place: int, rng: random.Random) -> Call:
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    made = f"chatcmpl-tool-{rng.getrandbits(128):032x}"
    match ask.model.traits.call_ids:
        case "functions":
            made = f"functions.{tool.name}:{place}"
        case "same":
            made = "chatcmpl-tool-00000000000000000000000000000000"
        case _:
            pass
    if tool.custom:
        return Call(made, tool.name, ask.asked, custom=True)
    given = _dictated(tool.name, ask.asked)
    if given is None:
        given = Synthesiser({"type": "object", **tool.parameters}, ask.asked, rng).whole()
    return Call(made, tool.name, orjson.dumps(given).decode())


def _dictated(name: str, said: str) -> dict[str, Any] | None:
    """Return the arguments a message spells out, as in `call get_weather({"city": "Oslo"})`."""
    found = re.search(rf"{re.escape(name)}\s*\(\s*(\{{.*?\}})\s*\)", said, re.DOTALL)
    if not found:
        return None
    try:
        value = orjson.loads(found.group(1))
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None

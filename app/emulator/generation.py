"""What a text model produces for a request, before any wire shape."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from app.emulator.ask import Ask
from app.emulator.jsonvalue import Json
from app.emulator.structured import Synthesiser
from app.emulator.text import compose, echoed, think
from app.emulator.tokens import Usage, count, tokenize
from app.emulator.tools import Call, decide

NOTHING = object()
_CALL_OVERHEAD = 6
_FIRST_MOMENT = 1_790_000_000


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished answer.

    Attributes:
        serial: Number of the request, from which ids and times are made.
        reasoning: Tokens of thinking, for models that send it in a field.
        text: Tokens of the text, inline thinking included.
        calls: Tool calls.
        finish: `stop`, `length` or `tool_calls`, as the model would honestly say.
        value: The parsed value of JSON mode, or `NOTHING`.
        usage: Token counts.
        rng: For ids and padding; seeded by the request's number.
    """

    serial: int
    reasoning: tuple[str, ...]
    text: tuple[str, ...]
    calls: tuple[Call, ...]
    finish: str
    value: Any
    usage: Usage
    rng: random.Random

    @property
    def created(self) -> int:
        """Creation time in seconds."""
        return _FIRST_MOMENT + self.serial

    @property
    def said(self) -> str:
        """The text in one piece."""
        return "".join(self.text)

    @property
    def thought(self) -> str:
        """The thinking in one piece."""
        return "".join(self.reasoning)


def generate(ask: Ask, *, seed: int, serial: int, cached: int = 0) -> Generation:
    """Produce an answer.

    Equal requests get equal text; ids differ by `serial`.

    Args:
        ask: The request.
        seed: The emulator's seed.
        serial: Number of the request.
        cached: Prompt tokens that the prefix cache holds.
    """
    traits = ask.model.traits
    assert traits is not None  # noqa: S101 - only text models come here
    words = random.Random(f"{seed}:{ask.model.id}:{ask.asked}")  # noqa: S311 - reproducible on purpose
    rng = random.Random(f"{seed}:{serial}")  # noqa: S311 - reproducible on purpose
    calls = decide(ask, rng)
    reasoning = tokenize(_thinking(ask))
    value = NOTHING
    if calls:
        text: list[str] = []
    elif ask.schema is not None:
        value = _structured(ask, ask.schema, words)
        text = tokenize(orjson.dumps(value).decode())
    else:
        text = tokenize(compose(ask.messages, words))
        text = _stopped(text, ask.stop)
    thinking = len(reasoning)
    if reasoning and traits.reasoning.startswith("think"):
        opening = ["<think>", "\n"] if traits.reasoning == "think" else []
        text = [*opening, *reasoning, "\n", "</think>", "\n", "\n", *text]
        reasoning = []
    made = Generation(
        serial, tuple(reasoning), tuple(text), calls, "tool_calls" if calls else "stop", value, Usage(0, 0), rng
    )
    made = _leaked(made, ask)
    made = _swallowed(made, ask)
    made = _within(made, ask)
    spent = len(made.reasoning) + len(made.text) + sum(_cost(call) for call in made.calls)
    usage = Usage(
        prompt=ask.prompt_count,
        completion=spent,
        cached=cached,
        reasoning=min(thinking, spent),
        neurons=ask.model.neurons(ask.prompt_count, spent, cached),
    )
    return replace(made, usage=usage)


def _thinking(ask: Ask) -> str:
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    where = ask.model.traits.reasoning
    if where == "none" or ask.effort == "none":
        return ""
    # A native text stream has no place for thinking except the text itself.
    fields = where in {"reasoning", "reasoning_content"}
    if fields and ask.route == "run" and ask.model.traits.run_stream == "response" and ask.stream:
        return ""
    return think(ask.asked, ask.effort)


def _structured(ask: Ask, schema: Mapping[str, Any], rng: random.Random) -> Json:
    said = echoed(ask.asked)
    if said is not None:
        try:
            return orjson.loads(said)
        except orjson.JSONDecodeError:
            pass
    if not schema:
        return {"answer": ask.asked[:80], "ok": True}
    return Synthesiser(schema, ask.asked, rng).whole()


def _stopped(text: list[str], stop: tuple[str, ...]) -> list[str]:
    whole = "".join(text)
    ends = [place for mark in stop if mark and (place := whole.find(mark)) >= 0]
    return tokenize(whole[: min(ends)]) if ends else text


def _leaked(made: Generation, ask: Ask) -> Generation:
    """Write calls as text, for models whose chat template leaks them (Q11, Q55)."""
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    leak = ask.model.traits.leak
    on_run_stream = ask.route == "run" and ask.stream
    if not made.calls or leak == "none" or (leak == "xml-run" and not on_run_stream):
        return made
    written = [orjson.dumps({"name": call.name, "arguments": call.parsed()}).decode() for call in made.calls]
    if leak == "json":
        text = written[0] if len(written) == 1 else f"[{','.join(written)}]"
    else:
        text = "\n".join(f"<tool_call>\n{one}\n</tool_call>" for one in written)
    return replace(made, text=tuple(tokenize(text)), calls=(), finish="stop")


def _swallowed(made: Generation, ask: Ask) -> Generation:
    """Lose the calls but keep their finish reason (Q10)."""
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    habit = ask.model.traits.no_calls
    required = ask.choice == "required" and not ask.forced and not ask.stream and bool(made.calls)
    if habit == "always" or (habit == "required" and required):
        return replace(made, text=(), calls=(), finish="tool_calls")
    return made


def _cost(call: Call) -> int:
    return _CALL_OVERHEAD + count(call.arguments)


def _within(made: Generation, ask: Ask) -> Generation:
    """Cut an answer at its token limit: thinking uses the budget first, then text, then calls (Q21)."""
    limit = ask.model.window - ask.prompt_count if ask.limit is None else ask.limit
    reasoning = made.reasoning[:limit]
    left = limit - len(reasoning)
    text = made.text[:left]
    left -= len(text)
    calls: list[Call] = []
    cut = len(reasoning) < len(made.reasoning) or len(text) < len(made.text)
    for call in made.calls:
        if cut or left < _CALL_OVERHEAD:
            cut = True
            break
        arguments = tokenize(call.arguments)[: left - _CALL_OVERHEAD]
        kept = replace(call, arguments="".join(arguments))
        cut = kept.arguments != call.arguments
        left -= _CALL_OVERHEAD + len(arguments)
        calls.append(kept)
    if not cut:
        return made
    return replace(made, reasoning=reasoning, text=text, calls=tuple(calls), finish="length", value=NOTHING)
